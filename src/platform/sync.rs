//! What threads meet at: locks, atomics, channels, threads, and what is a thread's own. Nothing
//! else names them, but for the atomic flag that signals share with their library, so that a model
//! checker can put its own in their place.

pub(crate) use std::sync::atomic;
pub(crate) use std::{thread, thread_local};

pub(crate) use crossbeam_channel as channel;
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
