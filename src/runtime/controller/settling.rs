//! When a supervisor has settled: nothing more happens before its manual clock moves.

use std::sync::Arc;

use super::Controller;
use crate::output::not_quiet::BusyAttempt;
use crate::platform::stall::Stall;
use crate::platform::sync::channel::Sender;
use crate::runtime::pool::Of;
use crate::task::cell::{Cell, Thread};
use crate::task::fact::HookOwner;
use crate::task::record::Record;
use crate::task::request::{Settled, Unsettled};
use crate::vocabulary::time::Time;

impl Controller {
    /// Sends the reply once nothing more happens; says whether that is so.
    pub(super) fn answer_settled(&self, reply: &Sender<Settled>) -> bool {
        let has_settled = self.has_settled();
        if has_settled {
            // Whoever asked may have lost patience.
            let _ = reply.try_send(Settled { next: self.next_due(), inputs: self.inputs });
        }
        has_settled
    }

    fn has_settled(&self) -> bool {
        let Some(seat) = self.door.clock.seat() else { return true };
        self.next_due() > self.now
            && !(seat.waits_for_events() && self.publisher.lanes_at_work() > 0)
            && self.pool.is_at_rest(|| seat.parked())
            && self.inbox.facts.is_empty()
            && self.inbox.requests.is_empty()
            && self.inbox.intake.is_empty()
    }

    /// When the machine acts by itself. The last events are awaited in real time.
    fn next_due(&self) -> Time {
        match self.shutdown.completed_at() {
            None => self.machine.deadline(),
            Some(_) => Time::NEVER,
        }
    }

    /// From now on the task is not waited for.
    pub(super) fn ignore(&self, record: &Arc<Record>) {
        let released = self.released.iter().map(|it| &it.cell);
        let own = self.find(record).and_then(|task| self.values.get(task.key)?.cell.as_ref());
        for cell in released.chain(own).filter(|cell| Arc::ptr_eq(&cell.record, record)) {
            cell.ignore();
        }
    }

    /// What keeps the supervisor from settling.
    pub(super) fn unsettled(&self) -> Unsettled {
        let owned = self.values.iter().filter_map(|belongings| belongings.cell.as_ref());
        let released = self.released.iter().map(|it| &it.cell);
        let bodies = owned.chain(released).filter(|cell| !cell.closing && cell.is_busy());
        let bodies = bodies.map(|cell| {
            // Whoever examines them looks at that in place of the thread, which waits for it.
            let pid = self.door.process_of(cell.attempt);
            let stall = pid.map(|pid| Stall { pid: Some(pid), ..Stall::default() });
            BusyAttempt { stall, ..busy(cell, cell.thread()) }
        });
        let mut busy_now = bodies.collect::<Vec<_>>();
        let (mut hooks, mut drops) = (Vec::new(), 0);
        for (errand, thread, since) in self.pool.running_errands() {
            match errand {
                Of::Hooks(HookOwner::Attempt(cell)) => {
                    busy_now.push(BusyAttempt { hook: true, ..busy(&cell, Some(thread)) });
                }
                Of::Hooks(hook) => hooks.push(hook.running(thread, since)),
                Of::Close(cell) | Of::Left(cell) => {
                    busy_now.push(BusyAttempt { closing: true, ..busy(&cell, Some(thread)) });
                }
                Of::Value => drops += 1,
            }
        }
        Unsettled {
            busy: busy_now,
            hooks,
            drops,
            unstarted: self.pool.unstarted(),
            lanes: self.publisher.lanes_at_work(),
            next: self.next_due(),
        }
    }
}

fn busy(cell: &Cell, thread: Option<Thread>) -> BusyAttempt {
    BusyAttempt {
        task: cell.record.task_ref(),
        attempt: cell.attempt.number,
        hook: false,
        closing: false,
        tid: thread.as_ref().and_then(|thread| thread.tid),
        thread: thread.map(|thread| thread.name),
        mark: cell.pulse.last_mark(),
        stall: None,
    }
}
