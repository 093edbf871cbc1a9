//! The families of what may happen in a world. A seed has each of them or not, so that no fault
//! always hides behind another, and a failure can be searched for those that it takes.

use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::tests::dice::Dice;
use crate::machine::tests::rig::ms;

macro_rules! families {
    ($($(#[$doc:meta])* $family:ident),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Family { $($(#[$doc])* $family),+ }
        pub(super) const FAMILIES: &[Family] = &[$(Family::$family),+];
    };
}

families! {
    /// Several tasks are handed over at once.
    Batches,
    /// Retries are counted.
    Budgets,
    /// Tasks have classes.
    Classes,
    /// A body ignores that it is told.
    Deaf,
    /// A task begins later than it is admitted.
    Delays,
    /// A drain is asked for, and tasks are stopped by it.
    Drains,
    /// A body needs a drop.
    Drops,
    /// The end is asked for amid all this.
    Ends,
    /// Submissions expire.
    Expiries,
    /// Times are next to nothing, or for ever.
    Extremes,
    /// A body asks for more time.
    Extensions,
    /// An error asks for the delay of its retry.
    ErrorDelays,
    /// A body does not succeed.
    Failures,
    /// The supervisor's grace has to do: nothing returns of its own accord once the end has begun.
    HardEnd,
    /// A body does not return of its own accord.
    Hangs,
    /// A hook is stuck.
    Hooks,
    /// A drop takes long.
    HungDrops,
    /// An answer takes time.
    LateAnswers,
    /// There is less of everything than is asked for.
    Limits,
    /// Fatal errors and panics.
    Panics,
    /// Intervals and rates.
    Pauses,
    /// A body says that it is ready, or has to.
    Readiness,
    /// Tasks are paused and resumed, and get other intervals.
    ByHand,
    /// The machine is told again what it knows.
    Repeats,
    /// Who hears of an end submits the next at once.
    Reactions,
    /// A thread can not be had for a while.
    Refusals,
    Releases,
    /// Fresh attempts are asked for.
    Restarts,
    /// Signals, several at a time.
    Signals,
    /// A task takes the supervisor with it.
    Significant,
    /// A body gives no sign of life for a while, or never.
    Silences,
    /// The controller has no processor for a while.
    Stalls,
    /// Tasks and slots are stopped.
    Stops,
    /// One submission replaces the other.
    Storms,
    Timeouts,
    Watchdogs,
    /// Tasks are in groups. Only in worlds made for that: those who look after single tasks know
    /// nothing of groups.
    Groups,
}

/// Which of them there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Families(u64);

impl Families {
    pub(super) fn of(families: &[Family]) -> Self {
        Self(families.iter().fold(0, |all, &family| all | 1 << family as u64))
    }

    pub(super) fn have(self, family: Family) -> bool {
        self.0 & 1 << family as u64 != 0
    }

    pub(super) fn list(self) -> Vec<Family> {
        FAMILIES.iter().copied().filter(|&family| self.have(family)).collect()
    }
}

/// What kind of world it is; chances in percent.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    /// The longest time between two requests.
    pub(super) gap: Duration,
    pub(super) slots: u32,
    pub(super) late: u32,
    pub(super) refused: u32,
    pub(super) reacts: u32,
    pub(super) stuck_hook: u32,
    pub(super) stalls: u32,
    pub(super) fails: u32,
    pub(super) asks: u32,
    pub(super) panics: u32,
    pub(super) hangs: u32,
    pub(super) deaf: u32,
    pub(super) silent: u32,
    pub(super) extends: u32,
    pub(super) readiness: u32,
    pub(super) timeout: u32,
    pub(super) expires: u32,
    pub(super) watched: u32,
    pub(super) release: u32,
    pub(super) shared: u32,
    pub(super) budgets: u32,
    pub(super) delays: u32,
    pub(super) extremes: u32,
    pub(super) stopped_at_drain: u32,
    pub(super) drops: u32,
    pub(super) classed: u32,
    pub(super) hung_drops: u32,
    pub(super) hard_end: bool,
    pub(super) shutdown_on_end: u32,
}

impl Profile {
    /// Each number is drawn whether it is needed or not, so that a world without a family differs
    /// from the one with it in nothing else.
    pub(super) fn new(dice: &mut Dice, families: Families) -> Self {
        let mut chance = |family, chances: &[u32]| {
            let drawn = dice.one_of(chances);
            if families.have(family) {
                drawn
            } else {
                0
            }
        };
        Self {
            late: chance(Family::LateAnswers, &[25, 90]),
            refused: chance(Family::Refusals, &[5, 20]),
            reacts: chance(Family::Reactions, &[20, 60]),
            stuck_hook: chance(Family::Hooks, &[40, 100]),
            stalls: chance(Family::Stalls, &[30, 100]),
            fails: chance(Family::Failures, &[20, 50, 80]),
            asks: chance(Family::ErrorDelays, &[20, 60]),
            panics: chance(Family::Panics, &[20, 50]),
            hangs: chance(Family::Hangs, &[3, 15, 40]),
            deaf: chance(Family::Deaf, &[10, 60]),
            silent: chance(Family::Silences, &[20, 80]),
            extends: chance(Family::Extensions, &[30, 80]),
            readiness: chance(Family::Readiness, &[40, 80]),
            timeout: chance(Family::Timeouts, &[40, 80]),
            expires: chance(Family::Expiries, &[25, 50]),
            watched: chance(Family::Watchdogs, &[30, 90]),
            release: chance(Family::Releases, &[40, 100]),
            budgets: chance(Family::Budgets, &[30, 70]),
            delays: chance(Family::Delays, &[15, 60]),
            extremes: chance(Family::Extremes, &[5, 20]),
            shutdown_on_end: chance(Family::Significant, &[1, 3]),
            stopped_at_drain: chance(Family::Drains, &[0, 10, 40]),
            classed: chance(Family::Classes, &[30, 90]),
            drops: chance(Family::Drops, &[40, 100]),
            hung_drops: chance(Family::HungDrops, &[10, 60]),
            hard_end: families.have(Family::HardEnd),
            shared: dice.one_of(&[0, 50, 100, 100]),
            gap: dice.one_of(&[ms(1), ms(4), ms(10)]),
            slots: dice.one_of(&[1, 2, 4, 12]),
        }
    }

    /// Whether every body returns soon after it is told, and nobody waits for its drop.
    pub(super) const fn is_obedient(&self) -> bool {
        self.deaf == 0 && self.drops == 0
    }
}
