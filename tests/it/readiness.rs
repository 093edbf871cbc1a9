//! Attempts that say that others may rely on them.

use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, never};
use threadvisor::prelude::*;

use crate::support::{next, outcome_of, Rig};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(10);

/// Also without `ready_within`, and told once.
#[test]
fn an_attempt_that_says_so_is_ready() {
    for within in [None, Some(LONG)] {
        let rig = Rig::new();
        let (entered_in, entered) = bounded(1);
        let (go, may_say) = bounded::<()>(0);
        let spec = TaskSpec::new("link", move |ctx| {
            let _ = entered_in.send(());
            let _ = may_say.recv();
            ctx.ready();
            ctx.ready();
            ctx.sleep(LONG)?;
            Ok(())
        });
        let link = rig.handle.add(spec.ready_within(within)).unwrap();
        next(&entered);
        let seen = || rig.handle.snapshot().unwrap().task(link.id()).unwrap().clone();
        assert!(!seen().ready);
        assert_eq!(seen().next_wake.is_some(), within.is_some());
        drop(go);
        rig.until(&link, "attempt_ready 1");
        assert!(seen().ready && seen().next_wake.is_none());
        link.cancel();
        let _ = outcome_of(&link);
        let story = rig.story(&link);
        assert_eq!(story.iter().filter(|line| line.starts_with("attempt_ready")).count(), 1);
    }
}

#[test]
fn one_that_is_not_in_time_fails_and_one_that_is_has_the_rest_of_its_timeout() {
    let rig = Rig::new();
    let spec = TaskSpec::new("link", |ctx| {
        if ctx.attempt() == 1 {
            // Asking for more time does not help.
            ctx.extend_deadline(LONG)?;
            assert!(ctx.remaining().is_some_and(|left| left <= SHORT));
            let _ = ctx.cancelled().recv();
            ctx.ready();
            return Ok(());
        }
        ctx.ready();
        assert!(ctx.remaining().is_some_and(|left| left > SHORT));
        let _ = never::<()>().recv_timeout(2 * SHORT);
        Ok(())
    });
    let spec = spec.timeout(LONG).max_timeout(2 * LONG).ready_within(SHORT);
    let link = rig.handle.add(spec.backoff(BackoffPolicy::constant(SHORT))).unwrap();
    assert!(outcome_of(&link).is_success());
    let story = rig.story(&link);
    let has = |start: &str| story.iter().any(|line| line.starts_with(start));
    assert!(has("attempt_timed_out 1") && has("attempt_ready 2"), "{story:?}");
    assert!(!has("attempt_ready 1"), "told before: {story:?}");
}

#[test]
fn a_span_that_makes_no_sense_is_refused() {
    let no_op = || TaskSpec::new("link", |_| Ok(()));
    let zero = no_op().ready_within(Duration::ZERO).validate().unwrap_err();
    assert!(zero.to_string().contains("ready_within"), "{zero}");
    let beyond = no_op().timeout(SHORT).ready_within(LONG).validate().unwrap_err();
    assert!(beyond.to_string().contains("give at most `timeout`"), "{beyond}");
    no_op().timeout(SHORT).ready_within(SHORT).validate().unwrap();
}

#[test]
fn a_detached_body_may_say_it_too() {
    let (ctx, canceller) = TaskContext::detached();
    ctx.ready();
    drop(canceller);
}
