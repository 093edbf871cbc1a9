//! What users are told without asking: the lines of events, and the texts that the sources hand to
//! the log or put into errors, however rare.

use std::collections::BTreeSet;

use super::Table;
use crate::samples;
use crate::tidy::sources;

#[test]
fn by_events() {
    let mut table = Table::new("events");
    for event in samples::events() {
        table.row(event.kind.label(), event);
    }
    table.check();
}

/// The first literal of a call, without the line breaks that only the sources have.
fn literal(call: &str) -> Option<String> {
    let call = call.split(");").next()?.replace("target: \"threadvisor\"", "");
    let text = call.split_once('"')?.1;
    let (mut out, mut chars) = (String::new(), text.chars());
    loop {
        match chars.next()? {
            '"' => return Some(out),
            '\\' => match chars.next()? {
                '\n' => {
                    let rest = chars.as_str().trim_start();
                    chars = rest.chars();
                }
                other => out.extend(['\\', other]),
            },
            other => out.push(other),
        }
    }
}

/// Many of these need a system that is broken, or another system than the one that tests run on.
#[test]
fn by_the_sources() {
    let mut table = Table::new("warnings_and_rare_errors");
    let calls = [
        ("log::warn!(", "a warning"),
        ("log::error!(", "an error in the log"),
        ("Warn(format!(", "a warning"),
        ("let text = format!(", "a warning or an error"),
        ("TaskError::fatal(", "a fatal error"),
        ("io::Error::new(", "an error"),
        ("Error::other(", "an error"),
    ];
    let mut rows = BTreeSet::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/")) {
        if source.is_test() {
            continue;
        }
        let code: Vec<_> = source.code().map(|(_, line)| line).collect();
        let code = code.join("\n");
        let code = code.split("#[cfg(test)]\nmod tests").next().unwrap();
        for (call, what) in calls {
            let texts = code.match_indices(call).filter_map(|(at, _)| literal(&code[at..]));
            rows.extend(texts.filter(|text| text.contains(' ')).map(|text| (text, what)));
        }
    }
    assert!(rows.len() > 15, "the sources are misread: {rows:?}");
    for (text, what) in rows {
        table.row(what, text);
    }
    table.check();
}
