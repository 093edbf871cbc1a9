//! The system's allocator, counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static LIVE_BLOCKS: AtomicUsize = AtomicUsize::new(0);
static MADE_BYTES: AtomicUsize = AtomicUsize::new(0);
static MADE_BLOCKS: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone, Copy)]
pub struct Count {
    pub bytes: usize,
    pub blocks: usize,
}

/// What is allocated now.
pub fn live() -> Count {
    read(&LIVE_BYTES, &LIVE_BLOCKS)
}

/// All that ever was. A reallocation counts as one more.
pub fn made() -> Count {
    read(&MADE_BYTES, &MADE_BLOCKS)
}

fn read(bytes: &AtomicUsize, blocks: &AtomicUsize) -> Count {
    Count { bytes: bytes.load(Ordering::Relaxed), blocks: blocks.load(Ordering::Relaxed) }
}

// SAFETY: every call goes to the system's allocator with the caller's own arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        for (count, by) in [
            (&LIVE_BYTES, layout.size()),
            (&MADE_BYTES, layout.size()),
            (&LIVE_BLOCKS, 1),
            (&MADE_BLOCKS, 1),
        ] {
            count.fetch_add(by, Ordering::Relaxed);
        }
        System.alloc(layout)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        LIVE_BLOCKS.fetch_sub(1, Ordering::Relaxed);
        System.dealloc(block, layout);
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        for (count, by) in [(&LIVE_BYTES, size), (&MADE_BYTES, size), (&MADE_BLOCKS, 1)] {
            count.fetch_add(by, Ordering::Relaxed);
        }
        System.realloc(block, layout, size)
    }
}
