//! One task, from the spec that a user writes to the outcome that is waited for, as threads share
//! it.
//!
//! Each module uses only those listed below it, but for the knot in the middle: a body is called
//! with a context that can submit a spec that holds a body. `README.md` beside this file unties it.

#[cfg(all(unix, feature = "poll"))]
pub(crate) mod poll;

pub(crate) mod current;
pub(crate) mod setters;

// The knot.
pub(crate) mod body;
pub(crate) mod cell;
pub(crate) mod context;
pub(crate) mod door;
pub(crate) mod envelope;
pub(crate) mod fact;
pub(crate) mod guards;
pub(crate) mod record;
pub(crate) mod request;
pub(crate) mod spec;
pub(crate) mod token;

pub(crate) mod end_channel;
pub(crate) mod hook;
pub(crate) mod leftover;
pub(crate) mod pulse;
pub(crate) mod settings;
