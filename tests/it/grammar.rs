//! The events of a supervisor come in the order that `rules.md` gives, as a subscriber sees them.
//! The machine's simulation parses random worlds by the same lines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded};
use threadvisor::prelude::*;

use crate::support::{
    next, no_op, outcome_of, resident, slow_to_drop, End, Gate, OnDrop, Puppet, Rig, WATCHDOG,
};

#[path = "../../src/machine/tests/grammar.rs"]
mod page;

use page::{Grammar, Said};

const LONG: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

fn said(event: &Event) -> Said {
    let label = event.kind.label();
    let word = match &event.kind {
        EventKind::SlotTransition { terminating } => format!("{label}:{terminating}"),
        _ => label.to_owned(),
    };
    let task = event.task.as_ref().map(|task| task.id.into());
    let group = event.group.as_ref().filter(|_| task.is_none());
    // No two groups here have names that add up to the same.
    let group = group.map(|name| name.bytes().map(u64::from).sum());
    Said { word, task, attempt: event.kind.attempt(), group }
}

#[test]
fn the_grammar_orders_every_event_of_the_table() {
    let (grammar, rules) = (Grammar::of_the_page(), include_str!("../../src/guide/rules.md"));
    let (_, section) = rules.split_once("\n# Events\n").unwrap();
    let (table, _) = section.split_once("\n## ").unwrap();
    let rows = table.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next());
    let (rows, labels): (BTreeSet<_>, _) = (rows.collect(), grammar.labels());
    assert!(rows.len() > 30);
    let differ: Vec<_> = rows.symmetric_difference(&labels).collect();
    assert!(differ.is_empty(), "in the table of events or in the grammar, not in both: {differ:?}");
}

/// All that can happen to a task, on threads.
#[test]
fn the_events_of_a_lively_supervisor_are_in_order() {
    let (tell, told) = unbounded();
    let builder = Supervisor::builder().max_concurrent(8).grace(300 * MS);
    let rig = Rig::start(builder.on_event(move |event| {
        let _ = tell.send(event.kind.label());
    }));
    let (mut stuck, mut returns) = (Gate::new(), Gate::new());
    retries_and_runs(&rig);
    pauses(&rig);
    interruptions(&rig);
    slots(&rig);
    abandonments(&rig, &mut returns);
    closings(&rig);
    hooks(&rig);
    #[cfg(all(unix, feature = "process"))]
    processes(&rig);
    groups(&rig);

    // A drain and then a shutdown find tasks in all states, and what is stuck comes back when it
    // has ended.
    let submit = |spec: TaskSpec| rig.handle.submit(spec, AdmissionPolicy::Queue).unwrap();
    let (hangs, dropping, may_drop) = slow_to_drop();
    let line = GroupSpec::new("open").then(resident("first")).then(resident("second"));
    let line = rig.handle.add_group(line).unwrap();
    let tasks = [
        submit(resident("running")),
        submit(TaskSpec::new("queued", |_| Ok(())).slot("running")),
        submit(TaskSpec::new("closing", hangs).initial_delay(LONG).grace(MS)),
        submit(TaskSpec::new("stuck", stuck.body()).grace(MS)),
    ];
    stuck.wait_entered();
    rig.handle.request_drain(None);
    rig.handle.request_shutdown();
    next(&dropping);
    while next(&told) != "shutdown_ended" {}
    drop(may_drop);
    stuck.open();
    let _ = rig.supervisor.shutdown().unwrap();
    assert!(tasks.iter().chain(line.members()).all(|task| task.outcome().is_some()));

    let (grammar, events) = (Grammar::of_the_page(), rig.events());
    if let Some(fault) = grammar.fault(&events.iter().map(said).collect::<Vec<_>>()) {
        panic!("{fault}");
    }
    check_tells(&events);
    #[cfg(feature = "serde")]
    events.iter().for_each(crate::json::check);
    let seen: BTreeSet<_> = events.iter().map(|event| event.kind.label()).collect();
    // Whether these come is for the system to say, or they have a test of their own.
    let rare = [
        "notify_failed",
        "service_sick",
        "service_well",
        "stall_report",
        "subscriber_overflow",
        "subscriber_panicked",
        "thread_refused",
    ];
    let supported =
        |label: &str| cfg!(all(unix, feature = "process")) || !label.starts_with("process_");
    let dull =
        |label: &&&str| !seen.contains(**label) && !rare.contains(*label) && supported(label);
    let labels = grammar.labels();
    let missing: Vec<_> = labels.iter().filter(dull).collect();
    assert!(missing.is_empty(), "nothing in this test leads to {missing:?}");
}

/// An attempt was told if its end says so, and for the reason that its end says.
fn check_tells(events: &[Event]) {
    use EventKind as E;
    let mut told = BTreeMap::new();
    for Event { task, kind, .. } in events {
        let at = task.as_ref().map(|task| u64::from(task.id)).zip(kind.attempt());
        let end = match kind {
            E::AttemptStopping { reason, .. } => {
                assert_eq!(told.insert(at, *reason), None, "{kind} twice");
                continue;
            }
            E::AttemptSucceeded { told, .. } | E::AttemptCancelled { told, .. } => *told,
            E::AttemptFailed { .. } => None,
            E::AttemptTimedOut { .. } => Some(CancelReason::Timeout),
            E::AttemptUnresponsive { .. } => Some(CancelReason::Unresponsive),
            E::AttemptAbandoned { reason, .. } => Some(*reason),
            _ => continue,
        };
        assert_eq!(told.get(&at).copied(), end, "{kind}");
    }
    assert!(told.len() > 10, "{told:?}");
}

fn pauses(rig: &Rig) {
    let (spec, puppet) = Puppet::new("paused");
    let task = rig.handle.add(spec.backoff(BackoffPolicy::constant(LONG))).unwrap();
    for end in [End::Fail, End::Panic] {
        puppet.started();
        assert!(task.pause() && task.resume() && task.pause());
        puppet.end(end);
        while task.state() != TaskState::Waiting {}
        assert!(task.resume());
    }
    puppet.started();
    assert!(task.pause());
    puppet.end(End::Ok);
    let _ = outcome_of(&task);
}

fn retries_and_runs(rig: &Rig) {
    let (spec, puppet) = Puppet::new("retried");
    let spec = spec.backoff(BackoffPolicy::constant(MS)).stable_after(300 * MS);
    let task = rig.handle.add(spec).unwrap();
    for end in [End::Fail, End::Panic] {
        puppet.started();
        puppet.end(end);
    }
    rig.until(&task, "attempt_stable 3: 2");
    assert!(task.restart());
    puppet.end(End::Obey);
    while puppet.started() < 4 {}
    puppet.end(End::Cancelled);
    let _ = outcome_of(&task);

    let (spec, puppet) = Puppet::new("periodic");
    let task = rig.handle.add(spec.repeat_after(MS)).unwrap();
    for _ in 0..3 {
        puppet.started();
        puppet.end(End::Ok);
    }
    task.cancel();
    puppet.end(End::Obey);
    let _ = outcome_of(&task);

    let spins = TaskSpec::new("spins", |_| Ok(())).restart(RestartPolicy::Always);
    let task = rig.handle.add(spins).unwrap();
    rig.until(&task, "attempts_too_short");
    task.cancel();
    let _ = outcome_of(&task);
}

fn interruptions(rig: &Rig) {
    let (spec, puppet) = Puppet::new("timed");
    let spec = spec.timeout(MS).backoff(BackoffPolicy::constant(MS)).max_retries(1);
    let timed = rig.handle.add(spec).unwrap();
    for _ in 0..2 {
        puppet.told();
        puppet.end(End::Obey);
    }
    let _ = outcome_of(&timed);

    for policy in [WatchdogPolicy::Report, WatchdogPolicy::Cancel] {
        let (go_on, wait) = bounded::<()>(0);
        let spec = TaskSpec::once("silent", move |ctx| {
            let _ = wait.recv();
            ctx.heartbeat();
            ctx.ready();
            let _ = ctx.cancelled().recv();
            Ok(())
        });
        let spec = spec.watchdog(20 * MS).watchdog_policy(policy);
        let task = rig.handle.add(spec).unwrap();
        rig.until(&task, "attempt_silent");
        drop(go_on);
        if policy == WatchdogPolicy::Report {
            rig.until(&task, "attempt_responsive");
            task.cancel();
        }
        let _ = outcome_of(&task);
    }
}

fn slots(rig: &Rig) {
    let submit = |spec: TaskSpec, policy| rig.handle.submit(spec.slot("slot"), policy).unwrap();
    let owner = submit(resident("owner"), AdmissionPolicy::Queue);
    let refused = submit(no_op("refused"), AdmissionPolicy::DropIfRunning);
    let (body, _dropping, _) = slow_to_drop();
    let expires = TaskSpec::new("expires", body).expires_in(MS);
    let expires = submit(expires, AdmissionPolicy::Queue);
    let cancelled = submit(no_op("cancelled"), AdmissionPolicy::Queue);
    cancelled.cancel();
    let superseded = submit(no_op("superseded"), AdmissionPolicy::KeepLatest);
    let heir = submit(no_op("heir"), AdmissionPolicy::Replace);
    let last = submit(resident("last"), AdmissionPolicy::Queue);
    for task in [&owner, &refused, &expires, &cancelled, &superseded, &heir] {
        let _ = outcome_of(task);
    }
    let removed = submit(no_op("removed"), AdmissionPolicy::Queue);
    let _ = rig.handle.cancel_slot("slot");
    let _ = (outcome_of(&last), outcome_of(&removed));

    let residents: Vec<_> = (0..8).map(|n| resident(&format!("resident {n}"))).collect();
    let residents = rig.handle.add_all(residents).unwrap();
    let waits = rig.handle.add(no_op("waits")).unwrap();
    // It may have expired by the time it is decided.
    let expires = no_op("expires").expires_in(50 * MS);
    let expires = rig.handle.submit(expires, AdmissionPolicy::Queue).unwrap();
    let _ = outcome_of(&expires);
    residents.iter().for_each(TaskHandle::cancel);
    let _ = outcome_of(&waits);
}

/// Each policy, with a retry and without; with a body that comes back and one that does so late.
fn abandonments(rig: &Rig, gate: &mut Gate) {
    for policy in [AbandonPolicy::Hold, AbandonPolicy::Release] {
        let (open, opened) = bounded::<()>(0);
        let spec = TaskSpec::shared("retried", move |ctx: &TaskContext| {
            if ctx.attempt() == 1 {
                let _ = opened.recv();
            }
            Ok(())
        });
        let spec = spec.timeout(MS).grace(MS).abandon_policy(policy);
        let task = rig.handle.add(spec.backoff(BackoffPolicy::constant(MS))).unwrap();
        rig.until(&task, "attempt_abandoned 1: timeout");
        if policy == AbandonPolicy::Release {
            let _ = outcome_of(&task);
        }
        drop(open);
        rig.until(&task, "attempt_returned 1: ok");
        let _ = outcome_of(&task);

        let spec = TaskSpec::new("given up", gate.body()).grace(MS).abandon_policy(policy);
        let task = rig.handle.add(spec.no_slot()).unwrap();
        gate.wait_entered();
        task.cancel();
        let _ = outcome_of(&task);
    }
    gate.open();
}

fn closings(rig: &Rig) {
    for policy in [AbandonPolicy::Hold, AbandonPolicy::Release] {
        let (hangs, dropping, may) = slow_to_drop();
        let spec = TaskSpec::new("hangs", hangs).initial_delay(LONG).grace(MS);
        let task = rig.handle.add(spec.abandon_policy(policy)).unwrap();
        task.cancel();
        next(&dropping);
        let _ = outcome_of(&task);
        drop(may);
        rig.until(&task, "closing_returned");
    }
    let value = OnDrop(|| std::panic::resume_unwind(Box::new("ouch")));
    let spec = TaskSpec::new("panics", move |_| {
        let _ = &value;
        Ok(())
    });
    let task = rig.handle.add(spec.initial_delay(LONG)).unwrap();
    task.cancel();
    let _ = outcome_of(&task);
}

#[cfg(all(unix, feature = "process"))]
fn processes(rig: &Rig) {
    let (say, said) = bounded(1);
    let deaf = Program::new("sh")
        .args(["-c", "trap '' TERM; echo deaf; while :; do sleep 0.01; done"])
        .stop_timeout(MS)
        .on_line(move |_, _| {
            let _ = say.try_send(());
        });
    let task = rig.handle.add(TaskSpec::process("process", deaf).grace(WATCHDOG)).unwrap();
    next(&said);
    task.cancel();
    let _ = outcome_of(&task);
}

/// One that restarts and stops, one that stops before it is ready, and one that ends by itself.
fn groups(rig: &Rig) {
    let step = |name: &str| TaskSpec::new(name, |_| Ok(())).step();
    let (fails, puppet) = Puppet::new("fails");
    let fails = fails.backoff(BackoffPolicy::constant(MS));
    let line = GroupSpec::new("line").one_for_all().then(step("opens")).then(fails);
    let line = rig.handle.add_group(line).unwrap();
    for end in [End::Fail, End::Panic] {
        puppet.started();
        puppet.end(end);
    }
    puppet.started();
    assert!(line.restart());
    puppet.end(End::Obey);
    while puppet.started() < 4 {}
    puppet.end(End::Fatal);
    let _ = line.wait().unwrap();

    let hopeless = TaskSpec::new("hopeless", |_| Err(TaskError::fatal("no port"))).step();
    let group = GroupSpec::new("early").then(hopeless).then(resident("never"));
    let _ = rig.handle.add_group(group).unwrap().wait().unwrap();
    let group = GroupSpec::new("steps").then([step("one"), step("two")]);
    let _ = rig.handle.add_group(group).unwrap().wait().unwrap();
}

fn hooks(rig: &Rig) {
    let (slow, woken) = bounded::<()>(0);
    let (register, registered) = bounded(1);
    let spec = TaskSpec::once("hooked", move |ctx| {
        let wait = woken.clone();
        let _first = ctx.on_cancel(|| std::panic::resume_unwind(Box::new("ouch")));
        let _second = ctx.on_cancel(move || wait.recv().unwrap_or_default());
        let _ = register.send(());
        let _ = (ctx.cancelled().recv(), woken.recv());
        Ok(())
    });
    let task = rig.handle.add(spec.grace(WATCHDOG)).unwrap();
    // A hook that comes after the cancel runs on the body's own thread.
    next(&registered);
    task.cancel();
    rig.until(&task, "hook_slow");
    drop(slow);
    let _ = outcome_of(&task);
}
