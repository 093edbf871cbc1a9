//! Scripted and simulated tests of the machine.
