//! Events that are made up: each mistake that a picture could make.

use super::*;

fn row(name: &str, label: &str, start: u64, end: u64) -> (String, String, u64, u64) {
    (name.to_owned(), label.to_owned(), start, end)
}

/// The life of a task, phase by phase, and why it waited.
#[test]
fn each_phase_of_a_task_is_drawn_with_what_it_waits_for() {
    let mut feed = Feed::new(2);
    feed.begin(0, 0, "w1");
    feed.say(1, 1, submitted());
    feed.say(1, 1, EventKind::Queued { depth: 1 });
    feed.say(5, 0, stopping(1, CancelReason::Stop));
    feed.say(8, 0, succeeded(1, 8));
    feed.say(8, 0, ended());
    feed.say(8, 1, EventKind::Admitted);
    feed.say(8, 1, EventKind::WaitingForPermit { class: Some("flash".into()) });
    feed.say(12, 1, starting(1, "w2"));
    feed.say(15, 1, failed(1, 3));
    feed.say(15, 1, retry(1, 4));
    feed.say(19, 1, starting(2, "w1"));
    feed.say(20, 1, EventKind::AttemptOverdue { attempt: 2, ran: ms(1), ready_within: None });
    feed.say(22, 1, EventKind::TaskPaused);
    feed.say(23, 1, succeeded(2, 4));
    feed.say(25, 1, EventKind::TaskResumed);
    feed.say(26, 1, EventKind::TaskClosing);
    feed.say(27, 1, ended());

    let slices = read(&feed.log);
    let expected = [
        row("slot", "succeeded", 0, 8),
        row("slot", "queued", 1, 8),
        row("slot", "told to return", 5, 8),
        row("slot", "waits for a permit", 8, 12),
        row("slot", "failed", 12, 15),
        row("slot", "backoff", 15, 19),
        row("slot", "succeeded", 19, 23),
        row("slot", "warning", 20, 20),
        row("slot", "paused", 23, 25),
        row("slot", "waits to start", 25, 26),
        row("slot", "is dropped", 26, 27),
    ];
    assert_eq!(drawn(&slices, "slots and tasks"), expected);
    let threads = [("w1", "succeeded", 0, 8), ("w2", "failed", 12, 15)];
    let expected = threads.map(|(name, label, start, end)| row(name, label, start, end));
    assert_eq!(drawn(&slices, "threads")[..2], expected);
    let text = |label: &str| slices.iter().find(|it| it.label == label).unwrap().text();
    assert!(text("queued").starts_with("behind task 0#"), "{}", text("queued"));
    assert_eq!(text("waits for a permit"), "class flash");
    assert_eq!(text("backoff"), "0.004 s, failed: boom");
    assert_eq!(text("told to return"), "stop, grace 3.000 s");
    // The queued task stands beside the owner, not in it.
    let rows = slices.iter().filter(|it| it.group == "slots and tasks").map(|it| it.row.0);
    assert_eq!(rows.collect::<std::collections::BTreeSet<_>>().len(), 2);
}

#[test]
fn what_is_learnt_of_in_one_turn_does_not_overlap() {
    let mut feed = Feed::new(3);
    for task in 0..3 {
        // The controller was busy, and hears of the claims and the returns at once.
        feed.say_of(50, task, "burst", None, submitted());
        feed.say_of(50, task, "burst", None, EventKind::Admitted);
        feed.say_of(50, task, "burst", None, starting(1, "w1"));
        feed.say_of(50, task, "burst", None, succeeded(1, 20));
        feed.say_of(50, task, "burst", None, ended());
    }
    let threads = drawn(&read(&feed.log), "threads");
    assert_eq!(threads.len(), 3);
    assert!(threads.iter().all(|it| it.0 == "w1" && it.3 <= 50), "{threads:?}");
}

/// A claim may be heard of when the body has long returned, which says how long it ran.
#[test]
fn an_attempt_is_drawn_as_long_as_it_ran() {
    let mut feed = Feed::new(1);
    feed.say(0, 0, submitted());
    feed.say(0, 0, EventKind::Admitted);
    feed.say(30, 0, starting(1, "w1"));
    feed.say(31, 0, succeeded(1, 20));
    let slices = read(&feed.log);
    assert_eq!(drawn(&slices, "threads"), [row("w1", "succeeded", 11, 31)]);
    let own = drawn(&slices, "slots and tasks");
    assert_eq!(own[..2], [row("slot", "waits to start", 0, 11), row("slot", "succeeded", 11, 31),]);
}

#[test]
fn an_abandoned_attempt_has_a_row_beside_the_one_that_replaces_it() {
    let mut feed = Feed::new(1);
    feed.begin(0, 0, "w1");
    feed.say(5, 0, stopping(1, CancelReason::Timeout));
    feed.say(10, 0, abandoned(1, 10, true));
    feed.say(10, 0, retry(1, 2));
    feed.say(12, 0, starting(2, "w2"));
    feed.say(20, 0, succeeded(2, 8));
    feed.say(20, 0, ended());
    let before = read(&feed.log);
    assert_eq!(drawn(&before, "abandoned"), [row("task 0", STUCK, 10, 20)]);
    assert!(before.iter().any(|it| it.label == STUCK && it.args["unfinished"] == true));

    feed.say(30, 0, returned(1));
    let slices = read(&feed.log);
    assert_eq!(drawn(&slices, "abandoned"), [row("task 0", STUCK, 10, 30)]);
    let threads =
        [row("w1", "abandoned", 0, 10), row("w1", STUCK, 10, 30), row("w2", "succeeded", 12, 20)];
    assert_eq!(drawn(&slices, "threads"), threads);
    assert!(!slices.iter().any(|it| it.args["unfinished"] == true));
}

/// What the thread does there belongs to that row, whatever the number of the last attempt was.
#[test]
fn a_drop_that_hangs_has_a_row_and_no_moment() {
    let mut feed = Feed::new(1);
    feed.begin(0, 0, "w1");
    feed.say(5, 0, failed(1, 5));
    feed.say(6, 0, starting(2, "w1"));
    feed.say(10, 0, succeeded(2, 4));
    feed.say(10, 0, EventKind::TaskClosing);
    feed.say(20, 0, EventKind::ClosingAbandoned { thread: Some("w1".into()) });
    feed.say(21, 0, EventKind::StallReport { attempt: 2, stall: threadvisor::Stall::default() });
    feed.say(30, 0, EventKind::ClosingReturned { late_by: ms(10) });
    feed.say(30, 0, ended());
    let slices = read(&feed.log);
    assert_eq!(drawn(&slices, "abandoned"), [row("task 0", STUCK, 20, 30)]);
    let stuck = slices.iter().find(|it| it.label == STUCK).unwrap();
    assert!(stuck.text().starts_with("the drop of its body; "), "{stuck:?}");
    assert!(!slices.iter().any(|it| it.is_moment), "{slices:?}");
}

/// Under `Hold` the slot waits for the thread, and so do those behind.
#[test]
fn an_abandoned_attempt_holds_its_slot_in_the_picture() {
    let mut feed = Feed::new(2);
    feed.begin(0, 0, "w1");
    feed.say(10, 0, abandoned(1, 10, false));
    feed.say(10, 0, ended());
    feed.say(11, 1, submitted());
    feed.say(11, 1, EventKind::Queued { depth: 1 });
    feed.say(30, 0, returned(1));
    feed.say(30, 1, EventKind::Admitted);
    let slices = read(&feed.log);
    let queued = slices.iter().find(|it| it.label == "queued").unwrap();
    assert!(queued.text().starts_with("behind task 0#"), "{queued:?}");
}

#[test]
fn after_lost_events_what_was_open_ends_and_what_follows_is_right() {
    let mut feed = Feed::new(2);
    feed.begin(0, 0, "w1");
    // Of the queue, events from before the loss come after the report of it.
    let (dropped, first, last) = (96, 5, 100);
    feed.say_of_all(10, EventKind::SubscriberOverflow { dropped, first, last });
    feed.seq = 3;
    feed.say(10, 0, stopping(1, CancelReason::Stop));
    assert!(read(&feed.log).iter().any(|it| it.label == "told to return"));
    feed.seq = 100;
    feed.begin(20, 1, "w1");
    feed.say(25, 1, succeeded(1, 5));
    feed.say(25, 1, ended());
    let slices = read(&feed.log);
    assert_eq!(feed.log.dropped(), 96);
    let runs = slices.iter().find(|it| it.label == "runs" && it.group == "threads").unwrap();
    assert_eq!((runs.end, &runs.args["unfinished"]), (20_000_000, &Value::Bool(true)));
    let threads = drawn(&slices, "threads");
    assert_eq!(threads[1], row("w1", "succeeded", 20, 25));
}

#[test]
fn the_oldest_spans_give_way_and_tasks_outlive_their_attempts() {
    let mut feed = Feed::with_capacity(20, 10);
    for task in 0..20 {
        let at = task as u64 * 10;
        feed.begin(at, task, "w1");
        feed.say(at + 5, task, succeeded(1, 5));
        feed.say(at + 5, task, ended());
    }
    let slices = read(&feed.log);
    let count = |label: &str, group: &str| {
        slices.iter().filter(|it| it.label == label && it.group == group).count()
    };
    assert_eq!(count("succeeded", "slots and tasks"), 5);
    assert_eq!(count("task", "slots and tasks"), 5);
    assert_eq!(feed.log.dropped(), 30);
    assert!(slices.iter().all(|it| it.start >= 150_000_000));
}

#[test]
fn odd_names_and_texts_do_no_harm() {
    let long = "x".repeat(10_000);
    let names = ["\"quoted\" \\ </script>", "line\nbreak\u{2028}\u{7f}", "🦀 größe", &long, "<!--"];
    let mut feed = Feed::new(names.len());
    for (task, name) in names.iter().enumerate() {
        feed.say_of(0, task, name, Some(name), submitted());
        feed.say_of(0, task, name, Some(name), starting(1, name));
        let error = TaskError::from(format!("{name}: failed"));
        let kind = EventKind::AttemptFailed { attempt: 1, ran: ms(1), error };
        feed.say_of(5, task, name, Some(name), kind);
    }
    let slices = read(&feed.log);
    let attempts = slices.iter().filter(|it| it.is_attempt() && it.group == "threads");
    let mut seen: Vec<_> = attempts.map(|it| it.args["task"].as_str().unwrap()).collect();
    seen.sort_unstable();
    assert!(seen.contains(&names[0]) && seen.contains(&names[2]), "{seen:?}");
    assert!(seen.contains(&"line\\nbreak\\u{2028}\\u{7f}"), "{seen:?}");
    assert!(seen.iter().any(|name| name.starts_with("xxx") && name.len() < 300));

    let (mut page, mut picture) = (Vec::new(), Vec::new());
    feed.log.write_html(&mut page).unwrap();
    feed.log.write_svg(&mut picture).unwrap();
    let (page, picture) = (String::from_utf8(page).unwrap(), String::from_utf8(picture).unwrap());
    assert_eq!(page.matches("</script").count(), 2);
    assert!(!page.contains("<!--") && !picture.contains("</script>"));
    assert!(page.len() < 100_000, "{}", page.len());
    assert!(read_page(&feed.log).iter().any(|it| it.4 == "line\\nbreak\\u{2028}\\u{7f}: failed"));
}

#[test]
fn a_page_needs_nothing_else() {
    let mut feed = Feed::new(1);
    feed.begin(0, 0, "w1");
    let mut page = Vec::new();
    feed.log.write_html(&mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    for foreign in ["src=", "href=", "@import", "fetch(", "XMLHttp"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let addresses: Vec<_> = page.match_indices("://").collect();
    assert_eq!(addresses.len(), 1, "only the name of the format");
    assert!(page.len() < 20_000, "{}", page.len());
}

#[test]
fn of_ten_thousand_slots_the_first_have_rows_and_all_attempts_are_seen() {
    let mut feed = Feed::new(10_000);
    for task in 0..10_000 {
        let (at, name) = (task as u64, format!("slot {task}"));
        for kind in [submitted(), EventKind::Admitted, starting(1, "w1")] {
            feed.say_of(at, task, &name, Some(&name), kind);
        }
        let end = if task == 9_999 { failed(1, 1) } else { succeeded(1, 1) };
        feed.say_of(at + 1, task, &name, Some(&name), end);
        feed.say_of(at + 1, task, &name, Some(&name), ended());
    }
    let slices = read(&feed.log);
    let own: Vec<_> = slices.iter().filter(|it| it.group != "threads").collect();
    let rows: std::collections::BTreeSet<_> = own.iter().map(|it| it.row.clone()).collect();
    assert_eq!(rows.len(), 501);
    assert_eq!(own.iter().filter(|it| it.is_attempt()).count(), 10_000);
    assert_eq!(drawn(&slices, "attempts of other tasks").len(), 9_500);
    // The one with trouble has a row, though it came last.
    assert!(rows.iter().any(|(_, name)| name == "slot 9999"));
}

#[test]
fn a_year_is_exact_and_a_moment_is_visible() {
    let mut feed = Feed::new(2);
    let year = 365 * 24 * 3600 * 1000;
    feed.begin(0, 0, "w1");
    feed.begin(year, 1, "w2");
    feed.say(year, 1, succeeded(1, 0));
    let slices = read(&feed.log);
    let attempt = slices.iter().find(|it| it.group == "threads" && it.row.1 == "w2").unwrap();
    assert_eq!(attempt.start, year * 1_000_000);
    assert_eq!(attempt.end, attempt.start);
    let mut picture = Vec::new();
    feed.log.write_svg(&mut picture).unwrap();
    let picture = String::from_utf8(picture).unwrap();
    let (task, attempt) = (r##"height="20" fill="#e9edf2""##, r##"height="14" fill="#55a868""##);
    for it in [task, attempt] {
        let shown = picture.lines().filter(|line| line.contains(it));
        assert!(shown.clone().count() >= 1, "{picture}");
        assert!(shown.clone().all(|line| !line.contains("width=\"0")), "{picture}");
    }
}

#[test]
fn a_thread_name_that_comes_again_has_one_row_unless_two_have_it_at_once() {
    let mut feed = Feed::new(4);
    for task in 0..2 {
        let at = task as u64 * 10;
        feed.begin(at, task, "mine");
        feed.say(at + 5, task, succeeded(1, 5));
        feed.say(at + 5, task, ended());
    }
    let rows = |slices: &[Slice]| {
        let rows = slices.iter().filter(|it| it.group == "threads").map(|it| it.row.0);
        rows.collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(rows(&read(&feed.log)), 1);
    feed.begin(30, 2, "mine");
    feed.begin(31, 3, "mine");
    assert_eq!(rows(&read(&feed.log)), 2);
}

/// Events in any order, as after losses: nothing panics, and no picture is wrong.
fn any_order(count: u64) {
    const TASKS: u32 = 12;
    let mut feed = Feed::with_capacity(TASKS as usize, 5_000);
    let mut state = 0x9e37_79b9_u64;
    let mut draw = |n: u32| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(state >> 33).unwrap() % n
    };
    let mut at = 0;
    for n in 0..count {
        at += u64::from(draw(3));
        let (task, attempt, ran) = (draw(TASKS), u64::from(draw(3)) + 1, u64::from(draw(30)));
        let thread = format!("w{}", draw(4));
        let kind = match draw(22) {
            0..=2 => submitted(),
            3 => EventKind::Queued { depth: 1 },
            4 | 5 => EventKind::Admitted,
            6 => EventKind::WaitingForPermit { class: None },
            7..=9 => starting(attempt, &thread),
            10 => stopping(attempt, CancelReason::Stop),
            11 | 12 => succeeded(attempt, ran),
            13 => failed(attempt, ran),
            14 => abandoned(attempt, ran, ran % 2 == 0),
            15 => returned(attempt),
            16 => retry(attempt, ran),
            17 => EventKind::TaskPaused,
            18 => EventKind::TaskResumed,
            19 => EventKind::TaskClosing,
            20 => EventKind::ClosingAbandoned { thread: Some(thread.into()) },
            _ => ended(),
        };
        let slot = (task % 3 > 0).then(|| format!("slot {}", task % 4));
        feed.say_of(at, task as usize, &format!("task {}", task % 5), slot.as_deref(), kind);
        if draw(500) == 0 {
            let (first, last) = (feed.seq + 1, feed.seq + 10);
            feed.say_of_all(at, EventKind::SubscriberOverflow { dropped: 10, first, last });
            feed.seq += 10;
        }
        if n % (count / 4) == 0 {
            read(&feed.log);
        }
    }
    let slices = read(&feed.log);
    assert!(slices.len() > 500);
}

#[test]
fn slices_nest_whatever_the_order_of_events() {
    any_order(3_000);
}

/// Run by `.ci/deep timeline`.
#[test]
#[ignore = "takes minutes"]
fn slices_nest_whatever_the_order_of_a_million_events() {
    any_order(1_000_000);
}

/// Pages to open in a browser, with lives of tasks as they are: also run by `.ci/deep timeline`.
#[test]
#[ignore = "writes files"]
fn pages_of_a_hundred_to_a_hundred_thousand_spans() {
    for spans in [100, 10_000, 100_000] {
        const TASKS: usize = 40;
        let mut feed = Feed::with_capacity(TASKS, spans);
        let (mut at, mut attempt) = (0, 0);
        while feed.log.dropped() == 0 {
            attempt += 1;
            for task in 0..TASKS {
                let (name, thread) = (format!("task {task}"), format!("w{}", task % 8));
                let mut say = |at, kind| feed.say_of(at, task, &name, Some(&name), kind);
                at += 2;
                say(at, EventKind::WaitingForPermit { class: Some("flash".into()) });
                say(at + 1, starting(attempt, &thread));
                match (task, attempt % 50) {
                    (0..=3, 0) => {
                        say(at + 2, failed(attempt, 1));
                        say(at + 2, retry(attempt, 50));
                    }
                    (4, 7) => {
                        say(at + 1, stopping(attempt, CancelReason::Timeout));
                        say(at + 2, abandoned(attempt, 1, true));
                        say(at + 2, returned(attempt));
                        say(at + 2, retry(attempt, 50));
                    }
                    _ => {
                        say(at + 2, succeeded(attempt, 1));
                        say(at + 2, EventKind::RunScheduled { attempt, delay: ms(70) });
                    }
                }
            }
        }
        let page = std::env::temp_dir().join(format!("timeline-{spans}.html"));
        feed.log.write_html(std::fs::File::create(page).unwrap()).unwrap();
        let picture = std::env::temp_dir().join(format!("timeline-{spans}.svg"));
        feed.log.write_svg(std::fs::File::create(picture).unwrap()).unwrap();
    }
}
