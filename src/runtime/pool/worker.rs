//! The life of a pooled thread, which takes work from the shared queue and runs user code.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::errands::Errand;
use super::shared::{Call, Place, Seat, Shared, Work};
use crate::platform::{stall, unwind, user_value};
use crate::task::cell::Thread;
use crate::task::current;
use crate::task::fact::{Fact, Role};

/// The number of attempts for which an idle pool keeps room.
const KEPT: usize = 64;

/// The work that a worker found.
enum Found {
    Work(Work),
    Errand(Errand),
}

/// What a worker has done since it last looked for work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Did {
    Nothing,
    Work,
    Errand,
}

/// The life of a pooled worker.
pub(super) fn work(mut place: Place, name: Arc<str>) {
    let shared = Arc::clone(&place.shared);
    let thread = match shared.begin_thread(name) {
        Ok(thread) => thread,
        Err(error) => return place.give_up(Role::Pooled, error),
    };
    place.has_come();
    let seat = Arc::new(Seat::default());
    let mut did = Did::Nothing;
    while let Some(found) = shared.next(&mut place, &seat, &thread, did) {
        did = if let Found::Errand(_) = found { Did::Errand } else { Did::Work };
        match found {
            Found::Errand(errand) => shared.run_errand(errand, &thread),
            Found::Work(Work::Attempt(attempt)) => shared.run(attempt, &thread, None),
            Found::Work(Work::Examine(examinees)) => shared.examine(examinees),
            Found::Work(Work::Chores(chores)) => {
                chores.work_off(|error| shared.door.post(Fact::ChoreFailed { error }));
            }
            Found::Work(Work::Warn(text)) => {
                let _ = unwind::catch(|| log::warn!(target: "threadvisor", "{text}"));
            }
        }
    }
    shared.end_thread();
}

impl Place {
    /// Ends a thread that could not be set up.
    pub(super) fn give_up(self, role: Role, error: io::Error) {
        let shared = Arc::clone(&self.shared);
        // Whoever hears of it must find it counted no more.
        drop(self);
        shared.door.post(Fact::SetUpFailed { role, error });
        shared.drop_unheard();
    }
}

impl Shared {
    /// The first steps of each thread that runs user code.
    pub(super) fn begin_thread(&self, name: Arc<str>) -> Result<Thread, io::Error> {
        current::belong_to(&self.door);
        let callbacks = self.threads.callbacks.as_deref();
        if let Some(on_start) = callbacks.and_then(|it| it.on_start.as_ref()) {
            on_start.call()?;
        }
        Ok(Thread { name, tid: stall::own_tid() })
    }

    /// The last steps.
    pub(super) fn end_thread(&self) {
        self.drop_unheard();
        let callbacks = self.threads.callbacks.as_deref();
        if let Some(on_stop) = callbacks.and_then(|it| it.on_stop.as_ref()) {
            if let Err(message) = unwind::catch(&***on_stop) {
                self.door.post(Fact::DropPanicked { message });
            }
        }
    }

    /// Waits for work. `None` if it is time to go home.
    fn next(
        &self,
        place: &mut Place,
        seat: &Arc<Seat>,
        thread: &Thread,
        did: Did,
    ) -> Option<Found> {
        let mut state = self.state.lock();
        if did != Did::Nothing {
            state.busy -= 1;
            state.on_errands -= u32::from(did == Did::Errand);
            self.note_rest();
            // A thread that has just worked may be needed again in a moment.
            if state.news() == 0 {
                drop(state);
                let look = || self.state.lock().news();
                self.linger.until(&self.door.clock.real, look);
                state = self.state.lock();
            }
        }
        loop {
            let all = state.closed;
            let errand = state.errands.take(thread, all, &self.door.clock);
            let found = errand.map(Found::Errand).or_else(|| state.take().map(Found::Work));
            if found.is_some() {
                state.begin_work();
                state.on_errands += u32::from(matches!(found, Some(Found::Errand(_))));
                return found;
            }
            if state.closed {
                return None;
            }
            // Room for a flood is not kept.
            if state.queue.capacity() > KEPT {
                state.queue = VecDeque::new();
            }
            state.idle.push(Arc::clone(seat));
            if seat.wait(&mut state) == Call::Leave {
                place.was_sent_home();
                return None;
            }
        }
    }

    /// Drops a value that holds user values, and reports their panics.
    pub(super) fn drop_value<T>(&self, value: T) {
        self.tell_of(user_value::panics_of(|| drop(value)));
    }

    fn tell_of(&self, panics: Vec<String>) {
        for message in panics {
            self.door.post(Fact::DropPanicked { message });
        }
    }

    /// Once the controller has gone, threads drop the facts in the channel themselves before they
    /// leave.
    pub(super) fn drop_unheard(&self) {
        if self.state.lock().closed {
            // The fact about a panic in this drop is taken here, too. It has no user value.
            while let Ok(fact) = self.unheard.try_recv() {
                self.drop_value(fact);
            }
        }
    }
}
