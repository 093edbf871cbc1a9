//! Every error and refusal that a user can meet, as it reads: what, where, and what to do. The
//! tables stand beside this file, so that a change of a text shows in a review.
//!
//! `THREADVISOR_BLESS=1 cargo test --all-features --test it messages` writes them anew.

mod ends;
mod handing_over;
#[cfg(all(unix, feature = "process"))]
mod processes;
mod settings;
mod told;
mod waits;

use std::fmt::{Display, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

use crate::tidy::{sources, variants};

/// The rows of one file: what went wrong, and the text that says so.
pub(super) struct Table {
    name: &'static str,
    text: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/messages")
}

impl Table {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, text: String::new() }
    }

    pub(super) fn row(&mut self, what: &str, text: impl Display) {
        let text = text.to_string();
        writeln!(self.text, "{what}").unwrap();
        for line in text.lines() {
            writeln!(self.text, "    {}", without_times(line)).unwrap();
        }
    }

    #[track_caller]
    pub(super) fn check(self) {
        let path = folder().join(self.name).with_extension("txt");
        if std::env::var_os("THREADVISOR_BLESS").is_some() {
            fs::write(path, self.text).unwrap();
            return;
        }
        let wanted = fs::read_to_string(path).unwrap_or_default();
        let differing = wanted.lines().zip(self.text.lines()).find(|(wanted, is)| wanted != is);
        assert!(wanted == self.text, "{}.txt: {differing:?}\n{}", self.name, self.text);
    }
}

/// Measured times differ from run to run, and so do the numbers of processes.
fn without_times(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let number = word.trim_matches(|c: char| !c.is_ascii_digit());
        match number.split_once('.') {
            Some((_, part)) if part.len() >= 3 => word.replace(number, "0.000"),
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What the tables say. Those that need a feature are files as well, and read without it.
fn tables() -> String {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let tables = files.filter(|path| path.extension().is_some_and(|it| it == "txt"));
    tables.map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn no_variant_of_an_error_is_missing() {
    let (sources, tables) = (sources(), tables());
    let mut missing = Vec::new();
    for (path, name) in [
        ("src/api/refused.rs", "AddError"),
        ("src/api/refused.rs", "SubmitError"),
        ("src/output/error.rs", "ExtendError"),
        ("src/output/error.rs", "RecvError"),
        ("src/output/setting_errors.rs", "StartError"),
        ("src/output/error.rs", "WaitError"),
        ("src/output/outcome.rs", "Outcome"),
        ("src/output/outcome.rs", "TaskOutputError"),
        ("src/vocabulary/reason.rs", "Rejection"),
    ] {
        let variants = variants(&sources, path, name);
        assert!(variants.len() > 1, "{name} is misread: {variants:?}");
        let rows = variants.into_iter().map(|variant| format!("{name}::{variant}"));
        missing.extend(rows.filter(|row| {
            let begins = |line: &str| line.split([' ', ',']).next() == Some(row);
            !tables.lines().any(begins)
        }));
    }
    assert!(missing.is_empty(), "add to tests/it/messages: {missing:?}");
}

/// Each place that refuses a setting has a row with its field.
#[test]
fn no_setting_that_is_refused_is_missing() {
    let tables = tables();
    let mut places = std::collections::BTreeMap::<String, usize>::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/")) {
        for call in ["InvalidSetting::new(", "unfit("] {
            for after in source.text.split(call).skip(1) {
                let Some(field) = after.trim_start().strip_prefix('"') else { continue };
                *places.entry(field.split('"').next().unwrap().to_owned()).or_default() += 1;
            }
        }
    }
    assert!(places.len() > 10, "the sources are misread: {places:?}");
    let rows = |field: &str| {
        let text = format!("{field} cannot be ");
        tables.lines().filter(|line| line.contains(&text)).count()
    };
    places.retain(|field, places| rows(field) < *places);
    assert!(places.is_empty(), "add rows to tests/it/messages: {places:?}");
}
