//! One page that needs nothing else: the data, the script that draws it, and the picture as it
//! stands for those without script.

use std::collections::HashMap;
use std::io::{self, Write};

use super::chrome::Quoted;
use super::kind::Kind;
use super::picture::{short, Picture, GROUPS};
use super::svg;

pub(super) fn write(picture: &Picture, out: &mut impl Write) -> io::Result<()> {
    out.write_all(include_bytes!("view.html"))?;
    writeln!(out, "<noscript>")?;
    svg::write(picture, out)?;
    writeln!(out, "</noscript>")?;
    write!(out, r#"<script type="application/json" id="data">"#)?;
    write_data(picture, out)?;
    writeln!(out, "</script><script>")?;
    out.write_all(include_bytes!("view.js"))?;
    writeln!(out, "</script></body></html>")
}

/// Each slice is nine numbers: row, depth, kind, start and length in nanoseconds, whether it goes
/// on, the attempt, and which of the strings name its task and are its text.
fn write_data(picture: &Picture, out: &mut impl Write) -> io::Result<()> {
    let Picture { from, to, evicted, lost, .. } = picture;
    write!(out, r#"{{"from":{from},"to":{to},"evicted":{evicted},"lost":{lost},"groups":["#)?;
    list(out, GROUPS.iter().map(|name| Quoted(name).to_string()))?;
    write!(out, r#"],"kinds":["#)?;
    let kind = |(label, colour, _): &(&str, &str, &str)| format!("[\"{label}\",\"{colour}\"]");
    list(out, Kind::LOOKS.iter().map(kind))?;
    write!(out, r#"],"rows":["#)?;
    list(out, picture.rows.iter().map(|row| format!("[{},{}]", row.group, Quoted(&row.name))))?;

    let mut strings = Vec::from([String::new()]);
    let mut known = HashMap::from([(String::new(), 0)]);
    let mut number = |text: String| {
        *known.entry(text).or_insert_with_key(|text| {
            strings.push(text.clone());
            strings.len() - 1
        })
    };
    write!(out, r#"],"slices":["#)?;
    let slices = picture.slices.iter().map(|slice| {
        let span = &picture.spans[slice.span];
        let name = span.task.as_ref().map(|task| short(&task.to_string()));
        let name = number(name.unwrap_or_default());
        let text = number(span.text.as_deref().unwrap_or_default().to_owned());
        let (row, depth, kind) = (slice.row, slice.depth, span.kind as u8);
        let start = slice.start.max(*from).min(slice.end);
        let (start, length) = (start.saturating_sub(*from), slice.end - start);
        let (open, attempt) = (u8::from(span.open), span.attempt);
        format!("{row},{depth},{kind},{start},{length},{open},{attempt},{name},{text}")
    });
    list(out, slices)?;
    write!(out, r#"],"strings":["#)?;
    list(out, strings.iter().map(|text| Quoted(text).to_string()))?;
    write!(out, "]}}")
}

fn list(out: &mut impl Write, items: impl Iterator<Item = String>) -> io::Result<()> {
    for (index, item) in items.enumerate() {
        let comma = if index > 0 { ",\n" } else { "" };
        write!(out, "{comma}{item}")?;
    }
    Ok(())
}
