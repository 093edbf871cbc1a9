//! A full lane: what is lost is counted and told.

use std::collections::HashMap;
use std::time::Duration;

use threadvisor::crossbeam_channel::unbounded;
use threadvisor::prelude::*;

use crate::subscribers::{is_overflow, run_tasks};
use crate::support::{next, no_op, Gate, Trace};

/// All that is heard of 21 tasks with five events each, while a subscriber holds up the lane at
/// each of the events numbered `stops`: one more task runs at each, at the last all the others.
fn heard_through_a_lane_of(capacity: usize, stops: &[u64]) -> (Supervisor, Vec<Event>) {
    let mut gates: Vec<_> = stops.iter().map(|_| Gate::new()).collect();
    let holds: HashMap<_, _> = stops.iter().copied().zip(gates.iter().map(Gate::hold)).collect();
    let trace = Trace::default();
    let supervisor = Supervisor::builder()
        .event_capacity(capacity)
        .on_event(move |event| holds.get(&event.seq).into_iter().for_each(|hold| hold()))
        .subscriber(trace.clone())
        .start()
        .unwrap();
    let handle = supervisor.handle();
    // Five events, which fit whether or not the first of them has left the lane.
    run_tasks(&handle, 1);
    for (ran, gate) in (1..).zip(&mut gates) {
        gate.wait_entered();
        run_tasks(&handle, if ran == stops.len() { 21 - ran } else { 1 });
        gate.open();
    }
    handle.flush_events().unwrap();
    (supervisor, trace.events())
}

#[test]
fn a_full_lane_drops_counts_and_reports_once() {
    const CAPACITY: u32 = 8;
    let (supervisor, events) = heard_through_a_lane_of(CAPACITY as usize, &[1]);
    // Flushed are the events; the report of the loss came before those that waited behind it.
    let seqs: Vec<_> = events.iter().filter(|e| !is_overflow(e)).map(|e| e.seq).collect();
    let reports: Vec<_> = events.iter().filter(|e| is_overflow(e)).collect();
    let [report] = reports[..] else { panic!("{reports:?}") };
    let EventKind::SubscriberOverflow { dropped, first, last } = report.kind else { panic!() };
    assert_eq!(seqs, (1..=u64::from(CAPACITY) + 1).collect::<Vec<_>>());
    assert_eq!(report.seq, first);
    assert_eq!(dropped, last - first + 1);
    // No gap: nothing is missing without being counted.
    assert_eq!((first, last), (u64::from(CAPACITY) + 2, 21 * 5));
    let report = supervisor.shutdown().unwrap().shutdown;
    assert_eq!(report.events_dropped, dropped);
}

/// However many events wait in front of those that were lost.
#[test]
fn a_loss_is_reported_as_soon_as_the_lane_moves_again() {
    // The events of the second task come while the lane is held up, so it takes them all at once.
    let (_supervisor, events) = heard_through_a_lane_of(10, &[1, 6]);
    assert_eq!(events.iter().position(is_overflow), Some(6), "{events:?}");
}

/// The supervisor hands over many events at once, and each lane has its own room for them.
#[test]
fn of_events_that_come_at_once_a_lane_keeps_as_many_as_it_has_room_for() {
    let mut gate = Gate::new();
    let subscriber = || {
        let (tell, told) = unbounded();
        let hold = gate.hold();
        let heard = move |event: &Event| {
            if event.seq == 1 {
                hold();
            }
            let _ = tell.send(event.clone());
        };
        (heard, told)
    };
    let (shared, dedicated) = (subscriber(), subscriber());
    let supervisor = Supervisor::builder().event_capacity(300).on_event(shared.0);
    let supervisor = supervisor.dedicated_on_event(dedicated.0, 501).start().unwrap();
    let handle = supervisor.handle();
    // Until it starts, a task has two events.
    let later = |n| no_op(&format!("task {n}")).initial_delay(Duration::MAX);
    handle.add(later(0)).unwrap();
    (0..2).for_each(|_| gate.wait_entered());
    handle.add_all((1..=400).map(later)).unwrap();
    handle.snapshot().unwrap();
    gate.open();

    // The event at which the lane is held up takes no room.
    let loss_of = |event: &Event| match event.kind {
        EventKind::SubscriberOverflow { dropped, first, last } => Some((dropped, first, last)),
        _ => None,
    };
    let mut dropped_in_all = 0;
    for (kept, told) in [(301, &shared.1), (502, &dedicated.1)] {
        let events: Vec<_> = (0..=kept).map(|_| next(told)).collect();
        let seqs = events.iter().filter(|it| !is_overflow(it)).map(|it| it.seq);
        assert!(seqs.eq(1..=kept), "{events:?}");
        let loss = events.iter().find_map(loss_of);
        assert_eq!(loss, Some((802 - kept, kept + 1, 802)));
        dropped_in_all += 802 - kept;
    }
    let report = supervisor.shutdown().unwrap().shutdown;
    // The end of all these tasks may be too much for the lanes as well.
    let rest = shared.1.try_iter().chain(dedicated.1.try_iter());
    dropped_in_all += rest.filter_map(|event| Some(loss_of(&event)?.0)).sum::<u64>();
    assert_eq!(report.events_dropped, dropped_in_all);
}

/// A loss happens at each of its calls.
#[test]
fn a_subscriber_that_stays_too_slow_gets_an_event_between_two_reports_of_losses() {
    let (called, calls) = unbounded();
    let (go, goes) = unbounded();
    let supervisor = Supervisor::builder().event_capacity(4).on_event(move |event| {
        let _ = called.send(is_overflow(event));
        let _ = goes.recv();
    });
    let supervisor = supervisor.start().unwrap();
    let handle = supervisor.handle();
    run_tasks(&handle, 1);
    let mut heard = Vec::new();
    for _ in 0..20 {
        heard.push(next(&calls));
        // Fifteen events, of which the lane keeps four at most.
        run_tasks(&handle, 3);
        go.send(()).unwrap();
    }
    drop(go);
    assert!(heard.contains(&true), "{heard:?}");
    assert!(!heard.windows(2).any(|two| two == [true, true]), "{heard:?}");
}
