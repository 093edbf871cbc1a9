//! The picture as it stands, for viewers without script: what is narrower than a pixel is merged.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use super::kind::{Kind, Look, Shape};
use super::picture::{short, Picture, Slice, PARTS, THREADS};
use super::spans::{Span, Who};
use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::time::Seconds;

const WIDTH: f64 = 1200.0;
/// The width of the names of rows.
const NAMES: f64 = 190.0;
const ROW: usize = 22;
const MAX_ROWS: usize = 80;
/// The most lines about what went wrong, and their height.
const MAX_TROUBLE: usize = 12;
const LINE: usize = 16;
/// From so many slices on, the picture is coarse, so that it does not grow with them.
const MANY: usize = 2000;

pub(super) fn write(picture: &Picture, out: &mut impl Write) -> io::Result<()> {
    let tops = tops(picture);
    let bottom = tops.last().map_or(40, |top| top + ROW);
    let trouble = picture.trouble();
    let height = bottom + 60 + (trouble.len().min(MAX_TROUBLE) + 3) * LINE;
    write!(out, r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" "#)?;
    writeln!(out, r#"font-family="sans-serif" font-size="11">"#)?;
    writeln!(out, r#"<rect width="100%" height="100%" fill="white"/>"#)?;
    write_patterns(out)?;
    write_axis(picture, bottom, out)?;
    for (index, (row, top)) in picture.rows.iter().zip(&tops).enumerate() {
        if index == 0 || picture.rows[index - 1].part != row.part {
            let (y, name) = (top - 7, PARTS[row.part]);
            writeln!(out, r##"<text x="4" y="{y}" font-weight="bold" fill="#456">{name}</text>"##)?;
        }
        let name = cut(&row.name, 30);
        let (y, name) = (top + 14, Xml(&name));
        writeln!(out, r#"<text x="10" y="{y}">{name}</text>"#)?;
    }

    let seen = write_slices(picture, &tops, out)?;
    write_legend(&seen, bottom + 16, out)?;
    write_trouble(picture, &trouble, bottom + 70, out)
}

/// Where each row begins; each part leaves room for its name.
fn tops(picture: &Picture) -> Vec<usize> {
    let (mut top, mut part) = (8, usize::MAX);
    let shown = picture.rows.iter().take(MAX_ROWS);
    shown
        .map(|row| {
            top += if row.part == part { ROW } else { ROW + 20 };
            part = row.part;
            top
        })
        .collect()
}

// A place on a screen needs no more.
#[allow(clippy::cast_precision_loss)]
fn x_of(picture: &Picture, at: u64) -> f64 {
    let span = picture.to.saturating_sub(picture.from).max(1) as f64;
    NAMES + (WIDTH - NAMES - 10.0) * at.saturating_sub(picture.from) as f64 / span
}

/// In black and white, too, a reader sees which is which.
fn write_patterns(out: &mut impl Write) -> io::Result<()> {
    let turned = r#"patternUnits="userSpaceOnUse" patternTransform="rotate(45)""#;
    write!(out, r#"<defs><pattern id="h" width="6" height="6" {turned}>"#)?;
    write!(out, r##"<rect width="6" height="6" fill="#222"/>"##)?;
    writeln!(out, r##"<rect width="2" height="6" fill="#ddd"/></pattern></defs>"##)
}

fn write_axis(picture: &Picture, bottom: usize, out: &mut impl Write) -> io::Result<()> {
    let step = step(picture.to.saturating_sub(picture.from) / 8);
    let (unit, per) = match step {
        1_000_000_000.. => ("s", 1_000_000_000),
        1_000_000.. => ("ms", 1_000_000),
        _ => ("µs", 1_000),
    };
    let mut at = picture.from.next_multiple_of(step);
    while at <= picture.to && x_of(picture, at) < WIDTH - 40.0 {
        let (x, value) = (x_of(picture, at), at / per);
        writeln!(out, r##"<path d="M{x:.1} 20V{bottom}" stroke="#e3e6ea"/>"##)?;
        writeln!(out, r##"<text x="{x:.1}" y="14" fill="#666">{value} {unit}</text>"##)?;
        at += step;
    }
    Ok(())
}

/// The smallest of 1, 2, 5, 10, … microseconds that is not below.
fn step(least: u64) -> u64 {
    let tens = std::iter::successors(Some(1000_u64), |ten| ten.checked_mul(10));
    tens.flat_map(|ten| [ten, ten.saturating_mul(2), ten.saturating_mul(5)])
        .find(|step| *step >= least)
        .unwrap_or(u64::MAX)
}

/// Of what is narrower than a cell, one is drawn in each, and of trouble another one, above all.
/// Returns what there is.
fn write_slices(
    picture: &Picture,
    tops: &[usize],
    out: &mut impl Write,
) -> io::Result<BTreeSet<Kind>> {
    let (mut seen, mut drawn) = (BTreeSet::new(), HashSet::new());
    let cell = if picture.slices.len() > MANY { 4.0 } else { 1.0 };
    for above in [false, true] {
        for slice in picture.slices.iter().filter(|slice| slice.row < tops.len()) {
            let kind = picture.spans[slice.span].kind;
            let Look { shape, is_trouble, .. } = kind.look();
            let (x, end) = (x_of(picture, slice.start), x_of(picture, slice.end));
            // It is at most the width of the picture.
            #[allow(clippy::cast_possible_truncation)]
            let place = (slice.row, shape.depth(), (x / cell) as i64, is_trouble);
            let is_narrow = end - x < cell;
            if above == (is_narrow && is_trouble) && (!is_narrow || drawn.insert(place)) {
                seen.insert(kind);
                write_slice(picture, slice, (tops[slice.row], !is_narrow), out)?;
            }
        }
    }
    Ok(seen)
}

fn write_slice(
    picture: &Picture,
    slice: &Slice,
    (top, can_be_hit): (usize, bool),
    out: &mut impl Write,
) -> io::Result<()> {
    let span = &picture.spans[slice.span];
    let look = span.kind.look();
    let (x, end) = (x_of(picture, slice.start), x_of(picture, slice.end));
    let width = (end - x).max(if look.is_trouble { 2.0 } else { 1.0 });
    let (words, fill) = (span.words(), fill(look));
    let title = format!("<title>{}</title>", Xml(&words));
    // A task is a frame around its phases, and what an attempt was told a strip below it.
    let (y, height) = match look.shape {
        Shape::Frame => (top, 20),
        Shape::Bar | Shape::Hatched => (top + 3, 14),
        Shape::Strip => (top + 13, 4),
        Shape::Diamond => {
            // At the upper edge, so that the words of the slice can be read.
            write!(out, r#"<path d="M{x:.1} {top}l4 4-4 4-4-4z" fill="{fill}">"#)?;
            return writeln!(out, "{title}</path>");
        }
    };
    // In black and white, too, a reader sees which it is.
    let edge = if look.is_trouble { r##"stroke="#000" "## } else { "" };
    write!(out, r#"<rect x="{x:.1}" y="{y}" width="{width:.1}" height="{height}" "#)?;
    let title = if can_be_hit { &title } else { "" };
    writeln!(out, r#"{edge}fill="{fill}">{title}</rect>"#)?;
    let y = top + 14;
    if span.kind == Kind::GaveUp {
        // A later task in this row is drawn above it.
        let (x, words) = (end + 3.0, span.text.as_deref().unwrap_or_default());
        writeln!(out, r##"<text x="{x:.1}" y="{y}" fill="#a11">{}</text>"##, Xml(words))?;
    }
    // It is the width of a letter.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let room = (width / 6.2) as usize;
    if room >= 4 && matches!(look.shape, Shape::Bar | Shape::Hatched) {
        let (x, ink, words) = (x + 3.0, look.ink(), said(picture, slice, room));
        if look.shape == Shape::Hatched {
            let width = words.chars().count() * 6;
            write!(out, r#"<rect x="{x:.1}" y="{}" width="{width}" height="12" "#, top + 4)?;
            writeln!(out, r##"fill="#222"/>"##)?;
        }
        writeln!(out, r#"<text x="{x:.1}" y="{y}" fill="{ink}">{}</text>"#, Xml(&words))?;
    }
    Ok(())
}

/// What stands in a slice: what the names of its part and row do not say, in so many characters.
fn said(picture: &Picture, slice: &Slice, room: usize) -> String {
    let (span, row) = (&picture.spans[slice.span], &picture.rows[slice.row]);
    let (label, attempt) = (span.kind.look().label, span.attempt);
    let name = match &span.who {
        Who::Task(task) => Some(short(&task.name)).filter(|name| *name != row.name),
        Who::Group(_) | Who::Supervisor => None,
    };
    let name = name.map_or_else(String::new, |name| format!("{name} "));
    let text = span.text.as_deref().filter(|_| row.part != THREADS);
    let what = text.map_or_else(|| label.to_owned(), |text| format!("{label}: {text}"));
    if attempt == 0 {
        let most = format!("{name}{what}");
        let least = format!("{name}{}", text.unwrap_or(label));
        return if most.chars().count() <= room { most } else { cut(&least, room) };
    }
    let most = format!("{name}attempt {attempt} {what}");
    if most.chars().count() <= room {
        most
    } else if format!("{name}{attempt} {label}").chars().count() <= room {
        cut(&format!("{name}{attempt} {what}"), room)
    } else {
        cut(&if name.is_empty() { attempt.to_string() } else { name }, room)
    }
}

fn cut(text: &str, room: usize) -> String {
    match text.char_indices().nth(room) {
        Some(_) => text.chars().take(room - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

fn fill(look: Look) -> String {
    match look.shape {
        Shape::Hatched => "url(#h)".to_owned(),
        Shape::Frame | Shape::Bar | Shape::Strip | Shape::Diamond => {
            format!("#{:06x}", look.colour)
        }
    }
}

fn write_legend(seen: &BTreeSet<Kind>, top: usize, out: &mut impl Write) -> io::Result<()> {
    let (mut x, mut y) = (10, top);
    for kind in seen {
        let (label, fill) = (kind.look().label, fill(kind.look()));
        let width = 32 + label.len() * 6;
        if x + width > 1190 {
            (x, y) = (10, y + LINE);
        }
        writeln!(out, r#"<rect x="{x}" y="{y}" width="12" height="12" fill="{fill}"/>"#)?;
        writeln!(out, r#"<text x="{}" y="{}">{label}</text>"#, x + 16, y + 10)?;
        x += width;
    }
    Ok(())
}

/// What went wrong, and what is missing.
fn write_trouble(
    picture: &Picture,
    trouble: &[(u64, &Span)],
    mut y: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    if !trouble.is_empty() {
        writeln!(out, r#"<text x="10" y="{y}" font-weight="bold">What went wrong</text>"#)?;
        y += LINE;
    }
    for (at, span) in trouble.iter().take(MAX_TROUBLE) {
        let (seconds, words) = (Seconds(Duration::from_nanos(*at)), cut(&span.words(), 180));
        writeln!(out, r#"<text x="10" y="{y}">{seconds} s {}</text>"#, Xml(&words))?;
        y += LINE;
    }
    let Picture { evicted, lost, .. } = picture;
    let troubles = trouble.len().saturating_sub(MAX_TROUBLE);
    let rows = picture.rows.len().saturating_sub(MAX_ROWS);
    if evicted + lost > 0 || troubles + rows > 0 {
        let missing = format!("{evicted} older spans that gave way, {lost} lost events");
        let more = format!("{troubles} more that went wrong, {rows} more rows");
        writeln!(out, r#"<text x="10" y="{y}">Not shown: {missing}, {more}</text>"#)?;
    }
    writeln!(out, "</svg>")
}

/// A text within XML.
struct Xml<'a>(&'a str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in Escaped(self.0).to_string().chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '"' => f.write_str("&quot;")?,
                // XML has no place for them.
                '\u{fffe}' | '\u{ffff}' => f.write_str("?")?,
                _ => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}
