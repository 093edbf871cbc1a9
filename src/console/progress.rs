//! How far bodies have got, as bars and rates; and how soon it is worth to look again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::output::mark::{Mark, Progress};
use crate::output::snapshot::{Snapshot, TaskSnapshot};
use crate::vocabulary::id::TaskId;
use crate::vocabulary::reason::TaskState;
use crate::vocabulary::time::RealTime;

/// The shortest time between two drawings.
pub(super) const BEAT: Duration = Duration::from_millis(250);

/// A progress that has not moved for so long is not looked at again without an event.
const PATIENCE: Duration = Duration::from_secs(8);

/// What earlier drawings have seen of each progress.
pub(super) struct Rates {
    seen: BTreeMap<TaskId, Seen>,
    /// When one of them was last seen to have moved.
    moved: RealTime,
    /// How long to wait for the next look; `None` if there is nothing to look at.
    pub(super) next_look: Option<Duration>,
}

#[derive(Clone, Copy)]
struct Seen {
    attempt: u64,
    done: u64,
    at: Duration,
    per_minute: Option<u64>,
}

impl Rates {
    pub(super) const fn new() -> Self {
        Self { seen: BTreeMap::new(), moved: RealTime::ZERO, next_look: None }
    }

    /// Puts bars and rates into the snapshot, in front of the marks.
    pub(super) fn show(&mut self, snapshot: &mut Snapshot, now: RealTime) {
        let before = std::mem::take(&mut self.seen);
        let at = snapshot.at;
        for task in &mut snapshot.tasks {
            let Some(progress) = task.progress.take() else { continue };
            let is_same = |seen: &&Seen| seen.attempt == task.attempt;
            let earlier = before.get(&task.task.id).filter(is_same);
            let seen = seen(task, progress, at, earlier);
            if is_under_way(task) {
                self.seen.insert(task.task.id, seen);
                if earlier.map_or(true, |earlier| earlier.done != progress.done) {
                    self.moved = now;
                }
            }
            let mark = task.mark.take().map_or_else(String::new, |it| format!("; {}", it.label));
            let label = format!("{}{mark}", shown(progress, seen.per_minute));
            task.mark = Some(Mark { label: label.into(), at });
        }

        // Each wait in vain is about as long as all before it.
        let still = self.moved.until(now);
        let is_worth_it = !self.seen.is_empty() && still < PATIENCE;
        self.next_look = is_worth_it.then(|| BEAT.max(still));
    }
}

fn is_under_way(task: &TaskSnapshot) -> bool {
    matches!(task.state, TaskState::Running | TaskState::Stopping | TaskState::Abandoned)
}

/// A rate is that of the last drawings, of which the newest counts for a quarter.
fn seen(task: &TaskSnapshot, progress: Progress, at: Duration, earlier: Option<&Seen>) -> Seen {
    let (attempt, done) = (task.attempt, progress.done);
    let Some(earlier) = earlier else { return Seen { attempt, done, at, per_minute: None } };
    let millis = u64::try_from(at.saturating_sub(earlier.at).as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return Seen { done, ..*earlier };
    }
    let now = done.saturating_sub(earlier.done).saturating_mul(60_000) / millis;
    let mixed = earlier.per_minute.map_or(now, |before| before - before / 4 + now / 4);
    Seen { attempt, done, at, per_minute: Some(mixed) }
}

/// `40% [##----] 12/s 4/10`, or `4 12/s` without a total.
fn shown(Progress { done, total }: Progress, per_minute: Option<u64>) -> String {
    let rate = match per_minute {
        None => String::new(),
        Some(per_minute @ ..=600) => format!(" {per_minute}/min"),
        Some(per_minute) => format!(" {}/s", short(per_minute / 60)),
    };
    let Some(total) = total else { return format!("{}{rate}", short(done)) };
    let percent = (u128::from(done) * 100).checked_div(u128::from(total)).unwrap_or(100).min(100);
    let bar: String =
        (1..=6).map(|cell| if cell * 100 <= percent * 6 { '#' } else { '-' }).collect();
    format!("{percent}% [{bar}]{rate} {}/{}", short(done), short(total))
}

/// A number in at most five characters, by thousands.
fn short(number: u64) -> String {
    let mut rest = number;
    for unit in ["", "k", "M", "G", "T", "P"] {
        if rest < 10_000 {
            return format!("{rest}{unit}");
        }
        rest /= 1000;
    }
    format!("{rest}E")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::table::tests::{empty, task};

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A running task that has got so far, at that time.
    fn snapshot(millis: u64, done: u64, total: Option<u64>) -> Snapshot {
        let mut task = task(7, "copy", TaskState::Running);
        task.mark = Some(Mark { label: "here".into(), at: ms(0) });
        task.progress = Some(Progress::new(done, total));
        let mut snapshot = empty();
        (snapshot.at, snapshot.tasks) = (ms(millis), vec![task]);
        snapshot
    }

    /// What the task's mark is, and how soon the next look is worth it, in milliseconds.
    fn seen(rates: &mut Rates, mut snapshot: Snapshot) -> (String, Option<u128>) {
        let now = RealTime::ZERO.after(snapshot.at);
        rates.show(&mut snapshot, now);
        let mark = snapshot.tasks[0].mark.as_ref().map(ToString::to_string).unwrap_or_default();
        assert_eq!(snapshot.tasks[0].progress, None, "it would be shown twice");
        (mark, rates.next_look.map(|wait| wait.as_millis()))
    }

    #[test]
    fn a_rate_is_that_of_the_last_drawings() {
        let mut rates = Rates::new();
        let mut shown = |millis, done| seen(&mut rates, snapshot(millis, done, Some(1000))).0;
        assert_eq!(shown(250, 100), "10% [------] 100/1000; here");
        assert_eq!(shown(500, 300), "30% [#-----] 800/s 300/1000; here");
        assert_eq!(shown(750, 300), "30% [#-----] 600/s 300/1000; here");
        assert_eq!(shown(750, 301), "30% [#-----] 600/s 301/1000; here");
        assert_eq!(shown(1000, 1001), "100% [######] 1150/s 1001/1000; here");
        let mut rates = Rates::new();
        let mut shown = |millis, done| seen(&mut rates, snapshot(millis, done, None)).0;
        assert_eq!(shown(0, u64::MAX), "18E; here");
        assert_eq!(shown(1, 12_345_678), "12M 0/min; here");
        assert_eq!(shown(60_001, 12_345_683), "12M 1/min; here");
    }

    #[test]
    fn a_progress_that_stands_still_is_looked_at_less_and_less_and_then_no_more() {
        let mut rates = Rates::new();
        let mut next = |millis, done| seen(&mut rates, snapshot(millis, done, Some(9))).1;
        let looks = [0, 250, 500, 1000, 2000, 4000, 8000].map(|millis| next(millis, 5));
        let expected =
            [250, 250, 500, 1000, 2000, 4000, 0].map(|wait| Some(wait).filter(|it| *it > 0));
        assert_eq!(looks, expected);
        assert_eq!(next(9000, 6), Some(250), "an event came, and it has moved");
    }

    #[test]
    fn a_task_that_does_not_run_is_not_looked_at() {
        let mut rates = Rates::new();
        let mut waiting = snapshot(250, 5, None);
        waiting.tasks[0].state = TaskState::Waiting;
        assert_eq!(seen(&mut rates, waiting).1, None);
        let mut next = snapshot(500, 5, None);
        assert_eq!(seen(&mut rates, next.clone()).1, Some(250));
        next.tasks[0].attempt = 2;
        next.tasks[0].progress = Some(Progress::new(1, None));
        assert_eq!(seen(&mut rates, next).0, "1; here", "a rate is not that of another attempt");
    }
}
