//! The histories that chance makes: limits, plans, and one act after the other.

use alloc::vec::Vec;
use core::time::Duration;

use super::histories::{addr, Act, SLOTS};
use crate::machine::tests::dice::Dice;
use crate::machine::tests::rig::ms;
use crate::machine::Submission;
use crate::vocabulary::answer::Return;
use crate::vocabulary::backoff::{BackoffPolicy, JitterPolicy};
use crate::vocabulary::id::{ClassKey, SlotKey, TaskId};
use crate::vocabulary::plan::{AtDrain, BodyKind, FailureLimit, Interval, Limits, Plan};
use crate::vocabulary::policy::{AbandonPolicy, PanicPolicy, RestartPolicy};
use crate::vocabulary::time::Time;

/// No two moments are the same, but by intention: the order of what is due at once is not promised.
fn moment(dice: &mut Dice, most: Duration) -> Duration {
    Duration::from_nanos(1 + dice.next() % u64::try_from(most.as_nanos()).expect("short"))
}

fn plan(dice: &mut Dice) -> Plan {
    let once = dice.chance(10);
    let restarts = [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always];
    let restart = if once { RestartPolicy::Never } else { dice.one_of(&restarts) };
    let intervals = [
        Interval::None,
        Interval::Delay(moment(dice, ms(20))),
        Interval::Rate(moment(dice, ms(20))),
    ];
    let first = moment(dice, ms(8));
    let backoff = BackoffPolicy::exponential(first, first + moment(dice, ms(40)));
    let limit = FailureLimit { failures: dice.below(3), within: moment(dice, ms(60)) };
    Plan {
        restart,
        interval: if restart == RestartPolicy::Always {
            dice.one_of(&intervals)
        } else {
            Interval::None
        },
        initial_delay: if dice.chance(15) { moment(dice, ms(10)) } else { Duration::ZERO },
        backoff: backoff.jitter(JitterPolicy::None).factor(dice.one_of(&[1.0, 2.0])),
        retry_early: dice.chance(20),
        max_retries: if dice.chance(40) { dice.below(3) } else { u32::MAX },
        stable_after: moment(dice, ms(20)),
        stable_is_stated: dice.chance(40),
        give_up_after: dice.chance(20).then(|| moment(dice, ms(60))),
        failure_limit: dice.chance(20).then_some(limit),
        timeout: dice.chance(40).then(|| moment(dice, ms(15))),
        max_timeout: None,
        step: false,
        ready_within: None,
        grace: dice.one_of(&[Duration::ZERO, ms(3), ms(20), Duration::MAX]),
        expires_in: dice.chance(20).then(|| moment(dice, ms(30))),
        panic: dice.one_of(&[PanicPolicy::Failure, PanicPolicy::Fatal]),
        abandon: dice.one_of(&[AbandonPolicy::Hold, AbandonPolicy::Release]),
        watchdog: None,
        needs_drop: dice.chance(50),
        shutdown_on_end: dice.chance(1),
        at_drain: match dice.below(20) {
            0 => AtDrain::Stop,
            1 => AtDrain::Finish,
            _ => AtDrain::GoOn,
        },
        class: dice.chance(60).then(|| ClassKey(dice.below(2))),
        body: match once {
            true => BodyKind::Once,
            false if dice.chance(60) => BodyKind::Shared,
            false => BodyKind::Repeat,
        },
    }
}

fn act(dice: &mut Dice, number: u64, now: Time) -> Act {
    let age = moment(dice, ms(20));
    let before = Time::ZERO.after(now.since_start().saturating_sub(age));
    let which = dice.below(1000) as usize;
    let ret = dice.one_of(&[
        Return::Ok,
        Return::Ok,
        Return::Failed,
        Return::Failed,
        Return::Panicked,
        Return::Cancelled,
        Return::Fatal,
    ]);
    match dice.below(115) {
        0..=24 => Act::Submit(Submission {
            addr: addr(TaskId::new(number + 1)),
            slot: dice.chance(85).then(|| SlotKey(dice.below(SLOTS))),
            policy: dice.policy(),
            plan: plan(dice).into(),
            submitted_at: if dice.chance(70) { now } else { before },
            cancelled: dice.chance(2),
            gives_back: dice.chance(30),
        }),
        25..=31 => Act::Stop(which),
        32..=33 => Act::StopSlot(dice.below(SLOTS)),
        100..=103 => Act::Pause(which),
        104..=108 => Act::Resume(which),
        109..=111 => Act::SetInterval(which, moment(dice, ms(30))),
        112..=114 => Act::SetClassLimit(dice.below(2), dice.below(5)),
        34..=39 => Act::Skip(which),
        40..=45 => Act::Restart(which),
        46..=64 => Act::Claim(which),
        65..=78 => Act::Return(which, ret, dice.chance(30).then(|| moment(dice, ms(30)))),
        79..=81 => Act::ReturnLate(which, ret),
        82 if dice.chance(20) => Act::ShutDown,
        82 if dice.chance(50) => {
            Act::Drain(if dice.chance(30) { Duration::MAX } else { moment(dice, ms(100)) })
        }
        82 | 93 => Act::IntakeEmpty,
        83..=84 => Act::Await(which),
        85 => Act::Leave(which),
        86..=90 => Act::Drop(which),
        91 => Act::Hang(which),
        92 => Act::DropLate(which),
        _ => Act::Pass(moment(dice, ms(12))),
    }
}

/// Each act in a moment of its own.
pub(super) fn history(seed: u64) -> (Limits, Vec<Act>) {
    let mut dice = Dice::of(&[seed, 10]);
    let limits = Limits {
        max_concurrent: dice.one_of(&[Some(1), Some(2), Some(4), None]),
        classes: dice.one_of(&[[1, 1], [1, 2], [2, 9]]).to_vec(),
        max_slot_queue: dice.one_of(&[0, 1, 100]),
        max_tasks: dice.one_of(&[6, 1000]),
        max_abandoned: dice.one_of(&[0, 1, 3, 1000]),
        grace: dice.one_of(&[Duration::ZERO, ms(5), Duration::MAX]),
        signal_drain: None,
        event_flush: Duration::MAX,
        timer_slack: Duration::ZERO,
    };
    let n_acts = 20 + u64::from(dice.below(80));
    let mut acts = Vec::new();
    let mut now = Time::ZERO;
    for number in 0..n_acts {
        let mut dice = Dice::of(&[seed, 11, number]);
        let gap = moment(&mut dice, ms(1) / 100);
        now = now.after(gap);
        let act = act(&mut dice, number, now);
        if let Act::Pass(span) = act {
            now = now.after(span);
        }
        acts.extend([Act::Pass(gap), act]);
    }
    (limits, acts)
}
