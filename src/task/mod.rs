//! One task, from the spec that a user writes to the outcome that is waited for, as threads share
//! it.
//!
//! Each module uses only those listed below it, but for the knot: `body`, `cell`, `context`,
//! `door`, `envelope`, `record`, `request`, `spec` and what they need belong together, because a
//! body is called with a context that can submit a spec that holds a body.

#[cfg(all(unix, feature = "poll"))]
pub(crate) mod poll;

pub(crate) mod current;
pub(crate) mod setters;

pub(crate) mod body;
pub(crate) mod cell;
pub(crate) mod context;
pub(crate) mod door;
pub(crate) mod envelope;
pub(crate) mod guards;
pub(crate) mod leftover;
pub(crate) mod record;
pub(crate) mod request;
pub(crate) mod spec;
pub(crate) mod token;

pub(crate) mod hook;
pub(crate) mod pulse;
pub(crate) mod settings;
