//! Stable names for the variants of an enum: its `label` and its `Display` come from one table, so
//! that they cannot differ.

/// Under a name, because serde would borrow a reference from what it reads.
pub(crate) type Label = &'static str;

/// Gives an enum the method `label`. The table must name every variant.
macro_rules! labels {
    ($name:ty { $($variant:pat => $label:literal),+ $(,)? }) => {
        impl $name {
            /// The names of all variants.
            #[cfg(feature = "serde")]
            // Only those of `Rejection` are read back one by one.
            #[allow(dead_code)]
            pub(crate) const LABELS: &'static [&'static str] = &[$($label),+];

            /// Returns a stable `snake_case` name, for metrics and logs.
            pub const fn label(&self) -> &'static str {
                match self { $($variant => $label),+ }
            }
        }
    };
}

/// Like `labels`, and the enum is displayed as its label.
macro_rules! named {
    ($name:ty { $($variant:pat => $label:literal),+ $(,)? }) => {
        crate::vocabulary::label::labels!($name { $($variant => $label),+ });

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.label())
            }
        }
    };
}

pub(crate) use {labels, named};
