//! That users find an example of what they look at, and that it shows what comes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::tidy::{sources, Source};

/// A block of code in a page or a doc comment: where it begins, what stands after its fence, its
/// lines.
struct Block {
    place: String,
    kind: String,
    lines: Vec<String>,
}

fn blocks_of(path: &str, lines: impl Iterator<Item = Option<String>>) -> Vec<Block> {
    let (mut found, mut open) = (Vec::new(), None::<Block>);
    for (number, line) in (1..).zip(lines) {
        let Some(line) = line else {
            assert!(open.is_none(), "{path}:{number}: a block without an end");
            continue;
        };
        let fence = line.trim_start().strip_prefix("```");
        open = match (open, fence) {
            (None, None) => None,
            (None, Some(kind)) => {
                let (place, kind) = (format!("{path}:{number}"), kind.trim().to_owned());
                Some(Block { place, kind, lines: Vec::new() })
            }
            (Some(mut block), None) => {
                block.lines.push(line);
                Some(block)
            }
            (Some(block), Some(_)) => {
                found.push(block);
                None
            }
        };
    }
    found
}

/// The text of a doc comment; `None` for a line of another kind.
fn comment(line: &str) -> Option<String> {
    let line = line.trim_start();
    let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
    Some(text.strip_prefix(' ').unwrap_or(text).to_owned())
}

fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_dir(root.join("src/guide")).unwrap().map(|entry| entry.unwrap().path());
    let pages = guide.filter(|path| path.extension().is_some_and(|it| it == "md"));
    let pages = pages.chain([root.join("README.md")]);
    pages.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap())).collect()
}

/// All blocks of Rust, in pages and comments.
fn examples() -> Vec<Block> {
    let mut blocks = Vec::new();
    for (path, text) in pages() {
        blocks.extend(blocks_of(&path, text.lines().map(|line| Some(line.to_owned()))));
    }
    for Source { path, text } in sources().iter().filter(|it| it.path.starts_with("src/")) {
        blocks.extend(blocks_of(path, text.lines().map(comment)));
    }
    blocks.retain(|block| !["text", "sh", "json", "ini"].contains(&&*block.kind));
    assert!(blocks.len() > 200, "the pages are misread: {} blocks", blocks.len());
    blocks
}

#[test]
fn what_is_not_in_the_prelude_is_imported_where_readers_see_it() {
    let is_name = |word: &&str| word.starts_with(char::is_uppercase);
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric());
        words.filter(is_name).map(str::to_owned).collect()
    };
    let sources = sources();
    let root = &sources.iter().find(|source| source.path == "src/lib.rs").unwrap().text;
    let prelude = words(root.split_once("pub mod prelude").unwrap().1);
    let hides = |line: &String| {
        let import = line.strip_prefix("# use threadvisor::");
        import.is_some_and(|it| words(it).iter().any(|word| !prelude.contains(word)))
    };
    let mut blocks = examples();
    blocks.retain(|block| block.lines.iter().any(hides));
    let faults: Vec<_> = blocks.into_iter().map(|block| block.place).collect();
    assert!(faults.is_empty(), "let readers see the import:\n{}", faults.join("\n"));
}

#[test]
fn every_example_asserts_what_comes_of_it() {
    let mut blocks = examples();
    let shows = |block: &Block| match &*block.kind {
        "" | "rust" => block.lines.iter().any(|line| line.contains("assert")),
        "compile_fail" => true,
        _ => false,
    };
    blocks.retain(|block| !shows(block));
    let faults: Vec<_> = blocks.iter().map(|it| format!("{}: {}", it.place, it.kind)).collect();
    assert!(faults.is_empty(), "run these, and end them in an assert:\n{}", faults.join("\n"));
}

/// A public function of a type.
struct Method {
    place: String,
    name: String,
    /// Its arguments and what it returns, as far as they stand on the first line.
    shape: String,
    docs: Vec<String>,
}

impl Method {
    /// Whether the name says it all: it returns a part of what it is called on, or makes the type
    /// from nothing.
    fn is_plain(&self) -> bool {
        let gets = ["(&self) -> ", "(self) -> "].into_iter();
        let gets = gets.filter_map(|start| self.shape.strip_prefix(start));
        let mut gets = gets.filter(|it| !it.starts_with("Result") && !it.starts_with("Self"));
        gets.next().is_some() || self.shape.starts_with("() -> Self")
    }

    /// Whether the docs have an example or name one.
    fn has_example(&self) -> bool {
        self.docs.iter().any(|line| line.starts_with("```") || line.contains("example"))
    }
}

/// The public methods of each type, and the examples of its page.
fn types() -> BTreeMap<String, (Vec<Method>, String)> {
    let mut types = BTreeMap::<String, (Vec<Method>, String)>::new();
    let private = ["src/machine/", "src/runtime/"];
    let sources = sources().into_iter().filter(|source| source.path.starts_with("src/"));
    for Source { path, text } in
        sources.filter(|source| !private.iter().any(|it| source.path.starts_with(it)))
    {
        let (mut docs, mut of) = (Vec::new(), String::new());
        for (number, line) in (1..).zip(text.lines()) {
            let trimmed = line.trim_start();
            if let Some(text) = comment(line) {
                docs.push(text);
                continue;
            }
            let name = |rest: &str| -> String {
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
            };
            if trimmed.starts_with("impl") && line.len() - trimmed.len() < 9 {
                let head = trimmed.trim_end_matches(" {").rsplit(" for ").next().unwrap();
                let head = head.trim_start_matches("impl");
                let head =
                    if head.starts_with('<') { head.split_once("> ").unwrap().1 } else { head };
                of = name(head.trim_start_matches([' ', '$']));
            }
            let items = ["pub struct ", "pub enum ", "pub trait "];
            if let Some(rest) = items.into_iter().find_map(|start| trimmed.strip_prefix(start)) {
                of = name(rest);
                types.entry(of.clone()).or_default().1 += &docs.join("\n");
            }
            let function = trimmed.strip_prefix("pub fn ");
            let function = function.or_else(|| trimmed.strip_prefix("pub const fn "));
            if let Some(rest) = function.filter(|_| !docs.is_empty()) {
                let (name, entry) = (name(rest), types.entry(of.clone()).or_default());
                entry.1 += &docs.join("\n");
                let (place, shape) = (format!("{path}:{number}"), rest[name.len()..].to_owned());
                entry.0.push(Method { place, name, shape, docs: docs.clone() });
            }
            if !trimmed.starts_with('#') {
                docs.clear();
            }
        }
    }
    types
}

#[test]
fn every_method_whose_use_is_not_plain_is_shown_in_an_example() {
    let (mut count, mut faults) = (0, Vec::new());
    for (of, (methods, page)) in types() {
        count += methods.len();
        for method in methods {
            let call = [format!(".{}(", method.name), format!("::{}(", method.name)];
            let is_shown = call.iter().any(|call| page.contains(call));
            if !method.is_plain() && !method.has_example() && !is_shown {
                faults.push(format!("{}: {of}::{}", method.place, method.name));
            }
        }
    }
    assert!(count > 250, "the sources are misread: {count} methods");
    assert!(faults.is_empty(), "give these an example:\n{}", faults.join("\n"));
}

#[test]
fn every_public_type_has_an_example() {
    let sources = sources();
    let root = &sources.iter().find(|source| source.path == "src/lib.rs").unwrap().text;
    let (exports, _) = root.split_once("pub mod guide;").unwrap();
    let exports = exports.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next());
    let words = exports.flat_map(|export| export.split(|c: char| !c.is_alphanumeric()));
    let is_type =
        |word: &&str| word.starts_with(char::is_uppercase) && word.contains(char::is_lowercase);
    let types: Vec<_> = words.filter(is_type).collect();
    let (mut found, mut faults) = (0, Vec::new());
    for source in sources.iter().filter(|source| source.path.starts_with("src/")) {
        let mut has_example = false;
        for (number, line) in (1..).zip(source.text.lines()) {
            has_example |= line.starts_with("/// ```");
            let mut words = line.split(|c: char| !c.is_alphanumeric()).filter(|it| !it.is_empty());
            let item = (words.next(), words.next(), words.next());
            let (Some("pub"), Some("struct" | "enum" | "trait" | "type"), Some(name)) = item else {
                has_example &= !line.is_empty();
                continue;
            };
            if line.starts_with("pub") && types.contains(&name) {
                found += 1;
                if !has_example {
                    faults.push(format!("{}:{number}: {name} has no example", source.path));
                }
            }
        }
    }
    assert!(found >= types.len(), "{found} of {types:?}");
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
