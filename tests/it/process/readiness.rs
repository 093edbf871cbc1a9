//! By what a process shows that it is ready, and that it is alive.

use std::io::{ErrorKind, IoSlice, Read};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::time::Duration;

use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, UCred};
use rustix::process::{getpid, Gid, Pid, Uid};
use threadvisor::crossbeam_channel::{unbounded, Receiver};
use threadvisor::prelude::*;
use threadvisor::{ManualClock, Program, ReadySign, Signal};

use super::{heard, run_once, sh, LONG, MS};
use crate::program::is_child;
use crate::runner::runner;
use crate::support::{next, outcome_of, WATCHDOG};

/// A supervisor, and the labels of its events.
fn observed() -> (Supervisor, Receiver<&'static str>) {
    let (tell, told) = unbounded();
    let builder = Supervisor::builder().on_event(move |event| {
        let _ = tell.send(event.kind.label());
    });
    (builder.start().unwrap(), told)
}

/// Waits until the program is ready by this sign.
fn until_ready(program: Program) -> (Supervisor, TaskHandle) {
    let (supervisor, events) = observed();
    let spec = TaskSpec::process("task", program).ready_within(WATCHDOG);
    let task = supervisor.handle().add(spec).unwrap();
    while next(&events) != "attempt_ready" {}
    (supervisor, task)
}

#[test]
fn a_process_is_ready_when_it_runs_or_writes() {
    until_ready(sh("exec sleep 1000"));
    // Not even a whole line.
    until_ready(sh("printf x; exec sleep 1000").ready_by(ReadySign::FirstOutput));
    let line = ReadySign::Line("up and running".into());
    until_ready(
        sh("echo no; printf 'it is up and'; sleep 0.05; echo ' running'; exec sleep 1000")
            .ready_by(line),
    );
}

#[test]
fn the_end_of_the_output_is_no_output() {
    let (supervisor, events) = observed();
    for script in ["exit 1", "exec >&- 2>&-; exit 1"] {
        let program = sh(script).ready_by(ReadySign::FirstOutput).heartbeat_on_output();
        let spec = TaskSpec::process("task", program).restart(RestartPolicy::Never);
        let _ = outcome_of(&supervisor.handle().add(spec).unwrap());
    }
    supervisor.handle().flush_events().unwrap();
    assert!(events.try_iter().all(|event| event != "attempt_ready"));
}

#[test]
fn a_process_without_its_sign_is_not_ready_in_time() {
    let supervisor = Supervisor::builder().start().unwrap();
    let program = sh("echo no; exec sleep 1000").ready_by(ReadySign::Line("yes".into()));
    let spec = TaskSpec::process("task", program).ready_within(50 * MS);
    let task = supervisor.handle().add(spec.restart(RestartPolicy::Never)).unwrap();
    assert!(matches!(outcome_of(&task), Outcome::TimedOut { .. }));
}

#[test]
fn a_process_is_ready_when_its_port_is_open() {
    // An address that no other test uses.
    let address = TcpListener::bind("127.83.21.9:0").unwrap().local_addr().unwrap();
    let supervisor = Supervisor::builder().start().unwrap();
    let program = sh("exec sleep 1000").ready_by(ReadySign::Port(address));
    let task = supervisor.handle().add(TaskSpec::process("task", program)).unwrap();
    let is_ready = || supervisor.handle().snapshot().unwrap().task(task.id()).unwrap().ready;
    while task.pid().is_none() {}
    assert!(!is_ready());
    let _listener = TcpListener::bind(address).unwrap();
    while !is_ready() {}
}

/// A socket that says something to the supervisor with this address.
fn connected(address: &str) -> UnixDatagram {
    let address = SocketAddr::from_abstract_name(address.strip_prefix('@').unwrap()).unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect_addr(&address).unwrap();
    socket
}

/// In the program: says this to its supervisor.
fn notify(message: &str) {
    let name = std::env::var("NOTIFY_SOCKET").unwrap();
    connected(&name).send(message.as_bytes()).unwrap();
}

/// Sends this with something beside it.
fn send_with(
    socket: &UnixDatagram,
    message: &str,
    beside: SendAncillaryMessage<'_, '_>,
) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1), ScmCredentials(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(beside));
    let text = IoSlice::new(message.as_bytes());
    sendmsg(socket, &[text], &mut control, SendFlags::empty())
}

#[test]
fn only_those_of_the_same_user_or_of_the_group_are_heard() {
    let program = sh("echo $NOTIFY_SOCKET; exec sleep 1000").ready_by(ReadySign::Notify);
    let (program, lines) = heard(program);
    let (supervisor, events) = observed();
    let task = supervisor.handle().add(TaskSpec::process("task", program)).unwrap();
    let socket = connected(&next(&lines));
    let own = || supervisor.handle().snapshot().unwrap().task(task.id()).unwrap().clone();
    let until_marked = |label: &str| while own().mark.map_or(true, |mark| mark.label != label) {};

    // Only root may say that somebody else says something.
    let pretend = |pid, message| {
        let other = UCred { pid, uid: Uid::from_raw(54_321), gid: Gid::from_raw(54_321) };
        send_with(&socket, message, SendAncillaryMessage::ScmCredentials(other))
    };
    let child = Pid::from_raw(task.pid().unwrap().try_into().unwrap()).unwrap();
    if pretend(child, "STATUS=of the group").is_ok() {
        until_marked("of the group");
        pretend(getpid(), "READY=1\nSTATUS=of a stranger").unwrap();
    }
    socket.send(b"STATUS=of the same user").unwrap();
    until_marked("of the same user");
    assert!(!own().ready);

    for _ in 0..2 {
        socket.send(b"READY=1\nSTATUS=twice").unwrap();
    }
    // What is sent with a message is closed, and so the sender knows that it was read.
    let (end, mut other) = UnixStream::pair().unwrap();
    let beside = [end.as_fd()];
    send_with(&socket, "BARRIER=1", SendAncillaryMessage::ScmRights(&beside)).unwrap();
    drop(end);
    other.set_read_timeout(Some(WATCHDOG)).unwrap();
    assert_eq!(until_read(&mut other), 0);
    until_marked("twice");
    supervisor.handle().flush_events().unwrap();
    assert_eq!(events.try_iter().filter(|label| *label == "attempt_ready").count(), 1);
}

/// Other tests of this process send it signals.
fn until_read(stream: &mut UnixStream) -> usize {
    loop {
        match stream.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read.unwrap(),
        }
    }
}

/// Another program says it, and has ended by the time that it is heard.
#[test]
fn a_helper_may_say_it() {
    let script = r#"socket(S, AF_UNIX, SOCK_DGRAM, 0); $ENV{NOTIFY_SOCKET} =~ /^@(.*)/;
                    send(S, "READY=1", 0, pack_sockaddr_un("\0$1"))"#;
    let perl = |script| format!("perl -MSocket -e '{script}'");
    if run_once(sh(&perl("1"))).is_ok() {
        let says = sh(&format!("{}; exec sleep 1000", perl(script)));
        until_ready(says.ready_by(ReadySign::Notify));
    }
}

#[test]
fn a_process_says_how_it_is() {
    if is_child() {
        for _ in 0..1000 {
            notify("WATCHDOG=1");
        }
        notify("STATUS=warm\nREADY=1\nMAINPID=1");
        return;
    }
    let mut words: Vec<_> = runner().into_iter().map(Into::into).collect();
    words.push(std::env::current_exe().unwrap().into_os_string());
    let name = "process::readiness::a_process_says_how_it_is";
    let program = Program::new("env")
        .args(words)
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("THREADVISOR_TEST_CHILD", "1")
        .ready_by(ReadySign::Notify);
    let (supervisor, events) = observed();
    let (tell, told) = unbounded();
    let mut program = program;
    let spec = TaskSpec::once("task", move |ctx| {
        program.run(ctx)?;
        let snapshot = ctx.handle().snapshot()?;
        let own = snapshot.task(ctx.id()).unwrap();
        tell.send((own.ready, own.mark.as_ref().map(|mark| mark.label.to_string()))).unwrap();
        Ok(())
    });
    let task = supervisor.handle().add(spec.ready_within(WATCHDOG)).unwrap();
    while next(&events) != "attempt_ready" {}
    assert_eq!(next(&told), (true, Some("warm".to_owned())));
    assert!(outcome_of(&task).is_success());
}

#[test]
fn a_process_that_falls_silent_is_noticed() {
    let supervisor = Supervisor::builder().grace(LONG).start().unwrap();
    let spec = |script| {
        let program = sh(script).heartbeat_on_output();
        TaskSpec::process("task", program)
            .watchdog(Duration::from_millis(400))
            .watchdog_policy(WatchdogPolicy::Cancel)
            .restart(RestartPolicy::Never)
    };
    let task = supervisor.handle().add(spec("echo x; exec sleep 1000")).unwrap();
    assert!(matches!(outcome_of(&task), Outcome::Unresponsive { .. }));
}

/// By a clock that this test holds: nothing depends on how fast anybody is.
#[test]
fn what_a_process_says_counts_for_the_watchdog_and_the_deadline() {
    const SECOND: Duration = Duration::from_secs(1);
    let clock = ManualClock::new().patience(WATCHDOG);
    let supervisor = Supervisor::builder().clock(&clock).grace(LONG).start().unwrap();
    let script = "trap 'echo beat' USR1; echo $NOTIFY_SOCKET; while :; do sleep 0.01; done";
    let (program, lines) = heard(sh(script).ready_by(ReadySign::Notify).heartbeat_on_output());
    let spec = TaskSpec::process("task", program).watchdog(10 * SECOND);
    let spec = spec.timeout(50 * SECOND).max_timeout(500 * SECOND);
    let task = supervisor.handle().add(spec.restart(RestartPolicy::Never)).unwrap();
    clock.ignore(&task);
    let socket = connected(&next(&lines));
    let own = || supervisor.handle().snapshot().unwrap().task(task.id()).unwrap().clone();
    let tell = |message: &str| {
        socket.send(format!("{message}\nSTATUS={message}").as_bytes()).unwrap();
        while own().mark.map_or(true, |mark| mark.label != message) {}
    };

    clock.advance(6 * SECOND);
    // By the second line, the first has counted.
    for _ in 0..2 {
        assert!(task.signal(Signal::USR1));
        assert_eq!(next(&lines), "beat");
    }
    clock.advance(6 * SECOND);
    assert!(!own().silent);
    tell("WATCHDOG=1");
    clock.advance(6 * SECOND);
    assert!(!own().silent);
    clock.advance(6 * SECOND);
    assert!(own().silent);
    tell("EXTEND_TIMEOUT_USEC=400000000");
    clock.advance(300 * SECOND);
    assert_eq!(own().state, TaskState::Running);
    clock.advance(200 * SECOND);
    assert!(matches!(outcome_of(&task), Outcome::TimedOut { .. }));
}
