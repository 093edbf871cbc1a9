//! The hooks that a body has registered with its token: in which order they run, and when a nudge
//! runs again. Which thread runs them is decided in `runtime::pool`.

use std::sync::Arc;
use std::time::Duration;

use super::{Cell, Phase};
use crate::platform::user_value;
use crate::task::fact::{Fact, HookOwner};
use crate::task::hook::Hook;
use crate::task::numbered::Numbered;
use crate::vocabulary::plan::SLOW;
use crate::vocabulary::time::RealTime;

/// The longest period of a nudge on a body that has outlived its grace, unless its own is longer.
const LONGEST: Duration = Duration::from_secs(60);

/// A hook, and when it is due (again) once the token is cancelled.
pub(crate) struct Registered {
    hook: Arc<Hook>,
    due: RealTime,
    /// How long after a run the next one is due; `None` if none is.
    pause: Option<Duration>,
}

/// The hooks of one attempt, in the order in which they were registered.
pub(super) struct Hooks {
    registered: Numbered<Registered>,
    /// When the controller will have nudges run again: one wake-up serves them all.
    nudge_due: RealTime,
    /// Whether some thread runs them.
    running: bool,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { registered: Numbered::default(), nudge_due: RealTime::NEVER, running: false }
    }
}

impl Hooks {
    pub(super) fn take_all(&mut self) -> Numbered<Registered> {
        std::mem::take(&mut self.registered)
    }

    /// The first hook from this number on that is due. A body that has outlived its grace may stay
    /// for good, so its nudges become rare.
    fn next_due(&mut self, from: u64, now: RealTime, abandoned: bool) -> Option<(u64, Arc<Hook>)> {
        let (number, it) = self.registered.from(from).find(|(_, it)| it.due <= now)?;
        if abandoned {
            it.pause = it.pause.map(|pause| pause.saturating_mul(2).min(LONGEST).max(pause));
        }
        it.due = it.pause.map_or(RealTime::NEVER, |pause| now.after(pause));
        Some((number, Arc::clone(&it.hook)))
    }

    /// Notes that a hook is due at `due`. True if that is sooner than the controller knows.
    fn note_due(&mut self, due: RealTime) -> bool {
        let sooner = due < self.nudge_due;
        self.nudge_due = self.nudge_due.min(due);
        sooner
    }
}

impl Cell {
    /// Body: registers a hook, and returns its number. If the token is already cancelled, the hook
    /// runs now, on this thread.
    pub(crate) fn register(self: &Arc<Self>, hook: &Arc<Hook>) -> u64 {
        let mut state = self.state.lock();
        let told = self.told.is_set();
        let running = matches!(state.phase, Phase::Claimed);
        if !told && matches!(state.phase, Phase::Leaving { .. } | Phase::Returned) {
            // There is no body left to wake, so only the guard keeps the hook.
            return 0;
        }
        let due = match (told, hook.period) {
            (false, _) => RealTime::ZERO,
            (true, Some(period)) if running => self.clock().real.now().after(period),
            // A hook that is no nudge runs only now. For a nudge there is no call left to wake.
            (true, _) => RealTime::NEVER,
        };
        let number = state.hooks.registered.push(Registered {
            hook: Arc::clone(hook),
            due,
            pause: hook.period,
        });
        if !told {
            drop(state);
            self.door().want_last_resort();
            return number;
        }

        let sooner = state.hooks.note_due(due);
        drop(state);
        let began = self.clock().real.now();
        self.run_hook(number, Arc::clone(hook));
        let ran = began.until(self.clock().real.now());
        if ran > SLOW {
            self.door().post(Fact::HookSlow { owner: HookOwner::Attempt(Arc::clone(self)), ran });
        }
        if sooner {
            self.door().post(Fact::HooksDue { cell: Arc::clone(self), due });
        }
        number
    }

    /// Runs the hooks that are due, in the order in which they were registered. Returns when one is
    /// due again. Only one thread at a time does this for an attempt.
    pub(crate) fn run_hooks(self: &Arc<Self>) -> Option<RealTime> {
        if std::mem::replace(&mut self.state.lock().hooks.running, true) {
            return None;
        }
        // Each hook runs at most once: a nudge that takes longer than its period must not starve
        // the others.
        let (now, mut from) = (self.clock().real.now(), 0);
        loop {
            let mut state = self.state.lock();
            let abandoned = state.abandoned;
            let hooks = &mut state.hooks;
            let Some((number, hook)) = hooks.next_due(from, now, abandoned) else {
                hooks.running = false;
                if hooks.nudge_due <= self.clock().real.now() {
                    hooks.nudge_due = RealTime::NEVER;
                }
                let next = hooks.registered.iter().map(|it| it.due).min()?;
                return hooks.note_due(next).then_some(next);
            };
            drop(state);
            self.run_hook(number, hook);
            from = number + 1;
        }
    }

    fn run_hook(self: &Arc<Self>, number: u64, hook: Arc<Hook>) {
        let mut panics = hook.run();
        if hook.is_spent() {
            self.unhook(number, &hook);
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
    pub(crate) fn unhook(&self, number: u64, hook: &Arc<Hook>) {
        let mut state = self.state.lock();
        // A spent hook is gone already, and another may have its number.
        let removed = state.hooks.registered.take(number, |it| Arc::ptr_eq(&it.hook, hook));
        // Its destructor is user code, so it does not run under the lock.
        drop(state);
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses after its first runs, in milliseconds.
    fn pauses(period: Duration, abandoned: bool) -> [u128; 5] {
        let mut hooks = Hooks::default();
        let (hook, due) = (Arc::new(Hook::nudge(period, || ())), RealTime::ZERO);
        hooks.registered.push(Registered { hook, due, pause: Some(period) });
        let mut now = due;
        [(); 5].map(|()| {
            assert!(hooks.next_due(0, now, abandoned).is_some());
            let next = hooks.registered.iter().map(|it| it.due).min().unwrap();
            let pause = now.until(next).as_millis();
            now = next;
            pause
        })
    }

    #[test]
    fn the_nudges_of_an_abandoned_body_become_rare_step_by_step() {
        let ms = Duration::from_millis;
        assert_eq!(pauses(ms(20), false), [20; 5]);
        assert_eq!(pauses(ms(20), true), [40, 80, 160, 320, 640]);
        assert_eq!(pauses(ms(20_000), true), [40_000, 60_000, 60_000, 60_000, 60_000]);
        assert_eq!(pauses(ms(90_000), true), [90_000; 5], "its own period is longer than that");
    }
}
