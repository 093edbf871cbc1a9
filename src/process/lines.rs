//! Cuts what a process writes into lines, in bounded memory.

/// The beginning of a line of one stream.
pub(super) struct Lines {
    begun: Vec<u8>,
    max: usize,
    /// The last line has ended with `\r`, so that an `\n` that comes next belongs to it.
    after_return: bool,
}

impl Lines {
    pub(super) fn new(max: usize) -> Self {
        Self { begun: Vec::new(), max: max.max(MIN_LINE), after_return: false }
    }

    /// Takes what was read. Calls `take` with each line, and whether it was cut.
    pub(super) fn feed(&mut self, mut read: &[u8], mut take: impl FnMut(&[u8], bool)) {
        while let Some(&first) = read.first() {
            if std::mem::take(&mut self.after_return) && first == b'\n' {
                read = &read[1..];
                continue;
            }
            let room = self.max - self.begun.len();
            let within = read.iter().take(room.saturating_add(1));
            let end = within.copied().position(|byte| matches!(byte, b'\n' | b'\r'));
            if let Some(end) = end {
                self.begun.extend_from_slice(&read[..end]);
                self.after_return = read[end] == b'\r';
                read = &read[end + 1..];
                take(&self.begun, false);
                self.begun.clear();
            } else if read.len() <= room {
                self.begun.extend_from_slice(read);
                return;
            } else {
                self.begun.extend_from_slice(&read[..room]);
                read = &read[room..];
                let whole = whole_characters(&self.begun);
                take(&self.begun[..whole], true);
                self.begun.drain(..whole);
            }
        }
    }

    /// The output is at its end: what is left is the last line.
    pub(super) fn end(&mut self, take: impl FnOnce(&[u8], bool)) {
        if !self.begun.is_empty() {
            take(&std::mem::take(&mut self.begun), false);
        }
    }
}

/// How much of a text that is cut here can be shown: no character is torn apart.
fn whole_characters(text: &[u8]) -> usize {
    let is_first = |byte: &u8| byte & 0b1100_0000 != 0b1000_0000;
    let last = text.iter().rev().take(4).position(is_first).map(|back| text.len() - back - 1);
    match last.map(|last| (last, std::str::from_utf8(&text[last..]))) {
        Some((last @ 1.., Err(error))) if error.error_len().is_none() => last,
        _ => text.len(),
    }
}

/// A line has room for a few characters in any case.
pub(super) const MIN_LINE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of these reads, with a `+` at the end of each that was cut.
    fn lines_of(max: usize, reads: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut found) = (Lines::new(max), Vec::new());
        let mut take = |line: &[u8], cut: bool| {
            let mark = if cut { "+" } else { "" };
            found.push(String::from_utf8_lossy(line).into_owned() + mark);
        };
        for read in reads {
            lines.feed(read, &mut take);
        }
        lines.end(take);
        found
    }

    #[test]
    fn lines_end_in_any_way_and_across_reads() {
        assert_eq!(
            lines_of(80, &[b"one\ntw", b"o\r\nthr", b"ee\r", b"\nlast"]),
            ["one", "two", "three", "last"]
        );
        assert_eq!(lines_of(80, &[b"10%\r20%\r\n\n\r\r"]), ["10%", "20%", "", "", ""]);
        assert_eq!(lines_of(80, &[b"a\0b\n"]), ["a\0b"]);
        assert_eq!(lines_of(80, &[b"", b"\n"]), [""]);
        assert_eq!(lines_of(usize::MAX, &[b"one\ntw", b"o\n"]), ["one", "two"]);
    }

    #[test]
    fn a_long_line_is_cut_and_no_character_torn() {
        assert_eq!(
            lines_of(16, &[&[b'x'; 40]]),
            ["x".repeat(16) + "+", "x".repeat(16) + "+", "x".repeat(8)]
        );
        // It fits exactly.
        assert_eq!(lines_of(16, &[&[b'x'; 16], b"\n"]), ["x".repeat(16)]);
        let text = "x".repeat(15) + "äy";
        assert_eq!(lines_of(16, &[text.as_bytes()]), ["x".repeat(15) + "+", "äy".to_owned()]);
        // What is no text is cut anywhere.
        assert_eq!(
            lines_of(16, &[&[0x80; 17]]),
            ["\u{fffd}".repeat(16) + "+", "\u{fffd}".to_owned()]
        );
        let torn: [&[u8]; 2] = [b"a\xc3", b"\xa4b"];
        assert_eq!(lines_of(80, &torn), ["aäb"]);
    }
}
