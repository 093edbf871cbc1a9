//! Longer pages, each for one purpose.
//!
//! | page | for |
//! |---|---|
//! | [`rules`] | everybody who needs the exact rules: words, endings, admission, shutdown, events, promises |
//! | [`waking`] | authors of a body that blocks in a call which a flag cannot wake |
//! | [`migrating`] | users of taskvisor, suture, OTP, tokio's `spawn_blocking`, or their own loops on threads |
//! | [`results`] | authors of tasks that return a value |
//! | [`testing`] | authors of tests of tasks, who do not want to wait for real seconds |
//! | [`performance`] | everybody who wants to know what it costs, compared with other libraries |

#[doc = include_str!("migrating.md")]
pub mod migrating {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[doc = include_str!("results.md")]
pub mod results {}

#[doc = include_str!("rules.md")]
pub mod rules {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("waking.md")]
pub mod waking {}
