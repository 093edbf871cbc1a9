//! Scripted and simulated tests of the machine.
//!
//! `rig` drives a machine by script and `world` by seed; `audit` looks at its whole state after
//! each step of both, and `checkers` follow what a world is told and ordered. Every other file is
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
mod line;
mod permits;
mod record;
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
