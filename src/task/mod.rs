//! One task, as threads share it, from the user's spec to the outcome.
//!
//! Each module uses only those listed below it, except for the knot in the middle: a body is called
//! with a context, which can submit a spec, which holds a body. `README.md` in this folder explains
//! the knot.

#[cfg(all(unix, feature = "poll"))]
pub(crate) mod poll;

pub(crate) mod current;
mod deadline;
pub(crate) mod setters;
mod signs;
mod spec_setters;

// The knot.
pub(crate) mod body;
pub(crate) mod cell;
pub(crate) mod context;
pub(crate) mod door;
pub(crate) mod envelope;
pub(crate) mod fact;
pub(crate) mod group;
pub(crate) mod guards;
pub(crate) mod record;
pub(crate) mod request;
pub(crate) mod spec;
pub(crate) mod token;

pub(crate) mod end_channel;
pub(crate) mod on_end;
pub(crate) mod on_signal;
#[cfg(all(unix, feature = "process"))]
pub(crate) mod out_lane;

pub(crate) mod hook;
pub(crate) mod pulse;
pub(crate) mod settings;

pub(crate) mod class_names;

pub(crate) mod numbered;
