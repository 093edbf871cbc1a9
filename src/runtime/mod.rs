//! The runtime: threads around the machine. It moves messages and decides nothing.
//!
//! ```text
//!  Handle ── submissions (bounded) ──►┌────────────┐── jobs ─────► workers ── run bodies
//!         ── requests ───────────────►│ controller │◄─ reports ───────┘
//! signals ── requests ───────────────►│    Select  │── events ───► lanes ── subscribers
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
//! The controller starts first, then what was asked for: lanes, signals, workers. It ends last but
//! for threads that are stuck in user code, which nobody ever joins.
//!
//! Code map: `controller` is the loop, `perform` carries effects out, `tables` keeps the user
//! values, `publish` makes events of notices, `workers` and `lane` are the threads that run user
//! code, `signals` the one that waits for signals.

pub(crate) mod controller;
mod finish;
mod lane;
mod ledger;
mod perform;
mod publish;
pub(crate) mod signals;
mod tables;
mod view;
mod worker;
mod workers;

pub(crate) use publish::Subscribers;

use std::io;
use std::sync::Arc;

use crate::cell::Cell;
use crate::error::TaskError;
use crate::id::AttemptRef;
use crate::machine::Return;
use crate::reason::CancelReason;
use crate::spec::Body;
use crate::stall::Stall;
use crate::time::Time;

/// What threads that run user code tell the controller.
enum Report {
    Claimed { attempt: AttemptRef, at: Time },
    Returned(Returned),
    DropPanicked { message: String },
    Examined { attempt: AttemptRef, stall: Option<Stall> },
    HookReturned,
    HookThreadRefused { error: io::Error },
    HooksDue { cell: Arc<Cell>, due: Time },
    SubscriberPanicked { subscriber: Arc<str>, message: String },
    ThreadRefused { error: io::Error, unserved: Option<Box<worker::Dedicated>> },
    LaneDrained,
}

/// How an attempt came back, with what it brought.
struct Returned {
    pub(crate) attempt: AttemptRef,
    pub(crate) claimed_at: Time,
    pub(crate) at: Time,
    pub(crate) told: Option<CancelReason>,
    pub(crate) ret: Return,
    pub(crate) error: Option<TaskError>,
    /// The body, unless it will not run again; then it is dropped already.
    pub(crate) body: Option<Body>,
}
