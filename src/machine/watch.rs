//! What time alone does to a running attempt: its deadline, and the looks of the watchdog.

use alloc::vec::Vec;

use super::effect::{Effect, Notice};
use super::step::Machine;
use super::task::{State, LOOKS};
use crate::vocabulary::id::TaskKey;
use crate::vocabulary::policy::WatchdogPolicy;
use crate::vocabulary::reason::CancelReason;
use crate::vocabulary::time::Time;

impl Machine {
    /// The body runs, and was not told to return. The watch begins with this sign of life: the
    /// claim, or the extension of the deadline.
    pub(super) fn enter_running(
        &mut self,
        key: TaskKey,
        claimed_at: Time,
        sign: Time,
        deadline: Time,
    ) {
        let watch = self.tasks[key].watch_from(sign);
        let due = watch.map_or(deadline, |watch| watch.next_look.min(deadline));
        self.enter(key, State::Running { claimed_at, deadline, watch }, due);
        // It has run since the claim, however often it moved its deadline.
        self.task_mut(key).since = claimed_at;
    }

    /// The deadline or the next look of a running attempt is due.
    pub(super) fn running_due(&mut self, key: TaskKey, out: &mut Vec<Effect>) {
        let task = &self.tasks[key];
        let State::Running { claimed_at, deadline, watch } = task.state else { return };
        if deadline <= self.now {
            return self.tell(key, claimed_at, CancelReason::Timeout, None, out);
        }
        let (Some(mut watch), Some(watchdog)) = (watch, task.plan.watchdog) else { return };
        // Counted from now: looks that a suspended machine missed are not made up for.
        watch.next_look = self.now.after(watchdog.max_silence / LOOKS);
        let attempt = task.attempt_addr();
        self.task_mut(key).state = State::Running { claimed_at, deadline, watch: Some(watch) };
        self.timers.set(key, watch.next_look.min(deadline));
        out.push(Effect::Look { attempt });
    }

    /// The result of a look.
    pub(super) fn looked(&mut self, key: TaskKey, alive: bool, out: &mut Vec<Effect>) {
        let task = &self.tasks[key];
        let State::Running { claimed_at, deadline, watch: Some(mut watch) } = task.state else {
            return;
        };
        let attempt = task.attempt_addr();
        let cancels = task.plan.watchdog.is_some_and(|it| it.policy == WatchdogPolicy::Cancel);
        let was_silent = watch.silent;

        // A single look may fall just before a sign of life. Only looks that fill the whole allowed
        // span make the attempt silent.
        if alive {
            (watch.missed, watch.silent, watch.last_sign) = (0, false, self.now);
        } else {
            watch.missed = watch.missed.saturating_add(1);
            watch.silent |= u32::from(watch.missed) >= LOOKS;
        }
        self.task_mut(key).state = State::Running { claimed_at, deadline, watch: Some(watch) };

        // The silence is published once, however long it lasts.
        match (was_silent, watch.silent) {
            (true, false) => Self::publish(out, Notice::AttemptResponsive { attempt }),
            (false, true) => {
                let silent_for = watch.last_sign.until(self.now);
                Self::publish(out, Notice::AttemptSilent { attempt, silent_for });
                out.push(Effect::Examine { attempt });
                if cancels {
                    self.tell(key, claimed_at, CancelReason::Unresponsive, None, out);
                }
            }
            (true, true) | (false, false) => {}
        }
    }
}
