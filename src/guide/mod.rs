//! Longer texts, each for one problem.
//!
//! | page | for whom |
//! |---|---|
//! | [`waking`] | whose body sits in a call that a flag cannot wake |

#[doc = include_str!("waking.md")]
pub mod waking {}
