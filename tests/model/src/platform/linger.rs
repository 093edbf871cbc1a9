//! The wait before a wait, in the shape of the crate's own. A schedule may let any other thread run
//! before the look and after it, so a single one finds all that more of them could. And a yield
//! would have loom run every other thread first: the wait behind it would never be checked.

use crate::platform::clock::RealClock;

#[derive(Debug, Default)]
pub(crate) struct Linger(());

impl Linger {
    #[allow(clippy::unused_self)]
    pub(crate) fn until(&self, _clock: &RealClock, look: impl Fn() -> usize) -> bool {
        look() > 0
    }
}
