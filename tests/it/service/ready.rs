//! When the service manager is told that the service is ready, by what the required tasks say.

use threadvisor::crossbeam_channel::bounded;
use threadvisor::prelude::*;

use super::{Manager, LONG};
use crate::support::{no_op, outcome_of};

#[test]
fn what_has_said_that_it_is_ready_and_succeeded_is_ready() {
    let manager = Manager::new();
    let supervisor = Supervisor::builder().service_manager(manager.service(None)).start().unwrap();
    let handle = supervisor.handle();
    let gauge = TaskSpec::new("gauge", |ctx| {
        ctx.ready();
        Ok(())
    });
    let gauge = handle.add(gauge.every(LONG).ready_within(LONG).required()).unwrap();
    while handle.snapshot().unwrap().task(gauge.id()).unwrap().state != TaskState::Waiting {}
    handle.announce_ready();
    assert_eq!(manager.next(), "READY=1\nSTATUS=1 task");
}

/// However soon it fails after that.
#[test]
fn what_is_ready_and_fails_was_ready() {
    for says_ready in [true, false] {
        for _ in 0..20 {
            let manager = Manager::new();
            let builder = Supervisor::builder().service_manager(manager.service(None));
            let supervisor = builder.start().unwrap();
            let handle = supervisor.handle();
            handle.announce_ready();
            let _ = handle.snapshot().unwrap();
            let port = TaskSpec::new("port", move |ctx| {
                if says_ready {
                    ctx.ready();
                }
                Err("no such device".into())
            });
            let port = port.backoff(BackoffPolicy::constant(LONG)).required();
            // Without this, it is ready by running.
            handle.add(if says_ready { port.ready_within(LONG) } else { port }).unwrap();
            while !manager.next().starts_with("READY=1") {}
        }
    }
}

/// However it stands with those that are not over.
#[test]
fn what_has_completed_is_not_waited_for() {
    let manager = Manager::new();
    let supervisor = Supervisor::builder().service_manager(manager.service(None)).start().unwrap();
    let handle = supervisor.handle();
    let (go, goes) = bounded::<()>(0);
    let gauge = TaskSpec::new("gauge", move |ctx| {
        ctx.recv(&goes)?;
        ctx.ready();
        Ok(ctx.sleep(LONG)?)
    });
    handle.add(gauge.ready_within(LONG).required()).unwrap();
    handle.announce_ready();
    let migrates = handle.add(no_op("migrates").required()).unwrap();
    assert!(outcome_of(&migrates).is_success());
    let _ = handle.snapshot().unwrap();
    assert!(manager.so_far().iter().all(|text| !text.contains("READY=1")));
    go.send(()).unwrap();
    while !manager.next().starts_with("READY=1") {}
}
