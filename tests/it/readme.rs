//! That the front page shows what its example prints.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use threadvisor::crossbeam_channel::bounded;
use threadvisor::prelude::*;

use crate::support::next;

/// The lines in an order of their own, because threads differ in theirs, and without what differs
/// each time: times, and which thread it was.
fn told(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(without_chance).collect();
    lines.sort();
    lines
}

fn without_chance(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let (key, value) = word.split_once('=').map_or(("", word), |(key, value)| (key, value));
        let is_time = value.trim_end_matches('s').parse::<f64>().is_ok() && value.contains('.');
        if is_time || key == "thread" {
            format!("{key}=*")
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
#[cfg(target_os = "linux")]
fn the_front_page_shows_what_its_example_prints() {
    let page = include_str!("../../README.md");
    let (_, shown) = page.split_once("It prints this").unwrap();
    let shown = shown.split("```text\n").nth(1).unwrap().split("```").next().unwrap();

    let printed = Arc::new(Mutex::new(Vec::new()));
    let prints = Arc::clone(&printed);
    let note = move |event: &Event| prints.lock().unwrap().push(format!("{event}\n"));
    let supervisor = Supervisor::builder().on_event(note).start().unwrap();
    let (started, is_started) = bounded(1);
    // This is its example, but that the second attempt waits until the other task runs.
    let sensor = TaskSpec::new("sensor", move |ctx| {
        let path = if ctx.attempt() == 1 { "/no/such/sensor" } else { "Cargo.toml" };
        let text = std::fs::read_to_string(path)?;
        assert!(!text.is_empty());
        next(&is_started);
        Ok(())
    })
    .backoff(BackoffPolicy::constant(Duration::from_millis(100)))
    .shutdown_on_end();
    let blink = TaskSpec::new("blink", move |ctx| {
        let _ = started.send(());
        Ok(ctx.sleep(Duration::MAX)?)
    });
    let report = supervisor.run([sensor, blink]).unwrap();
    let printed = format!("{}{report}\n", printed.lock().unwrap().concat());
    assert_eq!(told(shown), told(&printed), "README.md shows\n{shown}\nand it prints\n{printed}");
}
