//! What the table of a snapshot looks like.

use std::time::Duration;

use super::*;
use crate::output::group::GroupSnapshot;
use crate::output::hook::{HookSource, RunningHook};
use crate::output::mark::{Mark, Progress};
use crate::output::snapshot::{
    ClassSnapshot, PermitCounts, SlotSnapshot, SlotStatus, WorkerCounts,
};
use crate::platform::stall::Stall;
use crate::vocabulary::id::{TaskId, TaskRef};
use crate::vocabulary::reason::CancelReason;

const AT: Duration = Duration::from_secs(3720);

fn ago(millis: u64) -> Duration {
    AT.saturating_sub(Duration::from_millis(millis))
}

fn named(id: u64, name: &str) -> TaskRef {
    TaskRef { id: TaskId::new(id), name: name.into(), slot: None }
}

pub(crate) fn task(id: u64, name: &str, state: TaskState) -> TaskSnapshot {
    TaskSnapshot {
        task: named(id, name),
        state,
        group: None,
        phase: None,
        class: None,
        class_index: None,
        paused: false,
        attempt: 1,
        failures: 0,
        since: ago(45_000),
        next_wake: None,
        last_failure: None,
        thread: None,
        interrupted: false,
        silent: false,
        required: false,
        stable: false,
        ready: false,
        pid: None,
        at: AT,
        mark: None,
        progress: None,
    }
}

fn mark(label: &'static str) -> Mark {
    Mark { label: label.into(), at: ago(5) }
}

pub(crate) fn empty() -> Snapshot {
    Snapshot {
        at: AT,
        draining: false,
        shutting_down: false,
        tasks: Vec::new(),
        slots: Vec::new(),
        classes: Vec::new(),
        groups: Vec::new(),
        workers: WorkerCounts { threads: 5, idle: 1, offered: 0, starving: false },
        permits: PermitCounts { held: 4, limit: Some(16), waiting: 0 },
        abandoned: Vec::new(),
        stuck_hooks: Vec::new(),
        well: true,
    }
}

fn stuck() -> AbandonedAttempt {
    AbandonedAttempt {
        task: named(9, "copy"),
        attempt: 2,
        since: ago(125_000),
        reason: CancelReason::Timeout,
        thread: Some("copy".into()),
        tid: Some(7),
        mark: None,
        stall: Some(Stall {
            pid: None,
            syscall: Some("read".into()),
            wait_channel: Some("tty_read".into()),
            state: Some('D'),
            cpu: Duration::ZERO,
            over: Duration::from_millis(20),
        }),
        released: false,
        hook: false,
        closing: false,
    }
}

fn hook() -> RunningHook {
    RunningHook {
        source: HookSource::TaskEnd,
        task: Some(named(1, "old")),
        since: ago(2000),
        thread: "worker-1".into(),
        tid: None,
    }
}

fn busy() -> Snapshot {
    let modem = TaskSnapshot {
        attempt: 5,
        failures: 4,
        next_wake: Some(AT + Duration::from_millis(3200)),
        last_failure: Some("open /dev/ttyUSB0: No such file or directory (os error 2)".into()),
        ..task(2, "modem", TaskState::Waiting)
    };
    let gps = TaskSnapshot {
        silent: true,
        since: ago(800_000),
        mark: Some(mark("reading\n\u{1b}[2J")),
        ..task(3, "gps", TaskState::Running)
    };
    let import = TaskSnapshot {
        since: ago(340),
        next_wake: Some(AT + Duration::from_secs(125)),
        mark: Some(mark("flash")),
        progress: Some(Progress::new(3, Some(10))),
        ..task(12, "import of a very long name that somebody chose", TaskState::Running)
    };
    let paused = TaskSnapshot { paused: true, ..task(13, "größe\t7", TaskState::Waiting) };
    let slot = |key: &str, queued, status| SlotSnapshot {
        key: key.into(),
        owner: Some(TaskId::new(2)),
        status,
        queued,
    };
    Snapshot {
        draining: true,
        tasks: vec![
            modem,
            gps,
            TaskSnapshot { attempt: 2, ..task(9, "copy", TaskState::Abandoned) },
            import,
            paused,
        ],
        slots: vec![
            slot("alone", 0, SlotStatus::Running { since: AT }),
            slot("modem", 7, SlotStatus::Terminating { since: AT }),
        ],
        classes: vec![ClassSnapshot { name: "flash".into(), limit: 2, held: 2, waiting: 11 }],
        abandoned: vec![stuck()],
        stuck_hooks: vec![hook()],
        ..empty()
    }
}

#[track_caller]
fn check(table: &str, lines: &[&str]) {
    let shown: Vec<_> = table.lines().collect();
    assert_eq!(shown, lines, "\n{table}\n");
}

#[test]
fn at_80_columns_all_columns_are_there() {
    check(
        &busy().table(80, false),
        &[
            "up 1h02m, tasks 5, failing 1, abandoned 1, running 2, waiting 2",
            "draining, threads 5, idle 1, permits 4/16",
            "TASK            STATE      ATTEMPT  FAIL   SINCE  NEXT            MARK, ERROR",
            "modem#2         waiting          5     4     45s  run in 3.2s     open /dev/tty~",
            "gps#3           running          1        13m20s                  silent; readi~",
            "copy#9          abandoned        2           45s",
            "import of ~#12  running          1         340ms  limit in 2m05s  flash; 3/10",
            "größe\\t7#13     waiting          1           45s  paused",
            "SLOT   STATUS       QUEUED  OWNER",
            "modem  terminating       7  modem#2",
            "CLASS  HELD  LIMIT  WAITING",
            "flash     2      2       11",
            "STUCK          SINCE  THREAD    CALL",
            "copy#9         2m05s  copy      in read (tty_read), 0ns CPU in 20ms",
            "hook of old#1   2.0s  worker-1",
        ],
    );
}

#[test]
fn a_process_is_shown_by_its_number() {
    let (pid, mark) = (Some(4711), Some(mark("warm")));
    let server = TaskSnapshot { pid, mark, ..task(2, "server", TaskState::Running) };
    let table = Snapshot { tasks: vec![server], ..empty() }.table(80, false);
    assert!(table.ends_with(" pid 4711; warm"), "{table}");
}

#[test]
fn at_40_columns_what_says_the_least_is_left_out() {
    check(
        &busy().table(40, false),
        &[
            "up 1h02m, tasks 5, failing 1, abandoned~",
            "draining, threads 5, idle 1, permits 4/~",
            "TASK         STATE      FAIL  MARK, ERR~",
            "modem#2      waiting       4  open /dev~",
            "gps#3        running          silent; r~",
            "copy#9       abandoned",
            "import ~#12  running          flash; 3/~",
            "größe\\t7#13  waiting",
            "SLOT   STATUS       QUEUED  OWNER",
            "modem  terminating       7  modem#2",
            "CLASS  HELD  LIMIT  WAITING",
            "flash     2      2       11",
            "STUCK        SINCE  THREAD    CALL",
            "copy#9       2m05s  copy      in read (~",
            "hook of ~#1   2.0s  worker-1",
        ],
    );
}

#[test]
fn a_supervisor_without_tasks_has_two_lines() {
    let lines = ["up 1h02m, tasks 0", "threads 5, idle 1, permits 4/16"];
    check(&empty().table(80, false), &lines);
    let mut unlimited = Snapshot { shutting_down: true, ..empty() };
    unlimited.workers.starving = true;
    unlimited.permits = PermitCounts { held: 4, limit: None, waiting: 2 };
    let second = "shutting down, threads 5, starving, idle 1, permits 4, waiting 2";
    check(&unlimited.table(80, false), &[lines[0], second]);
}

#[test]
fn no_line_is_longer_than_the_width_and_none_ends_with_a_space() {
    let snapshot = busy();
    let rows = snapshot.table(200, false).lines().count();
    for width in 0..=200 {
        let table = snapshot.table(width, false);
        for line in table.lines() {
            assert!(columns(line) <= width, "{width}: {line:?}");
            assert!(!line.ends_with(' '), "{width}: {line:?}");
            assert!(!line.contains(char::is_control), "{width}: {line:?}");
        }
        assert!(width == 0 || table.lines().count() == rows, "{width}\n{table}");
    }
}

#[test]
fn no_line_is_too_long_whatever_names_are_made_of() {
    let name = "制御🚀 モデム⚡e\u{301}\u{200b}#7 und noch viel mehr";
    let mut snapshot = busy();
    for (task, id) in snapshot.tasks.iter_mut().zip(u64::MAX - 9..) {
        task.task = named(id, name);
        task.mark = Some(mark("日本語日本語日本語"));
    }
    snapshot.slots[1].key = name.into();
    snapshot.classes[0].name = name.into();
    snapshot.abandoned[0].task = named(9, name);
    for width in 0..=200 {
        for line in snapshot.table(width, false).lines() {
            assert!(columns(line) <= width, "{width}: {line:?}");
        }
    }
    assert!(snapshot.table(usize::MAX, false).contains(name));
}

#[test]
fn ten_thousand_tasks_have_a_row_each() {
    let tasks = (0..10_000).map(|id| task(id, "sensor", TaskState::Waiting)).collect();
    let snapshot = Snapshot { tasks, ..empty() };
    for width in [0, 20, 80] {
        assert!(width == 0 || snapshot.table(width, true).lines().count() == 10_003);
    }
}

#[test]
fn without_room_for_all_what_needs_attention_comes_first_and_then_what_runs() {
    let mut snapshot = empty();
    let waiting = (1..=20).map(|id| task(id, "waits", TaskState::Runnable));
    let failing = TaskSnapshot { failures: 1, ..task(22, "fails", TaskState::Waiting) };
    snapshot.tasks = waiting.chain([task(21, "runs", TaskState::Running), failing]).collect();
    let table = snapshot.table_within("", (80, 8), false);
    let shown: Vec<_> = table.lines().filter_map(|line| line.split('#').next()).skip(3).collect();
    assert_eq!(shown[..3], ["fails", "runs", "waits"], "{table}");
    assert!(table.contains("\nand 18 more tasks"), "{table}");
}

#[test]
fn a_member_waits_for_its_turn_or_for_a_time() {
    let waits = task(1, "reader", TaskState::Waiting);
    let member = TaskSnapshot { group: Some("line".into()), phase: Some(1), ..waits };
    assert_eq!(empty().next(&member), "its turn");
    let soon = Some(AT + Duration::from_secs(1));
    assert_eq!(empty().next(&TaskSnapshot { next_wake: soon, ..member }), "run in 1.0s");
}

#[test]
fn whoever_is_held_back_says_by_what() {
    let mut snapshot = empty();
    let slot = |id, name, state| TaskSnapshot {
        task: TaskRef { slot: Some("port".into()), ..named(id, name) },
        ..task(id, name, state)
    };
    snapshot.tasks = vec![slot(1, "owner", TaskState::Running), slot(2, "next", TaskState::Queued)];
    snapshot.slots = vec![SlotSnapshot {
        key: "port".into(),
        owner: Some(TaskId::new(1)),
        status: SlotStatus::Running { since: AT },
        queued: 1,
    }];
    assert_eq!(snapshot.next(&snapshot.tasks[1]), "after owner#1");
    let expires = Some(AT + Duration::from_secs(1));
    let queued = TaskSnapshot { next_wake: expires, ..snapshot.tasks[1].clone() };
    assert_eq!(snapshot.next(&queued), "after owner#1, expires in 1.0s");

    let upload =
        TaskSnapshot { class: Some("up\tload".into()), ..task(3, "a", TaskState::Runnable) };
    assert_eq!(snapshot.next(&upload), "permit of up\\tload");
    assert_eq!(snapshot.next(&TaskSnapshot { class_index: Some(0), ..upload }), "permit");
    assert_eq!(snapshot.next(&task(4, "b", TaskState::Runnable)), "permit");
}

#[test]
fn a_group_names_its_members_and_an_error_of_an_earlier_attempt_is_called_the_last() {
    let failed = |id, name, state| TaskSnapshot {
        last_failure: Some("no carrier".into()),
        ..task(id, name, state)
    };
    let tasks =
        vec![failed(4, "driver", TaskState::Waiting), failed(5, "reader", TaskState::Running)];
    let members = [4, 5, 6].map(TaskId::new).into();
    let (name, state) = ("line".into(), GroupState::Up);
    let groups = vec![GroupSnapshot { name, state, members, restarts: 3 }];
    check(
        &Snapshot { tasks, groups, ..empty() }.table(80, false),
        &[
            "up 1h02m, tasks 2, running 1, waiting 1",
            "threads 5, idle 1, permits 4/16",
            "TASK      STATE    ATTEMPT  FAIL  SINCE  NEXT  MARK, ERROR",
            "driver#4  waiting        1          45s        no carrier",
            "reader#5  running        1          45s        last: no carrier",
            "GROUP  STATE  RESTARTS  MEMBERS",
            "line   up            3  driver#4, reader#5",
        ],
    );
}

#[test]
fn colours_change_nothing_but_the_colours() {
    let snapshot = busy();
    for width in [0, 1, 13, 40, 80, 200] {
        let mut table = snapshot.table(width, true);
        for code in ["\x1b[0m", "\x1b[1m", "\x1b[33m", "\x1b[31m"] {
            assert!(width < 80 || table.contains(code), "{code:?}");
            table = table.replace(code, "");
        }
        assert_eq!(table, snapshot.table(width, false));
    }
}

#[test]
fn the_id_of_a_task_is_kept_when_its_name_is_cut() {
    assert_eq!(cut("a long name#1234", 12), "a long~#1234");
    assert_eq!(cut("a long name#1234", 7), "a~#1234");
    assert_eq!(cut("a long name#1234", 6), "a lon~");
    assert_eq!(cut("größe", 4), "grö~");
    assert_eq!(cut("tenant # 7", 6), "tenan~");
    assert_eq!(cut("a", 0), "");
}
