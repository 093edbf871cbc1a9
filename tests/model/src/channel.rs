//! Channels in crossbeam's shapes, made of a lock and condition variables. Only what the crate uses
//! of them is here.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::platform::sync::{thread, Condvar, Mutex};
use crate::vocabulary::time::RealTime;
use crate::world;
pub(crate) use crate::{select, select_biased};

pub(crate) const NEVER: RealTime = RealTime::NEVER;

struct Core<T> {
    state: Mutex<State<T>>,
    capacity: usize,
}

struct State<T> {
    queue: VecDeque<T>,
    senders: usize,
    receivers: usize,
    /// Who is to be told of the next change.
    watchers: Vec<Arc<Signal>>,
}

/// One wait of one thread.
#[derive(Default)]
pub(crate) struct Signal {
    given: Mutex<bool>,
    changed: Condvar,
}

pub(crate) struct Sender<T>(Arc<Core<T>>);
pub(crate) struct Receiver<T>(Arc<Core<T>>);

pub(crate) struct SendError<T>(pub(crate) T);

pub(crate) enum TrySendError<T> {
    Full(T),
    Disconnected(T),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RecvError;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TryRecvError {
    Empty,
    Disconnected,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RecvTimeoutError;

pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    bounded(usize::MAX)
}

/// With a capacity of zero for channels on which nothing is ever sent.
pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let core = Core {
        state: Mutex::new(State {
            queue: VecDeque::new(),
            senders: 1,
            receivers: 1,
            watchers: Vec::new(),
        }),
        capacity,
    };
    let core = Arc::new(core);
    (Sender(Arc::clone(&core)), Receiver(core))
}

/// A channel that is never ready.
pub(crate) fn never<T>() -> Receiver<T> {
    let (sender, receiver) = bounded(0);
    std::mem::forget(sender);
    receiver
}

impl<T> State<T> {
    fn tell_watchers(&mut self) {
        for watcher in self.watchers.drain(..) {
            *watcher.given.lock() = true;
            watcher.changed.notify_all();
        }
    }
}

impl Signal {
    fn wait(&self) {
        let mut given = self.given.lock();
        while !*given {
            self.changed.wait(&mut given);
        }
    }
}

impl<T> Sender<T> {
    pub(crate) fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut value = value;
        loop {
            let signal = Arc::new(Signal::default());
            match self.put(value, Some(&signal)) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(value)) => return Err(SendError(value)),
                Err(TrySendError::Full(back)) => value = back,
            }
            signal.wait();
        }
    }

    pub(crate) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.put(value, None)
    }

    fn put(&self, value: T, waits: Option<&Arc<Signal>>) -> Result<(), TrySendError<T>> {
        let mut state = self.0.state.lock();
        if state.receivers == 0 {
            return Err(TrySendError::Disconnected(value));
        }
        if state.queue.len() >= self.0.capacity {
            state.watchers.extend(waits.cloned());
            return Err(TrySendError::Full(value));
        }
        state.queue.push_back(value);
        state.tell_watchers();
        Ok(())
    }
}

impl<T> Receiver<T> {
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut state = self.0.state.lock();
        if let Some(value) = state.queue.pop_front() {
            state.tell_watchers();
            return Ok(value);
        }
        Err(if state.senders == 0 { TryRecvError::Disconnected } else { TryRecvError::Empty })
    }

    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        loop {
            match self.try_recv() {
                Ok(value) => return Ok(value),
                Err(TryRecvError::Disconnected) => return Err(RecvError),
                Err(TryRecvError::Empty) => drop(wait_for_one(&[self], RealTime::NEVER)),
            }
        }
    }

    /// The crate uses it to let time pass.
    pub(crate) fn recv_timeout(&self, span: Duration) -> Result<T, RecvTimeoutError> {
        if span == Duration::MAX {
            return self.recv().map_err(|_| RecvTimeoutError);
        }
        thread::yield_now();
        world::advance(span);
        self.try_recv().map_err(|_| RecvTimeoutError)
    }

    pub(crate) fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.state.lock().queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A channel as a wait for several sees it.
pub(crate) trait Watch {
    /// Whether it has something to say; if not, the signal hears when that may have changed.
    fn is_ready(&self, waits: &Arc<Signal>) -> bool;
}

impl<T> Watch for Receiver<T> {
    fn is_ready(&self, waits: &Arc<Signal>) -> bool {
        let mut state = self.0.state.lock();
        let ready = !state.queue.is_empty() || state.senders == 0;
        if !ready {
            state.watchers.push(Arc::clone(waits));
        }
        ready
    }
}

impl<W: Watch> Watch for &W {
    fn is_ready(&self, waits: &Arc<Signal>) -> bool {
        (**self).is_ready(waits)
    }
}

/// Blocks until a channel is ready, and says which; `None` if the timer fired first.
pub(crate) fn wait_for_one(channels: &[&dyn Watch], due: RealTime) -> Option<usize> {
    loop {
        let signal = Arc::new(Signal::default());
        let is_ready = |&position: &usize| channels[position].is_ready(&signal);
        let ready: Vec<_> = (0..channels.len()).filter(is_ready).collect();
        match ready[..] {
            [] if world::fires(due) => return None,
            [] if world::may_fire(due) => thread::yield_now(),
            [] => signal.wait(),
            [only] => return Some(only),
            [..] => return Some(ready[world::die(ready.len())]),
        }
    }
}

/// Blocks until a channel is ready, and says which is the first; `None` if the timer fired first.
pub(crate) fn wait_for_first(channels: &[&dyn Watch], due: RealTime) -> Option<usize> {
    let found = wait_for_one(channels, due)?;
    let signal = Arc::new(Signal::default());
    (0..=found).find(|&position| channels[position].is_ready(&signal))
}

/// Waits until one of several channels has something to say, and takes nothing out of it.
pub(crate) struct Select<'a>(Vec<&'a dyn Watch>);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReadyTimeoutError;

impl<'a> Select<'a> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn recv<T>(&mut self, channel: &'a Receiver<T>) -> usize {
        self.0.push(channel);
        self.0.len() - 1
    }

    pub(crate) fn ready(&mut self) -> usize {
        wait_for_one(&self.0, RealTime::NEVER).expect("no timer fires here")
    }

    pub(crate) fn ready_timeout(&mut self, span: Duration) -> Result<usize, ReadyTimeoutError> {
        wait_for_one(&self.0, world::look_at_clock().after(span)).ok_or(ReadyTimeoutError)
    }
}

/// What `try_recv` found as `recv` would say it; `None` if another thread was faster.
pub(crate) fn received<T>(found: Result<T, TryRecvError>) -> Option<Result<T, RecvError>> {
    match found {
        Ok(value) => Some(Ok(value)),
        Err(TryRecvError::Disconnected) => Some(Err(RecvError)),
        Err(TryRecvError::Empty) => None,
    }
}

/// The forms of crossbeam's `select!` that the crate uses.
#[macro_export]
macro_rules! select {
    (
        recv($a:expr) -> $pa:pat => $do_a:expr,
        recv($b:expr) -> $pb:pat => $do_b:expr $(,)?
    ) => {
        $crate::select!(@
            wait_for_one, $crate::channel::NEVER, None.expect("no timer fires here"),
            one ($a) $pa, ($do_a); two ($b) $pb, ($do_b);)
    };
    (
        recv($a:expr) -> $pa:pat => $do_a:expr,
        recv($b:expr) -> $pb:pat => $do_b:expr,
        default($span:expr) => $default:expr $(,)?
    ) => {
        $crate::select!(@
            wait_for_one, $crate::world::look_at_clock().after($span), $default,
            one ($a) $pa, ($do_a); two ($b) $pb, ($do_b);)
    };
    (@
        $wait:ident, $due:expr, $default:expr,
        $($name:ident ($from:expr) $found:pat, ($do:expr);)+
    ) => {{
        use $crate::channel::Watch;
        let due = $due;
        $(let $name = &$from;)+
        let channels = [$($name as &dyn Watch),+];
        loop {
            let Some(ready) = $crate::channel::$wait(&channels, due) else { break $default };
            let mut position = 0..;
            $(if position.next() == Some(ready) {
                let Some($found) = $crate::channel::received($name.try_recv()) else { continue };
                break $do;
            })+
        }
    }};
}

/// Likewise, for one that prefers what comes first.
#[macro_export]
macro_rules! select_biased {
    (
        recv($a:expr) -> $pa:pat => $do_a:expr,
        recv($b:expr) -> $pb:pat => $do_b:expr,
        default($span:expr) => $default:expr $(,)?
    ) => {
        $crate::select!(@
            wait_for_first, $crate::world::look_at_clock().after($span), $default,
            one ($a) $pa, ($do_a); two ($b) $pb, ($do_b);)
    };
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.state.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.0.state.lock().receivers += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.senders -= 1;
        if state.senders == 0 {
            state.tell_watchers();
        }
    }
}

/// As with crossbeam, what lies in a bounded channel stays there as long as a sender does, while an
/// unbounded one is emptied.
impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.receivers -= 1;
        if state.receivers == 0 {
            state.tell_watchers();
            if self.0.capacity == usize::MAX {
                let unheard = std::mem::take(&mut state.queue);
                drop(state);
                drop(unheard);
            }
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}
