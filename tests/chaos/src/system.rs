//! What the process holds: memory, threads, descriptors.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator with the caller's own arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        System.alloc(layout)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        System.dealloc(block, layout);
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        LIVE_BYTES.fetch_add(size, Ordering::Relaxed);
        System.realloc(block, layout, size)
    }
}

/// What the process holds at one moment.
#[derive(Clone, Debug)]
pub struct Holdings {
    pub bytes: usize,
    pub descriptors: usize,
    pub threads: Vec<String>,
}

pub fn holdings() -> Holdings {
    let threads = threads();
    let descriptors = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    Holdings { bytes: LIVE_BYTES.load(Ordering::Relaxed), descriptors, threads }
}

/// The names of all threads.
pub fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
    tasks.filter_map(name).map(|name| name.trim().to_owned()).collect()
}

/// Each thread with the call of the kernel that it sits in.
pub fn thread_report() -> String {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let line = |task: fs::DirEntry| {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let state = read("stat").rsplit(") ").next().and_then(|rest| rest.chars().next());
        format!("  {} state={state:?} call={}\n", read("comm").trim(), read("syscall").trim())
    };
    tasks.map(line).collect()
}
