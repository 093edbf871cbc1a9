//! What stands beside the slices: arrows, counters, groups, processes, and the list of what went
//! wrong; and the three ways to write it say the same.

use std::sync::Arc;

use super::*;

/// All objects of the trace with this phase letter.
fn of_phase(log: &TimelineLog, letter: &str) -> Vec<Value> {
    let mut text = Vec::new();
    log.write_chrome(&mut text).unwrap();
    let all: Value = serde_json::from_slice(&text).unwrap();
    let events = all["traceEvents"].as_array().unwrap();
    events.iter().filter(|event| event["ph"] == letter).cloned().collect()
}

/// Two tasks that fail at about the same time: each retry belongs to a failure of its own task.
fn retried() -> Feed {
    let mut feed = Feed::new(3);
    for (at, make) in [
        (0, (|_| submitted()) as fn(&str) -> EventKind),
        (0, |_| EventKind::Admitted),
        (0, |thread| starting(1, thread)),
        (10, |_| failed(1, 10)),
        (10, |_| retry(1, 10)),
        (20, |thread| starting(2, thread)),
        (30, |_| succeeded(2, 10)),
        (30, |_| EventKind::RunScheduled { attempt: 2, delay: ms(10) }),
        (40, |thread| starting(3, thread)),
    ] {
        for task in [0, 1] {
            let kind = make(&format!("w{task}"));
            feed.say_of(at, task, &format!("task {task}"), None, kind);
        }
    }
    feed
}

#[test]
fn an_arrow_leads_from_each_failed_attempt_to_its_retry() {
    let feed = retried();
    let (from, to) = (of_phase(&feed.log, "s"), of_phase(&feed.log, "f"));
    assert_eq!((from.len(), to.len()), (2, 2), "a run after a success is no retry");
    let slices = read(&feed.log);
    for (from, to) in from.iter().zip(&to) {
        assert_eq!((&from["id"], &from["cat"], &to["bp"]), (&to["id"], &to["cat"], &"e".into()));
        let at = |arrow: &Value| {
            let (at, row) = (nanos(&arrow["ts"]).unwrap(), arrow["tid"].as_u64().unwrap());
            let hit = slices.iter().filter(|it| it.row.0 == row && it.is_attempt());
            let mut hit = hit.filter(|it| it.start <= at && at < it.end);
            let it = hit.next().unwrap_or_else(|| panic!("{arrow} leads nowhere"));
            (it.args["id"].clone(), it.args["attempt"].as_u64().unwrap(), it.label.clone())
        };
        let (from, to) = (at(from), at(to));
        assert_eq!((from.0, from.1, &*from.2), (to.0, to.1 - 1, "failed"));
    }
}

#[test]
fn counters_say_how_many_there_were_at_each_time() {
    let mut feed = retried();
    feed.say(50, 2, EventKind::WaitingForPermit { class: None });
    feed.say(60, 2, ended());
    feed.say(60, 1, abandoned(3, 20, true));
    feed.say(70, 1, returned(3));
    let counted = |name: &str| -> Vec<(u64, i64)> {
        let own = of_phase(&feed.log, "C");
        let own = own.iter().filter(|it| it["name"] == name);
        let count = |it: &Value| it["args"]["tasks"].as_i64().unwrap();
        own.map(|it| (nanos(&it["ts"]).unwrap() / 1_000_000, count(it))).collect()
    };
    let running = [(0, 2), (10, 0), (20, 2), (30, 0), (40, 2), (60, 1), (70, 0)];
    assert_eq!(counted("running"), running);
    assert_eq!(counted("backing off"), [(10, 2), (20, 0)]);
    assert_eq!(counted("waiting for a permit"), [(50, 1), (60, 0)]);
    assert_eq!(counted("abandoned"), [(60, 1), (70, 0)]);
}

#[test]
fn a_group_is_drawn_with_who_restarted_and_stopped_it() {
    let mut feed = Feed::new(1);
    let culprit = Event::sample(EventKind::Admitted).task;
    let why = StopReason::Group;
    for (at, kind) in [
        (0, EventKind::GroupStarting),
        (10, EventKind::GroupReady { took: ms(10) }),
        (20, EventKind::GroupRestarting { culprit: culprit.clone(), restarts: 1 }),
        (30, EventKind::GroupReady { took: ms(10) }),
        (40, EventKind::GroupStopping { why, culprit }),
        (50, EventKind::GroupEnded),
    ] {
        feed.say_of_group(at, "line", kind);
    }
    let slices = read(&feed.log);
    let of = |label: &str, start, end| ("line".to_owned(), label.to_owned(), start, end);
    let expected = [
        of("starts", 0, 10),
        of("is up", 10, 20),
        of("restarts", 20, 30),
        of("is up", 30, 40),
        of("stops", 40, 50),
    ];
    assert_eq!(drawn(&slices, "groups"), expected);
    let text = |label: &str| slices.iter().find(|it| it.label == label).unwrap().text();
    assert_eq!(text("restarts"), "because of sample#1");
    assert_eq!(text("stops"), "group, because of sample#1");
}

/// Between its admission and its attempt, and when it goes back, a member waits for the others.
#[test]
fn a_member_waits_for_its_turn() {
    let mut feed = Feed::new(1);
    let told = Some(CancelReason::Group);
    for (at, kind) in [
        (0, submitted()),
        (0, EventKind::Admitted),
        (5, starting(1, "w1")),
        (8, EventKind::AttemptCancelled { attempt: 1, ran: ms(3), told, error: None }),
        (12, starting(2, "w1")),
    ] {
        let mut event = feed.event(at, kind);
        event.group = Some(Arc::from("line"));
        feed.timeline.on_event(&event);
    }
    let slices = read(&feed.log);
    let waits: Vec<_> = slices.iter().filter(|it| it.label == "waits to start").collect();
    let times: Vec<_> = waits.iter().map(|it| (it.start / 1_000_000, it.end / 1_000_000)).collect();
    assert_eq!(times, [(0, 5), (8, 12)]);
    assert!(waits.iter().all(|it| it.text() == "its turn in group line"), "{waits:?}");
    let cancelled = slices.iter().find(|it| it.label == "cancelled").unwrap();
    assert_eq!(cancelled.text(), "group", "why it was cancelled");
}

#[test]
fn processes_refusals_and_signs_of_a_hang_are_moments() {
    let mut feed = Feed::new(2);
    feed.begin(0, 0, "w1");
    feed.say(1, 0, EventKind::ProcessStarted { attempt: 1, pid: 7 });
    feed.say(2, 1, submitted());
    let why = Rejection::QueueFull { depth: 1, limit: 1 };
    let rejected = format!("rejected: {why}");
    feed.say(2, 1, EventKind::Rejected { why });
    let silent = EventKind::AttemptSilent { attempt: 1, silent_for: ms(20), mark: None };
    feed.say(3, 0, silent);
    feed.say(4, 0, EventKind::ProcessKilled { attempt: 1, pid: 7, why: "it hangs".into() });
    let (code, signal) = (Some(3), None);
    feed.say(5, 0, EventKind::ProcessExited { attempt: 1, pid: 7, code, signal, ran: ms(4) });
    let slices = read(&feed.log);
    let moments: Vec<_> = slices.iter().filter(|it| it.is_moment).collect();
    let mut said: Vec<_> = moments.iter().map(|it| (it.start, &*it.label, it.text())).collect();
    said.sort_unstable();
    let said: Vec<_> = said.into_iter().map(|(_, label, text)| (label, text)).collect();
    let expected = [
        ("event", "process 7 started"),
        ("event", &*rejected),
        ("warning", "attempt 1 has been silent for 20ms"),
        ("warning", "process 7 is killed: it hangs"),
        ("event", "process 7 ended after 4ms with code 3"),
    ];
    assert_eq!(said, expected);
}

/// What the page, the picture and the trace say went wrong, and nothing else.
#[test]
fn the_picture_lists_what_went_wrong_with_its_time_and_its_reason() {
    let mut feed = Feed::new(2);
    feed.begin(100, 0, "w1");
    feed.say(250, 0, failed(1, 150));
    feed.say(250, 0, retry(1, 50));
    feed.begin(260, 1, "w2");
    feed.say(300, 0, starting(2, "w1"));
    feed.say(350, 1, abandoned(1, 90, false));
    feed.say(360, 0, failed(2, 60));
    let outcome = Outcome::Failed { error: "boom".into() };
    feed.say(400, 0, EventKind::TaskEnded { outcome, not_retried: None });
    feed.say(900, 1, returned(1));
    let mut picture = Vec::new();
    feed.log.write_svg(&mut picture).unwrap();
    let picture = String::from_utf8(picture).unwrap();
    let list = picture.split_once("What went wrong</text>").unwrap().1;
    let texts = list.split("<text").skip(1).map(|it| it.split_once('>').unwrap().1);
    let lines: Vec<_> = texts.map(|it| it.split_once('<').unwrap().0).collect();
    let ids = feed.ids.iter().map(|id| u64::from(*id)).collect::<Vec<_>>();
    let expected = [
        format!("0.250 s task 0#{} attempt 1: failed: boom", ids[0]),
        format!("0.350 s task 1#{} attempt 1: {STUCK}: told: timeout", ids[1]),
        format!("0.360 s task 0#{} attempt 2: failed: boom", ids[0]),
        format!("0.400 s task 0#{}: ended after attempt 2: failed: boom", ids[0]),
    ];
    assert_eq!(lines, expected);
    assert!(picture.contains(">ended after attempt 2: failed: boom</text>"), "in its row, too");
}

/// The parts of an XML text are closed in their order, and its attributes are quoted.
fn check_xml(text: &str) {
    let mut open = Vec::new();
    for part in text.split('<').skip(1) {
        let (tag, after) = part.split_once('>').unwrap_or_else(|| panic!("not closed: {part}"));
        for after in after.split('&').skip(1) {
            let name = after.split_once(';').map(|it| it.0);
            assert!(matches!(name, Some("amp" | "lt" | "quot")), "{after}");
        }
        let name = tag.split([' ', '/']).next().unwrap();
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{part}"),
            None if tag.ends_with('/') => {}
            None => open.push(name),
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        assert_eq!(tag.matches('=').count(), tag.matches("=\"").count(), "{tag}");
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_picture_is_well_formed_and_no_larger_than_can_be_looked_at() {
    let mut feed = Feed::new(300);
    for n in 0..30_000_usize {
        let (at, name) = (n as u64, format!("<&\"task' {}>\u{ffff}", n % 300));
        let (task, attempt) = (n % 300, at / 300 + 1);
        feed.say_of(at, task, &name, None, starting(attempt, "w1"));
        let end = if n % 3 == 0 { failed(attempt, 1) } else { succeeded(attempt, 1) };
        feed.say_of(at + 1, task, &name, None, end);
        feed.say_of(at + 1, task, &name, None, retry(attempt, 1));
    }
    let mut picture = Vec::new();
    feed.log.write_svg(&mut picture).unwrap();
    let picture = String::from_utf8(picture).unwrap();
    check_xml(&picture);
    assert!(picture.contains("more that went wrong"));
    assert!(picture.len() < 3_000_000, "{}", picture.len());
}
