//! Attempts that ask for a dedicated thread.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::shared::{Dedicated, Group, Place, Work};
use super::Pool;
use crate::machine::pool::{MAX_REPLACED, SLOW_SET_UP};
use crate::platform::sync::Mutex;
use crate::task::fact::{Fact, Role};
use crate::vocabulary::time::RealTime;

/// The dedicated attempts that have no thread yet.
pub(super) struct Waiting {
    attempts: VecDeque<Dedicated>,
    /// Threads that were started and may not have come yet, in the order of their starts.
    coming: Vec<Coming>,
    /// No thread is tried before this time.
    pub(super) refused_until: RealTime,
}

/// A thread that is being set up. It gives its share of the hand up when it has come.
struct Coming {
    /// The attempt, until the thread takes it, or somebody who will not wait for that thread.
    hand: Arc<Mutex<Option<Dedicated>>>,
    slow_at: RealTime,
}

impl Coming {
    fn is_coming(&self) -> bool {
        Arc::strong_count(&self.hand) > 1
    }
}

/// How long until a refused dedicated thread is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// The most dedicated threads that are started in one turn.
const STARTS_PER_TURN: usize = 8;

impl Default for Waiting {
    fn default() -> Self {
        Self { attempts: VecDeque::new(), coming: Vec::new(), refused_until: RealTime::ZERO }
    }
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.attempts.len()
    }

    pub(super) fn oldest(&self) -> Option<RealTime> {
        let handed = self.coming.iter().filter_map(|it| {
            let offered_at = |it: &Dedicated| (it.offered_at, Arc::clone(&it.attempt.cell));
            let offered = it.hand.lock().as_ref().map(offered_at);
            offered.filter(|(_, cell)| !cell.is_revoked()).map(|(offered_at, _)| offered_at)
        });
        self.attempts.iter().map(|it| it.offered_at).chain(handed).min()
    }

    /// Whether the set-up of some thread may hang.
    pub(super) fn is_any_slow(&self, now: RealTime) -> bool {
        self.coming.iter().any(|it| it.slow_at <= now && it.is_coming())
    }

    /// Takes the attempts back whose threads are slow to come, so that others are started for them:
    /// for as many as the pool replaces.
    fn take_back(&mut self, now: RealTime) {
        self.coming.retain(Coming::is_coming);
        let slow = self.coming.iter().filter(|it| it.slow_at <= now);
        for it in slow.take(MAX_REPLACED as usize) {
            self.attempts.extend(it.hand.lock().take());
        }
    }

    /// When the next thread becomes slow.
    fn next_slow(&self, now: RealTime) -> RealTime {
        let slow_at = self.coming.iter().map(|it| it.slow_at).find(|slow_at| *slow_at > now);
        slow_at.unwrap_or(RealTime::NEVER)
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
        self.last_refused = Some(now);
        self.make_room();
        Fact::ThreadRefused { error, retry_in: RETRY }
    }

    pub(super) fn start_dedicated(&mut self, now: RealTime, facts: &mut Vec<Fact>) {
        self.dedicated.take_back(now);
        for _ in 0..STARTS_PER_TURN {
            if now < self.dedicated.refused_until {
                break;
            }
            let Some(dedicated) = self.dedicated.attempts.pop_front() else { break };
            // A revoked attempt no longer has a body, so it needs no thread.
            if dedicated.attempt.cell.is_revoked() {
                continue;
            }
            if let Err(error) = self.start_dedicated_thread(now, dedicated) {
                facts.push(self.dedicated_refused(now, error));
            }
        }
        if !self.dedicated.attempts.is_empty() {
            self.wake_by(now.max(self.dedicated.refused_until));
        }
        self.wake_by(self.dedicated.next_slow(now));
    }

    /// Puts the attempt back if its thread is refused.
    fn start_dedicated_thread(&mut self, now: RealTime, dedicated: Dedicated) -> io::Result<()> {
        let place = self.shared.place(Group::Dedicated);
        let role = self.role();
        let options = dedicated.options.clone();
        // If the thread is refused, the attempt must still be here.
        let hand = Arc::new(Mutex::new(Some(dedicated)));
        let taken = Arc::clone(&hand);
        let started = self.shared.threads.spawn_with(&options, &role, move |name| {
            work_once(place, taken, name);
        });
        self.note_started(&started);
        let Err(error) = started else {
            self.dedicated.coming.push(Coming { hand, slow_at: now.after(SLOW_SET_UP) });
            return Ok(());
        };
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
fn work_once(mut place: Place, hand: Arc<Mutex<Option<Dedicated>>>, name: Arc<str>) {
    let shared = Arc::clone(&place.shared);
    let begun = shared.begin_thread(name);
    // If the set-up took too long, another thread has it.
    let dedicated = hand.lock().take();
    drop(hand);
    match begun {
        Ok(thread) => {
            place.has_come();
            if let Some(dedicated) = dedicated {
                shared.run(dedicated.attempt, &thread, Some(&dedicated.options));
            }
            shared.end_thread();
        }
        Err(error) => {
            shared.state.lock().unserved.extend(dedicated);
            place.give_up(Role::Dedicated, error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{pool, setup};
    use super::*;
    use crate::platform::sync::thread;

    /// It can do what a thread of the pool was wanted for, and no other might be had in its place.
    #[test]
    fn an_idle_worker_is_sent_home_for_a_thread_beside_the_pool_and_for_no_other() {
        let roles = [
            ("pooled", Role::Pooled, 1),
            ("dedicated", Role::Dedicated, 0),
            ("hooks", Role::Hooks, 0),
        ];
        for (name, role, kept) in roles {
            let (door, mut pool) = pool(setup(None), 0);
            pool.start_thread().unwrap();
            while pool.counts(RealTime::ZERO).idle == 0 {
                thread::yield_now();
            }
            pool.set_up_failed(RealTime::ZERO, role, io::ErrorKind::WouldBlock.into());
            let counts = pool.counts(RealTime::ZERO);
            assert_eq!((counts.threads, counts.idle), (kept, kept), "{name}");
            let soon = door.clock.real.now().after(Duration::from_secs(60));
            assert_eq!(pool.close(0, soon), 0);
        }
    }
}
