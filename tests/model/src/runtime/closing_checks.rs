//! Bodies that will not run again: gone before that is told, while others hang.

use std::sync::atomic::Ordering;

use super::device::body_with_device;
use super::pool_checks::Ground;
use crate::platform::sync::channel::{self, Receiver, Sender};
use crate::runner::Check;
use crate::task::body::Body;
use crate::vocabulary::answer::ClosingAnswer;

pub(crate) const CHECKS: &[Check] = &[
    Check::some("closing: closed means gone", 1500, closed_means_gone),
    Check::some("closing: abandoned while it closes", 1500, abandoned_while_it_closes),
    Check::some(
        "closing: the return is told before what was thrown goes",
        1500,
        the_return_is_told_before_what_was_thrown_goes,
    ),
];

/// Whoever hears that a body is closed finds it gone, while another may hang.
fn closed_means_gone() {
    let mut ground = Ground::new();
    ground.start_threads(2);
    let (body, gone) = body_with_device();
    let (hangs, inside, free) = body_that_hangs();
    let hanging = ground.close_body(hangs);
    let closing = ground.close_body(body);
    ground.manage();
    inside.recv().unwrap();
    assert_eq!(ground.until_closed(), closing.attempt);
    assert!(gone.load(Ordering::Relaxed), "told before it was gone");
    ground.push(|_| Ok(()));
    ground.until_returned(1);
    drop(free);
    assert_eq!(ground.until_closed(), hanging.attempt);
    assert_eq!(ground.close(), 1);
}

/// The answer to its abandonment says where the drop is, and it is told in any case.
fn abandoned_while_it_closes() {
    let mut ground = Ground::new();
    ground.start_threads(1);
    let (body, gone) = body_with_device();
    let closing = ground.close_body(body);
    ground.manage();
    match closing.abandon_closing() {
        ClosingAnswer::Dropped => assert!(gone.load(Ordering::Relaxed), "it was not gone"),
        ClosingAnswer::Untaken => assert!(!closing.is_abandoned()),
        ClosingAnswer::Abandoned => assert!(closing.is_abandoned()),
    }
    ground.until_closed();
    assert!(gone.load(Ordering::Relaxed));
    assert_eq!(ground.close(), 0);
}

/// What was thrown may hang when it is dropped: the return is told before.
fn the_return_is_told_before_what_was_thrown_goes() {
    let mut ground = Ground::new();
    ground.start_threads(1);
    let (free, go_on) = channel::bounded::<()>(1);
    let mut thrown = Some(Hangs(channel::bounded(1).0, go_on));
    ground.push(move |_| std::panic::resume_unwind(Box::new(thrown.take())));
    ground.until_returned(1);
    drop(free);
    assert_eq!(ground.close(), 1);
}

struct Hangs(Sender<()>, Receiver<()>);

impl Drop for Hangs {
    fn drop(&mut self) {
        let _ = self.0.send(());
        let _ = self.1.recv();
    }
}

/// With what says that it is being dropped, and what frees it.
fn body_that_hangs() -> (Body, Receiver<()>, Sender<()>) {
    let (inside_in, inside) = channel::bounded(1);
    let (free, go_on) = channel::bounded::<()>(1);
    let device = Hangs(inside_in, go_on);
    let body = Body::repeat(move |_| {
        let _ = &device;
        Ok(())
    });
    (body, inside, free)
}
