//! The permits of the classes, told from the orders alone: who holds which, and who waits for one.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::machine::{End, Machine};
use crate::vocabulary::id::{ClassIndex, ClassKey, TaskId};
use crate::vocabulary::reason::StopReason;

/// A permit that somebody holds.
#[derive(Clone, Copy)]
struct Held {
    /// Which, as far as its attempt was ordered.
    index: Option<usize>,
    /// What the limit was when it was taken.
    below: usize,
}

#[derive(Default)]
struct Class {
    limit: usize,
    holders: BTreeMap<TaskId, Held>,
    line: Vec<TaskId>,
    /// Those that close, and keep a place or a permit for their heirs.
    keepers: BTreeSet<TaskId>,
    /// Who left a place in the line, or a permit, for an heir; and from where.
    left: Option<(TaskId, Option<usize>)>,
    heir: Option<TaskId>,
    /// Bodies that run, physically, but for the released.
    n_bodies: usize,
}

impl Class {
    /// What was left was for an heir alone.
    fn let_go(&mut self) {
        if let Some((left, None)) = self.left {
            self.holders.remove(&left);
        }
        (self.left, self.heir) = (None, None);
    }
}

pub(super) struct Classes(Vec<Class>);

impl Classes {
    pub(super) fn new(limits: &[u32]) -> Self {
        let class = |&limit: &u32| Class { limit: limit as usize, ..Class::default() };
        Self(limits.iter().map(class).collect())
    }

    fn class(&mut self, class: Option<ClassKey>) -> Option<&mut Class> {
        class.map(|class| &mut self.0[class.0 as usize])
    }

    pub(super) fn set_limit(&mut self, class: ClassKey, limit: u32) {
        self.0[class.0 as usize].limit = limit as usize;
    }

    /// All permits are held, so the task goes to the end of the line, or where it is the heir.
    pub(super) fn wait(&mut self, class: ClassKey, task: TaskId) {
        let class = &mut self.0[class.0 as usize];
        assert!(class.holders.len() >= class.limit, "{task} waits although there is room");
        let is_heir = class.heir == Some(task);
        let place = class.left.filter(|_| is_heir).map(|(left, at)| {
            at.unwrap_or_else(|| panic!("{task} does not get the permit that {left} kept for it"))
        });
        class.line.insert(place.unwrap_or(class.line.len()), task);
    }

    /// The task goes on to wait for a permit to run, or starts. Gives whether the permit was kept
    /// for it.
    pub(super) fn take(&mut self, class: Option<ClassKey>, task: TaskId) -> bool {
        let Some(class) = self.class(class).filter(|class| !class.holders.contains_key(&task))
        else {
            return false;
        };
        let kept = class.left.filter(|(_, at)| at.is_none());
        let is_heir = kept.is_some() && class.heir == Some(task);
        let mut below = class.limit;
        // It is the heir's, or nobody was there to take it.
        if let Some((left, _)) = kept.filter(|_| is_heir || class.holders.len() >= class.limit) {
            let held = class.holders.remove(&left).filter(|_| is_heir);
            below = held.map_or(below, |held| held.below);
            class.left = None;
        }
        if !is_heir {
            let first = class.line.iter().find(|waiting| !class.keepers.contains(waiting));
            assert!(first.map_or(true, |first| *first == task), "{task} overtakes its class");
            class.line.retain(|waiting| *waiting != task);
            assert!(class.holders.len() < class.limit, "more permits of a class than there are");
        }
        class.holders.insert(task, Held { index: None, below });
        is_heir
    }

    /// The task's attempt is ordered.
    pub(super) fn start(
        &mut self,
        class: Option<ClassKey>,
        task: TaskId,
        index: Option<ClassIndex>,
    ) -> bool {
        let inherited = self.take(class, task);
        let index = index.map(ClassIndex::get);
        let Some(class) = self.class(class) else {
            assert_eq!(index, None, "{task} holds a permit of no class");
            return inherited;
        };
        let index = index.unwrap_or_else(|| panic!("{task} runs without a permit of its class"));
        let twice = class.holders.values().any(|held| held.index == Some(index));
        assert!(!twice, "{task} holds what another holds");
        let held = class.holders.get_mut(&task).expect("it has just taken it");
        assert!(index < held.below, "{task} holds what is not there");
        held.index = Some(index);
        inherited
    }

    pub(super) fn give_back(&mut self, class: Option<ClassKey>, task: TaskId) {
        if let Some(class) = self.class(class) {
            let held = class.holders.remove(&task);
            assert!(held.is_some(), "{task} gives back what it does not hold");
        }
    }

    /// The task closes. Gives whether it keeps its place, or its permit, for its heir.
    pub(super) fn close(&mut self, class: Option<ClassKey>, task: TaskId, replaced: bool) -> bool {
        let Some(class) = self.class(class) else { return false };
        let has_any = class.line.contains(&task) || class.holders.contains_key(&task);
        if has_any && replaced {
            class.keepers.insert(task);
        } else {
            class.line.retain(|waiting| *waiting != task);
            class.holders.remove(&task);
        }
        has_any && replaced
    }

    /// The task ends, and leaves what it has to its heir if it is replaced.
    pub(super) fn leave(&mut self, class: Option<ClassKey>, task: TaskId, end: End) {
        let Some(class) = self.class(class) else { return };
        let kept = class.keepers.remove(&task);
        // Another may have been replaced in the same step.
        class.let_go();
        let replaced = matches!(end, End::Cancelled { reason: StopReason::Replace, .. }) || kept;
        if let Some(at) = class.line.iter().position(|waiting| *waiting == task) {
            class.line.remove(at);
            class.left = replaced.then_some((task, Some(at)));
        } else if class.holders.contains_key(&task) {
            if replaced {
                class.left = Some((task, None));
            } else {
                class.holders.remove(&task);
            }
        }
    }

    pub(super) fn heir(&mut self, class: Option<ClassKey>, task: TaskId, heir: TaskId) {
        if let Some(class) = self.class(class) {
            class.heir = class.left.filter(|(left, _)| *left == task).map(|_| heir);
        }
    }

    /// A body begins to run.
    pub(super) fn enter_body(&mut self, class: Option<ClassKey>) {
        if let Some(class) = self.class(class) {
            class.n_bodies += 1;
            assert!(class.n_bodies <= class.holders.len(), "too many bodies of a class run");
        }
    }

    pub(super) fn leave_body(&mut self, class: Option<ClassKey>) {
        if let Some(class) = self.class(class) {
            class.n_bodies -= 1;
        }
    }

    /// Those that wait for a class, and those that hold permits of it, for each class.
    pub(super) fn each(
        &self,
    ) -> impl Iterator<Item = (impl Iterator<Item = TaskId> + '_, impl Fn(TaskId) -> bool + '_)>
    {
        self.0.iter().map(|class| {
            let waits = |task: &TaskId| !class.keepers.contains(task);
            let holds = move |task| class.holders.contains_key(&task);
            (class.line.iter().copied().filter(waits), holds)
        })
    }

    pub(super) fn compare(&mut self, machine: &Machine) {
        for (class, known) in self.0.iter_mut().zip(machine.classes()) {
            class.let_go();
            assert_eq!(class.holders.len(), known.held() as usize, "class permits are miscounted");
            let kept = class.line.iter().filter(|task| class.keepers.contains(task)).count();
            let waiting = class.line.len() - kept;
            assert_eq!(waiting, known.line.waiting() as usize, "a class is misread");
            let full = class.holders.len() >= class.limit;
            assert!(waiting == 0 || full, "somebody waits although its class has room");
        }
    }

    /// After the last step of all.
    pub(super) fn finish(&self) {
        for class in &self.0 {
            let left = (class.holders.len(), class.line.len(), class.n_bodies);
            assert_eq!(left, (0, 0, 0), "a permit of a class is lost");
        }
    }
}
