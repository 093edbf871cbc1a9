//! What the next minisup does about what a killed one has left, and what it leaves alone.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use super::{deaf, idle, polite, signal, Site};
use crate::process::is_alive;

#[test]
fn programs_outlive_a_killed_minisup_and_the_next_one_ends_them_first() {
    let config = polite("a", "") + &idle("b", "after = [\"a\"]");
    let mut site = Site::running("killed", &config);
    let (a, b) = (site.pid("a"), site.pid("b"));
    site.until(|site| site.file("log").contains("a begins"));
    site.kill();
    assert!(is_alive(&a) && is_alive(&b));

    site.start();
    let (new_a, new_b) = (site.new_pid("a", &a), site.new_pid("b", &b));
    assert!(!is_alive(&a) && !is_alive(&b));
    assert!(is_alive(&new_a) && is_alive(&new_b));
    site.until(|site| site.file("log").lines().count() == 3);
    assert_eq!(site.file("log"), "a begins\na ends\na begins\n");
    let said = site.file("said");
    assert!(said.contains("minisup: a is left of a killed minisup: signal 15 to group "), "{said}");
    site.stop();
}

#[test]
fn a_survivor_that_is_deaf_or_stopped_is_ended_all_the_same() {
    let config = deaf("a", "0.1") + &polite("b", "ready = \"line ready\"\nstop = { time = 0.1 }");
    let mut site = Site::running("survivors", &config);
    site.until(|site| site.file("log").contains("b begins"));
    let (a, b) = (site.pid("a"), site.pid("b"));
    site.until(|site| site.file("said").contains("group_ready"));
    site.kill();
    signal("STOP", &b);
    site.start();
    site.new_pid("a", &a);
    site.new_pid("b", &b);
    assert!(!is_alive(&a) && !is_alive(&b));
    site.stop();
}

/// It is woken, so that it can end as it likes.
#[test]
fn a_survivor_that_is_stopped_has_its_time_to_end() {
    let mut site = Site::running("woken", &polite("a", "stop = { time = 60 }"));
    let a = site.pid("a");
    site.until(|site| site.file("log").contains("a begins"));
    site.kill();
    signal("STOP", &a);
    site.start();
    site.new_pid("a", &a);
    assert!(site.file("log").contains("a ends"));
    site.stop();
}

#[test]
fn a_survivor_leaves_no_helper() {
    let script = "sleep 1000 & echo $! >helper; mv helper helper.pid; wait";
    let config = format!("[a]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n");
    let mut site = Site::running("helper", &config);
    let a = site.pid("a");
    site.until(|site| !site.file("helper.pid").is_empty());
    let helper = site.file("helper.pid").trim().to_owned();
    site.kill();
    site.start();
    site.new_pid("a", &a);
    assert!(!is_alive(&a) && !is_alive(&helper));
    site.stop();
}

/// Those that had just begun when minisup was killed are not in its file yet.
#[test]
fn programs_that_are_not_in_the_file_are_found_by_their_mark() {
    let script = "setsid sh -c 'echo $$ >away; exec sleep 1000' & exec sleep 1000";
    let config = idle("a", "") + &format!("[b]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n");
    let mut site = Site::running("mark", &config);
    let (a, b) = (site.pid("a"), site.pid("b"));
    site.until(|site| site.file("away").ends_with('\n'));
    let away = site.file("away").trim().to_owned();
    site.kill();
    fs::remove_file(site.path("state")).unwrap();

    site.start();
    let (new_a, new_b) = (site.new_pid("a", &a), site.new_pid("b", &b));
    assert!(!is_alive(&a) && !is_alive(&b));
    assert!(is_alive(&new_a) && is_alive(&new_b));
    let went_its_own_way = is_alive(&away);
    site.stop();
    let last = site.file("away").trim().to_owned();
    signal("KILL", &away);
    signal("KILL", &last);
    assert!(went_its_own_way);
}

/// A stranger that leads a group, as a program of minisup does.
struct Stranger(Child);

impl Stranger {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").process_group(0).spawn().unwrap())
    }

    fn begun(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1;
        fields.split(' ').nth(19).unwrap().parse().unwrap()
    }

    /// What a state file says of it, if it began then, in that boot.
    fn state(&self, boot: &str, begun: u64) -> String {
        format!("{}\n{} {begun} a\n", boot.trim(), self.0.id())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_that_has_got_the_number_of_another_is_left_alone() {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let mut stranger = Stranger::new();
    let begun = stranger.begun();
    let mut site = Site::new("reused", &idle("a", ""));
    for state in [
        stranger.state(&boot, begun - 1),
        stranger.state(&boot, begun + 1),
        stranger.state("another boot", begun),
        format!("{}\n1 0 a\n0 0 a\n-1 0 a\nrubbish\n4294967295 7 a\n", boot.trim()),
        "\u{0}half a li".to_owned(),
    ] {
        fs::write(site.path("state"), state).unwrap();
        site.start();
        site.pid("a");
        assert!(stranger.0.try_wait().unwrap().is_none());
        site.stop();
    }
    // It is not spared for another reason.
    fs::write(site.path("state"), stranger.state(&boot, begun)).unwrap();
    site.start();
    site.until(|_| stranger.0.try_wait().unwrap().is_some());
    site.stop();
}
