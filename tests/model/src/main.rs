//! The concurrent pieces of the crate, run under a model checker: schedule after schedule, each a
//! different interleaving. `cargo run` checks all of them; see `runner` for what can be set.
//!
//! The modules of the crate are compiled from its own files, but for three of `platform`; see
//! there. `runtime` differs only in that its checks are inside, since what they check is private to
//! it.

// Most of the crate is used by few of the checks.
#![allow(dead_code, unused_imports, reason = "the crate's own build looks at that")]

extern crate alloc;

mod channel;
mod checks;
mod platform;
mod runner;
#[cfg_attr(feature = "loom", path = "no_runtime.rs")]
mod runtime;
mod search;
mod world;

#[cfg(not(feature = "loom"))]
#[path = "../../../src/api/mod.rs"]
mod api;
#[cfg(feature = "loom")]
#[path = "handles.rs"]
mod api;
#[path = "../../../src/machine/mod.rs"]
mod machine;
#[path = "../../../src/output/mod.rs"]
mod output;
#[path = "../../../src/task/mod.rs"]
mod task;
#[path = "../../../src/vocabulary/mod.rs"]
mod vocabulary;

fn main() -> std::process::ExitCode {
    runner::run(&[
        checks::bell::CHECKS,
        checks::token::CHECKS,
        checks::attempt::CHECKS,
        checks::hooks::CHECKS,
        checks::nudges::CHECKS,
        checks::parking::CHECKS,
        checks::record::CHECKS,
        checks::output::CHECKS,
        checks::door::CHECKS,
        checks::group::CHECKS,
        #[cfg(not(feature = "loom"))]
        runtime::lane_checks::CHECKS,
        #[cfg(not(feature = "loom"))]
        runtime::pool_checks::CHECKS,
        #[cfg(not(feature = "loom"))]
        runtime::closing_checks::CHECKS,
        #[cfg(not(feature = "loom"))]
        checks::whole::CHECKS,
    ])
}
