//! The style of the sources, as a test: layers, sizes, and the places where certain calls may stand.

use std::fs;
use std::path::{Path, PathBuf};

/// Each file or folder of `src` belongs to a layer, and may use the layers named behind its own.
const LAYERS: [(&str, &[&str], &[&str]); 5] = [
    ("vocabulary", &["backoff", "id", "policy", "reason", "time"], &["vocabulary"]),
    ("machine", &["machine"], &["vocabulary", "machine"]),
    (
        "shared",
        &[
            "cell", "clock", "context", "current", "error", "event", "handle", "hook", "leftover",
            "line", "linger", "link", "outcome", "pulse", "record", "report", "settings",
            "snapshot", "spec", "stall", "sync", "threads", "unwind", "wait_io", "wake_fd",
        ],
        &["vocabulary", "shared"],
    ),
    ("runtime", &["runtime"], &["vocabulary", "shared", "machine", "runtime"]),
    ("front", &["supervisor", "waking"], &["vocabulary", "shared", "runtime"]),
];

/// What may be called in one place only, and why.
const ONE_PLACE: [(&str, &str); 11] = [
    ("Instant::now", "src/clock.rs"),
    ("SystemTime::now", "src/clock.rs"),
    ("catch_unwind", "src/unwind.rs"),
    ("thread::Builder", "src/threads.rs"),
    ("select!", "src/handle.rs"),
    ("Select::new", "src/runtime/controller.rs"),
    ("process::abort", "src/runtime/worker.rs"),
    ("parking_lot", "src/sync.rs"),
    ("crossbeam_channel", "src/sync.rs src/lib.rs"),
    // The flag that the crate signal-hook takes is std's.
    ("std::sync::atomic", "src/sync.rs src/runtime/signals.rs"),
    ("use std::thread", "src/sync.rs"),
];

/// What may stand nowhere, tests included. Small boards have no atomics of 64 bits.
const NOWHERE: [&str; 9] = [
    "todo!(",
    "unimplemented!(",
    "dbg!(",
    "async fn",
    "tokio::",
    "thread::sleep(",
    "FIXME",
    "AtomicU64",
    "AtomicI64",
];

const MAX_LINES: usize = 500;
const MAX_COLUMNS: usize = 100;

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines that are code, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn is_test(&self) -> bool {
        !self.path.starts_with("src/") || self.path.starts_with("src/machine/tests")
    }

    fn module(&self) -> &str {
        let inner = self.path.trim_start_matches("src/");
        inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs")
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "tests", "examples", "benches"] {
        collect(&root.join(folder), &mut found);
    }
    found
        .into_iter()
        .map(|path| Source {
            text: fs::read_to_string(&path).unwrap(),
            path: path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/"),
        })
        // Packages of their own, which compare this crate with others, have rules of their own.
        .filter(|source| !source.path.starts_with("benches/peers"))
        .filter(|source| !source.path.starts_with("benches/footprint"))
        .filter(|source| !source.path.contains("/target/"))
        .filter(|source| !source.path.starts_with("tests/it/tidy"))
        .collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[track_caller]
fn check(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_can_be_held_in_the_head() {
    let mut faults = Vec::new();
    for source in sources() {
        let Source { path, text } = &source;
        if !text.starts_with("//!") {
            faults.push(format!("{path}: open the file with a `//!` line that says what it owns"));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            faults.push(format!("{path}: {lines} lines, {MAX_LINES} are allowed: cut it in two"));
        }
        for (number, line) in (1..).zip(text.lines()) {
            // A row of a table cannot be broken.
            if line.chars().count() > MAX_COLUMNS && !line.contains("! |") {
                faults.push(format!("{path}:{number}: more than {MAX_COLUMNS} columns"));
            }
        }
    }
    check(&faults);
}

#[test]
fn imports_follow_the_layers() {
    let layer_of = |module: &str| LAYERS.iter().find(|(_, modules, _)| modules.contains(&module));
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        if source.module() == "lib" {
            continue;
        }
        let Some((layer, _, allowed)) = layer_of(source.module()) else {
            faults.push(format!("{}: give it a layer in this test", source.path));
            continue;
        };
        for (number, line) in source.code() {
            for used in line.split("crate::").skip(1) {
                let module = used.split(|c: char| !c.is_alphanumeric() && c != '_').next();
                let Some((target, ..)) = module.and_then(layer_of) else { continue };
                if !allowed.contains(target) {
                    faults.push(format!("{}:{number}: {layer} uses {target}", source.path));
                }
            }
        }
    }
    check(&faults);
}

#[test]
fn the_machine_and_its_vocabulary_do_without_std() {
    let pure = [LAYERS[0].1, LAYERS[1].1].concat();
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        if !pure.contains(&source.module()) {
            continue;
        }
        for (number, line) in source.code() {
            for banned in ["std::", "crossbeam", "parking_lot", "atomic", "log::"] {
                if line.contains(banned) {
                    faults.push(format!("{}:{number}: `{banned}` is not pure", source.path));
                }
            }
        }
    }
    check(&faults);
}

#[test]
fn certain_calls_stand_in_one_place() {
    let mut faults = Vec::new();
    for source in sources() {
        for (number, line) in source.code() {
            let at = format!("{}:{number}", source.path);
            for (call, place) in ONE_PLACE {
                if !source.is_test() && line.contains(call) && !place.contains(&source.path) {
                    faults.push(format!("{at}: `{call}` belongs into {place}"));
                }
            }
            for call in NOWHERE {
                if line.contains(call) && !source.path.starts_with("examples/") {
                    faults.push(format!("{at}: `{call}` belongs nowhere"));
                }
            }
        }
    }
    check(&faults);
}

#[test]
fn the_picture_of_the_states_names_every_state() {
    let sources = sources();
    let text = &sources.iter().find(|source| source.path == "src/reason.rs").unwrap().text;
    let (picture, rest) = text.split_once("pub enum TaskState {").unwrap();
    let picture = picture.rsplit_once("/// ```text").unwrap().1;
    let (variants, _) = rest.split_once('}').unwrap();
    for variant in variants.lines().map(str::trim).filter(|line| line.ends_with(',')) {
        let name = variant.trim_end_matches(',');
        assert!(picture.contains(name), "the picture of TaskState lacks {name}");
    }
}
