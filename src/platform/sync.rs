//! Locks, atomics, channels, threads and thread locals. No other file names their crates, except
//! for the atomic flag that signals share with their library, so that a model checker can put its
//! own in their place.

pub(crate) use std::sync::atomic;
pub(crate) use std::{thread, thread_local};

pub(crate) use crossbeam_channel as channel;
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
