//! The names of a supervisor's classes.

use std::sync::Arc;

use crate::vocabulary::id::ClassKey;

/// The names in alphabetical order, by key.
#[derive(Debug, Default)]
pub(crate) struct ClassNames(Box<[Arc<str>]>);

impl ClassNames {
    /// Takes names in alphabetical order.
    pub(crate) fn new(names: Vec<Arc<str>>) -> Self {
        Self(names.into())
    }

    pub(crate) fn key(&self, name: &str) -> Option<ClassKey> {
        let found = self.0.binary_search_by(|known| (**known).cmp(name)).ok()?;
        u32::try_from(found).ok().map(ClassKey)
    }

    pub(crate) fn name(&self, key: ClassKey) -> Option<&Arc<str>> {
        self.0.get(key.0 as usize)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter()
    }
}
