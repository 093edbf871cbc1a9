//! Longer pages, each for one purpose.
//!
//! | page | for |
//! |---|---|
//! | [`rules`] | everybody who needs the exact rules: words, endings, admission, shutdown, events, promises |
//! | [`groups`] | everybody whose tasks depend on each other: order, readiness, restarts of several together |
//! | [`waking`] | authors of a body that blocks in a call which a flag cannot wake |
//! | [`stopping`] | everybody who writes a `main`: which call ends what, in which order, and how long it takes |
//! | [`from_threads`] | authors of threads, pools, restart loops and stop flags of their own |
//! | [`c_libraries`] | authors of tasks that call a blocking C library |
//! | [`embedded`] | authors of programs for small Linux devices |
//! | [`migrating`] | users of taskvisor, suture, OTP, or tokio's `spawn_blocking` |
//! | [`results`] | authors of tasks that return a value |
//! | [`services`] | authors of programs that run under systemd, s6, procd or BusyBox init, or on a board with a watchdog |
//! | [`testing`] | authors of tests of tasks, who do not want to wait for real seconds |
#![cfg_attr(
    all(unix, feature = "process"),
    doc = "| [`processes`] | whoever runs programs as tasks |"
)]
//! | [`json`] | authors of programs that store events or show snapshots |
//! | [`telemetry`] | users of the crates `tracing` and `metrics` |
//! | [`timeline`] | everybody who wants to see what ran when, on which thread, and why it waited |
//! | [`performance`] | everybody who wants to know what it costs, compared with other libraries |
//!
//! # Examples
//! Each ends by itself. Its first lines say what it shows and what it prints.
//!
//! | `cargo run --example …` | shows |
//! |---|---|
//! | `quickstart`, `resident`, `server` | a whole program, as lines or, with `--features console`, as a table; a service with signals; a server that drains its connections |
//! | `periodic`, `retry`, `slots`, `dynamic` | periodic runs; backoff; admission; changes at run time |
//! | `group` | tasks that start in order, restart together and stop in reverse (`--features poll`) |
//! | `importer` | tasks that return values, which are added up |
//! | `http` | a server, itself a task, that shows counters to Prometheus and the snapshot as JSON (`--features serde`) |
//! | `outcomes` | each outcome and what leads to it |
//! | `accept`, `stream`, `udp`, `consumer`, `nudge`, `serial` | blocking calls that a cancel wakes (`serial` with `--features poll`) |
//! | `process` | programs as tasks, with helpers, output and a sign that they are ready (`--features process`) |
//! | `minisup` | a process supervisor with a configuration file, as a tool (`--features poll,process`) |
//! | `watchdog`, `stuck` | a hang that is noticed; a body that ignores every request to return |
//! | `sharded` | several supervisors by key, for more tasks than one controller can decide |
//! | `timeline` | what ran when, drawn (`--features timeline`) |
//! | `priority` | threads with a priority and processors of their own, shown by the name of their task (`--features poll`) |

#[doc = include_str!("c_libraries.md")]
pub mod c_libraries {}

#[doc = include_str!("embedded.md")]
pub mod embedded {}

#[doc = include_str!("from_threads.md")]
pub mod from_threads {}

#[doc = include_str!("groups.md")]
pub mod groups {}

#[doc = include_str!("json.md")]
pub mod json {}

#[doc = include_str!("migrating.md")]
pub mod migrating {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[cfg(all(unix, feature = "process"))]
#[doc = include_str!("processes.md")]
pub mod processes {}

#[doc = include_str!("results.md")]
pub mod results {}

#[doc = include_str!("rules.md")]
pub mod rules {}

#[doc = include_str!("services.md")]
pub mod services {}

#[doc = include_str!("stopping.md")]
pub mod stopping {}

#[doc = include_str!("telemetry.md")]
pub mod telemetry {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("timeline.md")]
pub mod timeline {}

#[doc = include_str!("waking.md")]
pub mod waking {}
