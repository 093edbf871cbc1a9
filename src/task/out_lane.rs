//! The lane of `on_output`: one bounded queue of the lines that processes write, and the one thread
//! that hands them on. It is not that of events, so that a process that writes much does not push
//! events out; and who reads the pipes never waits for it.

use std::collections::VecDeque;

use crate::output::output_line::{OutputLine, OutputStream};
use crate::platform::sync::{Condvar, Mutex};
use crate::platform::unwind;
use crate::platform::user_value::UserValue;
use crate::vocabulary::id::TaskRef;

/// What the user has given `on_output`.
pub(crate) type OnOutput = UserValue<Box<dyn FnMut(&OutputLine<'_>) + Send>>;

#[derive(Default)]
pub(crate) struct OutLane {
    state: Mutex<State>,
    /// Signalled when there is something for the thread to do.
    ready: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Line>,
    /// How long the texts in the queue are.
    bytes: usize,
    /// Lines lost since the last one that found room.
    lost: u64,
    closed: bool,
    given_up: bool,
}

/// A line on its way.
struct Line {
    task: TaskRef,
    attempt: u64,
    stream: OutputStream,
    text: Box<str>,
    cut: bool,
    lost: u64,
}

/// At these limits, the incoming line is lost.
const MAX_LINES: usize = 4096;
const MAX_BYTES: usize = 1 << 20;

impl OutLane {
    /// Puts a line into the queue, or counts it as lost. Never waits.
    pub(crate) fn push(&self, line: &OutputLine<'_>) {
        let OutputLine { task, attempt, stream, text, cut, .. } = *line;
        let mut state = self.state.lock();
        if state.closed || state.queue.len() >= MAX_LINES || state.bytes + text.len() > MAX_BYTES {
            state.lost += 1;
            return;
        }
        let lost = std::mem::take(&mut state.lost);
        state.bytes += text.len();
        let (task, text) = (task.clone(), text.into());
        state.queue.push_back(Line { task, attempt, stream, text, cut, lost });
        drop(state);
        self.ready.notify_one();
    }

    /// Hands lines on until the lane is closed and empty. Each panic is told.
    pub(crate) fn serve(&self, mut on_output: OnOutput, mut tell_panic: impl FnMut(String)) {
        while let Some(Line { ref task, attempt, stream, ref text, cut, lost }) = self.next() {
            let line = OutputLine { task, attempt, stream, text, cut, lost };
            unwind::catch(|| on_output(&line)).unwrap_or_else(&mut tell_panic);
        }
    }

    fn next(&self) -> Option<Line> {
        let mut state = self.state.lock();
        loop {
            if state.given_up {
                return None;
            }
            if let Some(line) = state.queue.pop_front() {
                state.bytes -= line.text.len();
                return Some(line);
            }
            if state.closed {
                return None;
            }
            self.ready.wait(&mut state);
        }
    }

    /// No process is left that may write. The thread leaves once it has handed on the rest.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.ready.notify_one();
    }

    /// What is left is no longer awaited. Returns how many lines nobody gets.
    pub(crate) fn give_up(&self) -> u64 {
        let mut state = self.state.lock();
        state.given_up = true;
        self.ready.notify_one();
        std::mem::take(&mut state.lost) + state.queue.len() as u64
    }
}
