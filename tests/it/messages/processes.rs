//! Processes that end otherwise than well.

use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::Program;

use super::Table;
use crate::support::outcome_of;

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
    table.check();
}
