//! How many columns of a terminal a text takes.

/// By the widths that Unicode gives to characters of East Asia and to pictures. A mark that stands
/// above another character counts as well, so that this is never too few.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// As much of a text from its beginning as fits.
pub(crate) fn fitting(text: &str, room: usize) -> &str {
    let mut taken = 0;
    let end = text.char_indices().find(|(_, c)| {
        taken += width(*c);
        taken > room
    });
    end.map_or(text, |(end, _)| &text[..end])
}

#[rustfmt::skip]
const fn width(c: char) -> usize {
    match c {
        '\u{1100}'..='\u{115f}' | '\u{231a}'..='\u{231b}' | '\u{23e9}'..='\u{23f3}'
        | '\u{25fd}'..='\u{25fe}' | '\u{2614}'..='\u{2615}' | '\u{2630}'..='\u{2637}'
        | '\u{2648}'..='\u{2653}' | '\u{267f}' | '\u{268a}'..='\u{268f}' | '\u{2693}' | '\u{26a1}'
        | '\u{26aa}'..='\u{26ab}' | '\u{26bd}'..='\u{26be}' | '\u{26c4}'..='\u{26c5}' | '\u{26ce}'
        | '\u{26d4}' | '\u{26ea}' | '\u{26f2}'..='\u{26f3}' | '\u{26f5}' | '\u{26fa}' | '\u{26fd}'
        | '\u{2705}' | '\u{270a}'..='\u{270b}' | '\u{2728}' | '\u{274c}' | '\u{274e}'
        | '\u{2753}'..='\u{2755}' | '\u{2757}' | '\u{2795}'..='\u{2797}' | '\u{27b0}' | '\u{27bf}'
        | '\u{2b1b}'..='\u{2b1c}' | '\u{2b50}' | '\u{2b55}' | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{fe10}'..='\u{fe19}' | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff01}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}' | '\u{16fe0}'..='\u{1b2ff}'
        | '\u{1d300}'..='\u{1d376}' | '\u{1f004}' | '\u{1f0cf}' | '\u{1f18e}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}' | '\u{1f7e0}'..='\u{1f7f0}' | '\u{1f900}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns_and_are_not_cut_apart() {
        assert_eq!((columns("größe"), columns("日本 ab"), columns("⚡✓🚀")), (5, 7, 5));
        assert_eq!(columns("e\u{301}"), 2, "at least what it takes");
        let cut = [0, 1, 2, 3, 4, 9].map(|room| fitting("日a本", room));
        assert_eq!(cut, ["", "", "日", "日a", "日a", "日a本"]);
    }
}
