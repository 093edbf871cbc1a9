//! What cannot be derived for the feature `serde`: see `guide::json`.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::output::error::{TaskError, TaskResult};
use crate::vocabulary::reason::Rejection;

/// Its text, with all causes.
impl Serialize for TaskError {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TaskError {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::fail)
    }
}

/// What a stopped body returned: `"ok"`, or `{"error": text}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Returned {
    Ok,
    Error(TaskError),
}

pub(super) mod returned {
    use super::{Deserialize, Deserializer, Returned, Serialize, Serializer, TaskResult};

    // The derive calls it so.
    #[allow(clippy::ref_option)]
    pub(crate) fn serialize<S: Serializer>(
        returned: &Option<TaskResult>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let returned =
            returned.clone().map(|it| it.map_or_else(Returned::Error, |()| Returned::Ok));
        returned.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<TaskResult>, D::Error> {
        let returned = Option::<Returned>::deserialize(from)?;
        Ok(returned.map(|it| match it {
            Returned::Ok => Ok(()),
            Returned::Error(error) => Err(error),
        }))
    }
}

pub(super) mod io_error {
    use std::io;
    use std::sync::Arc;

    use super::{Deserialize, Deserializer, Serialize, Serializer};
    use crate::platform::chain::chain;

    pub(crate) fn serialize<S: Serializer>(
        error: &Arc<io::Error>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        chain(&**error).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Arc<io::Error>, D::Error> {
        String::deserialize(from).map(|text| Arc::new(io::Error::other(text)))
    }
}

/// The label of a rejection.
pub(super) fn label<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    let text = Cow::<str>::deserialize(from)?;
    let known = Rejection::LABELS.iter().find(|label| **label == text);
    known.copied().ok_or_else(|| D::Error::unknown_variant(&text, Rejection::LABELS))
}
