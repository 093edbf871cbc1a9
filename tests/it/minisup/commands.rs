//! The socket: commands by name, clients that are silent, and a second minisup.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use super::{idle, until_dead, Site};
use crate::process::is_alive;

#[test]
fn a_program_is_stopped_started_and_restarted_by_its_name() {
    let mut site = Site::running("names", &(idle("a", "") + &idle("b", "after = [\"a\"]")));
    let (a, b) = (site.pid("a"), site.pid("b"));
    site.tell("stop a");
    assert!(!is_alive(&a) && is_alive(&b));
    assert!(site.ask("status").unwrap().contains("stopped by hand"));
    site.tell("stop a");

    site.tell("start a");
    let second = site.new_pid("a", &a);
    assert!(is_alive(&second));
    assert!(!site.ask("status").unwrap().contains("stopped by hand"));
    assert_eq!(site.ask("start a").unwrap(), "ok\na runs already\n");

    site.tell("restart a");
    let third = site.new_pid("a", &second);
    assert!(is_alive(&third) && !is_alive(&second));
    assert_eq!(site.pid("b"), b);

    site.tell("stop b");
    site.tell("restart b");
    assert!(is_alive(&site.new_pid("b", &b)));
    site.stop();
}

#[test]
fn a_program_that_is_stopped_holds_up_nobody_who_waits_for_it() {
    let config = idle("a", "ready = \"line never\"") + &idle("b", "after = [\"a\"]");
    let mut site = Site::running("unready", &config);
    let a = site.pid("a");
    site.tell("stop a");
    assert!(!is_alive(&a) && is_alive(&site.pid("b")));
    site.stop();
}

/// Each could meet an attempt that is just beginning, or ending.
#[test]
fn commands_in_quick_succession_end_as_the_last_one_says() {
    let mut site = Site::running("quick", &idle("a", "backoff = 0"));
    for round in 0..5 {
        for command in ["stop a", "start a", "restart a", "stop a"] {
            site.tell(command);
        }
        let status = site.ask("status").unwrap();
        assert!(status.contains("stopped by hand"), "round {round}: {status}");
        site.tell("start a");
    }
    site.until(|site| is_alive(&site.pid("a")));
    site.stop();
}

#[test]
fn the_client_prints_the_answer_and_fails_with_the_error() {
    let mut site = Site::running("client", &idle("a", ""));
    let (code, _) = site.run("status");
    assert_eq!(code, Some(0));
    let (code, said) = site.run("stop b");
    assert_eq!(code, Some(1));
    assert!(said.contains("minisup: stop: there is no program \"b\": there are a\n"), "{said}");
    let (code, _) = site.run("stop");
    assert_eq!((code, site.status().code()), (Some(0), Some(0)));
    let (code, said) = site.run("status");
    assert_eq!(code, Some(1));
    assert!(said.contains("socket: ") && said.contains("start minisup with a config"), "{said}");
}

#[test]
fn words_that_mean_nothing_are_answered_with_what_there_is() {
    let mut site = Site::running("words", &(idle("a", "") + &idle("b", "")));
    let ask = |line: &str| site.ask(line).unwrap();
    assert_eq!(ask("stop c"), "error\nstop: there is no program \"c\": there are a, b\n");
    let commands = "error\n\"kill\" is no command: there are status, start, stop, restart\n";
    assert_eq!(ask("kill a"), commands);
    assert!(ask("").starts_with("error\n"));
    // What it does not read makes the system reset the connection.
    let long = site.ask(&"x".repeat(10_000));
    assert!(long.map_or(true, |answer| answer.starts_with("error\n")), "it was taken for a line");
    let (code, said) = site.run("start");
    assert_eq!(code, Some(1));
    assert!(said.contains("usage: minisup CONFIG"), "{said}");
    site.stop();
}

#[test]
fn clients_that_say_nothing_hold_up_nobody_and_are_sent_away() {
    let mut site = Site::running("silent", &idle("a", ""));
    let silent: Vec<_> =
        (0..20).map(|_| UnixStream::connect(site.path("socket")).unwrap()).collect();
    site.tell("restart a");
    for mut stream in silent {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("error\n"), "{answer}");
    }
    // One that does not read its answer.
    let mut rude = UnixStream::connect(site.path("socket")).unwrap();
    writeln!(rude, "status").unwrap();
    site.stop();
}

#[test]
fn a_socket_that_was_left_behind_is_replaced_and_is_for_its_owner_only() {
    let mut site = Site::new("stale", &idle("a", ""));
    drop(UnixListener::bind(site.path("socket")).unwrap());
    site.start();
    let mode = fs::metadata(site.path("socket")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    site.stop();
}

#[test]
fn a_second_minisup_in_the_same_directory_ends_at_once_and_touches_nothing() {
    let mut site = Site::running("two", &idle("a", ""));
    let a = site.pid("a");
    let (code, said) = site.run("box.toml");
    assert_eq!(code, Some(1));
    assert!(said.contains("another minisup runs there: stop that, or set MINISUP_DIR"), "{said}");
    assert!(is_alive(&a));
    assert_eq!(site.pid("a"), a);
    site.stop();
    until_dead(&a);
}
