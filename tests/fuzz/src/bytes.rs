//! Decisions out of bytes. Whoever asks for more than there is gets zeros, so that every input is
//! complete and a short one means something.

use std::time::Duration;

pub(crate) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Seldom true, and not true of zero.
    pub(crate) fn seldom(&mut self) -> bool {
        self.byte() > 223
    }

    pub(crate) fn number(&mut self) -> u64 {
        let mut number = [0; 8];
        number.fill_with(|| self.byte());
        u64::from_le_bytes(number)
    }

    /// A size, those at the limits among them.
    pub(crate) fn size(&mut self) -> usize {
        match self.byte() {
            255 => usize::MAX,
            254 => usize::MAX / 2,
            253 => u32::MAX as usize,
            252 => usize::try_from(self.number() & 0xffff_ffff).unwrap_or(usize::MAX),
            small => small.into(),
        }
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        if n > 1 {
            usize::from(self.byte()) % n
        } else {
            0
        }
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| make(self))
    }

    /// A span, those at the limits among them; mostly some milliseconds, so that things coincide.
    pub(crate) fn span(&mut self) -> Duration {
        match self.byte() {
            0 => Duration::ZERO,
            255 => Duration::MAX,
            254 => Duration::from_nanos(u64::MAX),
            253 => Duration::from_nanos(u64::MAX - 1),
            252 => Duration::from_nanos(1),
            251 => Duration::from_nanos(999_999),
            250 => Duration::from_secs(60),
            249 => Duration::from_secs(1),
            248 => Duration::new(self.number(), 999_999_999),
            247 => Duration::from_nanos(self.number()),
            halves => Duration::from_micros(500) * u32::from(halves),
        }
    }

    /// A text of a few characters: plain ones, such as need quotes, such as none expects.
    pub(crate) fn text(&mut self) -> String {
        const ODD: [char; 16] = [
            ' ',
            '"',
            '\\',
            '\n',
            '\r',
            '\t',
            '\0',
            '=',
            '\u{7f}',
            '\u{85}',
            '\u{2028}',
            '\u{202e}',
            '\u{301}',
            'é',
            '猫',
            '\u{1f980}',
        ];
        let length = self.byte() % 40;
        (0..length)
            .map(|_| match self.byte() {
                byte @ b' '..=b'~' => byte.into(),
                byte @ 0..=31 => ODD[usize::from(byte) % ODD.len()],
                byte => char::from_u32(u32::from(byte) << 8 | u32::from(self.byte()))
                    .unwrap_or('\u{fffd}'),
            })
            .collect()
    }
}
