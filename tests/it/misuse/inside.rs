//! Every method of a `SupervisorHandle`, a `Supervisor` and a `TaskHandle`, from every thread that
//! runs user code: each answers, or refuses with an error of its type; none waits for itself.
//!
//! `Supervisor::run` and `wait_shutdown`, which take the supervisor, are in `run`.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use threadvisor::crossbeam_channel::{unbounded, Receiver, Sender};
use threadvisor::prelude::*;
use threadvisor::AddError;

use crate::support::{in_time, next, no_op, outcome_of, resident, OnDrop};

/// What the calls are made on.
struct Actors {
    supervisor: Mutex<Option<Supervisor>>,
    handle: SupervisorHandle,
    /// A task that runs until it is told.
    other: TaskHandle,
    /// A task that has ended.
    ended: TaskHandle,
}

/// The method, a call of it, and what it answers from anywhere.
type Row = (&'static str, fn(&Actors) -> String, &'static str);

#[rustfmt::skip]
const ROWS: [Row; 42] = [
    ("add", |it| added(it.handle.add(free("added"))), "added"),
    ("add, busy", |it| added(it.handle.add(no_op("other"))), "slot_busy"),
    ("add, invalid", |it| added(it.handle.add(no_op(""))), "invalid"),
    ("add_all", |it| added(it.handle.add_all([free("a"), free("b")])), "added"),
    ("add_all, busy", |it| added(it.handle.add_all([free("a"), no_op("other")])), "slot_busy"),
    ("add_all, none", |it| added(it.handle.add_all([])), "added"),
    ("submit", |it| format!("{:?}", it.handle.submit(free("s"), QUEUE).is_ok()), "true"),
    ("try_submit", |it| format!("{:?}", it.handle.try_submit(free("t"), QUEUE).is_ok()), "true"),
    ("task", |it| format!("{:?}", it.handle.task(it.other.id()).is_some()), "true"),
    ("task, ended", |it| format!("{:?}", it.handle.task(it.ended.id()).is_some()), "false"),
    ("owner", |it| format!("{:?}", it.handle.owner("other").is_some()), "true"),
    ("owner, idle", |it| format!("{:?}", it.handle.owner("ended").is_some()), "false"),
    ("cancel_slot", |it| format!("{:?}", it.handle.cancel_slot("ended").owner_asked), "false"),
    ("snapshot", |it| format!("{:?}", it.handle.snapshot().is_ok()), "true"),
    ("is_draining", |it| format!("{:?}", it.handle.is_draining()), "false"),
    ("is_shutting_down", |it| format!("{:?}", it.handle.is_shutting_down()), "false"),
    ("flush_events", |it| format!("{:?}", it.handle.flush_events().is_err()), "true"),
    ("clone", |it| format!("{:?}", it.handle.clone().is_shutting_down()), "false"),
    ("shutdown", |it| own(it, |own| format!("{:?}", own.shutdown().is_err())), "true"),
    ("drain", |it| own(it, |own| format!("{:?}", own.drain(None).is_err())), "true"),
    ("wait_idle", |it| own(it, |own| format!("{:?}", own.wait_idle().is_err())), "true"),
    ("handle", |it| own(it, |own| own.handle().is_shutting_down().to_string()), "false"),
    ("id", |it| format!("{:?}", it.other.id() == it.ended.id()), "false"),
    ("name", |it| it.other.name().to_owned(), "other"),
    ("slot", |it| it.other.slot().unwrap().to_owned(), "other"),
    ("state", |it| it.other.state().to_string(), "running"),
    ("state, ended", |it| it.ended.state().to_string(), "over"),
    ("decided", |it| format!("{:?}", it.other.wait_decided()), "Ok(Admitted)"),
    ("wait, ended", |it| it.ended.wait().unwrap().to_string(), "completed"),
    ("wait_timeout", |it| waited(&it.other, Duration::from_millis(2)), "nothing"),
    ("wait_timeout, ended", |it| waited(&it.ended, Duration::MAX), "completed"),
    ("outcome", |it| format!("{:?}", it.other.outcome().is_some()), "false"),
    ("outcome, ended", |it| it.ended.outcome().unwrap().to_string(), "completed"),
    ("ended", |it| format!("{:?}", it.other.ended().try_recv().unwrap_err()), "Empty"),
    ("ended, ended", |it| format!("{:?}", it.ended.ended().recv().is_err()), "true"),
    ("skip_wait", |it| format!("{:?}", it.other.skip_wait()), "false"),
    ("skip_wait, ended", |it| format!("{:?}", it.ended.skip_wait()), "false"),
    ("cancel, ended", |it| format!("{:?}", it.ended.cancel()), "()"),
    ("restart, ended", |it| format!("{:?}", it.ended.restart()), "false"),
    ("debug", |it| format!("{:?}", it.ended.clone()).chars().take(10).collect(), "TaskHandle"),
    ("cancel_slot, queued", cancel_queued, "1 removed"),
    ("cancel, queued", cancel_queued_task, "cancelled (stop)"),
];

const QUEUE: AdmissionPolicy = AdmissionPolicy::Queue;

/// One that conflicts with nothing.
fn free(name: &str) -> TaskSpec {
    no_op(name).no_slot()
}

fn added<T, S: AsRef<[TaskSpec]>>(result: Result<T, AddError<S>>) -> String {
    match result {
        Ok(_) => "added".to_owned(),
        Err(AddError::Invalid { .. }) => "invalid".to_owned(),
        Err(error) => {
            error.rejection().map_or_else(|| error.to_string(), |why| why.label().to_owned())
        }
    }
}

fn own(it: &Actors, call: impl FnOnce(&Supervisor) -> String) -> String {
    call(it.supervisor.lock().unwrap().as_ref().unwrap())
}

fn waited(task: &TaskHandle, span: Duration) -> String {
    let outcome = task.wait_timeout(span).unwrap();
    outcome.map_or_else(|| "nothing".to_owned(), |outcome| outcome.to_string())
}

fn cancel_queued(it: &Actors) -> String {
    let queue = |name| it.handle.submit(no_op(name).slot("crowd"), QUEUE).unwrap();
    let owner = it.handle.submit(resident("crowd"), AdmissionPolicy::Replace).unwrap();
    let queued = queue("queued");
    // What an earlier caller has left there may still be on its way out.
    let _ = queued.wait_decided().unwrap();
    let found = it.handle.cancel_slot("crowd");
    assert!(owner.wait_decided().is_ok());
    format!("{} removed", found.removed.min(1))
}

fn cancel_queued_task(it: &Actors) -> String {
    let queued = it.handle.submit(no_op("queued").slot("other"), QUEUE).unwrap();
    queued.cancel();
    match queued.wait() {
        Ok(outcome) => outcome.to_string(),
        other => format!("{other:?}"),
    }
}

/// From where the calls are made, and how they get there: the actors come when all is set up.
type Place = (&'static str, fn(&Arc<OnceLock<Actors>>, &Sender<String>) -> Setup);

/// What the place needs of the builder, and a task that goes there.
struct Setup {
    builder: SupervisorBuilder,
    visitor: Option<TaskSpec>,
}

const PLACES: [Place; 8] = [
    ("a body", in_body),
    ("a hook", in_hook),
    ("a nudge", in_nudge),
    ("the destructor of a body", in_body_drop),
    ("the destructor of an error", in_error_drop),
    ("a subscriber", in_subscriber),
    ("a start hook", in_start_hook),
    ("a start hook of a task", in_own_start_hook),
];

/// Calls everything, and says what differs from what should be answered.
fn call_all(actors: &OnceLock<Actors>, say: &Sender<String>) {
    let Some(actors) = actors.get() else { return };
    for (method, call, expected) in ROWS {
        let answer = call(actors);
        if answer != expected {
            let _ = say.send(format!("{method}: {answer}, not {expected}"));
        }
    }
    let _ = say.send("done".to_owned());
}

fn caller(actors: &Arc<OnceLock<Actors>>, say: &Sender<String>) -> impl Fn() + Send + Sync {
    let (actors, say) = (Arc::clone(actors), say.clone());
    move || call_all(&actors, &say)
}

fn visitor(body: impl FnMut(&TaskContext) -> TaskResult + Send + 'static) -> Setup {
    let spec = TaskSpec::new("visitor", body).restart(RestartPolicy::Never);
    Setup { builder: Supervisor::builder(), visitor: Some(spec) }
}

fn in_body(actors: &Arc<OnceLock<Actors>>, say: &Sender<String>) -> Setup {
    let call = caller(actors, say);
    visitor(move |_| {
        call();
        Ok(())
    })
}

/// The body has told itself, and waits for the hook.
fn in_hook(actors: &Arc<OnceLock<Actors>>, say: &Sender<String>) -> Setup {
    let call = Arc::new(caller(actors, say));
    visitor(move |ctx| {
        let (call, (ran, has_run)) = (Arc::clone(&call), unbounded());
        let guard = ctx.on_cancel(move || {
            call();
            let _ = ran.send(());
        });
        ctx.handle().cancel_slot("visitor");
        next(&has_run);
        drop(guard);
        Ok(())
    })
}

fn in_nudge(actors: &Arc<OnceLock<Actors>>, say: &Sender<String>) -> Setup {
    let call = Arc::new(caller(actors, say));
    visitor(move |ctx| {
        let (call, (ran, has_run)) = (Arc::clone(&call), unbounded());
        let guard = ctx.on_cancel_every(Duration::MAX, move || {
            call();
            let _ = ran.send(());
        });
        ctx.handle().cancel_slot("visitor");
        next(&has_run);
        drop(guard);
        Ok(())
    })
}

fn in_body_drop(actors: &Arc<OnceLock<Actors>>, say: &Sender<String>) -> Setup {
    let value = OnDrop(caller(actors, say));
    visitor(move |_| {
        let _owned = &value;
        Ok(())
    })
}

/// Dropped with its task, when nobody has a handle any more.
fn in_error_drop(actors: &Arc<OnceLock<Actors>>, say: &Sender<String>) -> Setup {
    struct Calls(Box<dyn Fn() + Send + Sync>);
    impl std::fmt::Debug for Calls {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Calls")
        }
    }
    impl std::fmt::Display for Calls {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("calls")
        }
    }
    impl std::error::Error for Calls {}
    impl Drop for Calls {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let mut call = Some(caller(actors, say));
    visitor(move |ctx| match call.take() {
        // The next attempt makes it the failure before the last, which nobody keeps.
        Some(call) => Err(Calls(Box::new(call)).into()),
        None if ctx.attempt() == 2 => Err("another".into()),
        None => Ok(()),
    })
    .retried()
}

impl Setup {
    fn retried(mut self) -> Self {
        let backoff = BackoffPolicy::constant(Duration::from_millis(1));
        let retry = |spec: TaskSpec| spec.restart(RestartPolicy::OnFailure).backoff(backoff);
        self.visitor = self.visitor.map(retry);
        self
    }
}

fn in_subscriber(actors: &Arc<OnceLock<Actors>>, say: &Sender<String>) -> Setup {
    let mut call = Some(caller(actors, say));
    let setup = visitor(|_| Ok(()));
    let builder = setup.builder.on_event(move |event| {
        let name = event.task.as_ref().map(|task| &*task.name);
        if name == Some("visitor") {
            call.take().into_iter().for_each(|call| call());
        }
    });
    Setup { builder, ..setup }
}

/// On a thread of its own, so that no worker is there already.
fn in_start_hook(actors: &Arc<OnceLock<Actors>>, say: &Sender<String>) -> Setup {
    let call = caller(actors, say);
    let setup = visitor(|_| Ok(()));
    let builder = setup.builder.on_thread_start(move || {
        if std::thread::current().name() == Some("own") {
            call();
        }
        Ok(())
    });
    let own = ThreadOptions::new().name("own");
    Setup { builder, visitor: setup.visitor.map(|spec| spec.dedicated_thread(own)) }
}

fn in_own_start_hook(actors: &Arc<OnceLock<Actors>>, say: &Sender<String>) -> Setup {
    let call = caller(actors, say);
    let setup = visitor(|_| Ok(()));
    let own = ThreadOptions::new().on_start(move || {
        call();
        Ok(())
    });
    Setup { visitor: setup.visitor.map(|spec| spec.dedicated_thread(own)), ..setup }
}

#[test]
fn every_method_answers_from_every_thread_that_runs_user_code() {
    for (place, setup) in PLACES {
        let (say, said): (Sender<String>, Receiver<String>) = unbounded();
        let actors = Arc::new(OnceLock::new());
        let Setup { builder, visitor } = setup(&actors, &say);
        let supervisor = builder.start().unwrap();
        let handle = supervisor.handle();
        let (tell, started) = unbounded();
        let other = TaskSpec::new("other", move |ctx| {
            tell.send(())?;
            Ok(ctx.sleep(Duration::MAX)?)
        });
        let other = handle.add(other).unwrap();
        next(&started);
        let ended = handle.add(no_op("ended")).unwrap();
        let _ = outcome_of(&ended);
        let supervisor = Mutex::new(Some(supervisor));
        let all = Actors { supervisor, handle: handle.clone(), other: other.clone(), ended };
        assert!(actors.set(all).is_ok());
        drop(handle.add(visitor.unwrap()).unwrap());
        let answer = next(&said);
        assert_eq!(answer, "done", "in {place}");
        let supervisor = actors.get().unwrap().supervisor.lock().unwrap().take();
        in_time(move || drop(supervisor));
        assert!(matches!(outcome_of(&other), Outcome::Cancelled { .. }), "{place}");
    }
}

/// What a body is told of its own task. The last calls are obeyed.
#[test]
fn a_body_may_call_every_method_of_its_own_task() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let (say, said) = unbounded();
    let spec = TaskSpec::new("own", move |ctx| {
        let own = ctx.handle().owner("own").expect("it runs");
        assert_eq!((own.id(), own.name(), own.slot()), (ctx.id(), "own", Some("own")));
        assert_eq!(own.state(), TaskState::Running);
        assert_eq!(own.wait_decided(), Ok(Decision::Admitted));
        let refused = Some(WaitError::WouldDeadlock);
        assert_eq!(own.wait().err(), refused);
        assert_eq!(own.wait_timeout(Duration::MAX).err(), refused);
        assert_eq!(own.wait_timeout(Duration::ZERO).err(), refused);
        assert_eq!(ctx.wait_for(&own).err(), refused);
        assert!(own.outcome().is_none() && !own.skip_wait());
        assert!(own.ended().try_recv().is_err());
        assert!(!ctx.is_cancelled());
        if ctx.attempt() == 1 {
            assert!(own.restart());
        } else {
            own.cancel();
        }
        say.send(ctx.sleep(Duration::MAX).unwrap_err().reason())?;
        Ok(ctx.check()?)
    });
    let task = handle.add(spec).unwrap();
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { reason: StopReason::Stop, .. }));
    assert_eq!([next(&said), next(&said)], [CancelReason::Restart, CancelReason::Stop]);
}
