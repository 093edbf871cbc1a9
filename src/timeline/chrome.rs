//! The trace event format of Chrome, which Perfetto reads too: one JSON object for each slice.

use std::fmt;
use std::io::{self, Write};

use super::kind::Kind;
use super::picture::{short, Picture, Slice, GROUPS};
use crate::vocabulary::escaped::Escaped;

pub(super) fn write(picture: &Picture, out: &mut impl Write) -> io::Result<()> {
    let Picture { evicted, lost, .. } = picture;
    writeln!(out, r#"{{"otherData":{{"spans_evicted":{evicted},"events_lost":{lost}}},"#)?;
    writeln!(out, r#""displayTimeUnit":"ms","traceEvents":["#)?;
    for (pid, name) in GROUPS.iter().enumerate() {
        let meta = |what, key, value: &dyn fmt::Display| {
            format!(r#"{{"ph":"M","name":"{what}","pid":{pid},"args":{{"{key}":{value}}}}},"#)
        };
        writeln!(out, "{}", meta("process_name", "name", &Quoted(name)))?;
        writeln!(out, "{}", meta("process_sort_index", "sort_index", &pid))?;
    }
    for (tid, row) in picture.rows.iter().enumerate() {
        let (pid, name) = (row.group, Quoted(&row.name));
        let head = format!(r#""ph":"M","pid":{pid},"tid":{tid}"#);
        writeln!(out, r#"{{{head},"name":"thread_name","args":{{"name":{name}}}}},"#)?;
        writeln!(out, r#"{{{head},"name":"thread_sort_index","args":{{"sort_index":{tid}}}}},"#)?;
    }
    for slice in &picture.slices {
        write_slice(picture, slice, out)?;
    }
    // No comma may follow the last.
    let end = Micros(picture.to);
    writeln!(out, r#"{{"ph":"i","s":"g","name":"written","ts":{end},"pid":0,"tid":0}}]}}"#)
}

fn write_slice(picture: &Picture, slice: &Slice, out: &mut impl Write) -> io::Result<()> {
    let span = &picture.spans[slice.span];
    let (label, _, colour) = span.kind.look();
    let name = match &span.task {
        Some(task) if span.kind == Kind::Task => short(&task.name),
        Some(task) if span.kind.is_attempt() || span.kind == Kind::Stuck => {
            format!("{} attempt {}: {label}", short(&task.name), span.attempt)
        }
        _ => label.to_owned(),
    };
    let (pid, tid) = (picture.rows[slice.row].group, slice.row);
    let (name, ts) = (Quoted(&name), Micros(slice.start));
    write!(out, r#"{{"name":{name},"cat":"{label}","ts":{ts},"pid":{pid},"tid":{tid},"#)?;
    if span.kind == Kind::Note {
        write!(out, r#""ph":"i","s":"t","#)?;
    } else {
        let dur = Micros(slice.end - slice.start);
        write!(out, r#""ph":"X","dur":{dur},"cname":"{colour}","#)?;
    }
    write!(out, r#""args":{{"text":{}"#, Quoted(span.text.as_deref().unwrap_or("")))?;
    if let Some(task) = &span.task {
        write!(out, r#","task":{},"id":{}"#, Quoted(&short(&task.name)), task.id.get())?;
    }
    if span.attempt > 0 {
        write!(out, r#","attempt":{}"#, span.attempt)?;
    }
    if let Some((thread, _)) = &span.thread {
        write!(out, r#","thread":{}"#, Quoted(&short(thread)))?;
    }
    if span.open {
        write!(out, r#","unfinished":true"#)?;
    }
    writeln!(out, "}}}},")
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
