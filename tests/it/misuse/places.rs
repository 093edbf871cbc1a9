//! The supervisor is dropped where its end would be waited for by itself: it only asks then, and
//! everything ends all the same.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadvisor::crossbeam_channel::unbounded;
use threadvisor::prelude::*;

use crate::support::{next, no_op, outcome_of, resident, OnDrop};

/// Where the only owner of the supervisor is put, to be dropped from there.
type Seat = Arc<Mutex<Option<Supervisor>>>;

fn take(seat: &Seat) {
    let supervisor = seat.lock().unwrap().take();
    drop(supervisor);
}

/// The place, and what drops it there: on the builder's threads, or in a task.
type Place = (&'static str, fn(SupervisorBuilder, &Seat) -> SupervisorBuilder, Visit);
type Visit = fn(&Seat) -> TaskSpec;

const PLACES: [Place; 9] = [
    ("a body", plain, in_body),
    ("a hook", plain, in_hook),
    ("the destructor of a body", plain, in_body_drop),
    ("the destructor of a refused body", plain, in_refused_drop),
    ("the destructor of a payload", plain, in_payload_drop),
    ("a subscriber", in_subscriber, |_| no_op("visitor")),
    ("a subscriber of its own lane", in_dedicated, |_| no_op("visitor")),
    ("a start hook", in_start_hook, |_| no_op("visitor")),
    ("a panicking body", plain, while_panicking),
];

fn plain(builder: SupervisorBuilder, _: &Seat) -> SupervisorBuilder {
    builder
}

fn in_body(seat: &Seat) -> TaskSpec {
    let seat = Arc::clone(seat);
    TaskSpec::once("visitor", move |_| {
        take(&seat);
        Ok(())
    })
}

fn in_hook(seat: &Seat) -> TaskSpec {
    let seat = Arc::clone(seat);
    TaskSpec::once("visitor", move |ctx| {
        let (ran, has_run) = unbounded();
        let _guard = ctx.on_cancel(move || {
            take(&seat);
            let _ = ran.send(());
        });
        ctx.handle().cancel_slot("visitor");
        next(&has_run);
        Ok(ctx.check()?)
    })
}

fn on_drop(seat: &Seat) -> OnDrop<impl FnMut()> {
    let seat = Arc::clone(seat);
    OnDrop(move || take(&seat))
}

fn in_body_drop(seat: &Seat) -> TaskSpec {
    let value = on_drop(seat);
    TaskSpec::new("visitor", move |_| {
        let _owned = &value;
        Ok(())
    })
}

fn in_refused_drop(seat: &Seat) -> TaskSpec {
    in_body_drop(seat).slot("resident")
}

fn in_payload_drop(seat: &Seat) -> TaskSpec {
    let mut value = Some(on_drop(seat));
    let body = move |_: &TaskContext| std::panic::resume_unwind(Box::new(value.take()));
    TaskSpec::new("visitor", body).restart(RestartPolicy::Never)
}

fn while_panicking(seat: &Seat) -> TaskSpec {
    let seat = Arc::clone(seat);
    TaskSpec::once("visitor", move |_| {
        let _supervisor = seat.lock().unwrap().take();
        std::panic::resume_unwind(Box::new("a body's own"))
    })
}

fn is_about_visitor(event: &Event) -> bool {
    event.task.as_ref().is_some_and(|task| &*task.name == "visitor")
}

fn in_subscriber(builder: SupervisorBuilder, seat: &Seat) -> SupervisorBuilder {
    let seat = Arc::clone(seat);
    builder.on_event(move |event| {
        if is_about_visitor(event) {
            take(&seat);
        }
    })
}

fn in_dedicated(builder: SupervisorBuilder, seat: &Seat) -> SupervisorBuilder {
    struct Drops(Seat);
    impl Subscribe for Drops {
        fn on_event(&mut self, event: &Event) {
            if is_about_visitor(event) {
                take(&self.0);
            }
        }
    }
    builder.dedicated_subscriber(Drops(Arc::clone(seat)), 100)
}

fn in_start_hook(builder: SupervisorBuilder, seat: &Seat) -> SupervisorBuilder {
    let seat = Arc::clone(seat);
    builder.on_thread_start(move || {
        take(&seat);
        Ok(())
    })
}

#[test]
fn a_supervisor_dropped_on_any_of_its_own_threads_ends() {
    for (place, build, visit) in PLACES {
        let seat = Seat::default();
        // With this grace a wait for itself would never end.
        let builder = build(Supervisor::builder().grace(Duration::MAX), &seat);
        let supervisor = builder.start().unwrap();
        let handle = supervisor.handle();
        // It holds its slot while it waits, without a thread.
        let other = resident("resident").initial_delay(Duration::MAX);
        let other = handle.add(other).unwrap();
        *seat.lock().unwrap() = Some(supervisor);
        let visitor = handle.submit(visit(&seat), AdmissionPolicy::DropIfRunning).unwrap();
        let outcome = outcome_of(&other);
        let stopped = matches!(outcome, Outcome::Cancelled { reason: StopReason::Shutdown, .. });
        assert!(stopped, "{place}: {outcome}");
        let _ = outcome_of(&visitor);
        assert!(handle.is_shutting_down(), "{place}");
        // It has ended when nobody answers any more.
        while handle.snapshot().is_ok() {
            std::thread::yield_now();
        }
        assert!(seat.lock().unwrap().is_none(), "{place}");
    }
}
