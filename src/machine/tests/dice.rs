//! Everything a seed decides.

use core::time::Duration;

use super::super::rng::Rng;
use super::super::Return;
use super::cells::{Body, Extension};
use super::rig::ms;
use crate::backoff::{BackoffPolicy, JitterPolicy};
use crate::policy::{
    AbandonPolicy, AdmissionPolicy, FailureLimit, Limits, PanicPolicy, Pause, Plan, RestartPolicy,
    Watchdog, WatchdogPolicy,
};

pub(super) struct Dice(Rng);

/// What kind of world it is; chances in percent. Whole families of faults are missing in half of
/// the worlds each, so that no fault always hides behind another.
#[derive(Debug)]
pub(super) struct Profile {
    /// The longest time between two requests.
    pub(super) gap: Duration,
    pub(super) slots: u32,
    pub(super) answers_at_once: bool,
    /// Where they do not: an answer takes time.
    pub(super) late: u32,
    /// A thread cannot be had for a while.
    pub(super) refused: u32,
    /// A request for the end is meant.
    pub(super) shutdown: u32,
    /// The end comes while there are faults.
    pub(super) ends_hard: bool,
    /// A hook is stuck.
    pub(super) stuck_hook: u32,
    fails: u32,
    hangs: u32,
    /// A body ignores that it is told.
    deaf: u32,
    /// A body gives no sign of life for a while, or never.
    silent: u32,
    /// A body asks for more time.
    extends: u32,
    timeout: u32,
    expires: u32,
    watched: u32,
    release: u32,
    shared: u32,
}

impl Profile {
    /// Whether every body returns soon after it is told.
    pub(super) const fn is_obedient(&self) -> bool {
        self.deaf == 0
    }
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give neighbouring worlds.
        let mut rng = Rng::new(seed);
        Self(Rng::new(rng.next()))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0.next()
    }

    pub(super) fn below(&mut self, n: u32) -> u32 {
        u32::try_from(self.next() % u64::from(n)).expect("a remainder is below its divisor")
    }

    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let n = u32::try_from(from.len()).expect("few things to choose from");
        (n > 0).then(|| &from[self.below(n) as usize])
    }

    fn one_of<T: Copy>(&mut self, from: &[T]) -> T {
        *self.pick(from).expect("something to choose from")
    }

    /// Up to `most`, in steps of half a millisecond, so that things coincide.
    pub(super) fn span(&mut self, most: Duration) -> Duration {
        let steps = u32::try_from(most.as_micros() / 500).expect("short spans");
        Duration::from_micros(500) * self.below(steps + 1)
    }

    /// Mostly nothing, sometimes up to `most`.
    pub(super) fn delay(&mut self, most: Duration) -> Duration {
        self.delay_in(25, most)
    }

    /// Up to `most` in so many of a hundred cases.
    pub(super) fn delay_in(&mut self, percent: u32, most: Duration) -> Duration {
        if self.chance(percent) {
            self.span(most)
        } else {
            Duration::ZERO
        }
    }

    pub(super) fn profile(&mut self) -> Profile {
        Profile {
            gap: self.one_of(&[ms(1), ms(4), ms(10)]),
            slots: self.one_of(&[1, 2, 4, 12]),
            answers_at_once: self.chance(60),
            late: self.one_of(&[25, 90]),
            refused: self.family(&[5, 20]),
            shutdown: self.one_of(&[0, 0, 0, 50]),
            ends_hard: self.chance(40),
            stuck_hook: self.family(&[40, 100]),
            fails: self.family(&[20, 50, 80]),
            hangs: self.family(&[3, 15, 40]),
            deaf: self.family(&[10, 60]),
            silent: self.family(&[20, 80]),
            extends: self.family(&[30, 80]),
            timeout: self.family(&[40, 80]),
            expires: self.family(&[25, 50]),
            watched: self.family(&[30, 90]),
            release: self.family(&[40, 100]),
            shared: self.one_of(&[0, 50, 100, 100]),
        }
    }

    /// How often what a family does happens, if the family is there at all.
    fn family(&mut self, chances: &[u32]) -> u32 {
        if self.chance(50) {
            self.one_of(chances)
        } else {
            0
        }
    }

    pub(super) fn limits(&mut self) -> Limits {
        Limits {
            max_concurrent: self.one_of(&[1, 2, 3, 6, u32::MAX]),
            max_slot_queue: self.one_of(&[0, 1, 3, 100]),
            max_tasks: self.one_of(&[5, 20, 1000]),
            max_abandoned: self.one_of(&[0, 1, 2, 5, 1000, 1000, 1000]),
            grace: self.one_of(&[ms(0), ms(10), ms(50), ms(1000), Duration::MAX]),
            event_drain: self.one_of(&[ms(0), ms(20), ms(250)]),
        }
    }

    pub(super) fn policy(&mut self) -> AdmissionPolicy {
        self.one_of(&[
            AdmissionPolicy::Queue,
            AdmissionPolicy::Queue,
            AdmissionPolicy::Replace,
            AdmissionPolicy::DropIfRunning,
            AdmissionPolicy::KeepLatest,
        ])
    }

    pub(super) fn plan(&mut self, profile: &Profile) -> Plan {
        let once = self.chance(15);
        let restart = self.one_of(&[
            RestartPolicy::Never,
            RestartPolicy::OnFailure,
            RestartPolicy::OnFailure,
            RestartPolicy::Always,
        ]);
        let pause = match self.below(4) {
            0 => Pause::Delay(ms(1) + self.span(ms(30))),
            1 => Pause::Rate(ms(1) + self.span(ms(30))),
            _ => Pause::None,
        };
        let always = !once && restart == RestartPolicy::Always;
        Plan {
            restart: if once { RestartPolicy::Never } else { restart },
            pause: if always { pause } else { Pause::None },
            initial_delay: if self.chance(15) { self.span(ms(20)) } else { Duration::ZERO },
            backoff: self.backoff(),
            max_retries: self.chance(50).then(|| self.below(4)),
            stable_after: self.one_of(&[ms(5), ms(60_000)]),
            failure_limit: self
                .chance(20)
                .then(|| FailureLimit { failures: self.below(4), within: self.span(ms(60)) }),
            timeout: self.chance(profile.timeout).then(|| ms(1) + self.span(ms(30))),
            max_timeout: None,
            grace: self.one_of(&[ms(0), ms(2), ms(10), ms(10), ms(1000), Duration::MAX]),
            expires_in: self.chance(profile.expires).then(|| ms(1) + self.span(ms(40))),
            panic: if self.chance(20) { PanicPolicy::Fatal } else { PanicPolicy::Failure },
            abandon: if self.chance(profile.release) {
                AbandonPolicy::Release
            } else {
                AbandonPolicy::Hold
            },
            watchdog: self.chance(profile.watched).then(|| self.watchdog()),
            significant: self.chance(1),
            once,
            shared: !once && self.chance(profile.shared),
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
        BackoffPolicy::exponential(first, first + self.span(ms(40))).jitter(jitter)
    }

    /// What a body does, and when it returns of its own accord; `None` for one that hangs.
    pub(super) fn body(
        &mut self,
        profile: &Profile,
        healthy: bool,
        reaction: Duration,
    ) -> (Body, Option<Duration>) {
        let extends = !healthy && self.chance(profile.extends);
        // Whoever asks for more time needs it.
        let most = if extends { ms(60) } else { ms(25) };
        let runs = if self.chance(20) { Duration::ZERO } else { self.span(most) };
        let hangs = !healthy && self.chance(profile.hangs);
        let deaf = !healthy && self.chance(profile.deaf);
        let fails = !healthy && self.chance(profile.fails);
        let ret = if fails { self.mishap() } else { Return::Ok };
        let told = self.one_of(&[Return::Cancelled, Return::Cancelled, Return::Ok]);
        let told = if self.chance(20) { self.mishap() } else { told };
        let obeys = (!deaf).then_some((self.span(reaction), told));
        let silent = !healthy && self.chance(profile.silent);
        let silence = silent.then(|| self.silence());
        let extension = extends.then(|| Extension {
            every: ms(1) + self.span(ms(5)),
            by: ms(2) + self.span(ms(15)),
            most: self.span(ms(80)),
        });
        (Body { ret, obeys, silence, extension }, (!hangs).then_some(runs))
    }

    /// When a body falls silent, and for how long.
    fn silence(&mut self) -> (Duration, Duration) {
        let from = if self.chance(50) { Duration::ZERO } else { self.span(ms(20)) };
        (from, if self.chance(40) { Duration::MAX } else { self.span(ms(40)) })
    }

    fn mishap(&mut self) -> Return {
        self.one_of(&[
            Return::Failed,
            Return::Failed,
            Return::Failed,
            Return::Failed,
            Return::Panicked,
            Return::Panicked,
            Return::Cancelled,
            Return::Fatal,
        ])
    }
}
