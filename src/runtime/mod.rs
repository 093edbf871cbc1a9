//! The runtime: threads around the machine. It moves messages and decides nothing.
//!
//! ```text
//!  Handle ── submissions (bounded) ──►┌────────────┐── jobs ─────► workers ── run bodies
//!         ── requests ───────────────►│ controller │◄─ reports ───────┘
//! signals ── requests ───────────────►│   Select   │── events ───► lanes ── subscribers
//!                   deadline ────────►└────────────┘
//!                              Machine::step(now, input) → effects
//! ```
//!
//! | channel | capacity | when full |
//! |---|---|---|
//! | submissions | `intake_capacity` | `submit` waits, `try_submit` says so |
//! | requests | none; each caller has at most one under way | – |
//! | reports | none; two an attempt, one a panic of a subscriber | – |
//! | jobs | none; as many as there are permits | – |
//! | a lane | `event_capacity` | the incoming event is dropped and counted |
//!
//! What was asked for starts first, signals, lanes, workers, then the controller. It ends last but
//! for threads that are stuck in user code, which nobody ever joins.
//!
//! Code map: `controller` is the loop, `perform` carries effects out, `tables` keeps the user
//! values, `publish` makes events of notices, `workers` and `lane` are the threads that run user
//! code, `garbage` is what they drop, `reports` what they tell the controller, `signals` the thread
//! that waits for signals.

pub(crate) mod controller;
mod finish;
pub(crate) mod tally;
mod garbage;
mod lane;
mod ledger;
mod perform;
mod publish;
mod reports;
pub(crate) mod signals;
mod tables;
mod view;
mod worker;
mod workers;

pub(crate) use publish::Subscribers;
use reports::{Report, Returned};
