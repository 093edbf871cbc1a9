//! The vocabulary: plain values that every other folder uses, without `std`.
//!
//! Each module uses only those listed below it.

pub(crate) mod plan;

pub(crate) mod answer;
pub(crate) mod reason;

pub(crate) mod backoff;
pub(crate) mod group;
pub(crate) mod not_retried;
pub(crate) mod policy;

pub(crate) mod id;

pub(crate) mod escaped;
pub(crate) mod label;
pub(crate) mod signal;
pub(crate) mod sorted;
pub(crate) mod time;
