//! The picture as it stands, for viewers without script: what is narrower than a pixel is merged.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};

use super::kind::Kind;
use super::picture::{Picture, Slice, GROUPS};
use crate::vocabulary::escaped::Escaped;

const WIDTH: f64 = 1200.0;
/// The width of the names of rows.
const NAMES: f64 = 190.0;
const ROW: usize = 22;
const MAX_ROWS: usize = 80;

pub(super) fn write(picture: &Picture, out: &mut impl Write) -> io::Result<()> {
    let shown = picture.rows.len().min(MAX_ROWS);
    let tops = tops(picture);
    let height = tops.last().map_or(40, |top| top + ROW) + 70;
    write!(out, r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" "#)?;
    writeln!(out, r#"font-family="sans-serif" font-size="11">"#)?;
    writeln!(out, r#"<rect width="100%" height="100%" fill="white"/>"#)?;
    write_patterns(out)?;
    write_axis(picture, height, out)?;
    for (index, (row, top)) in picture.rows.iter().zip(&tops).enumerate() {
        if index == 0 || picture.rows[index - 1].group != row.group {
            let (y, name) = (top - 7, GROUPS[row.group]);
            writeln!(out, r##"<text x="4" y="{y}" font-weight="bold" fill="#456">{name}</text>"##)?;
        }
        let name = cut(&row.name, 30);
        let (y, name) = (top + 14, Xml(&name));
        writeln!(out, r#"<text x="10" y="{y}">{name}</text>"#)?;
    }

    let mut seen = BTreeSet::new();
    let mut last = (usize::MAX, u8::MAX, 0);
    for slice in picture.slices.iter().filter(|slice| slice.row < shown) {
        let kind = picture.spans[slice.span].kind;
        #[allow(clippy::cast_possible_truncation, reason = "at most the width of the picture")]
        let place = (slice.row, slice.depth, x_of(picture, slice.start) as i64);
        let is_thin = x_of(picture, slice.end) - x_of(picture, slice.start) < 1.0;
        if !(is_thin && place == last) || kind.is_trouble() {
            seen.insert(kind);
            write_slice(picture, slice, tops[slice.row], out)?;
        }
        last = place;
    }
    write_legend(picture, &seen, height, out)
}

/// Where each row begins; each group leaves room for its name.
fn tops(picture: &Picture) -> Vec<usize> {
    let (mut top, mut group) = (8, usize::MAX);
    let shown = picture.rows.iter().take(MAX_ROWS);
    shown
        .map(|row| {
            top += if row.group == group { ROW } else { ROW + 20 };
            group = row.group;
            top
        })
        .collect()
}

#[allow(clippy::cast_precision_loss, reason = "a place on a screen")]
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

fn write_axis(picture: &Picture, height: usize, out: &mut impl Write) -> io::Result<()> {
    let step = step(picture.to.saturating_sub(picture.from) / 8);
    let (unit, per) = match step {
        1_000_000_000.. => ("s", 1_000_000_000),
        1_000_000.. => ("ms", 1_000_000),
        _ => ("µs", 1_000),
    };
    let mut at = picture.from.next_multiple_of(step);
    while at <= picture.to {
        let (x, bottom, value) = (x_of(picture, at), height - 60, at / per);
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

fn write_slice(
    picture: &Picture,
    slice: &Slice,
    top: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    let span = &picture.spans[slice.span];
    let (label, colour, _) = span.kind.look();
    let (x, end) = (x_of(picture, slice.start), x_of(picture, slice.end));
    let width = (end - x).max(1.0);
    let name = span.task.as_ref().map(ToString::to_string).unwrap_or_default();
    let attempt = Some(span.attempt).filter(|number| *number > 0);
    let attempt = attempt.map(|number| format!(" attempt {number}")).unwrap_or_default();
    let text = span.text.as_deref().unwrap_or("");
    let title =
        format!("{name}{attempt}: {label}{}{text}", if text.is_empty() { "" } else { ": " });
    let title = Xml(&title);
    if span.kind == Kind::Note {
        let y = top + 4;
        return writeln!(
            out,
            r#"<path d="M{x:.1} {y}l4 6-4 6-4-6z" fill="{colour}"><title>{title}</title></path>"#
        );
    }
    // A task is a frame around its phases, and what an attempt was told a strip below it.
    let (y, height) = match (span.kind, slice.depth) {
        (Kind::Task, _) => (top, 20),
        (Kind::Stopping, _) => (top + 13, 4),
        _ => (top + 3, 14),
    };
    let fill = if is_hatched(span.kind) { "url(#h)" } else { colour };
    write!(out, r#"<rect x="{x:.1}" y="{y}" width="{width:.1}" height="{height}" "#)?;
    writeln!(out, r#"fill="{fill}"><title>{title}</title></rect>"#)?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of a letter")]
    let room = (width / 6.2) as usize;
    if room >= 4 && !matches!(span.kind, Kind::Task | Kind::Stopping) {
        let (x, y, ink) = (x + 3.0, top + 14, ink(span.kind));
        let words = cut(&words(picture, slice), room);
        let edge = r##"stroke="#222" stroke-width="3" paint-order="stroke""##;
        let edge = if is_hatched(span.kind) { edge } else { "" };
        writeln!(out, r#"<text x="{x:.1}" y="{y}" fill="{ink}" {edge}>{}</text>"#, Xml(&words))?;
    }
    Ok(())
}

/// What stands in a slice that has room for it.
fn words(picture: &Picture, slice: &Slice) -> String {
    let (span, row) = (&picture.spans[slice.span], &picture.rows[slice.row]);
    let (label, ..) = span.kind.look();
    let name = span.task.as_ref().map(|task| &*task.name).unwrap_or_default();
    if span.kind == Kind::Stuck || row.group == GROUPS.len() - 1 {
        return name.to_owned();
    }
    let name = if name == row.name { String::new() } else { format!("{name} ") };
    let attempt = if span.attempt > 0 { format!("{} ", span.attempt) } else { String::new() };
    match &span.text {
        Some(text) => format!("{name}{attempt}{label}: {text}"),
        None => format!("{name}{attempt}{label}"),
    }
}

fn cut(text: &str, room: usize) -> String {
    match text.char_indices().nth(room) {
        Some(_) => text.chars().take(room - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

const fn is_hatched(kind: Kind) -> bool {
    matches!(kind, Kind::Stuck | Kind::Held)
}

const fn ink(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed
        | Kind::Panicked
        | Kind::Unresponsive
        | Kind::Abandoned
        | Kind::Stuck
        | Kind::Held
        | Kind::Shutdown => "#fff",
        _ => "#222",
    }
}

fn write_legend(
    picture: &Picture,
    seen: &BTreeSet<Kind>,
    height: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    let (mut x, mut y) = (10, height - 44);
    for kind in seen {
        let (label, colour, _) = kind.look();
        let width = 24 + label.len() * 6;
        if x + width > 1190 {
            (x, y) = (10, y + 16);
        }
        let fill = if is_hatched(*kind) { "url(#h)" } else { colour };
        writeln!(out, r#"<rect x="{x}" y="{y}" width="12" height="12" fill="{fill}"/>"#)?;
        writeln!(out, r#"<text x="{}" y="{}">{label}</text>"#, x + 16, y + 10)?;
        x += width;
    }
    let Picture { evicted, lost, .. } = picture;
    let hidden = picture.rows.len().saturating_sub(MAX_ROWS);
    if evicted + lost > 0 || hidden > 0 {
        let text = format!("{evicted} older spans gave way, {lost} events were lost");
        let y = height - 4;
        writeln!(out, r#"<text x="10" y="{y}">{text}; {hidden} more rows</text>"#)?;
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
