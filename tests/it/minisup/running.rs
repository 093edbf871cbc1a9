//! The life of the programs: their order, their ends, and what cannot be written.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use super::{idle, polite, signal, until_dead, Site};
use crate::process::is_alive;

#[test]
fn programs_start_by_phase_and_stop_in_the_reverse_order() {
    let config = polite("a", "after = [\"b\"]\nready = \"line ready\"")
        + &polite("b", "ready = \"line ready\"")
        + &polite("c", "after = [\"a\"]");
    let mut site = Site::running("order", &config);
    site.until(|site| site.file("log").contains("c begins"));
    site.stop();
    let order = ["b begins", "a begins", "c begins", "c ends", "a ends", "b ends"];
    assert_eq!(site.file("log").lines().collect::<Vec<_>>(), order);
    assert!(!site.path("state").exists(), "nothing is left to be found");
    assert!(!site.path("state.new").exists());
}

#[test]
fn a_leader_that_is_killed_takes_its_helpers_along_and_is_started_again() {
    let script = "sleep 1000 & echo $! >helper; mv helper helper.pid; wait";
    let config = format!("[a]\ncommand = [\"sh\", \"-c\", \"{script}\"]\nbackoff = 0.01\n");
    let mut site = Site::running("leader", &config);
    let first = site.pid("a");
    site.until(|site| !site.file("helper.pid").is_empty());
    let helper = site.file("helper.pid").trim().to_owned();

    signal("KILL", &first);
    let second = site.new_pid("a", &first);
    until_dead(&helper);
    assert!(is_alive(&second) && !is_alive(&first));
    site.stop();
    assert!(!is_alive(&second));
}

#[test]
fn a_worker_that_is_killed_is_the_business_of_its_leader() {
    let script = "while :; do sleep 1000 & echo $! >>workers; wait; done";
    let config = format!("[a]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n");
    let mut site = Site::running("worker", &config);
    let leader = site.pid("a");
    site.until(|site| site.file("workers").lines().count() == 1);
    signal("KILL", site.file("workers").trim());
    site.until(|site| site.file("workers").lines().count() == 2);
    assert!(is_alive(&leader));
    assert_eq!(site.pid("a"), leader);
    site.stop();
}

#[test]
fn restart_says_which_ends_are_for_good() {
    let ends = |name, code, restart| {
        let script = format!("echo {name} >>log; exit {code}");
        format!("[{name}]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n{restart}\nbackoff = 0\n")
    };
    let config = ends("done", 0, "restart = \"on-failure\"")
        + &ends("failed", 3, "restart = \"never\"")
        + &ends("again", 0, "restart = \"always\"")
        + &ends("retried", 1, "restart = \"on-failure\"");
    let mut site = Site::running("policies", &config);
    let count = |site: &Site, name| site.file("log").lines().filter(|line| *line == name).count();
    site.until(|site| count(site, "again") > 2 && count(site, "retried") > 2);
    site.until(|site| {
        let status = site.ask("status").unwrap();
        status.contains("it has ended by itself") && status.contains("exit status 3")
    });
    assert_eq!((count(&site, "done"), count(&site, "failed")), (1, 1));
    // They have kept their places, and can be started there.
    site.ask("start done");
    site.until(|site| count(site, "done") == 2);
    site.stop();
}

#[test]
fn a_full_disk_is_told_and_the_programs_run_on() {
    let mut site = Site::new("full", &idle("a", "backoff = 0.01"));
    symlink("/dev/full", site.path("state.new")).unwrap();
    site.start();
    site.until(|site| site.file("said").contains("No space left on device"));
    let said = site.file("said");
    let line = said.lines().find(|line| line.contains("No space")).unwrap();
    assert!(line.contains("state cannot be written") && line.contains("make room"), "{line}");
    assert!(!site.path("state").exists() && !site.path("state.new").exists());

    // With the next process there is room again.
    site.tell("restart a");
    site.until(|site| is_alive(&site.pid("a")));
    site.stop();
}

#[test]
fn a_file_system_without_room_is_told_and_the_programs_run_on() {
    let mut site = Site::new("tmpfs", &idle("a", "backoff = 0.01"));
    let small = site.path("small");
    fs::create_dir(&small).unwrap();
    let options = ["-t", "tmpfs", "-o", "size=16k", "minisup"];
    let mount = std::process::Command::new("mount").args(options).arg(&small).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        println!("NOT RUN: it takes root to mount a small file system");
        return;
    }
    let filled = fs::write(small.join("filler"), vec![0; 64 * 1024]);
    assert!(filled.is_err());
    symlink("small/state.new", site.path("state.new")).unwrap();
    site.start();
    site.until(|site| site.file("said").contains("No space left on device"));
    site.tell("stop a");
    site.tell("start a");
    let unmounted = std::process::Command::new("umount").arg("-l").arg(&small).status();
    site.stop();
    assert!(unmounted.unwrap().success());
}

#[test]
fn output_that_nobody_takes_is_no_reason_to_end() {
    let mut site = Site::new("deaf-log", &idle("a", "backoff = 0.01"));
    site.start_by(|command| {
        command.stderr(File::create("/dev/full").unwrap());
    });
    let first = site.pid("a");
    signal("KILL", &first);
    site.new_pid("a", &first);
    site.stop();
}
