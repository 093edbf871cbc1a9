//! A submission on its way through the intake, with the promise of its outcome.

use std::any::Any;
use std::sync::Arc;

use crate::output::outcome::Outcome;
use crate::task::door::Door;
use crate::task::group::GroupEntry;
use crate::task::record::{Promise, Record};
use crate::task::spec::TaskSpec;
use crate::vocabulary::id::TaskId;
use crate::vocabulary::policy::AdmissionPolicy;
use crate::vocabulary::reason::{Decision, Rejection};
use crate::vocabulary::time::Time;

/// One hand-over: a submission, or a batch to be admitted all or none. If it is dropped unanswered,
/// its tasks are lost.
pub(crate) struct Envelope {
    pub(crate) first: Entry,
    pub(crate) rest: Option<Box<Rest>>,
    pub(crate) policy: AdmissionPolicy,
    pub(crate) submitted_at: Time,
}

/// What a batch has in addition.
pub(crate) struct Rest {
    pub(crate) entries: Vec<Entry>,
    /// The group of which all of them are members, and how it is served: whoever hands one over
    /// brings that along, so that a program without groups does not contain it.
    pub(crate) group: Option<(GroupEntry, Serve)>,
}

/// What the controller does with an envelope, with itself.
pub(crate) type Serve = fn(&mut dyn Any, Envelope);

/// One submission.
pub(crate) struct Entry {
    pub(crate) spec: TaskSpec,
    pub(crate) promise: Promise,
}

/// What happens to the spec of a submission that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRefusal {
    /// The caller waits for the decision, and gets the spec back with it.
    GiveBack,
    Drop,
}

impl Entry {
    pub(super) fn new(door: &Arc<Door>, id: u64, spec: TaskSpec, on_refusal: OnRefusal) -> Self {
        Self::in_group(door, id, spec, on_refusal, None)
    }

    pub(super) fn in_group(
        door: &Arc<Door>,
        id: u64,
        spec: TaskSpec,
        on_refusal: OnRefusal,
        group: Option<&Arc<str>>,
    ) -> Self {
        let (door, id) = (Arc::clone(door), TaskId::new(id));
        let record = Record::new(door, id, spec.shared_name(), spec.shared_slot());
        let record = record.given_back(on_refusal == OnRefusal::GiveBack);
        let record = match group {
            Some(group) => record.in_group(group),
            None => record,
        };
        Self { spec, promise: Promise::new(Arc::new(record)) }
    }

    /// Refuses the submission, because the door was closed.
    fn refuse(self) {
        let Self { spec, promise } = self;
        let why = Rejection::ShuttingDown;
        let back = promise.record().gives_back().then_some(spec);
        promise.record().decide(Decision::Rejected(why), back);
        promise.record().end(Outcome::Rejected(why));
    }
}

impl Envelope {
    pub(super) fn first_id(&self) -> u64 {
        self.first.promise.record().id.raw()
    }

    /// The number of submissions in it.
    pub(crate) fn len(&self) -> usize {
        self.entries().count()
    }

    /// The number of submissions whose specs nobody gets back if they are refused.
    pub(crate) fn lost(&self) -> usize {
        self.entries().filter(|entry| !entry.promise.record().gives_back()).count()
    }

    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.entries().map(|entry| Arc::clone(&entry.promise.record().name)).collect()
    }

    pub(crate) fn records(&self) -> Vec<Arc<Record>> {
        self.entries().map(|entry| Arc::clone(entry.promise.record())).collect()
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        let rest = self.rest.iter().flat_map(|rest| &rest.entries);
        std::iter::once(&self.first).chain(rest)
    }

    /// Refuses all its submissions, because the door was closed.
    pub(crate) fn refuse(self) {
        self.into_entries().for_each(Entry::refuse);
    }

    pub(super) fn into_specs(self) -> Vec<TaskSpec> {
        self.into_entries().map(|entry| entry.spec).collect()
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = Entry> {
        let rest = self.rest.into_iter().flat_map(|rest| rest.entries);
        std::iter::once(self.first).chain(rest)
    }
}
