//! [`Escaped`]: a text of the user within a text of this crate.

use core::fmt::{self, Write};

/// Shows a text on one line and without effects on a terminal: line breaks, control characters and
/// characters that turn the direction of writing are escaped. A log gets no line that nobody wrote.
pub(crate) struct Escaped<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Writer(f), "{}", self.0)
    }
}

struct Writer<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Writer<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(has_effects) {
            let plain = part.trim_end_matches(has_effects);
            self.0.write_str(plain)?;
            for odd in part[plain.len()..].chars() {
                write!(self.0, "{}", odd.escape_default())?;
            }
        }
        Ok(())
    }
}

fn has_effects(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_on_its_line_and_is_otherwise_as_it_was() {
        let odd = "a\nb\r\n\u{1b}[31mc\u{2028}d\u{202e}e\0";
        let shown = r"a\nb\r\n\u{1b}[31mc\u{2028}d\u{202e}e\u{0}";
        assert_eq!(Escaped(odd).to_string(), shown);
        let plain = "größe \"7\" \\ हिन्दी 日本";
        assert_eq!(Escaped(plain).to_string(), plain);
        assert_eq!(Escaped("").to_string(), "");
    }
}
