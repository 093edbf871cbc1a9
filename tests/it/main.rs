//! Wiring on real threads, through the public API.
#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

mod admission;
mod api;
#[cfg(feature = "serde")]
mod arbitrary;
#[cfg(any(feature = "tracing", feature = "metrics"))]
mod bridge;
mod cancel;
mod classes;
mod clock;
mod closing;
mod concurrency;
#[cfg(feature = "console")]
mod console;
mod documented;
mod drain;
mod grammar;
mod groups;
mod idle;
#[cfg(feature = "serde")]
mod json;
mod lifecycle;
mod losses;
mod messages;
mod minisup;
mod misuse;
mod on_end;
mod on_signal;
mod on_start;
mod panics;
mod policies;
mod predecessors;
mod process;
mod program;
mod progress;
mod promises;
mod readiness;
mod readme;
mod recv;
mod reports;
mod results;
mod run;
mod runner;
mod samples;
mod service;
mod shutdown;
mod signals;
mod stable;
mod subscribers;
mod support;
mod table;
mod texts;
mod tidy;
#[cfg(feature = "timeline")]
mod timeline;
