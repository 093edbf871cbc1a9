//! Scripted and simulated tests of the machine.
//!
//! - `rules`: one topic of the rules a file, each a script. Whoever looks for the test of a rule
//!   looks there.
//! - `world`: the machine in worlds made from seeds, with threads, bodies and users that do what
//!   they like.
//! - `reference`: the rules written a second time, and histories that live through both.
//!
//! What several of them need stands here: `rig` drives a machine by a script of `spec`s and
//! `render`s what it orders; `audit` looks at the machine's whole state after each step of them
//! all, and `audit_face` at what shows from outside; `cell_model` is the cell of an attempt without
//! threads; `grammar` is the order of events that the page gives; `dice` are the random numbers,
//! and `shrinking` finds the least that fails.

use std::env;

use crate::vocabulary::reason::{CancelReason, StopReason};

mod audit;
mod audit_face;
mod audit_groups;
pub(crate) mod cell_model;
pub(crate) mod dice;
pub(crate) mod grammar;
mod reference;
mod orders;
mod render;
mod rig;
mod rig_by_hand;
mod rig_groups;
mod rules;
mod shrinking;
mod spec;
mod world;

/// A number from the environment, by which a failure is lived through again.
pub(crate) fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
}

/// The stop behind a reason; `None` for an interruption, after which the task may go on.
const fn as_stop(reason: CancelReason) -> Option<StopReason> {
    match reason {
        CancelReason::Stop => Some(StopReason::Stop),
        CancelReason::Replace => Some(StopReason::Replace),
        CancelReason::Shutdown => Some(StopReason::Shutdown),
        CancelReason::Timeout
        | CancelReason::Unresponsive
        | CancelReason::Restart
        | CancelReason::Group => None,
    }
}
