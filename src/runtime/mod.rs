//! The runtime: threads around the machine. It moves messages and decides nothing.
//!
//! ```text
//!  Handle ── submissions (bounded) ──►┌────────────┐── work ─────► workers ── run bodies
//!         ── requests ───────────────►│ controller │◄─ facts ────────┘
//! signals ── requests ───────────────►│    bell    │── events ───► lanes ── subscribers
//!                   deadline ────────►└────────────┘
//!                              Machine::step(now, input) → effects
//! ```
//!
//! | channel | capacity | when full |
//! |---|---|---|
//! | submissions | `intake_capacity` | `submit` waits, `try_submit` returns `Full` |
//! | requests | none | a caller that waits for an answer has one request under way; a cancel waits for no answer |
//! | facts | none | two per attempt; one per panic, failed chore, slow or stuck hook, round of nudges, examination, refused thread, lane that has ended |
//! | work | none | at most as many attempts as there are permits, and revoked ones |
//! | a lane | `event_capacity` | the incoming event is dropped and counted |
//!
//! The threads start in this order: signals, lanes, workers, controller. The controller ends last,
//! except for threads that are stuck in user code, which are never joined.
//!
//! Each module uses only those listed below it.

pub(crate) mod start;

mod controller;

mod examiner;
mod groups;
mod publish;
mod released;
mod required;
mod shutdown;
mod tally;

mod values;

mod notice;

mod lane;
mod pool;

pub(crate) mod service;
pub(crate) mod signals;

pub(crate) use controller::{requests, ServiceLink};
pub(crate) use lane::{Listen, Subscriber};
pub(crate) use publish::{Dedicated, Subscribers};
