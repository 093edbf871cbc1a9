//! What users are told without asking: the lines of events, and the texts that the sources hand to
//! the log or put into errors, however rare.

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
    let mut count = 0;
    let calls = [
        "log::warn!(",
        "log::error!(",
        "Warn(format!(",
        "let text = format!(",
        "TaskError::fatal(",
        "io::Error::new(",
        "Error::other(",
    ];
    for source in sources().iter().filter(|source| source.path.starts_with("src/")) {
        if source.is_test() {
            continue;
        }
        let code: Vec<_> = source.code().map(|(_, line)| line).collect();
        let code = code.join("\n");
        let code = code.split("#[cfg(test)]\nmod tests").next().unwrap();
        let mut found: Vec<_> =
            calls.iter().flat_map(|call| code.match_indices(call)).map(|(at, _)| at).collect();
        found.sort_unstable();
        for at in found {
            let text = literal(&code[at..]);
            if let Some(text) = text.filter(|text| text.contains(' ')) {
                count += 1;
                table.row(&source.path, text);
            }
        }
    }
    assert!(count > 15, "the sources are misread: {count}");
    table.check();
}
