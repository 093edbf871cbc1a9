//! One page that needs nothing else: the data, the script that draws it, and the picture as it
//! stands for those without script.

use std::collections::HashMap;
use std::io::{self, Write};

use super::chrome::Quoted;
use super::kind::{Kind, Look};
use super::picture::{short, Picture, PARTS};
use super::spans::Who;
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

/// Each slice is eight numbers: row, kind, start and length in nanoseconds, whether it goes on, the
/// attempt, and which of the strings name its task and are its text.
fn write_data(picture: &Picture, out: &mut impl Write) -> io::Result<()> {
    let Picture { from, to, evicted, lost, .. } = picture;
    write!(out, r#"{{"from":{from},"to":{to},"evicted":{evicted},"lost":{lost},"parts":["#)?;
    list(out, PARTS.iter().map(|name| Quoted(name).to_string()))?;
    write!(out, r#"],"kinds":["#)?;
    list(out, Kind::LOOKS.iter().map(look))?;
    write!(out, r#"],"rows":["#)?;
    list(out, picture.rows.iter().map(|row| format!("[{},{}]", row.part, Quoted(&row.name))))?;

    let mut strings = vec![String::new()];
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
        let name = number(match &span.who {
            Who::Supervisor => String::new(),
            Who::Group(name) => short(name),
            Who::Task(task) => short(&task.to_string()),
        });
        let text = number(span.text.as_deref().unwrap_or_default().to_owned());
        let start = slice.start.max(*from).min(slice.end);
        let (since, length) = (start.saturating_sub(*from), slice.end - start);
        let (row, kind, open, attempt) =
            (slice.row, span.kind as u8, u8::from(span.open), span.attempt);
        format!("{row},{kind},{since},{length},{open},{attempt},{name},{text}")
    });
    list(out, slices)?;
    write!(out, r#"],"strings":["#)?;
    list(out, strings.iter().map(|text| Quoted(text).to_string()))?;
    write!(out, "]}}")
}

fn look(look: &Look) -> String {
    let Look { label, colour, shape, is_trouble, .. } = *look;
    let (shape, ink) = (shape as u8, look.ink());
    format!(r##"["{label}","#{colour:06x}",{shape},"{ink}",{is_trouble}]"##)
}

fn list(out: &mut impl Write, items: impl Iterator<Item = String>) -> io::Result<()> {
    for (index, item) in items.enumerate() {
        let comma = if index > 0 { ",\n" } else { "" };
        write!(out, "{comma}{item}")?;
    }
    Ok(())
}
