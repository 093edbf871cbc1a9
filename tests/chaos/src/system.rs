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

/// Each thread: its state, the time it used the processor in user code and in the kernel, and the
/// call of the kernel that it sits in, with the kernel's stack where that may be read.
pub fn thread_report() -> String {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let line = |task: fs::DirEntry| {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let stat = read("stat");
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
        let [state, user, kernel] = [0, 11, 12].map(|field| *fields.get(field).unwrap_or(&"?"));
        let [name, call, place] = ["comm", "syscall", "wchan"].map(read);
        let [name, call, place] = [name.trim(), call.trim(), place.trim()];
        let stack = read("stack").replace('\n', " ");
        format!("  {name} {state} ticks={user}+{kernel} call={call} in={place} {stack}\n")
    };
    tasks.map(line).collect()
}
