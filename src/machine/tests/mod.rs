//! Scripted and simulated tests of the machine.
//!
//! `rig` drives a machine by script and `world` by seed; `audit` looks at its whole state after
//! each step of both. What a world is told and ordered is followed by four that know nothing of
//! each other: `checkers` with its records, `waits`, `events` and `bodies`. `histories` lives
//! through acts by chance with the machine and with `reference` side by side. Every other file is
//! one topic of the rules.

mod admission;
mod attempt;
mod audit;
mod bodies;
mod cells;
mod checkers;
mod coverage;
mod deadlines;
mod dice;
mod endings;
mod events;
mod extension;
mod families;
mod histories;
mod job;
mod line;
mod permits;
mod pool;
mod record;
mod reference;
mod release;
mod render;
mod restarts;
mod rig;
mod script;
mod shutdown;
mod simulation;
mod spec;
mod stuck;
mod table;
mod threads;
mod trial;
mod users;
mod waits;
mod watch;
mod world;
