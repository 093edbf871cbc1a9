//! That what users look at first has an example.

use crate::tidy::sources;

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
