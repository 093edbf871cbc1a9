//! Processes that end otherwise than well.

use std::time::Duration;

use threadvisor::prelude::*;

use super::Table;
use crate::support::outcome_of;

const MS: Duration = Duration::from_millis(1);

fn sh(script: &str) -> Program {
    Program::new("sh").args(["-c", script])
}

#[test]
fn of_a_process() {
    let mut table = Table::new("processes");
    let supervisor = Supervisor::builder().start().unwrap();
    let lost = sh("echo no modem >&2; exit 3").capture();
    for (what, program) in [
        ("an exit status", sh("exit 3")),
        ("the same, with what it wrote", lost),
        ("a signal", sh("kill -TERM $$")),
        ("a signal from elsewhere", sh("kill -KILL $$")),
        ("an end of what must not end", sh("exit 0").must_not_end()),
        ("no such program", Program::new("/no/such/program")),
        ("no such directory", sh("exit 0").current_dir("/no/such/directory")),
    ] {
        let spec = TaskSpec::process("modem", program).max_retries(0);
        let outcome = outcome_of(&supervisor.handle().add(spec).unwrap());
        table.row(what, outcome.error().unwrap());
    }

    let spec = TaskSpec::process("modem", sh("exit 0").stop_timeout(Duration::from_secs(4)));
    let spec = spec.grace(Duration::from_secs(3));
    table.row("stop_timeout", spec.validate().unwrap_err());
    for (what, program) in [
        ("an empty name", Program::new("")),
        ("a code that is fatal and a success", sh("exit 4").success_codes([4]).fatal_codes([4])),
        ("the same by default", sh("exit 0").fatal_codes([0])),
        ("max_line", sh("exit 0").max_line(15)),
        ("stop_signal", sh("exit 0").stop_signal(Signal::from_raw(37))),
        ("reload_signal", sh("exit 0").reload_signal(Signal::from_raw(0))),
    ] {
        table.row(what, TaskSpec::process("modem", program).validate().unwrap_err());
    }
    let own = Program::new("").run(&TaskContext::detached().0).unwrap_err();
    assert!(own.is_fatal());
    table.row("in a body of your own", own);

    let line = ReadySign::Line("ready".into());
    for (what, sign) in [
        ("no line", line),
        ("no output", ReadySign::FirstOutput),
        ("no port", ReadySign::Port(([127, 0, 0, 1], 1).into())),
        #[cfg(target_os = "linux")]
        ("no notification", ReadySign::Notify),
    ] {
        let silent = sh("exec sleep 1000").ready_by(sign);
        let spec = TaskSpec::process("modem", silent).ready_within(20 * MS);
        let task = supervisor.handle().add(spec.max_retries(0)).unwrap();
        table.row(&format!("not ready in time: {what}"), outcome_of(&task));
    }
    table.check();
}
