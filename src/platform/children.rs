//! The child processes of a supervisor, from the start of each until it is reaped.
//!
//! A process that has ended keeps its number, as a process and as a group, until it is reaped. Here
//! a process is reaped and leaves the list under the same lock under which signals are sent. So a
//! signal never meets a stranger that was given the number afterwards. If other code of the program
//! reaps the process, it leaves the list once that is noticed.

use std::io;
use std::process::ExitStatus;

use rustix::process::{kill_process, kill_process_group, Pid, Signal as Named};

use crate::platform::clock::RealClock;
use crate::platform::sync::{Condvar, Mutex};
use crate::vocabulary::id::{AttemptAddr, TaskId};
use crate::vocabulary::signal::Signal;
use crate::vocabulary::time::RealTime;

#[derive(Default)]
pub(crate) struct Children {
    state: Mutex<State>,
    /// Signalled when a process has been started.
    started: Condvar,
}

#[derive(Default)]
struct State {
    /// In the order in which they were started.
    living: Vec<Child>,
    /// How many are being started: they are not in the list yet.
    starting: usize,
    /// Nobody is left who would stop a process.
    closed: bool,
}

/// A process that leads a group of its own.
#[derive(Clone, Copy)]
pub(crate) struct Child {
    pub(crate) attempt: AttemptAddr,
    pub(crate) pid: Pid,
    /// What asks it to read its configuration anew.
    pub(crate) reload: Signal,
    /// In the list: somebody has killed it, and tells of that.
    is_killed: bool,
}

/// Who of a group gets a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Leader,
    Group,
}

impl Children {
    /// Starts a process. Whoever kills all processes of an attempt meanwhile does not see it yet,
    /// so the caller looks afterwards whether that has happened.
    pub(crate) fn start(
        &self,
        attempt: AttemptAddr,
        reload: Signal,
        start: impl FnOnce() -> io::Result<std::process::Child>,
    ) -> io::Result<(Child, std::process::Child)> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(io::Error::other("the supervisor has ended"));
        }
        state.starting += 1;
        drop(state);
        let started = start();
        let mut state = self.state.lock();
        state.starting -= 1;
        // Whoever is woken waits for this lock.
        self.started.notify_all();
        let process = started?;
        let child = Child { attempt, pid: Pid::from_child(&process), reload, is_killed: false };
        state.living.push(child);
        if state.closed {
            child.send(Named::KILL, Whom::Group);
        }
        Ok((child, process))
    }

    /// Sends a signal to a process that was started here; false if it is reaped, or if the signal
    /// cannot be sent.
    pub(crate) fn signal(&self, pid: Pid, signal: Signal, whom: Whom) -> bool {
        let state = self.state.lock();
        let found = state.living.iter().find(|child| child.pid == pid);
        found.zip(named(signal)).is_some_and(|(child, signal)| child.send(signal, whom))
    }

    /// Kills the group of a process; false if that was done before, or if the process is reaped.
    pub(crate) fn kill(&self, pid: Pid) -> bool {
        let mut state = self.state.lock();
        let found = state.living.iter_mut().find(|child| child.pid == pid);
        found.is_some_and(Child::kill)
    }

    /// Kills the groups of all processes of an attempt, and returns the numbers of the leaders for
    /// which that was not done before.
    pub(crate) fn kill_attempt(&self, attempt: AttemptAddr) -> Vec<u32> {
        let mut state = self.state.lock();
        let own = state.living.iter_mut().filter(|child| child.attempt == attempt);
        own.filter_map(|child| child.kill().then(|| child.number())).collect()
    }

    /// Kills all groups, and has none started from now on.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for child in &state.living {
            child.send(Named::KILL, Whom::Group);
        }
    }

    /// Does the same, and waits until `due` for those that are being started: each is killed when
    /// it is there.
    pub(crate) fn end(&self, clock: &RealClock, due: RealTime) {
        self.close();
        let Some(instant) = clock.instant(due) else { return };
        let mut state = self.state.lock();
        while state.starting > 0 && clock.now() < due {
            self.started.wait_until(&mut state, instant);
        }
    }

    /// The number of the oldest process of a task.
    pub(crate) fn pid_of(&self, task: TaskId) -> Option<u32> {
        let state = self.state.lock();
        state.oldest_of(task).map(Child::number)
    }

    /// The number of the oldest process of an attempt.
    pub(crate) fn pid_of_attempt(&self, attempt: AttemptAddr) -> Option<u32> {
        let state = self.state.lock();
        state.living.iter().find(|child| child.attempt == attempt).map(Child::number)
    }

    /// The task and the number of each process, the oldest first.
    pub(crate) fn pids(&self) -> Vec<(TaskId, u32)> {
        let state = self.state.lock();
        state.living.iter().map(|child| (child.attempt.task.id, child.number())).collect()
    }

    /// The number of each process that is not reaped.
    #[cfg(target_os = "linux")]
    pub(crate) fn numbers(&self) -> Vec<i32> {
        let state = self.state.lock();
        state.living.iter().map(|child| child.pid.as_raw_nonzero().get()).collect()
    }

    /// Sends the leader of the oldest process of a task this signal, or the one that asks it to
    /// read its configuration anew. False if there is none, or if the signal cannot be sent.
    pub(crate) fn signal_oldest_of(&self, task: TaskId, signal: Option<Signal>) -> bool {
        let state = self.state.lock();
        let Some(child) = state.oldest_of(task) else { return false };
        let signal = named(signal.unwrap_or(child.reload));
        signal.is_some_and(|signal| child.send(signal, Whom::Leader))
    }

    /// Reaps a process that has ended. From now on nothing signals it. `None` if somebody else has
    /// reaped it; so this must not wait, for what may by now be another process.
    pub(crate) fn reap(
        &self,
        child: &Child,
        process: &mut std::process::Child,
    ) -> Option<ExitStatus> {
        let mut state = self.state.lock();
        state.remove(child);
        process.try_wait().ok().flatten()
    }

    /// Somebody else has reaped a process. From now on nothing signals it.
    pub(crate) fn forget(&self, child: &Child) {
        self.state.lock().remove(child);
    }
}

impl State {
    /// By its attempt as well: once somebody else has reaped a process, the system may give its
    /// number to another one of these.
    fn remove(&mut self, it: &Child) {
        self.living.retain(|child| (child.attempt, child.pid) != (it.attempt, it.pid));
    }

    fn oldest_of(&self, task: TaskId) -> Option<&Child> {
        self.living.iter().find(|child| child.attempt.task.id == task)
    }
}

impl Child {
    pub(crate) fn number(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Kills its group; false if that was done before, and perhaps in vain as yet.
    fn kill(&mut self) -> bool {
        self.send(Named::KILL, Whom::Group);
        !std::mem::replace(&mut self.is_killed, true)
    }

    /// False if nobody got it. A group of which only ended processes are left is no error.
    fn send(&self, signal: Named, whom: Whom) -> bool {
        match whom {
            Whom::Leader => kill_process(self.pid, signal).is_ok(),
            Whom::Group => kill_process_group(self.pid, signal).is_ok(),
        }
    }
}

/// Whether this signal can be sent.
pub(crate) const fn has_name(signal: Signal) -> bool {
    named(signal).is_some()
}

/// Of all signals, those that have names can be sent without unsafe code.
const fn named(signal: Signal) -> Option<Named> {
    Named::from_named_raw(signal.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_system() {
        for (signal, number) in [
            (Signal::BUS, Named::BUS),
            (Signal::USR1, Named::USR1),
            (Signal::USR2, Named::USR2),
            (Signal::CHLD, Named::CHILD),
            (Signal::CONT, Named::CONT),
            (Signal::STOP, Named::STOP),
            (Signal::TSTP, Named::TSTP),
            (Signal::WINCH, Named::WINCH),
            #[cfg(target_os = "linux")]
            (Signal::PWR, Named::POWER),
            (Signal::ABRT, Named::ABORT),
            (Signal::ALRM, Named::ALARM),
        ] {
            assert_eq!(signal.as_raw(), number.as_raw(), "{signal}");
            assert_eq!(named(signal), Some(number));
        }
        assert_eq!(named(Signal::from_raw(0)), None);
    }
}
