//! What may happen to a terminal: many tasks, odd names, several printers, and its end.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use threadvisor::crossbeam_channel::Receiver;

use super::process::Pty;
use super::*;

/// All that was written up to now, and a console that writes it.
fn raw(columns: u16, rows: u16) -> (Console, Receiver<String>) {
    let (tell, told) = unbounded();
    (Console::to(Told(tell)).size(columns, rows), told)
}

fn is_drawing(written: &str) -> bool {
    written.contains("\x1b[2K")
}

#[test]
fn of_two_hundred_tasks_those_that_need_attention_are_shown() {
    let (console, terminal) = Terminal::new(80, 24);
    let supervisor = started(&console);
    let specs = (0..199).map(|n| resident(&format!("resident {n}"))).collect::<Vec<_>>();
    supervisor.handle().add_all(specs).unwrap();
    supervisor.handle().add(failing("port")).unwrap();
    let shown = terminal.until(&["\nport#200 ", "LATEST", "tasks 200"]);
    assert_eq!(shown.lines().count(), 23, "{shown}");
    assert!(shown.lines().nth(3).unwrap().starts_with("port#200 "), "{shown}");
    let hidden = shown.lines().find(|line| line.starts_with("and ")).unwrap();
    let residents = shown.lines().filter(|line| line.starts_with("resident ")).count();
    assert_eq!(hidden, format!("and {} more tasks", 199 - residents));
    supervisor.shutdown().unwrap();
}

#[test]
fn what_several_threads_print_stays_whole_and_in_their_order() {
    let (console, terminal) = Terminal::new(80, 24);
    let supervisor = started(&console);
    let moves = TaskSpec::new("moves", |ctx| {
        for done in 0.. {
            ctx.progress(done, 1_000_000);
            ctx.sleep(Duration::from_millis(1))?;
        }
        Ok(())
    });
    supervisor.handle().add(moves).unwrap();
    terminal.until(&["moves#1"]);
    let printers = (0..4).map(|printer| {
        let console = console.clone();
        on_thread(move || (0..50).for_each(|n| console.println(format_args!("p{printer} {n}"))))
    });
    printers.collect::<Vec<_>>().iter().for_each(next);
    supervisor.shutdown().unwrap();
    let text = terminal.text();
    for printer in 0..4 {
        let own = text.lines().filter(|line| line.starts_with(&format!("p{printer} ")));
        assert!(own.eq((0..50).map(|n| format!("p{printer} {n}"))), "{text}");
    }
    assert_eq!(text.matches(" UTC, ").count(), 1, "{text}");
}

/// A name can neither clear the screen nor ring, and a line that is too wide does not wrap. What a
/// drawing changes of the terminal's mode it changes back in the same write, so whatever ends the
/// process leaves the terminal as it was.
#[test]
fn each_write_leaves_the_terminal_as_it_was_whatever_names_say() {
    let (console, told) = raw(120, 24);
    let supervisor = Supervisor::builder().subscriber(console.clone().every_event()).start();
    let supervisor = supervisor.unwrap();
    let evil = "\x1b[2J\x07\r\n\u{9b}1m日本語日本語日本語日本語日本語日本語";
    let fails = TaskSpec::new(evil, move |ctx| {
        ctx.mark(evil);
        ctx.progress(1, 2);
        panic!("{evil}")
    });
    let fails = fails.backoff(BackoffPolicy::constant(LONG)).slot(evil);
    supervisor.handle().add(fails).unwrap();
    let queued = no_op("queued").slot(evil);
    supervisor.handle().submit(queued, AdmissionPolicy::Queue).unwrap();
    let mut written = Vec::new();
    let mut until = |is_it: &dyn Fn(&str) -> bool| loop {
        written.push(next(&told));
        if written.last().is_some_and(|text| is_it(text)) {
            break;
        }
    };
    until(&|text| is_drawing(text) && text.contains("日本語"));
    supervisor.shutdown().unwrap();
    console.println("end");
    until(&|text| text == "end\n");
    assert!(written.iter().any(|text| text.contains(" submitted policy=")), "{written:?}");
    let harmless = ["\x1b[?7l", "\x1b[?7h", "\x1b[2K", "\x1b[J"];
    for text in &written {
        assert_eq!(text.matches("\x1b[?7l").count(), text.matches("\x1b[?7h").count(), "{text:?}");
        assert!(text.rfind("\x1b[?7l") <= text.rfind("\x1b[?7h"), "{text:?}");
        let mut rest = harmless.iter().fold(text.clone(), |text, code| text.replace(code, ""));
        while let Some(at) = rest.find("\r\x1b[") {
            let end = at + rest[at..].find('A').expect("only up");
            assert!(rest[at + 3..end].chars().all(|c| c.is_ascii_digit()), "{text:?}");
            rest.replace_range(at..=end, "");
        }
        assert!(!rest.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the least time that may pass is the promise")]
fn while_a_progress_moves_it_draws_at_most_four_times_a_second() {
    let (console, told) = raw(80, 24);
    let supervisor = started(&console);
    let began = Instant::now();
    let moves = TaskSpec::new("moves", |ctx| {
        for done in 0.. {
            ctx.progress(done, 1_000_000);
            ctx.sleep(Duration::from_millis(1))?;
        }
        Ok(())
    });
    supervisor.handle().add(moves).unwrap();
    // There is always an event, too.
    let ticks = TaskSpec::new("ticks", |_| Ok(())).repeat_after(Duration::from_millis(1));
    supervisor.handle().add(ticks).unwrap();
    let mut drawings = 0;
    while drawings < 4 {
        drawings += u128::from(is_drawing(&next(&told)));
    }
    // The first comes at once, and each other one a quarter of a second later at the earliest.
    assert!(began.elapsed().as_millis() >= (drawings - 1) * 250, "{:?}", began.elapsed());
    supervisor.shutdown().unwrap();
}

/// A terminal that is closed, or a pipe that nobody reads any more, takes nothing, but it lets the
/// writer go.
#[test]
fn an_output_that_goes_away_while_it_is_full_holds_nobody_up() {
    let pty = Pty::new(80, 24);
    let slave = pty.open();
    let (near, far) = UnixStream::pair().unwrap();
    let outputs: [(Console, Box<dyn Read + Send>); 2] = [
        (Console::to(slave).size(80, 24), Box::new(pty.master)),
        (Console::to(near), Box::new(far)),
    ];
    for (console, mut reader) in outputs {
        let supervisor = started(&console);
        let handle = supervisor.handle();
        let printer = console.clone();
        let has_printed = on_thread(move || printer.println("x".repeat(4_000_000)));
        while reader.read(&mut [0]).unwrap() == 0 {}
        handle.add(failing("port")).unwrap();
        assert!(outcome_of(&handle.add(no_op("well")).unwrap()).is_success());
        assert!(has_printed.is_empty(), "it is full");
        drop(reader);
        next(&has_printed);
        console.println("nobody reads this");
        handle.flush_events().unwrap();
        let ended = on_thread(move || supervisor.shutdown().unwrap());
        assert_eq!(next(&ended).shutdown.events_dropped, 0);
    }
}
