//! The hooks that a body has registered with its token: in which order they run, and when a nudge
//! runs again. Which thread runs them is decided in `runtime::pool`.

use std::sync::Arc;

use super::{Cell, Phase};
use crate::platform::user_value;
use crate::task::fact::{Fact, HookOwner};
use crate::task::hook::Hook;
use crate::vocabulary::plan::SLOW;
use crate::vocabulary::time::RealTime;

/// A hook, and when it is due (again) once the token is cancelled.
pub(crate) struct Registered {
    hook: Arc<Hook>,
    due: RealTime,
}

/// The hooks of one attempt, in the order in which they were registered.
pub(super) struct Hooks {
    registered: Vec<Registered>,
    /// When the controller will have nudges run again: one wake-up serves them all.
    nudge_due: RealTime,
    /// Whether some thread runs them.
    running: bool,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { registered: Vec::new(), nudge_due: RealTime::NEVER, running: false }
    }
}

impl Hooks {
    pub(super) fn take_all(&mut self) -> Vec<Registered> {
        std::mem::take(&mut self.registered)
    }

    /// Notes that a hook is due at `due`. True if that is sooner than the controller knows.
    fn note_due(&mut self, due: RealTime) -> bool {
        let sooner = due < self.nudge_due;
        self.nudge_due = self.nudge_due.min(due);
        sooner
    }
}

impl Cell {
    /// Body: registers a hook. If the token is already cancelled, the hook runs now, on this
    /// thread.
    pub(crate) fn register(self: &Arc<Self>, hook: &Arc<Hook>) {
        let mut state = self.state.lock();
        let told = self.told.is_set();
        let running = matches!(state.phase, Phase::Claimed);
        if !told && matches!(state.phase, Phase::Leaving { .. } | Phase::Returned) {
            // There is no body left to wake, so only the guard keeps the hook.
            return;
        }
        let due = match (told, hook.period) {
            (false, _) => RealTime::ZERO,
            (true, Some(period)) if running => self.clock().real.now().after(period),
            // A hook that is no nudge runs only now. For a nudge there is no call left to wake.
            (true, _) => RealTime::NEVER,
        };
        state.hooks.registered.push(Registered { hook: Arc::clone(hook), due });
        if !told {
            drop(state);
            return self.door().want_last_resort();
        }

        let sooner = state.hooks.note_due(due);
        drop(state);
        let began = self.clock().real.now();
        self.run_hook(Arc::clone(hook));
        let ran = began.until(self.clock().real.now());
        if ran > SLOW {
            self.door().post(Fact::HookSlow { owner: HookOwner::Attempt(Arc::clone(self)), ran });
        }
        if sooner {
            self.door().post(Fact::HooksDue { cell: Arc::clone(self), due });
        }
    }

    /// Runs the hooks that are due, in the order in which they were registered. Returns when one is
    /// due again. Only one thread at a time does this for an attempt.
    pub(crate) fn run_hooks(self: &Arc<Self>) -> Option<RealTime> {
        if std::mem::replace(&mut self.state.lock().hooks.running, true) {
            return None;
        }
        // Each hook runs at most once: a nudge that takes longer than its period must not starve
        // the others.
        let now = self.clock().real.now();
        loop {
            let mut state = self.state.lock();
            let hooks = &mut state.hooks;
            let Some(it) = hooks.registered.iter_mut().find(|it| it.due <= now) else {
                hooks.running = false;
                if hooks.nudge_due <= self.clock().real.now() {
                    hooks.nudge_due = RealTime::NEVER;
                }
                let next = hooks.registered.iter().map(|it| it.due).min()?;
                return hooks.note_due(next).then_some(next);
            };
            it.due = it.hook.period.map_or(RealTime::NEVER, |period| now.after(period));
            let hook = Arc::clone(&it.hook);
            drop(state);
            self.run_hook(hook);
        }
    }

    fn run_hook(self: &Arc<Self>, hook: Arc<Hook>) {
        let mut panics = hook.run();
        if hook.is_spent() {
            self.unhook(&hook);
        }
        // If the body has returned in the meantime, this may be the last reference.
        panics.extend(user_value::panics_of(|| drop(hook)));
        for message in panics {
            let owner = HookOwner::Attempt(Arc::clone(self));
            self.door().post(Fact::HookPanicked { owner, message });
        }
    }

    /// Whether there are hooks to run on a cancel.
    pub(crate) fn has_hooks(&self) -> bool {
        !self.state.lock().hooks.registered.is_empty()
    }

    /// The guard of a hook is gone, so the hook need not be kept.
    pub(crate) fn unhook(&self, hook: &Arc<Hook>) {
        let mut state = self.state.lock();
        let found = state.hooks.registered.iter().position(|it| Arc::ptr_eq(&it.hook, hook));
        let removed = found.map(|position| state.hooks.registered.remove(position));
        // Its destructor is user code, so it does not run under the lock.
        drop(state);
        drop(removed);
    }
}
