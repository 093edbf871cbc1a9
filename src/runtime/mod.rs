//! The runtime: threads around the machine. It moves messages and decides nothing.
//!
//! ```text
//!  Handle ── submissions (bounded) ──►┌────────────┐── work ─────► workers ── run bodies
//!         ── requests ───────────────►│ controller │◄─ facts ────────┘
//! signals ── requests ───────────────►│   Select   │── events ───► lanes ── subscribers
//!                   deadline ────────►└────────────┘
//!                              Machine::step(now, input) → effects
//! ```
//!
//! | channel | capacity | when full |
//! |---|---|---|
//! | submissions | `intake_capacity` | `submit` waits, `try_submit` says so |
//! | requests | none | a caller that waits for an answer has one under way; a cancel waits for none |
//! | facts | none | two an attempt; one a panic, a slow hook, a refused thread |
//! | work | none | at most as many attempts as there are permits |
//! | a lane | `event_capacity` | the incoming event is dropped and counted |
//!
//! What was asked for starts first, signals, lanes, workers, then the controller. It ends last but
//! for threads that are stuck in user code, which nobody ever joins.
//!
//! Each module uses only those listed below it.

pub(crate) mod start;

mod controller;

mod examiner;
mod publish;
mod released;
mod shutdown;
mod tally;

mod values;

mod notice;

mod lane;
mod pool;
pub(crate) mod signals;

pub(crate) use publish::Subscribers;
