//! An event's line read back: what a log shipper would make of it.

/// The pairs of a line. Panics if it is none.
pub(crate) fn pairs(line: &str) -> Vec<(String, String)> {
    let odd = |c: char| c.is_control() || "\u{2028}\u{2029}".contains(c);
    assert!(!line.contains(odd), "not one line: {line:?}");
    let mut pairs = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').unwrap_or_else(|| panic!("no value: {rest:?}"));
        let named = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(named, "no key: {key:?} in {line:?}");
        let (value, after) = value(after);
        pairs.push((key.to_owned(), value));
        rest = after.strip_prefix(' ').unwrap_or_else(|| {
            assert!(after.is_empty(), "a value ends in its middle: {after:?} in {line:?}");
            after
        });
    }
    pairs
}

fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(' ').unwrap_or(text.len());
        let value = &text[..end];
        assert!(!value.is_empty() && !value.contains(['"', '\\', '=']), "not quoted: {value:?}");
        return (value.to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next().unwrap_or_else(|| panic!("the quotes stay open: {text:?}")) {
            '"' => return (value, chars.as_str()),
            '\\' => value.push(escaped(&mut chars)),
            plain => value.push(plain),
        }
    }
}

fn escaped(chars: &mut std::str::Chars<'_>) -> char {
    match chars.next() {
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('0') => '\0',
        Some('u') => {
            let code: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
            let code = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
            code.expect("the code of a character")
        }
        Some(itself @ ('"' | '\\' | '\'')) => itself,
        other => panic!("no escape: {other:?}"),
    }
}
