//! The machine: every rule of the supervisor, and nothing else.
//!
//! ```text
//!            Input (a fact)          Effect (an order)
//! runtime ──────────────────► step ──────────────────► runtime
//!    ▲                                                    │
//!    └──── a late order comes back as an input ───────────┘
//! ```
//!
//! It knows neither threads nor clocks nor locks nor user values, only ids; with the same seed and
//! the same inputs it gives the same effects. What always holds, after every step:
//!
//! 1. A slot has at most one owner, and that is a task in one of the states from Runnable to
//!    Waiting.
//! 2. As many permits are out as there are tasks in Starting, Running, Stopping or Abandoned;
//!    never more than the limit. An attempt that was released has given its permit back.
//! 3. A task waits for a permit only while all are out.
//! 4. A task has at most one timer; Queued, Runnable and Starting have the expiry, Running the
//!    earlier of the deadline and the next look of the watchdog, Stopping the end of the grace,
//!    Waiting its own end, Abandoned none.
//! 5. Each accepted submission gets exactly one outcome, each claimed attempt exactly one terminal
//!    event.
//! 6. Once a shutdown has begun, no attempt is started.
//! 7. No more attempts are released than `max_abandoned`; `stuck` counts the tasks in Abandoned,
//!    the released attempts and the hooks that hang.
//!
//! Each module uses only those listed below it. Code map: `input` and `effect` are the language,
//! `step` the door, `task` and `slot` the tables, `table` what tasks lie in, `list` and `timer` the
//! queues, `ending` the table of how attempts end, `admission`, `attempt`, `watch`, `abandon` and
//! `stop` the rules, `pool` the arithmetic of worker threads, a machine of its own that sees counts
//! only.

mod abandon;
mod admission;
mod attempt;
mod stop;
mod watch;

mod step;

mod phase;
mod slot;
mod timer;

mod list;
mod task;

mod effect;
mod ending;
mod input;
pub(crate) mod pool;
mod rng;
pub(crate) mod table;

pub(crate) use effect::{Answer, Effect, Notice};
pub(crate) use ending::{End, Ending, Finality};
pub(crate) use input::{Input, Submission};
pub(crate) use step::Machine;
pub(crate) use task::{State, Task};

#[cfg(test)]
pub(crate) mod tests;
