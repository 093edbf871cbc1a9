//! The cell beside the model that the machine's worlds use in its place: operations by chance, each
//! of which has to find the same in both.
//!
//! `THREADVISOR_SEED=n` goes through one life again, `THREADVISOR_SEEDS=n` through so many.

use super::*;
use crate::machine::tests::cell_model::{CellModel, Seen as Found};
use crate::machine::tests::dice::Dice;
use crate::machine::tests::number;
use crate::vocabulary::answer::RevokeAnswer;
use crate::vocabulary::id::TaskId;

/// Lives of an ordinary run.
const SEEDS: u64 = 2000;
const OPERATIONS: u32 = 30;

/// The model is told whole hours. The real cell looks at the clock, which shows seconds more.
const HOUR: Duration = Duration::from_secs(3600);

const EVERY_REASON: [CancelReason; 7] = [
    CancelReason::Stop,
    CancelReason::Replace,
    CancelReason::Shutdown,
    CancelReason::Timeout,
    CancelReason::Unresponsive,
    CancelReason::Restart,
    CancelReason::Group,
];

#[derive(Clone, Copy, Debug)]
enum Operation {
    Claim,
    /// The body returns; whether that end is final as far as the worker knows.
    Return(bool),
    Leave,
    Revoke,
    /// The reason, when it is told, and when the grace ends.
    Tell(CancelReason, Time, Time),
    Finalize(Time),
    Abandon,
    Extend(Duration),
    SayReady,
}

/// Both, and what only those who call them know.
struct Pair {
    real: Cell,
    model: CellModel,
    allowance: Allowance,
    is_leaving: bool,
    is_revoked: bool,
}

impl Pair {
    fn new(dice: &mut Dice) -> Self {
        let hours = |n| HOUR * n;
        let allowance = Allowance {
            timeout: dice.chance(70).then(|| hours(1 + dice.below(4))),
            ready_within: dice.chance(50).then(|| hours(1 + dice.below(8))),
            max_timeout: dice.chance(70).then(|| hours(1 + dice.below(8))),
        };
        let record = Record::new(
            Door::ended(ModelClock::start_now()),
            TaskId::new(1),
            Arc::from("task"),
            None,
        );
        let task = TaskAddr { key: TaskKey(0), id: record.id };
        let body = Body::repeat(|_| Ok(()));
        let load = Load { body, allowance, class_index: None, failures: 0, last_failure: None };
        let real = Cell::offer(Arc::new(record), AttemptAddr { task, number: 1 }, load);
        let model = CellModel::offered();
        Self { real, model, allowance, is_leaving: false, is_revoked: false }
    }

    /// One that somebody may ask for now: only what runs returns, and nobody takes back twice.
    fn draw(&self, dice: &mut Dice) -> Option<Operation> {
        let hour = |dice: &mut Dice| Time::ZERO.after(HOUR * dice.below(8));
        match dice.below(10) {
            0 => Some(Operation::Claim),
            1 => self.model.runs().then(|| Operation::Return(dice.chance(50))),
            2 => self.is_leaving.then_some(Operation::Leave),
            3 => (!self.is_revoked && dice.chance(30)).then_some(Operation::Revoke),
            4 | 5 => {
                // In between the whole and the half hours at which deadlines lie.
                let now = hour(dice).after(HOUR / 4);
                Some(Operation::Tell(dice.one_of(&EVERY_REASON), now, hour(dice)))
            }
            6 => dice.chance(50).then(|| Operation::Finalize(hour(dice))),
            7 => Some(Operation::Abandon),
            8 if dice.chance(30) => Some(Operation::SayReady),
            _ => {
                let span = HOUR * dice.below(8) + HOUR / 2;
                self.model.runs().then_some(Operation::Extend(span))
            }
        }
    }

    /// What each of the two finds.
    fn perform(&mut self, operation: Operation) -> (String, String) {
        let Self {
            real, model, allowance: Allowance { timeout, max_timeout, ready_within }, ..
        } = self;
        match operation {
            Operation::Claim => {
                let me = Thread { name: Arc::from("me"), tid: None };
                let claimed = real.claim(&me).map(|(load, at)| (load.failures, hours(at)));
                let expected = model.claim(Time::ZERO, *timeout, *max_timeout, *ready_within);
                (format!("{claimed:?}"), format!("{:?}", expected.then_some((0, Some(0)))))
            }
            Operation::Return(is_final) => {
                self.is_leaving = true;
                let (seen, _) = real.returned(|_, _| is_final);
                let Found { claimed_at, told, last } = model.returned(|_, _| is_final);
                let seen = format!("{:?}", (hours(seen.claimed_at), seen.told, seen.last));
                (seen, format!("{:?}", (hours(claimed_at), told, last)))
            }
            Operation::Leave => {
                self.is_leaving = false;
                real.left();
                model.left();
                (String::new(), String::new())
            }
            Operation::Revoke => {
                let found = real.revoke().map(|load| load.failures).map_err(hours);
                let expected = match model.revoke() {
                    RevokeAnswer::Revoked => Ok(0),
                    RevokeAnswer::AlreadyClaimed(at) => Err(hours(at)),
                };
                self.is_revoked = found.is_ok();
                (format!("{found:?}"), format!("{expected:?}"))
            }
            Operation::Tell(reason, now, until) => {
                let found = real.tell(reason, now, until);
                (coarse(found), coarse(model.tell(reason, now, until)))
            }
            Operation::Finalize(until) => {
                real.finalize(until);
                model.finalize(until);
                (String::new(), String::new())
            }
            Operation::Abandon => {
                (format!("{:?}", real.abandon()), format!("{:?}", model.abandon()))
            }
            Operation::SayReady => {
                real.say_ready();
                let _ = model.say_ready();
                (format!("{}", real.is_ready()), format!("{}", model.is_ready()))
            }
            Operation::Extend(span) => {
                let granted = real.extend(span).is_ok();
                (format!("{granted}"), format!("{}", model.extend(Time::ZERO, span)))
            }
        }
    }

    /// What each of the two shows afterwards.
    fn state(&self) -> (String, String) {
        let Self { real, model, .. } = self;
        let real = (
            hours(real.until()),
            real.reason(),
            real.claimed_at().map(hours),
            real.has_thread(),
            real.is_revoked(),
        );
        let model = (
            hours(model.until()),
            model.told(),
            model.claimed_at().map(hours),
            model.runs() || self.is_leaving,
            self.is_revoked,
        );
        (format!("{real:?}"), format!("{model:?}"))
    }
}

/// Whole hours, or never.
fn hours(at: Time) -> Option<u64> {
    (!at.is_never()).then(|| at.since_start().as_secs() / HOUR.as_secs())
}

fn coarse(answer: TellAnswer) -> String {
    match answer {
        TellAnswer::DeadlineMoved(to) => format!("moved to hour {:?}", hours(to)),
        TellAnswer::Told | TellAnswer::AlreadyReturned => format!("{answer:?}"),
    }
}

#[test]
fn the_cell_and_its_model_find_the_same() {
    let seeds = match number("THREADVISOR_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("THREADVISOR_SEEDS").unwrap_or(SEEDS),
    };
    let (mut answers, mut n_lives) = (std::collections::BTreeSet::new(), 0);
    for seed in seeds {
        n_lives += 1;
        let mut dice = Dice::of(&[seed]);
        let mut pair = Pair::new(&mut dice);
        let mut life = Vec::new();
        for _ in 0..OPERATIONS {
            let Some(operation) = pair.draw(&mut dice) else { continue };
            life.push(operation);
            let (found, expected) = pair.perform(operation);
            let (shown, known) = pair.state();
            assert_eq!(
                (&found, shown),
                (&expected, known),
                "THREADVISOR_SEED={seed}, {:?}: {life:#?}",
                pair.allowance
            );
            let kind = format!("{operation:?}").split('(').next().unwrap_or_default().to_owned();
            answers.insert(format!("{kind}: {}", found.split(' ').next().unwrap_or_default()));
        }
    }
    if n_lives >= SEEDS {
        let told = ["Tell: moved", "Tell: Told", "Tell: AlreadyReturned"];
        let answered =
            ["Extend: true", "Extend: false", "Abandon: Abandoned", "Abandon: NotAbandoned"];
        for met in told.into_iter().chain(answered) {
            assert!(answers.contains(met), "{met} was never met: {answers:?}");
        }
    }
}
