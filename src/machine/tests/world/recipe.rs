//! What makes a world: a seed, the families of faults, and what its users ask for and when. All of
//! that is written down before it begins, so that a wish can be left out and the others stay what
//! they were.

use alloc::vec::Vec;
use core::time::Duration;

use super::chances::CLASSES;
use super::families::{Families, Family, Profile, FAMILIES};
use crate::machine::tests::dice::Dice;
use crate::machine::tests::rig::ms;
use crate::vocabulary::group::{RestartLimit, Strategy};
use crate::vocabulary::id::{ClassKey, TaskId};
use crate::vocabulary::plan::{BodyKind, Interval, Plan};
use crate::vocabulary::policy::{AdmissionPolicy, RestartPolicy};
use crate::vocabulary::reason::ShutdownCause;
use crate::vocabulary::signal::Signal;
use crate::vocabulary::time::Time;

/// What makes a world; the same recipe, the same world.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) seed: u64,
    pub(super) families: Families,
    pub(super) script: Vec<Request>,
}

impl Recipe {
    /// Some of the families, by chance: few, half or most of them.
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::of(&[seed, 3]);
        let share = dice.one_of(&[30, 50, 80]);
        let drawn = FAMILIES.iter().copied().filter(|_| dice.chance(share));
        let families: Vec<_> = drawn.filter(|&family| family != Family::Groups).collect();
        Self::with(seed, Families::of(&families))
    }

    /// The same with groups.
    pub(super) fn with_groups(seed: u64) -> Self {
        let mut families = Self::new(seed).families.list();
        families.push(Family::Groups);
        Self::with(seed, Families::of(&families))
    }

    pub(super) fn with(seed: u64, families: Families) -> Self {
        let profile = Profile::new(&mut Dice::of(&[seed, 4]), families);
        Self { seed, families, script: script(seed, &profile, families) }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) at: Time,
    pub(super) wish: Wish,
}

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a script is short")]
pub(super) enum Wish {
    Submit(Draft),
    SubmitAll(Vec<Draft>),
    SubmitGroup(GroupDraft),
    /// The group of a task, or of the first that there is.
    StopGroupOf(Target),
    RestartGroupOf(Target),
    Stop(Target),
    StopSlotOf(Target),
    Skip(Target),
    Restart(Target),
    Pause(Target),
    Resume(Target),
    SetInterval(Target, Duration),
    SetClassLimit(ClassKey, u32),
    /// A body waits for a task, for so long.
    Await(Target, Duration),
    Drain(ShutdownCause, Duration),
    End(ShutdownCause),
    Signal(Signal),
    /// A message about an attempt that is over comes once more.
    Repeat(u64),
    /// Nothing is due.
    Wake,
    /// Nobody was asked to flush anything, perhaps.
    Flushed,
    /// No drain is under way, perhaps.
    IntakeEmpty,
    /// A hook outlives its grace, and returns so much later.
    Hook(Duration),
    /// The controller gets no processor for so long.
    Stall(Duration),
}

/// Which task a request is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Task(TaskId),
    /// One of those that are neither queued nor running, as they are when it is asked: users care
    /// for what is odd.
    Odd(u64),
}

/// A task to be submitted.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) id: TaskId,
    /// By name.
    pub(super) slot: Option<u32>,
    pub(super) policy: AdmissionPolicy,
    pub(super) plan: Plan,
    /// How long it has lain in the intake.
    pub(super) age: Duration,
    pub(super) cancelled: bool,
    /// The caller waits for the decision.
    pub(super) gives_back: bool,
}

impl Draft {
    pub(super) fn new(dice: &mut Dice, profile: &Profile, families: Families, id: TaskId) -> Self {
        let (named, name) = (dice.chance(85), dice.below(profile.slots));
        let policy = dice.policy();
        let replaces = dice.chance(70) && families.have(Family::Storms);
        let plan = dice.plan(profile, families);
        let mut draft = Self {
            id,
            slot: named.then_some(name),
            policy: if replaces { AdmissionPolicy::Replace } else { policy },
            plan,
            age: Duration::from_nanos(dice.below(2_000_000).into()),
            cancelled: dice.chance(3),
            gives_back: dice.chance(30),
        };
        let (within, awaited) = (ms(1) + dice.span(ms(15)), dice.chance(profile.readiness / 2));
        draft.plan.ready_within = awaited.then_some(within);
        draft
    }
}

/// A group to be submitted.
#[derive(Clone, Debug)]
pub(super) struct GroupDraft {
    pub(super) strategy: Strategy,
    pub(super) limit: Option<RestartLimit>,
    pub(super) phases: Vec<u32>,
    pub(super) members: Vec<Draft>,
}

impl GroupDraft {
    fn new(dice: &mut Dice, profile: &Profile, families: Families, first: TaskId) -> Self {
        let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
        let (strategy, n_phases) = (dice.one_of(&strategies), 1 + dice.below(4));
        let phases: Vec<_> = (0..n_phases).map(|_| 1 + dice.below(2)).collect();
        let (restarts, within) = (dice.below(4), ms(1) + dice.span(ms(60)));
        let is_limited = dice.chance(30);
        let n_members = phases.iter().sum::<u32>();
        let ids = (0..u64::from(n_members)).map(|n| TaskId::new(first.get() + n));
        let members = ids.map(|id| {
            let mut draft = Draft::new(dice, profile, families, id);
            draft.policy = AdmissionPolicy::DropIfRunning;
            draft.slot = draft.slot.filter(|_| dice.chance(20));
            draft.cancelled &= dice.chance(10);
            if draft.plan.body == BodyKind::Once {
                (draft.plan.body, draft.plan.restart) = (BodyKind::Repeat, RestartPolicy::Always);
            }
            if dice.chance(25) {
                draft.plan.step = true;
                draft.plan.shutdown_on_end = false;
                draft.plan.interval = Interval::None;
                if draft.plan.restart == RestartPolicy::Always {
                    draft.plan.restart = RestartPolicy::OnFailure;
                }
            }
            draft
        });
        let members = members.collect();
        let limit = is_limited.then_some(RestartLimit { restarts, within });
        Self { strategy, limit, phases, members }
    }
}

fn script(seed: u64, profile: &Profile, families: Families) -> Vec<Request> {
    let mut dice = Dice::of(&[seed, 1]);
    let n_requests = 20 + dice.below(100);
    let mut requests = Vec::new();
    let mut submitted = Vec::new();
    let mut at = Time::ZERO;
    for number in 0..n_requests {
        // Dice of its own each, so that it does not hang on how often others were cast.
        let mut dice = Dice::of(&[seed, 2, number.into()]);
        at = at.after(dice.span(profile.gap));
        let target = target(&mut dice, &submitted);
        let first = TaskId::new(u64::from(number) * 8 + 1);
        let wish = wish(&mut dice, profile, families, target, first);
        match &wish {
            Some(Wish::Submit(_)) => submitted.push(first),
            Some(Wish::SubmitAll(drafts)) => submitted.extend(drafts.iter().map(|it| it.id)),
            Some(Wish::SubmitGroup(group)) => {
                submitted.extend(group.members.iter().map(|it| it.id));
            }
            _ => {}
        }
        requests.extend(wish.map(|wish| Request { at, wish }));
    }
    if families.have(Family::HardEnd) {
        let signals = families.have(Family::Signals) && dice.chance(70);
        let end = Wish::End(ShutdownCause::Dropped);
        requests.push(Request { at, wish: if signals { Wish::Signal(Signal::TERM) } else { end } });
    }
    // As when a key is pressed again, or a parent forwards what its group has got as well.
    let is_signal = |request: &&Request| matches!(request.wish, Wish::Signal(_));
    let first = requests.iter().find(is_signal).map(|request| request.at);
    for delay in [ms(100), ms(350), ms(400), ms(700)] {
        requests.extend(
            first.map(|at| Request { at: at.after(delay), wish: Wish::Signal(Signal::INT) }),
        );
    }
    requests.sort_by_key(|request| request.at);
    requests
}

/// Mostly a young one, which is more likely to be alive.
fn target(dice: &mut Dice, submitted: &[TaskId]) -> Option<Target> {
    if dice.chance(30) {
        return Some(Target::Odd(dice.next()));
    }
    let young = if dice.chance(80) { submitted.len().saturating_sub(8) } else { 0 };
    dice.pick(&submitted[young..]).copied().map(Target::Task)
}

fn wish(
    dice: &mut Dice,
    profile: &Profile,
    families: Families,
    target: Option<Target>,
    first: TaskId,
) -> Option<Wish> {
    let is = |family, wish: Wish| families.have(family).then_some(wish);
    if families.have(Family::Groups) {
        match dice.below(100) {
            0..=19 => {
                let group = GroupDraft::new(dice, profile, families, first);
                return Some(Wish::SubmitGroup(group));
            }
            20..=23 => return is(Family::Stops, Wish::StopGroupOf(target?)),
            24..=30 => return is(Family::Restarts, Wish::RestartGroupOf(target?)),
            _ => {}
        }
    }
    match dice.below(118) {
        0..=49 => Some(Wish::Submit(Draft::new(dice, profile, families, first))),
        50..=56 => {
            let n_drafts = 1 + u64::from(dice.below(4));
            let ids = (0..n_drafts).map(|n| TaskId::new(first.get() + n));
            let drafts = ids.map(|id| Draft::new(dice, profile, families, id)).collect();
            is(Family::Batches, Wish::SubmitAll(drafts))
        }
        57..=64 => is(Family::Stops, Wish::Stop(target?)),
        65..=69 => is(Family::Stops, Wish::StopSlotOf(target?)),
        100..=104 => is(Family::ByHand, Wish::Pause(target?)),
        105..=109 => is(Family::ByHand, Wish::Resume(target?)),
        110..=113 => {
            let interval = dice.span(ms(40));
            is(Family::ByHand, Wish::SetInterval(target?, interval))
        }
        114..=117 => {
            let (class, limit) = (ClassKey(dice.below(CLASSES)), dice.below(5));
            is(Family::Classes, Wish::SetClassLimit(class, limit))
        }
        70..=77 => is(Family::Restarts, Wish::Skip(target?)),
        78..=85 => is(Family::Restarts, Wish::Restart(target?)),
        86..=89 => is(Family::Repeats, Wish::Repeat(dice.next())),
        90..=91 => {
            let span = dice.span(ms(100));
            is(Family::Restarts, Wish::Await(target?, span))
        }
        92 => is(Family::Repeats, Wish::Wake),
        93 => is(Family::Repeats, if dice.chance(50) { Wish::Flushed } else { Wish::IntakeEmpty }),
        94 => {
            let causes = [ShutdownCause::Requested, ShutdownCause::Dropped, ShutdownCause::Idle];
            let cause = dice.one_of(&causes);
            let limit = dice.one_of(&[ms(0), ms(20), ms(20), ms(100), ms(1000), Duration::MAX]);
            match dice.below(10) {
                0..=4 => is(Family::Ends, Wish::End(cause)),
                _ => is(Family::Drains, Wish::Drain(cause, limit)),
            }
        }
        95 => (dice.chance(30) && families.have(Family::Signals))
            .then_some(Wish::Signal(Signal::TERM)),
        96..=97 => {
            let span = dice.span(ms(200));
            dice.chance(profile.stuck_hook).then_some(Wish::Hook(span))
        }
        _ => {
            let span = dice.span(ms(100));
            dice.chance(profile.stalls).then_some(Wish::Stall(span))
        }
    }
}
