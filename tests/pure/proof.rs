//! The machine and its vocabulary compile without `std`: that they do is the proof that no clock,
//! thread, lock or environment can be in them. Running it shows that they also work.

#![no_std]
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    reason = "only a part of each file is used, and none of it from outside"
)]

extern crate alloc;
// Under another name, so that no path in the files below can mean it; only `main` needs it.
extern crate std as start;

#[path = "../../src/machine/mod.rs"]
mod machine;
#[path = "../../src/vocabulary/mod.rs"]
mod vocabulary;

fn main() {
    let limits = vocabulary::plan::Limits {
        max_concurrent: Some(1),
        classes: alloc::vec::Vec::new(),
        max_slot_queue: 1,
        max_tasks: 1,
        max_abandoned: 1,
        grace: core::time::Duration::ZERO,
        signal_drain: None,
        event_flush: core::time::Duration::ZERO,
        timer_slack: core::time::Duration::ZERO,
    };
    let mut effects = alloc::vec::Vec::new();
    let mut machine = machine::Machine::new(limits, 1);
    let shutdown = machine::Input::ShutdownRequested(vocabulary::reason::ShutdownCause::Requested);
    machine.step(vocabulary::time::Time::ZERO, shutdown, &mut effects);
    assert!(effects.contains(&machine::Effect::CloseDoor {
        cause: vocabulary::reason::ShutdownCause::Requested
    }));
    assert!(effects.contains(&machine::Effect::FlushEvents));
}
