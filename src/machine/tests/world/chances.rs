//! What chance decides in a world: its limits, and the plans and bodies of its tasks.

use core::time::Duration;

use super::cells::{Body, Extension};
use super::families::{Families, Family, Profile};
use crate::machine::tests::dice::Dice;
use crate::machine::tests::rig::ms;
use crate::vocabulary::answer::Return;
use crate::vocabulary::backoff::{BackoffPolicy, JitterPolicy};
use crate::vocabulary::id::ClassKey;
use crate::vocabulary::plan::{AtDrain, BodyKind, FailureLimit, Interval, Limits, Plan, Watchdog};
use crate::vocabulary::policy::{AbandonPolicy, PanicPolicy, RestartPolicy, WatchdogPolicy};

const PANICS: [PanicPolicy; 5] = [
    PanicPolicy::Failure,
    PanicPolicy::Failure,
    PanicPolicy::Failure,
    PanicPolicy::Fatal,
    PanicPolicy::Abort,
];

/// How many classes there are.
pub(super) const CLASSES: u32 = 3;

impl Dice {
    /// How much there is of everything: less than is asked for, or plenty.
    pub(super) fn limits(&mut self, few: bool) -> Limits {
        let limits = Limits {
            max_concurrent: self.one_of(&[Some(1), Some(2), Some(3), Some(6), None]),
            classes: (0..CLASSES).map(|_| self.one_of(&[1, 1, 2, 3, 8])).collect(),
            max_slot_queue: self.one_of(&[0, 1, 3, 100]),
            max_tasks: self.one_of(&[5, 20, 1000]),
            max_abandoned: self.one_of(&[0, 1, 2, 5, 1000]),
            grace: self.one_of(&[ms(0), ms(10), ms(50), ms(1000), Duration::MAX]),
            signal_drain: self.one_of(&[None, Some(ms(30)), Some(Duration::MAX)]),
            event_flush: self.one_of(&[ms(0), ms(20), ms(250)]),
            timer_slack: ms(0),
        };
        // Not drawn, so that a seed means the world that it meant before.
        let timer_slack = if limits.max_slot_queue == 3 { ms(7) } else { ms(0) };
        let limits = Limits { timer_slack, ..limits };
        let max_concurrent = self.one_of(&[Some(2), Some(6), None]);
        let plenty = Limits {
            max_concurrent,
            max_slot_queue: 100,
            max_tasks: 1000,
            max_abandoned: 1000,
            ..limits.clone()
        };
        if few {
            limits
        } else {
            plenty
        }
    }

    /// Draws everything, also what the plan does not need: a family that is left out changes
    /// nothing else.
    pub(super) fn plan(&mut self, profile: &Profile, families: Families) -> Plan {
        let once = self.chance(15);
        let restart = self.one_of(&[
            RestartPolicy::Never,
            RestartPolicy::OnFailure,
            RestartPolicy::OnFailure,
            RestartPolicy::Always,
        ]);
        let always = !once && restart == RestartPolicy::Always;
        let interval = self.interval();
        let (initial_delay, is_delayed) = (self.span(ms(20)), self.chance(profile.delays));
        let (retries, is_bounded) = (self.below(4), self.chance(profile.budgets));
        let limit = FailureLimit { failures: self.below(4), within: self.span(ms(60)) };
        let is_limited = self.chance(profile.budgets / 2);
        let (patience, gives_up) = (self.span(ms(60)), self.chance(profile.budgets / 2));
        let early = self.chance(profile.budgets);
        let (timeout, has_timeout) = (ms(1) + self.span(ms(30)), self.chance(profile.timeout));
        let (expires_in, expires) = (ms(1) + self.span(ms(40)), self.chance(profile.expires));
        let (watchdog, is_watched) = (self.watchdog(), self.chance(profile.watched));
        let graces = [ms(0), ms(2), ms(10), ms(10), ms(1000), Duration::MAX];
        let mut plan = Plan {
            restart: if once { RestartPolicy::Never } else { restart },
            interval: if always && families.have(Family::Pauses) {
                interval
            } else {
                Interval::None
            },
            initial_delay: if is_delayed { initial_delay } else { Duration::ZERO },
            backoff: self.backoff(),
            retry_early: early,
            max_retries: if is_bounded { retries } else { u32::MAX },
            give_up_after: gives_up.then_some(patience),
            stable_after: self.one_of(&[ms(5), ms(60_000)]),
            stable_is_stated: self.chance(40),
            failure_limit: is_limited.then_some(limit),
            timeout: has_timeout.then_some(timeout),
            max_timeout: None,
            ready_within: None,
            step: false,
            grace: self.one_of(&graces),
            expires_in: expires.then_some(expires_in),
            panic: self.one_of(&PANICS),
            abandon: AbandonPolicy::Hold,
            watchdog: is_watched.then_some(watchdog),
            shutdown_on_end: self.chance(profile.shutdown_on_end),
            at_drain: AtDrain::GoOn,
            class: None,
            body: match (once, self.chance(profile.shared)) {
                (true, _) => BodyKind::Once,
                (false, true) => BodyKind::Shared,
                (false, false) => BodyKind::Repeat,
            },
            needs_drop: false,
        };
        if self.chance(profile.release) {
            plan.abandon = AbandonPolicy::Release;
        }
        self.go_to_extremes(profile, &mut plan);
        plan.needs_drop = self.chance(profile.drops);
        plan.at_drain = match self.chance(profile.stopped_at_drain) {
            false => AtDrain::GoOn,
            true if self.chance(50) => AtDrain::Finish,
            true => AtDrain::Stop,
        };
        let (class, has_class) = (ClassKey(self.below(CLASSES)), self.chance(profile.classed));
        plan.class = has_class.then_some(class);
        plan
    }

    /// Times at the ends of their range.
    fn go_to_extremes(&mut self, profile: &Profile, plan: &mut Plan) {
        let times = [Duration::from_nanos(1), Duration::from_micros(999), Duration::MAX];
        let (time, field, really) =
            (self.one_of(&times), self.below(8), self.chance(profile.extremes));
        if !really {
            return;
        }
        match (field, plan.interval) {
            (0, _) => plan.initial_delay = time,
            (1, _) => plan.timeout = Some(time),
            (2, _) => plan.expires_in = Some(time),
            (3, _) => plan.grace = time,
            (4, _) => plan.backoff = BackoffPolicy::constant(time).factor(f64::MAX),
            (5, Interval::Delay(_)) => plan.interval = Interval::Delay(time),
            (5, Interval::Rate(_)) => plan.interval = Interval::Rate(time),
            (6, _) if self.chance(50) => plan.give_up_after = Some(time),
            (6, _) => plan.failure_limit = Some(FailureLimit { failures: 1, within: time }),
            _ => {
                if let Some(watchdog) = &mut plan.watchdog {
                    watchdog.max_silence = time.max(ms(4));
                }
            }
        }
    }

    fn interval(&mut self) -> Interval {
        let span = ms(1) + self.span(ms(30));
        match self.below(4) {
            0 => Interval::Delay(span),
            1 => Interval::Rate(span),
            _ => Interval::None,
        }
    }

    fn watchdog(&mut self) -> Watchdog {
        let policy = self.one_of(&[WatchdogPolicy::Report, WatchdogPolicy::Cancel]);
        Watchdog { max_silence: ms(4) + self.span(ms(16)), policy }
    }

    fn backoff(&mut self) -> BackoffPolicy {
        let first = self.span(ms(10));
        let jitter = self.one_of(&[
            JitterPolicy::None,
            JitterPolicy::Full,
            JitterPolicy::Equal,
            JitterPolicy::Decorrelated,
        ]);
        let factor = self.one_of(&[1.0, 1.5, 2.0, 2.0, 10.0]);
        BackoffPolicy::exponential(first, first + self.span(ms(40))).jitter(jitter).factor(factor)
    }

    /// What a body does, and when it returns of its own accord; `None` for one that hangs.
    pub(super) fn body(
        &mut self,
        profile: &Profile,
        healthy: bool,
        reaction: Duration,
    ) -> (Body, Option<Duration>) {
        let extends = self.chance(profile.extends) && !healthy;
        let hangs = self.chance(profile.hangs) && !healthy;
        let deaf = self.chance(profile.deaf) && !healthy;
        let fails = self.chance(profile.fails) && !healthy;
        let silent = self.chance(profile.silent) && !healthy;
        // Whoever asks for more time needs it; who does not listen is in the middle of something.
        let (short, most) = (self.chance(20), if extends || deaf { ms(60) } else { ms(25) });
        let runs = self.span(most);
        let mishap = self.mishap(profile);
        let ret = if fails { mishap } else { Return::Ok };
        let told = self.one_of(&[Return::Cancelled, Return::Cancelled, Return::Ok]);
        let (mishap, fails) = (self.mishap(profile), self.chance(20));
        let told = if fails { mishap } else { told };
        let obeys = (!deaf).then_some((self.span(reaction), told));
        let silence = self.silence();
        let extension = Extension {
            every: ms(1) + self.span(ms(5)),
            by: ms(2) + self.span(ms(15)),
            most: self.span(ms(80)),
        };
        let delays = [Duration::ZERO, ms(3), self.span(ms(40)), ms(1_000_000)];
        let delay = self.one_of(&delays);
        let asks = self.chance(profile.asks);
        let (ready, speaks) = (self.span(ms(20)), self.chance(profile.readiness));
        let body = Body {
            ret,
            obeys,
            silence: silent.then_some(silence),
            extension: extends.then_some(extension),
            ready: speaks.then_some(ready),
            retry_after: asks.then_some(delay),
        };
        (body, (!hangs).then_some(if short { Duration::ZERO } else { runs }))
    }

    /// When a body falls silent, and for how long.
    fn silence(&mut self) -> (Duration, Duration) {
        let from = if self.chance(50) { Duration::ZERO } else { self.span(ms(20)) };
        (from, if self.chance(40) { Duration::MAX } else { self.span(ms(40)) })
    }

    fn mishap(&mut self, profile: &Profile) -> Return {
        let hard = self.one_of(&[Return::Panicked, Return::Panicked, Return::Fatal]);
        let soft =
            self.one_of(&[Return::Failed, Return::Failed, Return::Failed, Return::Cancelled]);
        if self.chance(profile.panics) {
            hard
        } else {
            soft
        }
    }
}
