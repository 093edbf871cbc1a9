//! Classes: at most so many of a kind run at once, and each knows which of the permits it has. The
//! rules themselves are checked without threads, in `src/machine/tests/rules/classes.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded};
use threadvisor::prelude::*;
use threadvisor::{ClassSnapshot, ThreadOptions};

use crate::support::{
    in_time, next, no_op, outcome_of, resident, End, Gate, Puppet, Rig, WATCHDOG,
};

/// One permit of flash, three of net.
fn two_classes() -> SupervisorBuilder {
    Supervisor::builder().class_limit("flash", 1).class_limit("net", 3).grace(WATCHDOG)
}

/// How many are inside at once, and which of the permits they have.
#[derive(Clone, Default)]
struct Inside(Arc<Mutex<Vec<usize>>>, Arc<AtomicUsize>);

impl Inside {
    fn pass(&self, ctx: &TaskContext) {
        let index = ctx.class_index().expect("it is of a class");
        let mut inside = self.0.lock().unwrap();
        assert!(!inside.contains(&index), "two have permit {index}");
        inside.push(index);
        self.1.fetch_max(inside.len(), Ordering::Relaxed);
        drop(inside);
        std::thread::yield_now();
        self.0.lock().unwrap().retain(|it| *it != index);
    }

    fn body(&self) -> impl FnMut(&TaskContext) -> TaskResult + Send + 'static {
        let inside = self.clone();
        move |ctx| {
            inside.pass(ctx);
            Ok(())
        }
    }

    fn most(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }
}

#[test]
fn of_a_thousand_tasks_no_more_run_at_once_than_their_class_allows() {
    let rig = Rig::start(two_classes());
    let inside = Inside::default();
    let add = |n: usize| {
        let spec = TaskSpec::new(format!("t{n}"), inside.body()).class("net");
        // Threads of their own count as well.
        let own = n % 50 == 0;
        rig.handle.add(if own { spec.dedicated_thread(ThreadOptions::new()) } else { spec })
    };
    let tasks: Vec<_> = (0..1000).map(|n| add(n).unwrap()).collect();
    assert!(tasks.iter().all(|task| outcome_of(task).is_success()));
    assert_eq!(rig.handle.snapshot().unwrap().class("net").unwrap().held, 0);
    assert!((1..=3).contains(&inside.most()), "{} at once", inside.most());
}

#[test]
fn as_many_of_a_class_run_as_it_allows_and_a_full_one_holds_up_no_other() {
    let rig = Rig::start(two_classes().max_concurrent(4));
    let mut gate = Gate::new();
    let held: Vec<_> = (0..5)
        .map(|n| rig.handle.add(TaskSpec::new(format!("n{n}"), gate.body()).class("net")).unwrap())
        .collect();
    (0..3).for_each(|_| gate.wait_entered());
    rig.until(&held[4], "waiting_for_permit net");
    assert!(outcome_of(&rig.handle.add(no_op("other")).unwrap()).is_success());

    let snapshot = rig.handle.snapshot().unwrap();
    let [flash, net] = &snapshot.classes[..] else { panic!("{:?}", snapshot.classes) };
    let counts = |class: &ClassSnapshot| (class.limit, class.held, class.waiting);
    assert_eq!((&*flash.name, counts(flash)), ("flash", (1, 0, 0)));
    assert_eq!((&*net.name, counts(net)), ("net", (3, 3, 2)));
    assert_eq!((snapshot.permits.held, snapshot.permits.waiting), (3, 0));
    assert_eq!(snapshot.class("net"), Some(net));
    assert_eq!(snapshot.class("none"), None);
    let mut of_class: Vec<_> = held.iter().map(|held| snapshot.task(held.id()).unwrap()).collect();
    assert!(of_class.iter().all(|task| task.class.as_deref() == Some("net")));
    of_class.sort_by_key(|task| task.class_index);
    let indices: Vec<_> = of_class.iter().map(|task| task.class_index).collect();
    assert_eq!(indices, [None, None, Some(0), Some(1), Some(2)]);
    gate.open();
    assert!(held.iter().all(|task| outcome_of(task).is_success()));
}

#[test]
fn an_event_says_for_which_class_a_task_waits() {
    let rig = Rig::start(two_classes().max_concurrent(1));
    let (spec, puppet) = Puppet::new("writer");
    let writer = rig.handle.add(spec.class("flash")).unwrap();
    puppet.started();
    let other = rig.handle.add(resident("other")).unwrap();
    let next = rig.handle.add(no_op("next").class("flash")).unwrap();
    rig.until(&next, "waiting_for_permit flash");
    assert_eq!(rig.until(&other, "waiting_for_permit").task.unwrap().id, other.id());
    puppet.end(End::Ok);
    let _ = outcome_of(&writer);
    let event = rig.until(&next, "waiting_for_permit");
    assert!(!event.to_string().contains("class="), "{event}");
    other.cancel();
    assert!(outcome_of(&next).is_success());
    let lines: Vec<_> = rig.events().iter().map(ToString::to_string).collect();
    let line = lines.iter().find(|line| line.contains("class=")).expect("it waited");
    assert!(line.contains("event=waiting_for_permit task=next") && line.ends_with("class=flash"));
}

#[test]
fn a_class_that_was_not_declared_is_refused_and_the_spec_comes_back() {
    let rig = Rig::start(two_classes());
    let spec = |name: &str| no_op(name).class("flsh");
    let text =
        "task \"a\": class cannot be \"flsh\": declare it with SupervisorBuilder::class_limit";
    assert!(spec("a").validate().is_ok(), "only a supervisor knows its classes");

    let refused = rig.handle.add(spec("a")).unwrap_err();
    assert_eq!(refused.to_string(), text);
    assert!(matches!(&refused, AddError::Invalid { error, .. } if error.field == "class"));
    let mended = rig.handle.add(refused.into_spec().class("flash")).unwrap();
    assert!(outcome_of(&mended).is_success());

    let refused = rig.handle.add_all([no_op("good"), spec("a")]).unwrap_err();
    assert_eq!(refused.to_string(), text);
    let names: Vec<_> = refused.into_spec().iter().map(|it| it.name().to_owned()).collect();
    assert_eq!(names, ["good", "a"]);
    for refused in [
        rig.handle.submit(spec("a"), AdmissionPolicy::Queue),
        rig.handle.try_submit(spec("a"), AdmissionPolicy::Replace),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.to_string(), text);
        assert!(matches!(refused, SubmitError::Invalid { .. }));
        assert!(outcome_of(&rig.handle.add(refused.into_spec().no_class()).unwrap()).is_success());
    }
    let refused = rig.supervisor.run([spec("a")]).unwrap_err();
    assert_eq!((refused.to_string().as_str(), refused.into_spec().len()), (text, 1));
}

#[test]
fn classes_that_cannot_be_are_errors_of_the_start() {
    let refused = |builder: SupervisorBuilder| builder.start().unwrap_err().to_string();
    let none = Supervisor::builder().class_limit("flash", 0);
    let text = "class_limit cannot be 0 for class \"flash\": \
                give at least 1; set_class_limit can hold the class back later";
    assert_eq!(refused(none), text);
    for name in ["", "a\0b"] {
        let error = refused(Supervisor::builder().class_limit(name, 1));
        assert!(error.starts_with("class_limit cannot be \""), "{error}");
    }
    let defaults = TaskDefaults::new().class("flash");
    let text = "class cannot be \"flash\": declare it with SupervisorBuilder::class_limit";
    assert_eq!(refused(Supervisor::builder().defaults(defaults)), text);
}

#[test]
fn a_class_that_is_declared_twice_has_the_last_limit() {
    let builder = Supervisor::builder().class_limit("net", 0).class_limit("net", usize::MAX);
    let rig = Rig::start(builder);
    let net = rig.handle.snapshot().unwrap().classes.remove(0);
    assert!(net.limit >= u32::MAX as usize, "{net:?}");
    assert!(outcome_of(&rig.handle.add(no_op("a").class("net")).unwrap()).is_success());
}

/// The class of the task that this spec makes: the one whose permit it holds.
fn class_of(rig: &Rig, make: impl FnOnce(TaskSpec) -> TaskSpec) -> Option<String> {
    let (spec, puppet) = Puppet::new("probe");
    let probe = rig.handle.add(make(spec)).unwrap();
    puppet.started();
    let classes = rig.handle.snapshot().unwrap().classes;
    drop(puppet);
    assert!(outcome_of(&probe).is_success());
    classes.iter().find(|class| class.held > 0).map(|class| class.name.to_string())
}

#[test]
fn a_spec_has_the_class_of_the_defaults_unless_it_says_otherwise() {
    let rig = Rig::start(two_classes().defaults(TaskDefaults::new().class("net")));
    assert_eq!(class_of(&rig, |spec| spec).as_deref(), Some("net"));
    assert_eq!(class_of(&rig, |spec| spec.class("flash")).as_deref(), Some("flash"));
    assert_eq!(class_of(&rig, |spec| spec.class("net").class("flash")).as_deref(), Some("flash"));
    assert_eq!(class_of(&rig, TaskSpec::no_class), None);
    assert_eq!(class_of(&rig, |spec| spec.class("flsh").no_class()), None);
    assert_eq!(class_of(&rig, |spec| spec.no_class().class("net")).as_deref(), Some("net"));
    let plain = Rig::start(two_classes());
    assert_eq!(class_of(&plain, |spec| spec), None);
}

#[test]
fn each_attempt_knows_which_permit_of_its_class_it_has() {
    let rig = Rig::start(two_classes());
    let (say, said) = unbounded();
    let mut gate = Gate::new();
    let spec = |name: &str| {
        let (say, hold) = (say.clone(), gate.hold());
        TaskSpec::new(name, move |ctx| {
            say.send(ctx.class_index()).unwrap();
            hold();
            Ok(())
        })
    };
    let add = |spec| rig.handle.add(spec).unwrap();
    let mut tasks: Vec<_> = ["a", "b", "c"].map(|name| add(spec(name).class("net"))).into();
    let mut indices: Vec<_> = (0..3).map(|_| next(&said).unwrap()).collect();
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2]);
    tasks.push(add(spec("one").class("flash")));
    assert_eq!(next(&said), Some(0));
    tasks.push(add(spec("none")));
    assert_eq!(next(&said), None);
    assert_eq!(TaskContext::detached().0.class_index(), None);
    gate.open();
    assert!(tasks.iter().all(|task| outcome_of(task).is_success()));
}

#[test]
fn an_abandoned_attempt_holds_its_permit_and_a_released_one_gives_it_up() {
    for (policy, waiting) in [(AbandonPolicy::Hold, 1), (AbandonPolicy::Release, 0)] {
        let rig = Rig::start(two_classes());
        let (spec, puppet) = Puppet::new("stuck");
        let spec = spec.class("flash").grace(Duration::ZERO).abandon_policy(policy);
        let stuck = rig.handle.add(spec).unwrap();
        puppet.started();
        let after = rig.handle.add(resident("after").class("flash")).unwrap();
        stuck.cancel();
        assert!(matches!(outcome_of(&stuck), Outcome::Abandoned { .. }));
        let flash = rig.handle.snapshot().unwrap().class("flash").cloned().unwrap();
        assert_eq!((flash.held, flash.waiting), (1, waiting), "{policy}");
        puppet.end(End::Obey);
        assert!(in_time(move || after.wait_started()).unwrap());
    }
}

/// What each wait for a task says, in a body of the class flash.
fn waits(
    rig: &Rig,
    target: impl FnOnce(&SupervisorHandle) -> TaskHandle + Send + 'static,
) -> Vec<Result<bool, WaitError>> {
    let (say, said) = bounded(1);
    let body = TaskSpec::once("waiter", move |ctx| {
        let task = target(&ctx.handle());
        let looked = task.wait_timeout(Duration::ZERO);
        let results = [
            task.wait_timeout(WATCHDOG).map(|outcome| outcome.is_some()),
            task.wait().map(|outcome| outcome.is_success()),
            ctx.wait_for(&task).map(|outcome| outcome.is_success()),
            task.wait_started(),
        ];
        say.send((looked, results))?;
        task.cancel();
        Ok(())
    });
    let waiter = rig.handle.add(body.class("flash")).unwrap();
    let (looked, results) = next(&said);
    assert!(looked.is_ok(), "whoever only looks does not wait");
    assert!(outcome_of(&waiter).is_success());
    results.into()
}

#[test]
fn a_body_that_waits_for_a_task_of_its_own_class_is_told_so() {
    let rig = Rig::start(two_classes());
    let refused = [Err(WaitError::WouldDeadlock); 4];
    let own = |handle: &SupervisorHandle| handle.add(no_op("own").class("flash")).unwrap();
    assert_eq!(waits(&rig, own), refused);
    // Also one that can run only after a task of the class.
    let behind = |handle: &SupervisorHandle| {
        handle.add(resident("first").slot("s").class("flash")).unwrap();
        handle.submit(no_op("second").slot("s"), AdmissionPolicy::Queue).unwrap()
    };
    assert_eq!(waits(&rig, behind), refused);
    rig.handle.cancel_slot("s");
    let other = |handle: &SupervisorHandle| handle.add(no_op("other").class("net")).unwrap();
    assert_eq!(waits(&rig, other), [Ok(true); 4]);
    let plain = |handle: &SupervisorHandle| handle.add(no_op("plain")).unwrap();
    assert_eq!(waits(&rig, plain), [Ok(true); 4]);
}

/// All permits to run are held by bodies that wait for a task that waits for its class, behind
/// tasks that nobody waits for.
#[test]
fn bodies_that_wait_for_tasks_of_a_class_do_not_stand_still() {
    let rig = Rig::start(two_classes().max_concurrent(2));
    let mut gate = Gate::new();
    let outer = |name: &'static str| {
        let hold = gate.hold();
        let body = move |ctx: &TaskContext| {
            hold();
            let before = ctx.handle().add(no_op("before").no_slot().class("flash"))?;
            let inner = ctx.handle().add(no_op("inner").no_slot().class("flash"))?;
            ctx.wait_for(&inner)?.into_result()?;
            before.wait()?.into_result()?;
            Ok(())
        };
        rig.handle.add(TaskSpec::new(name, body)).unwrap()
    };
    let tasks = [outer("a"), outer("b")];
    gate.wait_entered();
    gate.wait_entered();
    let first = rig.handle.add(no_op("first").class("flash")).unwrap();
    rig.until(&first, "waiting_for_permit");
    gate.open();
    assert!(tasks.iter().all(|task| outcome_of(task).is_success()));
    assert!(outcome_of(&first).is_success());
    assert_eq!(rig.handle.snapshot().unwrap().permits.waiting, 0);
}

#[test]
fn another_limit_counts_for_what_starts_and_for_groups() {
    let rig = Rig::start(two_classes());
    let (first, second) = (resident("first").class("flash"), resident("second").class("flash"));
    let (first, second) = (rig.handle.add(first).unwrap(), rig.handle.add(second).unwrap());
    rig.until(&second, "waiting_for_permit flash");
    rig.handle.set_class_limit("flash", 2).unwrap();
    assert!(second.wait_started().unwrap());

    rig.handle.set_class_limit("flash", 1).unwrap();
    let counts = |class: &ClassSnapshot| (class.limit, class.held, class.waiting);
    assert_eq!(counts(rig.handle.snapshot().unwrap().class("flash").unwrap()), (1, 2, 0));
    let third = rig.handle.add(no_op("third").class("flash")).unwrap();
    first.cancel();
    let _ = outcome_of(&first);
    assert_eq!(counts(rig.handle.snapshot().unwrap().class("flash").unwrap()), (1, 1, 1));
    second.cancel();
    assert!(outcome_of(&third).is_success());

    let pair =
        || GroupSpec::new("pair").then(["left", "right"].map(|name| resident(name).class("flash")));
    let too_large = Rejection::GroupTooLarge { members: 2, limit: 1 };
    assert_eq!(rig.handle.add_group(pair()).unwrap_err().rejection(), Some(too_large));
    rig.handle.set_class_limit("flash", 2).unwrap();
    let pair = rig.handle.add_group(pair()).unwrap();
    assert!(pair.wait_ready(WATCHDOG).unwrap());
}

#[test]
fn a_class_with_the_limit_zero_is_held_back_as_a_whole() {
    let rig = Rig::start(two_classes());
    let runs = rig.handle.add(resident("runs").class("net")).unwrap();
    runs.wait_started().unwrap();
    rig.handle.set_class_limit("net", 0).unwrap();
    let waits = rig.handle.add(no_op("waits").class("net")).unwrap();
    rig.until(&waits, "waiting_for_permit net");
    runs.cancel();
    let _ = outcome_of(&runs);
    assert_eq!(waits.state(), TaskState::Runnable, "nothing holds a permit, and nothing starts");
    rig.handle.set_class_limit("net", 1).unwrap();
    assert!(outcome_of(&waits).is_success());
}

#[test]
fn a_limit_of_a_class_that_was_not_declared_is_an_error() {
    let rig = Rig::start(two_classes());
    assert_eq!(
        rig.handle.set_class_limit("nte", 2).unwrap_err().to_string(),
        "set_class_limit cannot be \"nte\": declare it with SupervisorBuilder::class_limit"
    );
    let handle = rig.handle.clone();
    drop(rig);
    assert_eq!(handle.set_class_limit("net", 2), Ok(()), "nothing starts any more");
}
