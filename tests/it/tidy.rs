//! The style of the sources, as a test: layers, sizes, and the places where certain calls may
//! stand.

use std::fs;
use std::path::{Path, PathBuf};

/// What each folder of `src` may use. The order of the modules inside a folder is that of its
/// `mod.rs`: each may use only those listed below it.
const FOLDERS: [(&str, &[&str]); 12] = [
    ("vocabulary", &["vocabulary"]),
    ("machine", &["vocabulary", "machine"]),
    ("platform", &["vocabulary", "platform"]),
    ("output", &["vocabulary", "platform", "output"]),
    ("task", &["vocabulary", "platform", "output", "task"]),
    ("process", &["vocabulary", "platform", "output", "task", "process"]),
    ("runtime", &["vocabulary", "machine", "platform", "output", "task", "runtime"]),
    ("api", &["vocabulary", "platform", "output", "task", "runtime", "api"]),
    ("console", &["vocabulary", "platform", "output", "api", "console"]),
    ("timeline", &["vocabulary", "platform", "output", "api", "timeline"]),
    ("bridge", &["vocabulary", "platform", "output", "task", "api", "bridge"]),
    ("guide", &[]),
];

/// The one import cycle, see `src/task/README.md`: a body is called with a context, which can
/// submit a spec, which holds a body. No module may join it, and no other cycle may begin.
const KNOT: (&str, &[&str]) = (
    "task",
    &[
        "body", "cell", "context", "door", "envelope", "fact", "group", "guards", "record",
        "request", "spec", "token",
    ],
);

/// What may be called in one place only, and why.
const ONE_PLACE: [(&str, &str); 11] = [
    ("Instant::now", "src/platform/clock.rs"),
    ("SystemTime::now", "src/platform/clock.rs"),
    ("catch_unwind", "src/platform/unwind.rs"),
    ("thread::Builder", "src/platform/threads.rs"),
    ("select!", "src/api/supervisor_handle.rs src/task/cell/told.rs"),
    ("Select::new", "src/task/cell/parking.rs"),
    ("process::abort", "src/runtime/pool/run.rs"),
    ("parking_lot", "src/platform/sync.rs"),
    ("crossbeam_channel", "src/platform/sync.rs src/lib.rs"),
    // The flag that the crate signal-hook takes is std's.
    ("std::sync::atomic", "src/platform/sync.rs src/runtime/signals/unix.rs"),
    ("use std::thread", "src/platform/sync.rs"),
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

/// What the oldest compiler that the manifest names does not know, and no lint tells. Not in tests.
const TOO_NEW: [&str; 7] =
    ["reason = \"", "#[expect", "#[diagnostic", "LazyLock", "LazyCell", "core::error", "use<"];

const MAX_LINES: usize = 500;
const MAX_COLUMNS: usize = 100;

pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The lines that are code, numbered from 1.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    pub(crate) fn is_test(&self) -> bool {
        !self.path.starts_with("src/")
            || self.path.starts_with("src/machine/tests")
            || self.path.ends_with("_tests.rs")
    }

    /// Its place among the modules: `["task", "cell"]` for `src/task/cell.rs`.
    fn place(&self) -> Vec<&str> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inner.split('/').filter(|part| *part != "mod").collect()
    }

    fn folder(&self) -> &str {
        self.place()[0]
    }

    /// The modules it names, each as a path from the root of the crate, with the line.
    fn uses(&self) -> Vec<(usize, Vec<String>)> {
        let words = |path: &str| -> Vec<String> {
            let end = |c: char| !c.is_alphanumeric() && c != '_' && c != ':';
            let path = path.split(end).next().unwrap_or_default();
            path.split("::").filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        let mut found = Vec::new();
        for (number, line) in self.code().take_while(|(_, line)| *line != "#[cfg(test)]") {
            for path in line.split("crate::").skip(1) {
                found.push((number, words(path)));
            }
            let Some((_, path)) = line.split_once("super::") else { continue };
            let (ups, down) = (path.matches("super::").count() + 1, path.rsplit("super::").next());
            let mut place: Vec<_> = self.place().into_iter().map(str::to_owned).collect();
            place.truncate(place.len().saturating_sub(ups));
            // `pub(super)` and the like name nothing.
            if let Some(down) = down.filter(|_| !line.contains("(in super")) {
                place.extend(words(down));
                found.push((number, place));
            }
        }
        found
    }
}

/// The modules of a folder in the order in which its `mod.rs` lists them.
fn modules(sources: &[Source], folder: &[&str]) -> Vec<String> {
    let path = format!("src/{}/mod.rs", folder.join("/"));
    let Some(source) = sources.iter().find(|source| source.path == path) else { return Vec::new() };
    let name = |line: &str| {
        let words: Vec<_> = line.trim_end_matches(';').split(' ').collect();
        let at = words.iter().position(|word| *word == "mod")?;
        line.ends_with(';').then(|| words[at + 1].to_owned())
    };
    source.code().filter_map(|(_, line)| name(line)).collect()
}

pub(crate) fn sources() -> Vec<Source> {
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
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    // A folder lists them in any order, and differently in each copy.
    paths.sort();
    for path in paths {
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
            let row = line.contains("//! |") || line.contains("/// |");
            if line.chars().count() > MAX_COLUMNS && !row {
                faults.push(format!("{path}:{number}: more than {MAX_COLUMNS} columns"));
            }
        }
    }
    check(&faults);
}

#[test]
fn folders_use_only_what_they_may() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test() && source.folder() != "lib") {
        let folder = source.folder();
        let Some((_, allowed)) = FOLDERS.iter().find(|(name, _)| *name == folder) else {
            faults.push(format!("{}: give its folder a row in this test", source.path));
            continue;
        };
        for (number, used) in source.uses() {
            let target = used.first().map_or("", String::as_str);
            if FOLDERS.iter().any(|(name, _)| *name == target) && !allowed.contains(&target) {
                faults.push(format!("{}:{number}: {folder} uses {target}", source.path));
            }
        }
    }
    check(&faults);
}

#[test]
fn inside_a_folder_imports_point_down_its_list() {
    let sources = sources();
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test() && source.folder() != "lib") {
        let place = source.place();
        // Of each folder around the file: what it uses of that folder's other modules.
        for depth in 1..place.len() {
            let (folder, own) = (&place[..depth], place[depth]);
            let listed = modules(&sources, folder);
            let position = |name: &str| listed.iter().position(|module| module == name);
            for (number, used) in source.uses() {
                if used.len() <= depth || used[..depth] != *folder || used[depth] == own {
                    continue;
                }
                let target = used[depth].as_str();
                let tied = |name: &str| KNOT.0 == folder.join("/") && KNOT.1.contains(&name);
                let up = position(target).is_some() && position(target) < position(own);
                if up && !(tied(own) && tied(target)) {
                    faults.push(format!("{}:{number}: {own} uses {target}", source.path));
                }
            }
        }
    }
    check(&faults);
}

/// Whoever has left the knot must not be allowed back in.
#[test]
fn the_knot_is_no_larger_than_it_says() {
    let sources = sources();
    let arrows = |from: &str| -> Vec<String> {
        let module = [KNOT.0, from];
        let files = sources.iter().filter(|source| !source.is_test());
        let uses = files.filter(|file| file.place().starts_with(&module)).flat_map(Source::uses);
        uses.filter(|(_, used)| used[0] == KNOT.0 && used.len() > 1)
            .map(|(_, mut used)| used.remove(1))
            .filter(|name| KNOT.1.contains(&name.as_str()))
            .collect()
    };
    for start in KNOT.1 {
        let mut reached = vec![(*start).to_owned()];
        let mut next = 0;
        while next < reached.len() {
            for name in arrows(&reached[next].clone()) {
                if !reached.contains(&name) {
                    reached.push(name);
                }
            }
            next += 1;
        }
        let missing: Vec<_> =
            KNOT.1.iter().filter(|it| !reached.contains(&(**it).into())).collect();
        assert!(
            missing.is_empty(),
            "{start} does not lead to {missing:?}: take it out of the knot"
        );
    }
}

#[test]
fn the_machine_and_its_vocabulary_do_without_std() {
    let pure = ["vocabulary", "machine"];
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        if !pure.contains(&source.folder()) {
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

/// Whoever does not ask for a subscriber has the same crate as if there was none: a feature adds
/// modules, functions and names, but no field, variant or statement.
#[test]
fn an_optional_subscriber_changes_nothing_that_others_use() {
    let features = ["console", "timeline", "tracing", "metrics"];
    let adds = ["mod ", "pub(crate) mod ", "pub mod ", "pub use ", "pub(crate) fn "];
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let lines: Vec<_> = source.code().collect();
        for (at, (number, line)) in lines.iter().enumerate() {
            let named = features.iter().any(|it| line.contains(&format!("feature = \"{it}\"")));
            let next = lines.get(at + 1).map_or("", |(_, line)| line.trim_start());
            if named && !adds.iter().any(|start| next.starts_with(start)) {
                faults.push(format!("{}:{number}: depends on a subscriber", source.path));
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
            for new in TOO_NEW.iter().filter(|new| !source.is_test() && line.contains(**new)) {
                faults.push(format!("{at}: `{new}` is newer than the manifest's rust-version"));
            }
        }
    }
    check(&faults);
}

#[test]
fn the_picture_of_the_states_names_every_state() {
    let sources = sources();
    let text =
        &sources.iter().find(|source| source.path == "src/vocabulary/reason.rs").unwrap().text;
    let (picture, rest) = text.split_once("pub enum TaskState {").unwrap();
    let picture = picture.rsplit_once("/// ```text").unwrap().1;
    let (variants, _) = rest.split_once('}').unwrap();
    for variant in variants.lines().map(str::trim).filter(|line| line.ends_with(',')) {
        let name = variant.trim_end_matches(',');
        assert!(picture.contains(name), "the picture of TaskState lacks {name}");
    }
}

/// What users and contributors read beside the sources.
fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The names of an enum's variants.
pub(crate) fn variants(sources: &[Source], path: &str, name: &str) -> Vec<String> {
    let source = sources.iter().find(|source| source.path == path).unwrap();
    let (_, rest) = source.text.split_once(&format!("pub enum {name}")).unwrap();
    let (_, rest) = rest.split_once(" {\n").unwrap();
    let (body, _) = rest.split_once("\n}").unwrap();
    let word = |line: &str| line.split(|c: char| !c.is_alphanumeric()).next().map(str::to_owned);
    let plain = |line: &&str| line.starts_with("    ") && !line.starts_with("     ");
    let lines = body.lines().filter(plain).filter_map(|line| word(line.trim()));
    lines.filter(|word| word.starts_with(char::is_uppercase)).collect()
}

/// The label of a variant, as a page shows it.
fn label(variant: &str) -> String {
    let mut label = String::from("`");
    for c in variant.chars() {
        if c.is_uppercase() && label.len() > 1 {
            label.push('_');
        }
        label.extend(c.to_lowercase());
    }
    label + "`"
}

#[test]
fn the_rules_name_every_state_event_outcome_and_refusal() {
    let (sources, rules) = (sources(), page("src/guide/rules.md"));
    let mut faults = Vec::new();
    for (path, name) in [
        ("src/vocabulary/reason.rs", "TaskState"),
        ("src/vocabulary/reason.rs", "Rejection"),
        ("src/output/event.rs", "EventKind"),
        ("src/output/outcome.rs", "Outcome"),
    ] {
        let variants = variants(&sources, path, name);
        assert!(variants.len() > 5, "{name} is misread: {variants:?}");
        let is_there = |variant: &str| rules.contains(variant) || rules.contains(&label(variant));
        let missing = variants.iter().filter(|variant| !is_there(variant));
        faults.extend(missing.map(|variant| format!("rules.md lacks {name}::{variant}")));
    }
    check(&faults);
}

#[test]
fn contributors_find_every_environment_variable_in_one_table() {
    let table = page("CONTRIBUTING.md");
    let mut faults = Vec::new();
    for source in sources() {
        for (number, line) in source.code() {
            for text in line.split('"').skip(1).step_by(2) {
                let named = text.starts_with("THREADVISOR_") || text.starts_with("MODEL_");
                let plain = text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
                if named && plain && !table.contains(&format!("`{text}`")) {
                    faults.push(format!("{}:{number}: CONTRIBUTING.md lacks {text}", source.path));
                }
            }
        }
    }
    check(&faults);
}

/// The page of a registry has no files beside it.
#[test]
fn the_links_of_the_front_page_are_absolute() {
    let readme = page("README.md");
    let relative = readme.split("](").skip(1).filter(|link| !link.starts_with("https://"));
    check(&relative.map(|link| format!("README.md: {link:.40}")).collect::<Vec<_>>());
}

/// The anchor that a heading has in the docs.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The compiler of the docs checks that a page exists, but not what follows the `#`.
#[test]
fn links_into_the_pages_name_a_heading_that_is_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let pages: Vec<(String, String)> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(pages.len() > 5, "no pages?");
    let has = |(_, text): &(String, String), wanted: &str| {
        let mut headings = text.lines().filter(|line| line.starts_with('#'));
        headings.any(|line| anchor(line) == wanted) || text.contains(&format!("id=\"{wanted}\""))
    };

    let rust = sources().into_iter().map(|source| (source.path, source.text));
    let readme = ("README.md".to_owned(), page("README.md"));
    let mut faults = Vec::new();
    for (from, text) in rust.chain(pages.iter().cloned()).chain([readme]) {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let Some((to, wanted)) = link.split_once('#') else { continue };
            let to = to.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
            let to = if to.is_empty() { &from } else { to };
            match pages.iter().find(|(name, _)| name == to) {
                Some(page) if !has(page, wanted) => faults.push(format!("{from}: {link}")),
                _ => {}
            }
        }
    }
    check(&faults);
}

#[test]
fn every_page_is_in_the_list_of_pages() {
    let list = page("src/guide/mod.rs");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let pages = names.filter_map(|name| name.strip_suffix(".md").map(str::to_owned));
    let missing = pages.filter(|name| !list.contains(&format!("| [`{name}`]")));
    check(&missing.map(|name| format!("src/guide/mod.rs lacks {name}")).collect::<Vec<_>>());
}
