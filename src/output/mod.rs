//! Results as values: errors, outcomes, events, snapshots, reports.
//!
//! Each module uses only those listed below it.

pub(crate) mod line;

#[cfg(any(feature = "console", feature = "timeline"))]
pub(crate) mod words;

mod event_labels;

pub(crate) mod event;
pub(crate) mod table;
pub(crate) mod snapshot;

pub(crate) mod not_quiet;
pub(crate) mod report;

pub(crate) mod counts;
pub(crate) mod drain_report;
pub(crate) mod group;
pub(crate) mod hook;

pub(crate) mod outcome;

pub(crate) mod setting_errors;

#[cfg(feature = "serde")]
mod data;

pub(crate) mod error;
pub(crate) mod mark;
#[cfg(all(unix, feature = "process"))]
pub(crate) mod output_line;

pub(crate) mod columns;
