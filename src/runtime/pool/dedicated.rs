//! Attempts that ask for a dedicated thread.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::shared::{Dedicated, Group, Place, Work};
use super::Pool;
use crate::platform::sync::Mutex;
use crate::task::fact::{Fact, Role};
use crate::vocabulary::time::RealTime;

/// The dedicated attempts that have no thread yet.
pub(super) struct Waiting {
    attempts: VecDeque<Dedicated>,
    /// No thread is tried before this time.
    pub(super) refused_until: RealTime,
}

/// How long until a refused dedicated thread is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// The most dedicated threads that are started in one turn.
const STARTS_PER_TURN: usize = 8;

impl Default for Waiting {
    fn default() -> Self {
        Self { attempts: VecDeque::new(), refused_until: RealTime::ZERO }
    }
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.attempts.len()
    }

    pub(super) fn oldest(&self) -> Option<RealTime> {
        self.attempts.iter().map(|it| it.offered_at).min()
    }
}

impl Pool {
    /// Offers an attempt to a dedicated thread at the end of the turn.
    pub(in crate::runtime) fn push_dedicated(&mut self, dedicated: Dedicated) {
        self.dedicated.attempts.push_back(dedicated);
    }

    /// The system refused the dedicated thread of an attempt. The other attempts now come first,
    /// because the system may never grant this one.
    pub(super) fn dedicated_refused(&mut self, now: RealTime, error: io::Error) -> Fact {
        let unserved = std::mem::take(&mut self.shared.state.lock().unserved);
        self.dedicated.attempts.extend(unserved);
        self.dedicated.refused_until = now.after(RETRY);
        self.note_refused(now);
        Fact::ThreadRefused { error, retry_in: RETRY }
    }

    pub(super) fn start_dedicated(&mut self, now: RealTime, facts: &mut Vec<Fact>) {
        for _ in 0..STARTS_PER_TURN {
            if now < self.dedicated.refused_until {
                break;
            }
            let Some(dedicated) = self.dedicated.attempts.pop_front() else { break };
            // A revoked attempt no longer has a body, so it needs no thread.
            if dedicated.attempt.cell.is_revoked() {
                continue;
            }
            if let Err(error) = self.start_dedicated_thread(dedicated) {
                facts.push(self.dedicated_refused(now, error));
            }
        }
        if !self.dedicated.attempts.is_empty() {
            self.wake_by(now.max(self.dedicated.refused_until));
        }
    }

    /// Puts the attempt back if its thread is refused.
    fn start_dedicated_thread(&mut self, dedicated: Dedicated) -> io::Result<()> {
        let place = self.shared.place(Group::Dedicated);
        let role = self.role();
        let options = dedicated.options.clone();
        // If the thread is refused, the attempt must still be here.
        let hand = Arc::new(Mutex::new(Some(dedicated)));
        let taken = Arc::clone(&hand);
        let started = self.shared.threads.spawn_with(&options, &role, move |name| {
            let dedicated = taken.lock().take();
            if let Some(dedicated) = dedicated {
                work_once(place, dedicated, name);
            }
        });
        self.note_started(&started);
        let Err(error) = started else { return Ok(()) };
        let Some(mut dedicated) = hand.lock().take() else { return Err(error) };
        if !self.shared.threads.may_ever_have(&options, &error) {
            // It needs a thread only to be told so.
            dedicated.attempt.no_thread = Some(error);
            self.push(Work::Attempt(dedicated.attempt));
            self.wake_by(self.shared.door.clock.real.now());
            return Ok(());
        }
        self.dedicated.attempts.push_back(dedicated);
        Err(error)
    }
}

/// The life of a thread that was started for one attempt.
fn work_once(mut place: Place, dedicated: Dedicated, name: Arc<str>) {
    let shared = Arc::clone(&place.shared);
    match shared.begin_thread(name) {
        Ok(thread) => {
            place.has_come();
            shared.run(dedicated.attempt, &thread, Some(&dedicated.options));
            shared.end_thread();
        }
        Err(error) => {
            shared.state.lock().unserved.push(dedicated);
            place.give_up(Role::Dedicated, error);
        }
    }
}
