//! User code that misbehaves, as tables: what is tried, and what happens.
//!
//! | table | what is tried |
//! |---|---|
//! | `destructors` | values of the user that panic when they are dropped, one at a time and several at once |
//! | `inside` | every method of `SupervisorHandle`, `Supervisor` and `TaskHandle`, from every thread that runs user code |
//! | `places` | the supervisor is dropped, or its shutdown waited for, where that would wait for itself |
//! | `limits` | every setting and call that takes a duration, with the shortest and the longest |
//! | `exits` | bodies that end their thread or their process |
//!
//! Panics in bodies, and what becomes of errors that nobody waits for, are in `panics`; subscribers
//! that panic, in `name` or for an event, are in `subscribers`.

mod destructors;
mod exits;
mod inside;
mod limits;
mod places;
mod shared_errors;
