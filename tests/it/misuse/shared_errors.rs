//! Snapshots read the errors of tasks on other threads, while the controller replaces them.

use std::fmt;
use std::time::Duration;

use threadvisor::crossbeam_channel::{unbounded, Sender};
use threadvisor::prelude::*;

use crate::support::{next, thread_name, WATCHDOG};

/// Says on which thread it is dropped.
#[derive(Debug)]
struct Tells(Sender<String>);

impl Drop for Tells {
    fn drop(&mut self) {
        let _ = self.0.send(thread_name());
    }
}

impl fmt::Display for Tells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tells")
    }
}

impl std::error::Error for Tells {}

#[test]
fn an_error_that_a_snapshot_shares_is_dropped_and_never_by_the_controller() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let (tell, told) = unbounded();
    let fails = TaskSpec::new("fails", move |_| Err(TaskError::fail(Tells(tell.clone()))));
    handle.add(fails.backoff(BackoffPolicy::constant(Duration::from_millis(1)))).unwrap();
    for _ in 0..50 {
        assert!(!next(&told).starts_with("ctl"));
        drop((handle.snapshot().unwrap(), handle.snapshot().unwrap()));
    }
    drop((handle, supervisor));
    // The channel is disconnected when the last error and the body are gone.
    while let Ok(thread) = told.recv_timeout(WATCHDOG) {
        assert!(!thread.starts_with("ctl"));
    }
    assert!(told.try_recv().unwrap_err().is_disconnected());
}
