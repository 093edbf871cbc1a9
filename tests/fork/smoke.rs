//! What a supervisor answers after a `fork`: the child has none of its threads, so no call may wait
//! for them. The parent goes on as if nothing had happened.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::{AddError, ManualClock, RecvError, SubmitError};

const LONG: Duration = Duration::from_secs(60);

fn main() {
    let builder = Supervisor::builder().intake_capacity(1).shutdown_on_signals();
    let supervisor = builder.on_event(|_| {}).start().unwrap();
    let handle = supervisor.handle();
    let resident = TaskSpec::new("resident", |ctx| Ok(ctx.sleep(Duration::MAX)?));
    let resident = handle.add(resident).unwrap();
    let fine = handle.add(idle("fine")).unwrap();
    assert!(fine.wait().unwrap().is_success());
    handle.flush_events().unwrap();

    let of_body = resident.clone();
    let body = TaskSpec::once("forks", move |ctx| {
        if is_forked_child() {
            end_child_after(|| in_a_body_of_the_child(ctx, &of_body));
        }
        Ok(())
    });
    assert!(handle.add(body).unwrap().wait().unwrap().is_success());
    handle.flush_events().unwrap();

    if is_forked_child() {
        end_child_after(|| in_the_child(supervisor, &handle, &resident, &fine));
    }

    under_load(&handle, &resident);
    on_a_clock_moved_by_hand();

    assert!(handle.add(idle("after")).unwrap().wait().unwrap().is_success());
    let report = supervisor.shutdown().unwrap();
    assert!(report.outcomes.completed >= 3, "{report}");
    println!("the child was answered, and the parent went on");
}

fn idle(name: &'static str) -> TaskSpec {
    TaskSpec::once(name, |_| Ok(()))
}

/// Forks; the parent waits for its child, and only the child gets `true`.
fn is_forked_child() -> bool {
    // SAFETY: the child calls only this program's code and ends without destroying anything. It
    // allocates, which works after a fork of a process whose other threads are idle.
    match unsafe { libc::fork() } {
        -1 => panic!("{}", std::io::Error::last_os_error()),
        0 => {
            // SAFETY: it only sets a timer, which ends a child that hangs.
            unsafe { libc::alarm(30) };
            true
        }
        child => {
            let mut status = -1;
            // SAFETY: `status` outlives the call.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert_eq!(status, 0, "the child failed, or hung until its alarm");
            false
        }
    }
}

fn end_child_after(act: impl FnOnce()) -> ! {
    let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
    // SAFETY: this ends the process.
    unsafe { libc::_exit(i32::from(passed.is_err())) }
}

fn in_a_body_of_the_child(ctx: &TaskContext, resident: &TaskHandle) {
    assert_eq!(ctx.wait_for(resident).unwrap_err(), WaitError::Closed);
    // Nobody tells the body of this shutdown: were that waited for, the alarm would end the child.
    ctx.handle().request_shutdown();
    for _ in 0..100 {
        let (_, from) = threadvisor::crossbeam_channel::bounded::<()>(0);
        assert_eq!(ctx.recv(&from).unwrap_err(), RecvError::Disconnected);
        let refused = ctx.handle().submit(idle("never"), AdmissionPolicy::Queue);
        assert!(refused.is_err());
    }
}

/// Another thread may hold the lock of the task or of the output at the fork. It submits nothing,
/// since the child might wait for ever for the end of that.
fn under_load(handle: &SupervisorHandle, resident: &TaskHandle) {
    let output = TaskOutput::<u32>::new();
    let _filler = TaskSpec::new("never handed over", output.fill(|_| Ok(1)));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert!(resident.outcome().is_none());
                assert_eq!(output.take(), None);
                assert!(handle.owner("nobody").is_none());
            }
        });
        let _ends = Ends(&over);
        for _ in 0..100 {
            if is_forked_child() {
                end_child_after(|| {
                    assert!(resident.outcome().is_none());
                    assert_eq!(resident.wait_timeout(LONG).unwrap_err(), WaitError::Closed);
                    assert!(matches!(resident.wait_started(), Ok(true) | Err(WaitError::Closed)));
                    assert!(resident.ended().recv().is_err());
                    assert_eq!(output.take(), None);
                    assert_eq!(output.wait_value(LONG).unwrap_err(), WaitError::Closed);
                    for _ in 0..3 {
                        drop(handle.submit(idle("never"), AdmissionPolicy::Queue));
                        drop(handle.try_submit(idle("never"), AdmissionPolicy::Queue));
                    }
                });
            }
        }
    });
}

/// Nothing of the child's supervisor is ever due.
fn on_a_clock_moved_by_hand() {
    let clock = ManualClock::new().patience(LONG);
    let supervisor = Supervisor::builder().clock(&clock).start().unwrap();
    let rests = |ctx: &TaskContext| Ok(ctx.sleep(LONG)?);
    let rests = supervisor.handle().add(TaskSpec::once("rests", rests)).unwrap();
    clock.settle();
    if is_forked_child() {
        end_child_after(|| {
            clock.advance(LONG);
            clock.settle();
            assert_eq!((clock.advance_to_next(), clock.now()), (None, LONG));
            supervisor.shutdown_within(&clock).unwrap_err();
            drop(supervisor);
        });
    }
    clock.advance(LONG);
    assert!(rests.wait().unwrap().is_success());
    supervisor.shutdown_within(&clock).unwrap();
}

/// Ends a thread, also after a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn in_the_child(
    supervisor: Supervisor,
    handle: &SupervisorHandle,
    resident: &TaskHandle,
    fine: &TaskHandle,
) {
    // What was known before is known here, too.
    assert!(fine.wait().unwrap().is_success());
    assert_eq!(fine.wait_decided().unwrap(), Decision::Admitted);

    assert_eq!(resident.wait().unwrap_err(), WaitError::Closed);
    assert_eq!(resident.wait_timeout(Duration::MAX).unwrap_err(), WaitError::Closed);
    assert_eq!(resident.state(), TaskState::Over);
    resident.cancel();
    assert!(!resident.skip_wait() && !resident.restart());
    for (task, says) in [(resident, "lost"), (fine, "completed")] {
        let (tell, told) = std::sync::mpsc::channel();
        task.on_end(move |outcome| tell.send(outcome.label()).unwrap());
        assert_eq!(told.try_recv(), Ok(says));
    }

    assert!(matches!(handle.add(idle("add")), Err(AddError::Closed { .. })));
    let Err(AddError::Closed { spec }) = handle.add_all([idle("one"), idle("two")]) else {
        panic!("a batch was taken");
    };
    assert_eq!(spec.len(), 2);
    // One fits into the intake, where nobody will look.
    let taken = handle.submit(idle("taken"), AdmissionPolicy::Queue).unwrap();
    assert_eq!(taken.wait_decided().unwrap_err(), WaitError::Closed);
    assert_eq!(taken.wait().unwrap_err(), WaitError::Closed);
    let refused = handle.submit(idle("refused"), AdmissionPolicy::Queue);
    assert!(matches!(refused, Err(SubmitError::Closed { .. })));

    assert!(handle.snapshot().is_err());
    assert!(handle.owner("resident").is_none() && handle.task(resident.id()).is_none());
    assert_eq!(handle.flush_events().unwrap_err(), WaitError::Closed);
    assert_eq!(supervisor.wait_idle().unwrap_err(), WaitError::Closed);
    handle.request_drain(None);
    supervisor.drain(None).unwrap_err();
    handle.request_shutdown();
    supervisor.shutdown().unwrap_err();
    drop(supervisor);
}
