//! The text of an error with its sources.

use std::error::Error;

/// The texts of an error and of its sources. Many errors end with the text of their source, which
/// is then not repeated.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    // An error of the user may be its own source.
    const MOST: usize = 64;
    let sources = std::iter::successors(error.source(), |&source| source.source());
    sources.take(MOST).map(ToString::to_string).fold(error.to_string(), |text, source| {
        if text.ends_with(&source) {
            text
        } else {
            text + ": " + &source
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error with a text and a source; the last is its own source.
    #[derive(Debug)]
    struct Link(&'static str, Option<Box<Self>>);

    impl std::fmt::Display for Link {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Link {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map_or(Some(self), |source| Some(source))
        }
    }

    #[test]
    fn each_source_is_told_once_and_one_without_end_ends() {
        let inner = Link("no such file", None);
        let middle = Link("map: no such file", Some(Box::new(inner)));
        let outer = Link("reading the map", Some(Box::new(middle)));
        assert_eq!(chain(&outer), "reading the map: map: no such file");
    }
}
