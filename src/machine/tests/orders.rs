//! What a step of a script has ordered, one effect a line, and how that is compared.

use alloc::string::String;
use alloc::vec::Vec;

/// What one or several steps ordered, written out.
#[must_use]
pub(super) struct Orders(pub(super) Vec<String>);

impl Orders {
    /// Compares everything, events included.
    #[track_caller]
    pub(super) fn gives(&self, expected: &str) {
        compare(&self.0, expected);
    }

    /// Compares everything but the events.
    #[track_caller]
    pub(super) fn orders(&self, expected: &str) {
        let orders: Vec<_> = self.0.iter().filter(|line| !line.starts_with('*')).cloned().collect();
        compare(&orders, expected);
    }

    /// Looks for one line.
    #[track_caller]
    pub(super) fn has(&self, line: &str) {
        assert!(self.0.iter().any(|found| found == line), "no {line:?} in {:#?}", self.0);
    }

    #[track_caller]
    pub(super) fn has_none(&self, start: &str) {
        assert!(!self.0.iter().any(|found| found.starts_with(start)), "{start:?} in {:#?}", self.0);
    }

    pub(super) fn mentions(&self, text: &str) -> bool {
        self.0.iter().any(|found| found.contains(text))
    }

    /// What follows `start` in the first line that begins so.
    pub(super) fn after(&self, start: &str) -> Option<&str> {
        self.0.iter().find_map(|line| line.strip_prefix(start))
    }

    /// Lets it be whatever it is: the step is not what the script is about.
    #[allow(clippy::unused_self, reason = "that nothing is compared is the point")]
    pub(super) fn whatever(self) {}
}

#[track_caller]
fn compare(found: &[String], expected: &str) {
    let expected: Vec<_> =
        expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert!(
        found == expected,
        "\nordered:\n    {}\nexpected:\n    {}\n",
        found.join("\n    "),
        expected.join("\n    ")
    );
}
