//! The concurrent pieces of the crate, run under a model checker: schedule after schedule, each a
//! different interleaving. `cargo run` checks all of them; see `runner` for what can be set.
//!
//! The modules of the crate are compiled from its own files. Four are not: `sync`, which has the
//! model checker's primitives, `clock`, which has the time of an execution, `linger`, which looks
//! once, and `runtime`, which differs only in that its checks are inside, since what they check is
//! private to it.

// Most of the crate is used by few of the checks.
#![allow(dead_code, unused_imports, reason = "the crate's own build looks at that")]

extern crate alloc;

mod channel;
mod checks;
mod clock;
mod linger;
mod runner;
#[cfg(not(feature = "loom"))]
mod runtime;
mod search;
mod sync;
mod world;

#[path = "../../../src/backoff.rs"]
mod backoff;
#[path = "../../../src/cell.rs"]
mod cell;
#[path = "../../../src/context.rs"]
mod context;
#[path = "../../../src/current.rs"]
mod current;
#[path = "../../../src/error.rs"]
mod error;
#[path = "../../../src/event.rs"]
mod event;
#[path = "../../../src/handle.rs"]
mod handle;
#[path = "../../../src/hook.rs"]
mod hook;
#[path = "../../../src/id.rs"]
mod id;
#[path = "../../../src/leftover.rs"]
mod leftover;
#[path = "../../../src/line.rs"]
mod line;
#[path = "../../../src/link.rs"]
mod link;
#[path = "../../../src/machine/mod.rs"]
mod machine;
#[path = "../../../src/outcome.rs"]
mod outcome;
#[path = "../../../src/policy.rs"]
mod policy;
#[path = "../../../src/pulse.rs"]
mod pulse;
#[path = "../../../src/reason.rs"]
mod reason;
#[path = "../../../src/record.rs"]
mod record;
#[path = "../../../src/report.rs"]
mod report;
#[path = "../../../src/settings.rs"]
mod settings;
#[path = "../../../src/snapshot.rs"]
mod snapshot;
#[path = "../../../src/spec.rs"]
mod spec;
#[path = "../../../src/stall.rs"]
mod stall;
#[cfg(not(feature = "loom"))]
#[path = "../../../src/supervisor.rs"]
mod supervisor;
#[path = "../../../src/threads.rs"]
mod threads;
#[path = "../../../src/time.rs"]
mod time;
#[path = "../../../src/unwind.rs"]
mod unwind;
#[cfg(unix)]
#[path = "../../../src/wake_fd.rs"]
mod wake_fd;

fn main() -> std::process::ExitCode {
    runner::run(&[
        checks::token::CHECKS,
        checks::attempt::CHECKS,
        checks::hooks::CHECKS,
        checks::nudges::CHECKS,
        checks::record::CHECKS,
        checks::leftover::CHECKS,
        checks::door::CHECKS,
        #[cfg(not(feature = "loom"))]
        runtime::lane_checks::CHECKS,
        #[cfg(not(feature = "loom"))]
        runtime::pool_checks::CHECKS,
        #[cfg(not(feature = "loom"))]
        checks::whole::CHECKS,
    ])
}
