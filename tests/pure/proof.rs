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

#[path = "../../src/backoff.rs"]
mod backoff;
#[path = "../../src/id.rs"]
mod id;
#[path = "../../src/machine/mod.rs"]
mod machine;
#[path = "../../src/policy.rs"]
mod policy;
#[path = "../../src/reason.rs"]
mod reason;
#[path = "../../src/time.rs"]
mod time;

fn main() {
    let limits = policy::Limits {
        max_concurrent: 1,
        max_slot_queue: 1,
        max_tasks: 1,
        max_abandoned: 1,
        grace: core::time::Duration::ZERO,
        event_drain: core::time::Duration::ZERO,
    };
    let mut effects = alloc::vec::Vec::new();
    let mut machine = machine::Machine::new(limits, 1);
    let shutdown = machine::Input::ShutdownRequested(reason::ShutdownCause::Requested);
    machine.step(time::Time::ZERO, shutdown, &mut effects);
    assert!(effects.contains(&machine::Effect::CloseDoor));
    assert!(effects.contains(&machine::Effect::DrainEvents));
}
