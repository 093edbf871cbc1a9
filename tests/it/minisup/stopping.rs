//! The end of all, by a command or a signal.

use threadvisor::crossbeam_channel::after;

use super::{deaf, idle, polite, Site};
use crate::process::{is_alive, MS};

#[test]
fn a_deaf_program_is_killed_after_its_time_and_the_rest_stops_in_order() {
    let config = deaf("b", "0.1") + "after = [\"a\"]\n" + &polite("a", "ready = \"line ready\"");
    let mut site = Site::running("deaf", &config);
    let (a, b) = (site.pid("a"), site.pid("b"));
    site.until(|site| site.file("said").contains("group_ready"));
    site.stop();
    assert!(!is_alive(&a) && !is_alive(&b));
    let said = site.file("said");
    assert!(said.contains("process_killed") && said.contains("it ignores SIGTERM"), "{said}");
    assert!(said.contains("in order"), "{said}");
}

#[test]
fn a_signal_stops_all_and_a_second_one_without_delay() {
    let mut site = Site::running("term", &(idle("a", "") + &polite("b", "")));
    let (a, b) = (site.pid("a"), site.pid("b"));
    site.signal_tool("TERM");
    assert!(site.status().success());
    assert!(!is_alive(&a) && !is_alive(&b));

    let mut site = Site::running("twice", &deaf("a", "1000"));
    let a = site.pid("a");
    site.until(|site| site.file("said").contains("group_ready"));
    // Those that come at once are taken for one.
    let mut tool = site.tool.take().unwrap();
    site.until(|_| {
        super::signal("TERM", &tool.id().to_string());
        tool.try_wait().unwrap().is_some() || after(50 * MS).recv().is_err()
    });
    assert!(!is_alive(&a));
}

#[test]
fn a_program_that_does_not_start_holds_nobody_up_at_the_end() {
    let config = "[a]\ncommand = [\"/nowhere/program\"]\nbackoff = 30\n".to_owned();
    let mut site = Site::running("missing", &(config + &idle("b", "after = [\"a\"]")));
    site.until(|site| site.ask("status").unwrap().contains("cannot start /nowhere/program"));
    // It waits for its phase, and is stopped there.
    site.tell("stop b");
    site.tell("stop a");
    site.stop();
}
