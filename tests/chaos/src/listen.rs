//! Subscribers: one that keeps the books of the events, and some that misbehave; and what the books
//! must say.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use threadvisor::prelude::*;
use threadvisor::TaskId;

use crate::acts;
use crate::dice::Dice;
use crate::world::{lock, Value, World};

/// What is kept of an event.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    seq: u64,
    task: Option<TaskId>,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Submitted,
    Started(u64),
    Ended(u64),
    Abandoned(u64),
    Returned(u64),
    Closing,
    ClosingAbandoned,
    ClosingReturned,
    Over(&'static str),
    ShutdownEnded,
    Other,
}

fn what(kind: &EventKind) -> What {
    match kind {
        EventKind::Submitted { .. } => What::Submitted,
        EventKind::AttemptStarting { attempt, .. } => What::Started(*attempt),
        EventKind::AttemptSucceeded { attempt, .. }
        | EventKind::AttemptCancelled { attempt, .. }
        | EventKind::AttemptFailed { attempt, .. }
        | EventKind::AttemptPanicked { attempt, .. }
        | EventKind::AttemptTimedOut { attempt, .. }
        | EventKind::AttemptUnresponsive { attempt, .. } => What::Ended(*attempt),
        EventKind::AttemptAbandoned { attempt, .. } => What::Abandoned(*attempt),
        EventKind::AttemptReturned { attempt, .. } => What::Returned(*attempt),
        EventKind::TaskClosing => What::Closing,
        EventKind::ClosingAbandoned { .. } => What::ClosingAbandoned,
        EventKind::ClosingReturned { .. } => What::ClosingReturned,
        EventKind::TaskEnded { outcome, .. } => What::Over(outcome.label()),
        EventKind::Rejected { .. } => What::Over("rejected"),
        EventKind::ShutdownEnded => What::ShutdownEnded,
        _ => What::Other,
    }
}

/// Writes down every event, on a lane that can hold them all.
pub struct Bookkeeper(pub Value);

impl Subscribe for Bookkeeper {
    fn on_event(&mut self, event: &Event) {
        if let EventKind::SubscriberOverflow { dropped, .. } = event.kind {
            self.0.world().fault(format!("the bookkeeper lost {dropped} events"));
        }
        let task = event.task.as_ref().map(|task| task.id);
        let note = Note { seq: event.seq, task, what: what(&event.kind) };
        lock(&self.0.world().notes).push(note);
    }
}

/// Blocks, panics, meddles, and now and then drops the supervisor that it finds.
pub struct Nuisance {
    pub value: Value,
    pub dice: Dice,
    pub handle: Arc<OnceLock<SupervisorHandle>>,
    pub nameless: bool,
}

impl Subscribe for Nuisance {
    fn on_event(&mut self, event: &Event) {
        let world = Arc::clone(self.value.world());
        match self.dice.below(300) {
            0 => world.hang(Some(self.dice.up_to_ms(100))),
            1..=5 => resume_unwind(Box::new("a subscriber")),
            6 => resume_unwind(Box::new(world.value("payload", true))),
            7 if world.draining.load(Ordering::SeqCst) => drop(lock(&world.orphan).take()),
            8..=11 => drop(event.to_string()),
            12..=14 => {
                if let Some(handle) = self.handle.get() {
                    acts::meddle(&world, handle, &mut self.dice);
                }
            }
            _ => {}
        }
    }

    #[allow(clippy::unnecessary_literal_bound, reason = "as the trait has it")]
    fn name(&self) -> &str {
        if self.nameless {
            resume_unwind(Box::new("a name"));
        }
        "nuisance"
    }
}

/// What the events have said of one task so far.
#[derive(Default)]
struct Story {
    submitted: bool,
    running: Option<u64>,
    last: u64,
    stuck: Vec<u64>,
    /// Whether its body is being dropped, and whether that is abandoned, and over.
    closing: Option<What>,
    over: Option<&'static str>,
}

impl Story {
    /// Continues with the next event; the text says what is wrong with it.
    fn go_on(&mut self, what: What) -> Result<(), &'static str> {
        let held = |right: bool, wrong: &'static str| if right { Ok(()) } else { Err(wrong) };
        held(self.submitted || what == What::Submitted, "before it was submitted")?;
        match what {
            What::Submitted => {
                held(!std::mem::replace(&mut self.submitted, true), "submitted twice")
            }
            What::Started(attempt) => {
                held(self.running.is_none(), "started while another attempt runs")?;
                held(attempt > self.last, "started with an old number")?;
                held(self.over.is_none() && self.closing.is_none(), "started when over")?;
                (self.running, self.last) = (Some(attempt), attempt);
                Ok(())
            }
            What::Ended(attempt) => {
                held(self.running.take() == Some(attempt), "ended without running")
            }
            What::Abandoned(attempt) => {
                self.stuck.push(attempt);
                held(self.running.take() == Some(attempt), "abandoned without running")
            }
            What::Returned(attempt) => {
                let found = self.stuck.iter().position(|&stuck| stuck == attempt);
                held(found.is_some(), "returned without being abandoned")?;
                self.stuck.swap_remove(found.unwrap_or_default());
                Ok(())
            }
            What::Closing => {
                held(self.running.is_none(), "closed while it runs")?;
                held(self.closing.replace(what).is_none(), "closed twice")
            }
            What::ClosingAbandoned => {
                let before = self.closing.replace(what);
                held(before == Some(What::Closing), "a closing abandoned that is none")
            }
            What::ClosingReturned => {
                let before = self.closing.replace(what);
                held(before == Some(What::ClosingAbandoned), "a closing returned in time")
            }
            What::Over(label) => {
                held(self.running.is_none(), "over while it runs")?;
                held(self.over.replace(label).is_none(), "over twice")
            }
            What::ShutdownEnded | What::Other => Ok(()),
        }
    }
}

/// Compares the events with the outcomes. All of them must be there if the last one is.
pub fn check_books(world: &World, tasks: &[TaskHandle]) {
    let notes = std::mem::take(&mut *lock(&world.notes));
    let mut stories: HashMap<TaskId, Story> = HashMap::new();
    for (expected, note) in (1..).zip(&notes) {
        if note.seq != expected {
            return world.fault(format!("event {} where {expected} was due", note.seq));
        }
        let Some(task) = note.task else { continue };
        if let Err(wrong) = stories.entry(task).or_default().go_on(note.what) {
            let about = |other: &&Note| other.task == Some(task);
            let all: Vec<_> = notes.iter().filter(about).map(|note| note.what).collect();
            world.fault(format!("task {task}: {wrong}, {:?} of {all:?}", note.what));
        }
    }
    if notes.last().map(|note| note.what) != Some(What::ShutdownEnded) {
        return;
    }
    for task in tasks {
        let Some(outcome) = task.outcome() else { continue };
        let told = stories.get(&task.id()).and_then(|story| story.over);
        // What is refused at the door is no event.
        let at_door = matches!(outcome, Outcome::Rejected(Rejection::ShuttingDown));
        if told != Some(outcome.label()) && !(told.is_none() && at_door) {
            world.fault(format!("{task:?} ended as {outcome}, the events say {told:?}"));
        }
    }
}
