//! Longer texts, each for one purpose.
//!
//! | page | for whom |
//! |---|---|
//! | [`rules`] | for everybody who wants to know exactly: words, endings, admission, shutdown, events, promises |
//! | [`waking`] | for authors of a body that sits in a call which a flag cannot wake |
//! | [`migrating`] | for users of taskvisor, suture, OTP, tokio's `spawn_blocking`, or loops of their own on threads |
//! | [`performance`] | for those who want to know what it costs, and beside what |

#[doc = include_str!("migrating.md")]
pub mod migrating {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[doc = include_str!("rules.md")]
pub mod rules {}

#[doc = include_str!("waking.md")]
pub mod waking {}
