//! What the crate may cost, and what it is to cost one day. Whoever measures one of these rows says
//! so here, and `.ci/deep budgets` makes a table of what was said.

use std::fmt::Display;

struct Row {
    /// The name of the benchmark that measures it, or how the names of several begin.
    measured_by: &'static str,
    what: &'static str,
    must: &'static str,
    aim: &'static str,
}

const fn row(
    measured_by: &'static str,
    what: &'static str,
    must: &'static str,
    aim: &'static str,
) -> Row {
    Row { measured_by, what, must, aim }
}

/// Those of `size.sh` stand there. *Busy* has a figure for each pause between the round trips.
const ROWS: [Row; 22] = [
    row("machine/", "a step of the machine, 100 000 tasks", "≤ 350 ns", "≤ 150 ns"),
    row(
        "started, one task, shut down",
        "a supervisor started, one task run, shut down",
        "≤ 0.2 ms",
        "≤ 3 × `thread::spawn`, `join`",
    ),
    row("  for scale: thread::spawn and join", "for scale: `thread::spawn`, `join`", "–", "–"),
    row(
        "burst of 100000, specs made too",
        "100 000 no-op tasks submitted and awaited, each",
        "≤ 1 µs",
        "≤ 0.45 µs",
    ),
    row(
        "round trip: submit to outcome",
        "submit one and wait for its outcome, warm",
        "< ¼ of `thread::spawn`, `join`",
        "≤ 3 µs",
    ),
    row(
        "switches of a round trip",
        "context switches of that on one core, voluntary + involuntary",
        "6 involuntary",
        "2",
    ),
    row(
        "cancel to outcome, running",
        "cancel a sleeping body, to its outcome",
        "≤ 10 µs",
        "≤ 3 µs",
    ),
    row("fan-out to", "8 no-op subscribers instead of 0", "≤ 2.1 ×", "≤ 1.4 ×"),
    row(
        "snapshot of 100000 tasks, controller busy",
        "snapshot of 100 000 tasks: the controller is busy",
        "≤ 25 ms",
        "≤ 1 ms",
    ),
    row("shutdown, 32 sleeping bodies", "shutdown of 32 sleeping bodies", "≤ 2 ms", "≤ 0.4 ms"),
    row("shutdown, 1000 sleeping bodies", "shutdown of 1000 sleeping bodies", "≤ 40 ms", "≤ 10 ms"),
    row(
        "shutdown, 100000 waiting bodies that own an Arc",
        "shutdown with 100 000 waiting bodies that own an `Arc`",
        "≤ 300 ms",
        "≤ 100 ms",
    ),
    row(
        "shutdown, 1000000 waiting, grace of 50 ms",
        "shutdown of 1 000 000 waiting tasks, grace of 50 ms",
        "–",
        "≤ 0.5 s",
    ),
    row(
        "burst of 1000 bodies that block 100 ms",
        "1000 bodies that block 100 ms, at once",
        "≤ 200 ms",
        "≤ 130 ms",
    ),
    row(
        "busy cores",
        "busy cores: round trips compared with a chain of channels, median (99 %)",
        "≤ 3 (≤ 3)",
        "–",
    ),
    row(
        "busy cores, time slices",
        "how many of them waited for a time slice, of ours / of the chain's",
        "–",
        "–",
    ),
    row("busy core, pinned", "the same on one core", "≤ 3 (≤ 3)", "–"),
    row("busy core, pinned, time slices", "and of those", "–", "–"),
    row(
        "heap, interval",
        "waiting task, heap without closure and name; threads",
        "≤ 560 B, no thread",
        "≤ 256 B",
    ),
    row("wake-ups, nothing", "idle: wake-ups, processor time", "0, 0", "0"),
    row("wake-ups, interval", "1000 waiting tasks: wake-ups, processor time", "0, 0", "0"),
    row(
        "wake-ups, running, with a watchdog of 1 s",
        "1000 watched bodies (1 s), wake-ups of ours",
        "≤ 800/s",
        "≤ 10/s",
    ),
];

/// Whether a benchmark measures one of the rows.
pub(crate) fn needs(name: &str) -> bool {
    ROWS.iter().any(|row| name.starts_with(row.measured_by))
}

/// Says what was measured of the row that this name stands for, if it stands for one.
pub(crate) fn tell(name: &str, measured: impl Display) {
    if let Some(row) = ROWS.iter().find(|row| row.measured_by == name) {
        println!("budget | {} | {measured} | {} | {} |", row.what, row.must, row.aim);
    }
}
