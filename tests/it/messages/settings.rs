//! Settings that cannot work.

use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::{SupervisorBuilder, TaskDefaults};

use super::Table;
use crate::support::{no_op, resident};

const ZERO: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);

fn sensor() -> TaskSpec {
    resident("sensor")
}

#[test]
fn of_a_task() {
    let mut table = Table::new("settings_of_a_task");
    let backoff = BackoffPolicy::exponential;
    for (what, spec) in [
        ("name", resident("")),
        ("slot", sensor().slot("a\0b")),
        ("backoff: no delay", sensor().backoff(BackoffPolicy::constant(ZERO))),
        ("backoff: a maximum of nothing", sensor().backoff(backoff(SECOND, ZERO))),
        ("backoff: first above max", sensor().backoff(backoff(2 * SECOND, SECOND))),
        ("backoff: factor", sensor().backoff(backoff(SECOND, SECOND).factor(0.5))),
        ("every, of a body that runs once", no_op("job").every(SECOND)),
        ("every", sensor().every(ZERO)),
        ("repeat_after", sensor().repeat_after(ZERO)),
        ("restart, with an interval", sensor().every(SECOND).restart(RestartPolicy::Never)),
        ("restart, of a body that runs once", no_op("job").restart(RestartPolicy::OnFailure)),
        ("failure_limit: none", sensor().failure_limit(0, SECOND)),
        ("failure_limit: no window", sensor().failure_limit(3, ZERO)),
        ("timeout", sensor().timeout(ZERO)),
        ("max_timeout", sensor().timeout(2 * SECOND).max_timeout(SECOND)),
        ("ready_within", sensor().ready_within(ZERO)),
        ("ready_within above timeout", sensor().ready_within(2 * SECOND).timeout(SECOND)),
        ("expires_in", sensor().expires_in(ZERO)),
        ("give_up_after", sensor().give_up_after(ZERO)),
        ("watchdog", sensor().watchdog(Duration::from_millis(1))),
    ] {
        table.row(what, spec.validate().unwrap_err());
    }
    let supervisor = Supervisor::builder().start().unwrap();
    for (what, spec) in [
        ("class: unknown", sensor().class("flsh")),
        ("step, without a group", TaskSpec::new("configure", |_| Ok(())).step()),
    ] {
        table.row(what, supervisor.handle().add(spec).unwrap_err());
    }
    table.check();
}

#[test]
fn of_a_group() {
    let mut table = Table::new("settings_of_a_group");
    let supervisor = Supervisor::builder().start().unwrap();
    let group = || GroupSpec::new("line");
    let step = || TaskSpec::new("configure", |_| Ok(())).step();
    let all = || group().then(step()).one_for_all();
    for (what, spec) in [
        ("name", GroupSpec::new("").then(step())),
        ("then: missing", group()),
        ("then: empty", group().then(step()).then([])),
        ("restart_limit: no window", all().restart_limit(3, ZERO)),
        ("restart_limit, one for one", group().then(step()).restart_limit(3, SECOND)),
        ("a member that runs once", group().then(no_op("job"))),
        ("a step that shuts down", group().then(step().shutdown_on_end())),
        ("a step under Always", group().then(step().restart(RestartPolicy::Always))),
        ("any setting of a member", group().then(sensor().timeout(ZERO))),
    ] {
        table.row(what, supervisor.handle().add_group(spec).unwrap_err());
    }
    table.check();
}

#[test]
fn of_a_supervisor() {
    let mut table = Table::new("settings_of_a_supervisor");
    let new = Supervisor::builder;
    let wrong: [(&str, SupervisorBuilder); 11] = [
        ("max_concurrent", new().max_concurrent(0)),
        ("max_tasks", new().max_tasks(0)),
        ("max_slot_queue", new().max_slot_queue(0)),
        ("intake_capacity: none", new().intake_capacity(0)),
        ("intake_capacity: too large", new().intake_capacity(usize::MAX >> 1)),
        ("event_capacity", new().event_capacity(0)),
        ("dedicated_subscriber", new().dedicated_subscriber(LogEvents::new(), 0)),
        ("class_limit: none", new().class_limit("flash", 0)),
        ("class_limit: name", new().class_limit("", 1)),
        ("defaults: a setting", new().defaults(TaskDefaults::new().timeout(ZERO))),
        ("defaults: class", new().defaults(TaskDefaults::new().class("flsh"))),
    ];
    for (what, builder) in wrong {
        let text = builder.start().unwrap_err().to_string();
        table.row(what, text.replace(&(usize::MAX >> 1).to_string(), "9223372036854775807"));
    }
    let supervisor = new().class_limit("flash", 1).start().unwrap();
    let unknown = supervisor.handle().set_class_limit("flsh", 1);
    table.row("set_class_limit", unknown.unwrap_err());
    table.check();
}

#[cfg(unix)]
#[test]
fn of_a_service() {
    let mut table = Table::new("settings_of_a_service");
    let service = ServiceManager::default;
    for (what, service) in [
        ("socket", ServiceManager::socket("nowhere", None)),
        ("hardware_watchdog", service().hardware_watchdog("/dev/watchdog", ZERO)),
        ("StartError::ServiceManager", service().ready_fd("/no/such/fd")),
    ] {
        let error = Supervisor::builder().service_manager(service).start().unwrap_err();
        table.row(what, error);
    }
    table.check();
}

#[cfg(all(unix, feature = "signals"))]
#[test]
fn of_signals() {
    let mut table = Table::new("settings_of_signals");
    let twice = Supervisor::builder().on_signal(1, |_| ()).on_signal(1, |_| ());
    for (what, builder) in [
        ("a signal that nobody can catch", Supervisor::builder().on_signal(9, |_| ())),
        ("two callbacks for one signal", twice),
    ] {
        table.row(what, builder.start().unwrap_err());
    }
    table.check();
}
