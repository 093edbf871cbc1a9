//! A submission on its way through the intake, and the duty to answer it.

use std::sync::Arc;

use crate::output::outcome::Outcome;
use crate::task::door::Door;
use crate::task::record::{Promise, Record};
use crate::task::spec::TaskSpec;
use crate::vocabulary::id::TaskId;
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::{Decision, Rejection};
use crate::vocabulary::time::Time;

/// One hand-over: a submission, or a batch to be admitted all or none. Dropped unanswered, it says
/// that its tasks were lost.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) entries: Entries,
    pub(crate) policy: AdmissionPolicy,
    pub(crate) submitted_at: Time,
}

/// Most hand-overs are of one task, and should not pay for a list.
#[derive(Debug)]
pub(crate) enum Entries {
    One(Entry),
    Batch(Vec<Entry>),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) spec: TaskSpec,
    pub(crate) promise: Promise,
    /// The caller waits for the decision and wants a refused spec back.
    pub(crate) returns_spec: bool,
}

impl Entry {
    pub(super) fn new(door: &Arc<Door>, id: u64, spec: TaskSpec, returns_spec: bool) -> Self {
        let (door, id) = (Arc::clone(door), TaskId::new(id));
        let record = Record::new(door, id, spec.shared_name(), spec.shared_slot());
        Self { spec, promise: Promise(Arc::new(record)), returns_spec }
    }
}

impl Envelope {
    pub(super) fn first_id(&self) -> Option<u64> {
        let first = match &self.entries {
            Entries::One(entry) => Some(entry),
            Entries::Batch(entries) => entries.first(),
        };
        first.map(|entry| entry.promise.0.id.get())
    }

    /// How many submissions it carries.
    pub(crate) fn len(&self) -> usize {
        match &self.entries {
            Entries::One(_) => 1,
            Entries::Batch(entries) => entries.len(),
        }
    }

    /// Refuses everything: the door was closed. What nobody waits for comes back, to be dropped
    /// where user code may run.
    #[must_use = "user values must not be dropped on the controller"]
    pub(crate) fn refuse(self) -> Vec<TaskSpec> {
        let why = Rejection::ShuttingDown;
        let mut left = Vec::new();
        for Entry { spec, promise, returns_spec } in self.into_entries() {
            let record = Arc::clone(&promise.0);
            if returns_spec {
                record.decide(Decision::Rejected(why), Some(spec));
            } else {
                record.decide(Decision::Rejected(why), None);
                left.push(spec);
            }
            record.end(Outcome::Rejected(why));
        }
        left
    }

    pub(super) fn into_specs(self) -> Vec<TaskSpec> {
        self.into_entries().into_iter().map(|entry| entry.spec).collect()
    }

    fn into_entries(self) -> Vec<Entry> {
        match self.entries {
            Entries::One(entry) => vec![entry],
            Entries::Batch(entries) => entries,
        }
    }
}
