//! The trace event format of Chrome, which Perfetto reads too: one JSON object for each slice.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, Write};

use super::kind::{Kind, Shape};
use super::picture::{short, Picture, Slice, PARTS, TASKS};
use super::spans::{Span, Who};
use crate::vocabulary::escaped::Escaped;

pub(super) fn write(picture: &Picture, out: &mut impl Write) -> io::Result<()> {
    let Picture { evicted, lost, .. } = picture;
    writeln!(out, r#"{{"otherData":{{"spans_evicted":{evicted},"events_lost":{lost}}},"#)?;
    writeln!(out, r#""displayTimeUnit":"ms","traceEvents":["#)?;
    for (pid, name) in PARTS.iter().enumerate() {
        let head = format!(r#""ph":"M","pid":{pid}"#);
        writeln!(out, r#"{{{head},"name":"process_name","args":{{"name":"{name}"}}}},"#)?;
        writeln!(out, r#"{{{head},"name":"process_sort_index","args":{{"sort_index":{pid}}}}},"#)?;
    }
    for (tid, row) in picture.rows.iter().enumerate() {
        let head = format!(r#""ph":"M","pid":{},"tid":{tid}"#, row.part);
        let name = Quoted(&row.name);
        writeln!(out, r#"{{{head},"name":"thread_name","args":{{"name":{name}}}}},"#)?;
        writeln!(out, r#"{{{head},"name":"thread_sort_index","args":{{"sort_index":{tid}}}}},"#)?;
    }
    for slice in &picture.slices {
        write_slice(picture, slice, out)?;
    }
    write_retries(picture, out)?;
    write_counters(&picture.spans, out)?;
    // No comma may follow the last.
    let end = Micros(picture.to);
    writeln!(out, r#"{{"ph":"i","s":"g","name":"written","ts":{end},"pid":0,"tid":0}}]}}"#)
}

fn write_slice(picture: &Picture, slice: &Slice, out: &mut impl Write) -> io::Result<()> {
    let span = &picture.spans[slice.span];
    let look = span.kind.look();
    let (title, label, place) = (span.title(), look.label, Place(picture, slice));
    let ts = Micros(slice.start);
    write!(out, r#"{{"name":{},"cat":"{label}","ts":{ts},{place},"#, Quoted(&title))?;
    if look.shape == Shape::Diamond {
        write!(out, r#""ph":"i","s":"t","#)?;
    } else {
        let (dur, colour) = (Micros(slice.end - slice.start), look.chrome);
        write!(out, r#""ph":"X","dur":{dur},"cname":"{colour}","#)?;
    }
    write!(out, r#""args":{{"text":{}"#, Quoted(span.text.as_deref().unwrap_or("")))?;
    if let Who::Task(task) = &span.who {
        write!(out, r#","task":{},"id":{}"#, Quoted(&short(&task.name)), task.id.get())?;
    }
    if span.attempt > 0 {
        write!(out, r#","attempt":{}"#, span.attempt)?;
    }
    if let Some(thread) = &span.thread {
        write!(out, r#","thread":{}"#, Quoted(&short(thread)))?;
    }
    if span.open {
        write!(out, r#","unfinished":true"#)?;
    }
    writeln!(out, "}}}},")
}

/// An arrow from each attempt that failed to the one that retries it.
fn write_retries(picture: &Picture, out: &mut impl Write) -> io::Result<()> {
    let mut failed = HashMap::new();
    for slice in picture.slices.iter().filter(|slice| picture.rows[slice.row].part == TASKS) {
        let span = &picture.spans[slice.span];
        let Who::Task(task) = &span.who else { continue };
        if !span.kind.is_attempt() {
            continue;
        }
        if let Some((from, place)) = failed.remove(&(task.id, span.attempt.saturating_sub(1))) {
            let head = format!(
                r#""cat":"retry","name":"retry","id":"{}.{}""#,
                task.id.get(),
                span.attempt
            );
            let (from, to, into) = (Micros(from), Micros(slice.start), Place(picture, slice));
            writeln!(out, r#"{{{head},"ph":"s","ts":{from},{place}}},"#)?;
            writeln!(out, r#"{{{head},"ph":"f","bp":"e","ts":{to},{into}}},"#)?;
        }
        if span.kind.look().is_trouble {
            let end = slice.end.saturating_sub(1).max(slice.start);
            failed.insert((task.id, span.attempt), (end, Place(picture, slice)));
        }
    }
    Ok(())
}

/// How many there were of what a reader may want to see growing.
fn write_counters(spans: &[Span], out: &mut impl Write) -> io::Result<()> {
    let mut changes = BTreeMap::<(&str, u64), i64>::new();
    for span in spans {
        let name = match span.kind {
            Kind::Permit => "waiting for a permit",
            Kind::Backoff => "backing off",
            Kind::Stuck => "abandoned",
            kind if kind.is_attempt() => "running",
            _ => continue,
        };
        *changes.entry((name, span.start)).or_default() += 1;
        *changes.entry((name, span.end)).or_default() -= 1;
    }
    let mut counts = BTreeMap::new();
    for ((name, at), change) in changes.into_iter().filter(|(_, change)| *change != 0) {
        let count = counts.entry(name).or_insert(0);
        *count += change;
        let ts = Micros(at);
        write!(out, r#"{{"ph":"C","name":"{name}","ts":{ts},"pid":0,"#)?;
        writeln!(out, r#""args":{{"tasks":{count}}}}},"#)?;
    }
    Ok(())
}

/// The row of a slice.
struct Place<'a>(&'a Picture, &'a Slice);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(picture, Slice { row, .. }) = self;
        write!(f, r#""pid":{},"tid":{row}"#, picture.rows[*row].part)
    }
}

/// Nanoseconds as microseconds.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// A string of JSON, which does no harm within a page either.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        // What is escaped for a terminal has no control characters left.
        for c in Escaped(self.0).to_string().chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '<' => f.write_str("\\u003c")?,
                _ => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}
