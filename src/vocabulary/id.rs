//! Identifiers: the public [`TaskId`], and the dense keys that index the machine's tables.

use alloc::sync::Arc;
use core::fmt;
use core::num::{NonZeroU32, NonZeroU64};

use crate::vocabulary::escaped::Escaped;

/// Identifies one submission, accepted or refused, and its supervisor, which never reuses an id.
/// Ids of different supervisors of a process differ, as long as there are fewer than 65 536.
///
/// Ids of one supervisor increase in the order in which submissions are handed over. An id is
/// displayed as `#7`; [`get`](Self::get) and `u64::from` return the bare number.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let first = supervisor.handle().add(TaskSpec::once("a", |_| Ok(())))?;
/// let second = supervisor.handle().add(TaskSpec::once("b", |_| Ok(())))?;
/// assert!(first.id() < second.id());
/// assert_eq!(first.id().to_string(), format!("#{}", u64::from(first.id())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(NonZeroU64);

/// The bits of an id that number the submissions of a supervisor; those above name the supervisor.
const NUMBER_BITS: u32 = 48;

impl TaskId {
    /// What the first id of this supervisor is made from; those that follow are one more each.
    pub(crate) fn first_of(supervisor: u16) -> u64 {
        (u64::from(supervisor) << NUMBER_BITS) | 1
    }

    /// What the id is made from.
    pub(crate) const fn raw(self) -> u64 {
        self.0.get()
    }

    /// The id made from `n`, or the first one for 0.
    pub(crate) const fn new(n: u64) -> Self {
        match NonZeroU64::new(n) {
            Some(n) => Self(n),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// Returns the number of the submission within its supervisor, which is at least 1.
    pub const fn get(self) -> u64 {
        self.raw() & ((1 << NUMBER_BITS) - 1)
    }
}

impl From<TaskId> for u64 {
    fn from(id: TaskId) -> Self {
        id.get()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.get())
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number, as it is displayed; without the supervisor.
#[cfg(feature = "serde")]
impl serde::Serialize for TaskId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.get())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for TaskId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        <u64 as serde::Deserialize>::deserialize(from).map(Self::new)
    }
}

/// Names a task in events, snapshots and reports. It is displayed as the task's name and id,
/// `probe#7`, with line breaks and control characters of the name escaped.
///
/// ```
/// # use threadvisor::prelude::*;
/// # let supervisor = Supervisor::builder().start()?;
/// let probe = TaskSpec::once("probe", |_| Err("no device".into())).slot("bus");
/// let report = supervisor.run([probe])?;
/// let task = &report.failures[0].task;
/// assert_eq!((task.to_string(), task.slot.as_deref()), ("probe#1".to_owned(), Some("bus")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TaskRef {
    /// The task's id.
    pub id: TaskId,
    /// The task's name, which need not be unique.
    pub name: Arc<str>,
    /// The key of the task's slot; `None` if it has no slot.
    pub slot: Option<Arc<str>>,
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Escaped(&self.name), self.id)
    }
}

/// The place of a task in the tables; reused once the task is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskKey(pub(crate) u32);

/// The place of a slot in the tables; reused once the slot is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SlotKey(pub(crate) u32);

/// The place of a class in the supervisor's list of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClassKey(pub(crate) u32);

/// Which of the permits of its class a task holds, from 0. What is stored is one more, so that a
/// task without a class needs no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassIndex(NonZeroU32);

impl ClassIndex {
    pub(crate) const fn new(index: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index))
    }

    pub(crate) const fn get(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// The address of a task in messages: the key finds the task, and the id proves that it is still
/// the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskAddr {
    pub(crate) key: TaskKey,
    pub(crate) id: TaskId,
}

/// The place of a group in the tables; reused once the group is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupKey(pub(crate) u32);

/// The address of a group in messages: the key finds the group, and the id of its first member
/// proves that it is still the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupAddr {
    pub(crate) key: GroupKey,
    pub(crate) first: TaskId,
}

/// The address of an attempt in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttemptAddr {
    pub(crate) task: TaskAddr,
    /// Numbered from 1. The number has 64 bits, because attempts a millisecond apart would use up
    /// 32 bits in 50 days.
    pub(crate) number: u64,
}
