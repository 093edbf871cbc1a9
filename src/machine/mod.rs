//! The machine: every rule of the supervisor, and nothing else.
//!
//! ```text
//!            Input (a fact)          Effect (an order)
//! runtime ──────────────────► step ──────────────────► runtime
//!    ▲                                                    │
//!    └──────── what an order found is an input ───────────┘
//! ```
//!
//! It knows no threads, clocks, locks or user values, only ids. With the same seed and the same
//! inputs it gives the same effects. After every step, these invariants hold:
//!
//! 1. A slot has at most one owner, which is a task in one of the states from Runnable to Closing.
//! 2. The number of permits that are held is the number of tasks in Starting, Running, Stopping or
//!    Abandoned, and never exceeds the limit. A released attempt has given its permit back.
//! 3. A task waits for a permit of its class only while all of these are held, and then, holding
//!    one, for a permit to run only while all of those are held. A replaced owner that closes keeps
//!    its place in line, and its class permit, for its heir, and is passed over.
//! 4. A task has at most one timer: Queued, Runnable and Starting have the expiry, Running the
//!    earlier of the deadline and the next look of the watchdog, Stopping the end of the grace,
//!    Waiting its own end unless it is paused, Abandoned none, Closing the end of its grace once it
//!    is slow, or that of the shutdown.
//! 5. Each accepted submission gets exactly one outcome, each claimed attempt exactly one terminal
//!    event.
//! 6. Once a shutdown has begun, no attempt is started.
//! 7. No more attempts and closings are released than `max_abandoned`; `stuck` counts the tasks in
//!    Abandoned, the closings that outlived their grace, what is released, and the hooks that hang.
//! 8. A slot passes on, and an outcome other than `Abandoned` is delivered, only when the body is
//!    gone: dropped, given back, or with an attempt or a closing that is stuck.
//! 9. A member that waits for its phase has no timer and no permit, and is in no line.
//! 10. Of a phase that is not released, no member holds a permit or waits for one.
//! 11. While a group restarts, no member that goes back starts; while it stops, none does.
//! 12. A group is forgotten in the step in which its last member gets its outcome.
//!
//! Each module uses only those listed below it. Code map: `input` and `effect` are the language,
//! `step` the entry point, which calls the rules through `impl Machine`, `task`, `tasks` and `slot`
//! the tables, `due` the time of the next attempt, `table` their memory, `list`, `line` and `timer`
//! the queues, `roster` the groups, `ending` the table of how attempts end, `admission`,
//! `class`, `attempt`, `by_hand`, `watch`, `abandon`, `closing`, `group`, `drain` and `stop` the
//! rules, `group_view` and `view` what groups and snapshots show. `pool`, the arithmetic of worker
//! threads, is a separate machine that sees only counts.

mod abandon;
mod admission;
mod attempt;
mod by_hand;
mod class;
mod closing;
mod drain;
mod group;
mod group_rules;
mod group_view;
mod stop;
mod view;
mod watch;

mod step;

mod line;
mod phase;
mod roster;
mod slot;
mod timer;

mod due;
mod list;
mod tasks;

mod task;

mod effect;
mod ending;
mod input;
pub(crate) mod pool;
mod rng;
pub(crate) mod table;

pub(crate) use effect::{Answer, Effect, GroupNotice, Notice};
pub(crate) use ending::{End, Ending, Finality};
pub(crate) use input::{GroupSubmission, Input, Submission};
pub(crate) use step::Machine;
pub(crate) use task::{State, Task};
#[cfg(test)]
pub(crate) use timer::BYTES as TIMER_BYTES;
pub(crate) use view::View;

#[cfg(test)]
pub(crate) mod tests;
