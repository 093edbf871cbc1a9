//! What time alone does to a running attempt: its deadline, the looks of the watchdog, and the
//! moment from which on it is stable.

use alloc::vec::Vec;

use super::effect::{Effect, Notice};
use super::step::Machine;
use super::task::{Health, State, LOOKS};
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
        health: Health,
    ) {
        let task = self.task_mut(key);
        task.watch_from(sign);
        // It has run since the claim, however often it moved its deadline.
        task.since = claimed_at;
        self.set_running(key, State::Running { claimed_at, deadline, health });
        self.touch_group(key);
    }

    /// A running attempt is overdue at another time.
    pub(super) fn move_deadline(&mut self, key: TaskKey, deadline: Time) {
        if let State::Running { claimed_at, health, .. } = self.tasks[key].state {
            self.set_running(key, State::Running { claimed_at, deadline, health });
        }
    }

    /// Changes what is known of a running attempt, and its timer with it.
    fn set_running(&mut self, key: TaskKey, state: State) {
        let task = self.task_mut(key);
        task.state = state;
        let due = task.running_due();
        self.timers.set(key, due);
    }

    /// The deadline, the next look or the stable moment of a running attempt is due.
    pub(super) fn running_due(&mut self, key: TaskKey, out: &mut Vec<Effect>) {
        let State::Running { claimed_at, deadline, health } = self.tasks[key].state else { return };
        let health = self.become_stable(key, health, self.now.min(deadline), out);
        self.task_mut(key).state = State::Running { claimed_at, deadline, health };
        if deadline <= self.now {
            return self.tell(key, claimed_at, CancelReason::Timeout, None, out);
        }

        let (now, task) = (self.now, self.task_mut(key));
        let attempt = task.attempt_addr();
        let watchdog = task.plan.watchdog;
        if let (Some(watch), Some(watchdog)) = (task.watch_mut(), watchdog) {
            if watch.next_look <= now {
                // Counted from now: looks that a suspended machine missed are not made up for. The
                // nearest point of the grid is one period from the last, unless this look is late.
                let period = watchdog.max_silence / LOOKS;
                watch.next_look = now.after(period / 2).tick_from(Time::ZERO, period);
                out.push(Effect::Look { attempt });
            }
        }
        self.set_running(key, State::Running { claimed_at, deadline, health });
    }

    /// Notes the stable moment of an attempt that ran untold until `until`, if that moment has come
    /// and the task is in a streak.
    pub(super) fn become_stable(
        &mut self,
        key: TaskKey,
        health: Health,
        until: Time,
        out: &mut Vec<Effect>,
    ) -> Health {
        let task = self.task_mut(key);
        let failures = task.streak;
        match health {
            Health::Young { stable_at } if stable_at <= until && failures > 0 => {
                let attempt = task.attempt_addr();
                task.count_stable();
                Self::publish(out, Notice::AttemptStable { attempt, failures });
                Health::Stable
            }
            Health::Young { .. } | Health::Stable | Health::Silent => health,
        }
    }

    /// The result of a look.
    pub(super) fn looked(&mut self, key: TaskKey, alive: bool, out: &mut Vec<Effect>) {
        let (now, task) = (self.now, self.task_mut(key));
        let State::Running { claimed_at, deadline, mut health } = task.state else { return };
        let (attempt, young) = (task.attempt_addr(), task.young(now));
        let cancels = task.plan.watchdog.is_some_and(|it| it.policy == WatchdogPolicy::Cancel);
        let was_silent = health == Health::Silent;
        let Some(watch) = task.watch_mut() else { return };

        // A single look may fall just before a sign of life. Only looks that fill the whole allowed
        // span make the attempt silent.
        if alive {
            (watch.left, watch.last_sign) = (LOOKS, now);
            if was_silent {
                health = young;
            }
        } else {
            watch.left = watch.left.saturating_sub(1);
            if watch.left == 0 {
                health = Health::Silent;
            }
        }
        let is_silent = health == Health::Silent;
        let silent_for = watch.last_sign.until(now);
        self.set_running(key, State::Running { claimed_at, deadline, health });

        // The silence is published once, however long it lasts.
        match (was_silent, is_silent) {
            (true, false) => Self::publish(out, Notice::AttemptResponsive { attempt }),
            (false, true) => {
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
