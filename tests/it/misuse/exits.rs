//! Bodies that end their thread or their process, as far as safe Rust lets them: there is no call
//! that ends a thread from inside but a panic, and what a body leaves to its thread's locals runs
//! when the thread ends.
//!
//! | tried | what happens |
//! |---|---|
//! | a panic | the attempt has panicked; the thread goes on (`panics`) |
//! | `process::exit` in a body | the process ends with that code, whatever else runs |
//! | `thread::park` | the body hangs, and is abandoned like any other |
//! | a thread-local whose destructor calls everything | it is answered, and the supervisor ends |
//! | a thread-local whose destructor never returns | the end is not delayed (`predecessors`) |

use std::cell::RefCell;
use std::process::exit;
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, Sender};
use threadvisor::prelude::*;

use crate::program::{is_child, Program};
use crate::support::{in_time, next, outcome_of, resident, Gate};

#[test]
fn a_body_may_end_the_process_whatever_else_runs() {
    if is_child() {
        let gate = Gate::new();
        let (in_body, in_subscriber) = (gate.hold(), gate.hold());
        let supervisor = Supervisor::builder().on_event(move |_| in_subscriber()).start().unwrap();
        let handle = supervisor.handle();
        handle.add(resident("resident")).unwrap();
        let stuck = move |_: &TaskContext| {
            in_body();
            Ok(())
        };
        handle.add(TaskSpec::new("stuck", stuck)).unwrap();
        gate.wait_entered();
        gate.wait_entered();
        handle.add(TaskSpec::once("exits", |_| exit(7))).unwrap();
        let report = supervisor.run([]);
        unreachable!("{report:?}");
    }
    let program =
        Program::start("misuse::exits::a_body_may_end_the_process_whatever_else_runs", &[]);
    assert_eq!(program.status().code(), Some(7));
}

#[test]
fn a_parked_thread_is_a_stuck_body_and_comes_back_when_unparked() {
    let supervisor = Supervisor::builder().grace(Duration::ZERO).start().unwrap();
    let handle = supervisor.handle();
    let (tell, told) = bounded(1);
    let (say, said) = bounded(1);
    let spec = TaskSpec::once("parks", move |ctx| {
        tell.send(std::thread::current())?;
        // A park may end by itself.
        while !ctx.is_cancelled() {
            std::thread::park();
        }
        let _ = said.recv();
        Ok(())
    });
    let task = handle.add(spec).unwrap();
    let thread = next(&told);
    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Abandoned { .. }));
    assert!(handle.owner("parks").is_some());
    drop::<Sender<()>>(say);
    thread.unpark();
    while handle.owner("parks").is_some() {
        std::thread::yield_now();
    }
    assert!(in_time(move || supervisor.shutdown().unwrap().shutdown).abandoned.is_empty());
}

/// What a body leaves to its thread.
struct CallsAtExit {
    supervisor: std::sync::Arc<Supervisor>,
    handle: SupervisorHandle,
    say: Sender<[bool; 2]>,
}

impl Drop for CallsAtExit {
    fn drop(&mut self) {
        let answers = [self.handle.snapshot().is_err(), self.handle.flush_events().is_err()];
        // Whether these are refused depends on which local goes first; but they come back.
        let _ = (self.supervisor.shutdown(), self.supervisor.wait_idle());
        let _ = self.say.send(answers);
    }
}

thread_local! {
    static AT_EXIT: RefCell<Option<CallsAtExit>> = const { RefCell::new(None) };
}

#[test]
fn a_thread_local_may_call_everything_when_its_thread_ends() {
    let supervisor = std::sync::Arc::new(Supervisor::builder().start().unwrap());
    let handle = supervisor.handle();
    let (say, said) = bounded(1);
    let own = std::sync::Arc::clone(&supervisor);
    let spec = TaskSpec::once("leaves something", move |ctx| {
        let left = CallsAtExit { supervisor: own, handle: ctx.handle(), say };
        AT_EXIT.with(|at_exit| *at_exit.borrow_mut() = Some(left));
        Ok(())
    });
    let _ = outcome_of(&handle.add(spec).unwrap());
    in_time(move || supervisor.shutdown().unwrap().shutdown);
    assert_eq!(next(&said), [true; 2]);
}
