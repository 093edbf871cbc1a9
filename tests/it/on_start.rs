//! How subscribers start.

use threadvisor::crossbeam_channel::{unbounded, Sender};
use threadvisor::prelude::*;

use crate::support::{in_time, next, no_op, outcome_of, thread_name, Gate};

/// Says what it can do where it starts, and what it hears.
struct Starts(Sender<String>, &'static str);

impl Subscribe for Starts {
    fn on_start(&mut self, supervisor: &SupervisorHandle) {
        let flushed = supervisor.flush_events();
        let added = supervisor.add(no_op(self.1)).map(|task| outcome_of(&task));
        self.0.send(format!("{} on {}: {flushed:?} {added:?}", self.1, thread_name())).unwrap();
        assert!(self.1 != "panics", "at the start");
    }

    fn on_event(&mut self, event: &Event) {
        let _ = self.0.send(format!("{} {}", self.1, event.kind.label()));
    }

    fn name(&self) -> &str {
        self.1
    }
}

#[test]
fn a_subscriber_starts_on_its_lane_before_its_first_event_with_a_handle() {
    let (say, said) = unbounded();
    let builder = Supervisor::builder().subscriber(Starts(say.clone(), "shared"));
    let supervisor = builder.dedicated_subscriber(Starts(say, "dedicated"), 100).start().unwrap();
    let mut all = Vec::new();
    // Otherwise the supervisor could be idle before one of them has started.
    while all.iter().filter(|it: &&String| it.contains(" on ")).count() < 2 {
        all.push(next(&said));
    }
    let report = supervisor.run([no_op("task")]).unwrap();
    assert_eq!(report.outcomes.completed, 3);
    all.extend(said.iter());
    for (who, lane) in [("shared", "ev"), ("dedicated", "ev1")] {
        let own: Vec<_> = all.iter().filter(|it| it.starts_with(who)).collect();
        let first = format!("{who} on {lane}-threadvisor: Err(");
        assert!(own[0].starts_with(&first) && own[0].contains("Ok(Completed"), "{own:?}");
        assert_eq!(own[1], &format!("{who} submitted"));
        assert_eq!(own.last().unwrap().as_str(), format!("{who} shutdown_ended"));
    }
}

#[test]
fn a_panic_at_the_start_is_told_and_the_subscriber_stays() {
    let ((say, said), (tell, told)) = (unbounded(), unbounded());
    let builder = Supervisor::builder().subscriber(Starts(say, "panics"));
    let tell = move |event: &Event| {
        if let EventKind::SubscriberPanicked { subscriber, message } = &event.kind {
            let _ = tell.send(format!("{subscriber}: {message}"));
        }
    };
    let supervisor = builder.on_event(tell).start().unwrap();
    assert_eq!(next(&told), "panics: at the start");
    assert_eq!(supervisor.run([no_op("task")]).unwrap().outcomes.completed, 2);
    assert!(said.iter().any(|it| it == "panics shutdown_ended"));
}

/// It runs on in vain, and nobody waits for it longer than for any subscriber.
#[test]
fn a_start_that_hangs_holds_up_no_task_and_no_shutdown() {
    struct Hangs(Box<dyn Fn() + Send>);
    impl Subscribe for Hangs {
        fn on_start(&mut self, _: &SupervisorHandle) {
            (self.0)();
        }
        fn on_event(&mut self, _: &Event) {}
    }
    let gate = Gate::new();
    let supervisor = Supervisor::builder().subscriber(Hangs(Box::new(gate.hold()))).start();
    let supervisor = supervisor.unwrap();
    gate.wait_entered();
    let report = in_time(move || supervisor.run([no_op("task")]).unwrap());
    assert_eq!(report.outcomes.completed, 1);
    assert!(report.shutdown.events_dropped > 0);
}

/// What it submits to a supervisor that does not start is answered all the same.
#[test]
fn a_subscriber_of_a_supervisor_that_cannot_start_is_not_left_waiting() {
    struct Adds(Sender<bool>);
    impl Subscribe for Adds {
        fn on_start(&mut self, supervisor: &SupervisorHandle) {
            let added = supervisor.add(no_op("early"));
            let _ = self.0.send(matches!(added, Err(AddError::Closed { .. })));
        }
        fn on_event(&mut self, _: &Event) {}
    }
    let (say, said) = unbounded();
    let builder = Supervisor::builder().subscriber(Adds(say)).prespawn(1);
    let started = builder.on_thread_start(|| Err(std::io::ErrorKind::Other.into())).start();
    assert!(started.is_err());
    assert!(next(&said));
}
