//! What a thread and its process do with signals now, as far as Linux tells without unsafe code.

/// One bit for each signal; all are empty where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Masks {
    blocked: u128,
    ignored: u128,
    caught: u128,
}

impl Masks {
    /// Those of the calling thread.
    pub(super) fn read() -> Self {
        let read = |path| std::fs::read_to_string(path).ok();
        // Before Linux 3.17 only the first thread of the process could be asked.
        let status = read("/proc/thread-self/status").or_else(|| read("/proc/self/status"));
        Self::parse(&status.unwrap_or_default())
    }

    fn parse(status: &str) -> Self {
        let mask = |label| {
            let digits = status.lines().find_map(|line| line.strip_prefix(label));
            digits.and_then(|it| u128::from_str_radix(it.trim(), 16).ok()).unwrap_or(0)
        };
        Self { blocked: mask("SigBlk:"), ignored: mask("SigIgn:"), caught: mask("SigCgt:") }
    }

    /// Whether the calling thread, and so each thread that it starts, keeps the signal waiting.
    pub(super) const fn is_blocked(self, signal: i32) -> bool {
        has(self.blocked, signal)
    }

    /// Whether the signal is ignored, as shells have it for background jobs.
    pub(super) const fn is_ignored(self, signal: i32) -> bool {
        has(self.ignored, signal)
    }

    /// Whether the process has a handler for the signal.
    pub(super) const fn is_caught(self, signal: i32) -> bool {
        has(self.caught, signal)
    }
}

const fn has(mask: u128, signal: i32) -> bool {
    mask & (1 << (signal - 1)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_read_from_the_text_of_the_kernel() {
        let status = "Name:\tit\nSigBlk:\t0000000000004000\nSigIgn:\t0000000000001001\n\
                      SigCgt:\t80000000000000000000000000000002\n";
        let masks = Masks::parse(status);
        assert!(masks.is_blocked(15) && !masks.is_blocked(1));
        assert!(masks.is_ignored(1) && masks.is_ignored(13) && !masks.is_ignored(2));
        // MIPS has 128 signals.
        assert!(masks.is_caught(2) && masks.is_caught(128) && !masks.is_caught(64));
        assert_eq!(Masks::parse("SigBlk:\tnonsense\n"), Masks::default());
    }
}
