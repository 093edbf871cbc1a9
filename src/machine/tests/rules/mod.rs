//! The rules, one topic a file, as scripts: what happens, and what the machine orders then. Each
//! file names the section of `guide::rules` that it checks.

mod admission;
mod class_limits;
mod class_lines;
mod classes;
mod closing;
mod deadlines;
mod drain;
mod finish_at_drain;
#[cfg(debug_assertions)]
mod effort;
mod endings;
mod extension;
mod groups;
mod groups_restart;
mod groups_stop;
mod intervals;
mod pausing;
mod permits;
mod pool;
mod readiness;
mod release;
mod restarts;
mod retries;
mod shutdown;
mod slack;
mod stable;
mod states_and_events;
mod watchdog;
