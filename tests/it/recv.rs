//! A body that waits for the message of a channel, or for its token.

use std::thread;
use std::time::Duration;

use threadvisor::crossbeam_channel::{bounded, unbounded, Receiver};
use threadvisor::prelude::*;
use threadvisor::RecvError;

use crate::clock::secs;
use crate::support::{in_time, next, on_thread, outcome_of, resident, Rig};

const SHORT: Duration = Duration::from_millis(1);

/// A task that passes on what comes, until its channel or its token ends it.
fn relay(from: Receiver<u32>) -> (TaskSpec, Receiver<u32>) {
    let (pass, passed) = unbounded();
    let relay = TaskSpec::new("relay", move |ctx| loop {
        pass.send(ctx.recv(&from)?)?;
    });
    (relay.restart(RestartPolicy::Never), passed)
}

#[test]
fn a_message_ends_the_wait_in_the_order_in_which_it_was_sent() {
    let rig = Rig::new();
    let (send, from) = unbounded();
    let (spec, passed) = relay(from);
    send.send(1).unwrap();
    let task = rig.handle.add(spec).unwrap();
    assert_eq!(next(&passed), 1);
    for n in 2..100 {
        send.send(n).unwrap();
        assert_eq!(next(&passed), n);
    }
    task.cancel();
    assert!(matches!(outcome_of(&task), Outcome::Cancelled { returned: None, .. }));
}

#[test]
fn a_sender_that_waits_for_its_receiver_is_heard() {
    let rig = Rig::new();
    let (send, from) = bounded(0);
    let (spec, passed) = relay(from);
    rig.handle.add(spec).unwrap();
    let sender = on_thread(move || (0..100).try_for_each(|n| send.send(n)));
    assert_eq!((0..100).map(|_| next(&passed)).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    assert_eq!(next(&sender), Ok(()));
}

#[test]
fn a_body_that_was_told_takes_no_message() {
    let (ctx, canceller) = TaskContext::detached();
    let (send, queue) = unbounded();
    send.send("here").unwrap();
    canceller.cancel_for(CancelReason::Shutdown);
    let error = ctx.recv(&queue).unwrap_err();
    assert!(matches!(error, RecvError::Cancelled(it) if it.reason() == CancelReason::Shutdown));
    assert_eq!(ctx.recv_timeout(&queue, SHORT), Err(error));
    assert_eq!(queue.len(), 1);
    drop((send, queue.recv()));
    assert_eq!(ctx.recv(&queue), Err(error));
}

#[test]
fn a_channel_without_senders_fails_the_attempt_like_any_other_error() {
    let rig = Rig::new();
    let (send, from) = unbounded();
    send.send(7).unwrap();
    drop(send);
    let (spec, passed) = relay(from);
    let task = rig.handle.add(spec).unwrap();
    let Outcome::Failed { error, .. } = outcome_of(&task) else { panic!("{task:?}") };
    assert_eq!(error.downcast_ref(), Some(&RecvError::Disconnected));
    assert_eq!(next(&passed), 7);

    // What is only known after the tell is not passed on, but an error of its own.
    let (send, from) = bounded::<()>(0);
    let (start, started) = bounded(1);
    let late = TaskSpec::once("late", move |ctx| {
        start.send(())?;
        let _ = ctx.sleep(Duration::MAX);
        let (other, _canceller) = TaskContext::detached();
        Ok(other.recv(&from)?)
    });
    let late = rig.handle.add(late).unwrap();
    drop(send);
    next(&started);
    late.cancel();
    assert!(matches!(outcome_of(&late), Outcome::Cancelled { returned: Some(Err(_)), .. }));
}

#[test]
fn a_time_limit_ends_the_wait_without_an_error() {
    let (ctx, canceller) = TaskContext::detached();
    let (send, queue) = unbounded();
    assert_eq!(ctx.recv_timeout(&queue, Duration::ZERO), Ok(None));
    assert_eq!(ctx.recv_timeout(&queue, SHORT), Ok(None));
    send.send(1).unwrap();
    send.send(2).unwrap();
    assert_eq!(ctx.recv_timeout(&queue, Duration::ZERO), Ok(Some(1)));
    assert_eq!(ctx.recv_timeout(&queue, Duration::MAX), Ok(Some(2)));
    let waits = on_thread(move || (ctx.recv_timeout(&queue, Duration::MAX), queue));
    canceller.cancel();
    let (found, _queue) = next(&waits);
    assert!(matches!(found, Err(RecvError::Cancelled(_))));
    drop(send);
}

#[test]
fn the_token_alone_receives_as_well() {
    let (ctx, canceller) = TaskContext::detached();
    let (send, queue) = unbounded();
    let token = ctx.token().clone();
    send.send(1).unwrap();
    let (say, said) = bounded(1);
    let helper = on_thread(move || {
        say.send(token.recv_timeout(&queue, Duration::ZERO)).unwrap();
        token.recv(&queue)
    });
    assert_eq!(next(&said), Ok(Some(1)));
    canceller.cancel();
    assert!(matches!(next(&helper), Err(RecvError::Cancelled(_))));
    drop(send);
}

/// However the cancel meets the messages, what the body did not return lies in the channel.
#[test]
fn no_message_is_lost_to_a_cancel() {
    for round in 0..300_u32 {
        let (ctx, canceller) = TaskContext::detached();
        let (send, queue) = unbounded();
        let rest = queue.clone();
        let body = on_thread(move || {
            let mut got = Vec::new();
            loop {
                match if round % 2 == 0 {
                    ctx.recv(&queue).map(Some)
                } else {
                    ctx.recv_timeout(&queue, SHORT)
                } {
                    Ok(message) => got.extend(message),
                    Err(error) => return (got, error),
                }
            }
        });
        for n in 0..20 {
            send.send(n).unwrap();
            if n == round % 20 {
                canceller.cancel();
            }
            (0..round % 7).for_each(|_| thread::yield_now());
        }
        let (mut got, error) = next(&body);
        assert!(matches!(error, RecvError::Cancelled(_)));
        got.extend(rest.try_iter());
        assert_eq!(got, (0..20).collect::<Vec<_>>());
    }
}

/// `main` and logs show it.
#[test]
fn the_errors_say_what_happened() {
    let (ctx, canceller) = TaskContext::detached();
    let (send, queue) = unbounded::<()>();
    canceller.cancel();
    assert_eq!(ctx.recv(&queue).unwrap_err().to_string(), "cancelled: stop");
    drop(send);
    let text = in_time(move || TaskContext::detached().0.recv(&queue).unwrap_err().to_string());
    assert_eq!(text, "the channel is empty, and no sender is left: no message will come");
}

/// What a hook wakes answers through the channel at once. A call that waits leaves that answer
/// there; one that was about to wait may take it.
#[test]
fn a_message_that_was_sent_after_the_tell_is_not_taken_by_a_call_that_waits() {
    let rig = Rig::new();
    let mut cancelled = 0;
    for _ in 0..100 {
        let (tell, told) = bounded(1);
        let task = TaskSpec::once("t", move |ctx| {
            let (late, channel) = bounded(1);
            let token = ctx.token().clone();
            let _hook = ctx.on_cancel(move || {
                assert!(token.is_cancelled());
                let _ = late.send(());
            });
            let found = ctx.recv(&channel);
            tell.send((found, found.or_else(|_| channel.recv())))?;
            Ok(())
        });
        let task = rig.handle.add(task).unwrap();
        assert!(task.wait_started().unwrap());
        task.cancel();
        let (found, answer) = next(&told);
        assert!(matches!(found, Ok(()) | Err(RecvError::Cancelled(_))), "{found:?}");
        assert_eq!(answer, Ok(()), "it is lost");
        cancelled += usize::from(found.is_err());
        assert!(outcome_of(&task).is_cancelled());
    }
    assert!(cancelled > 0, "no call left it there");
}

/// A body that is told first drops its sender before the reader is told: the reader takes that for
/// the shutdown that it is.
#[test]
fn at_a_shutdown_a_sender_that_went_first_is_no_failure() {
    for round in 0..300 {
        let supervisor = Supervisor::builder().start().unwrap();
        let handle = supervisor.handle();
        let (sender, receiver) = bounded::<()>(1);
        let source = TaskSpec::new("source", move |ctx| {
            let _open = &sender;
            Ok(ctx.sleep(Duration::MAX)?)
        });
        // It returns twice: from the call for ever, or from the one with a limit.
        let sink = TaskSpec::once("sink", move |ctx| match round % 2 {
            0 => Ok(ctx.recv(&receiver)?),
            _ => Ok(ctx.recv_timeout(&receiver, secs(60)).map(drop)?),
        });
        let (source, sink) = (handle.add(source).unwrap(), handle.add(sink).unwrap());
        assert!(source.wait_started().unwrap() && sink.wait_started().unwrap());
        let report = supervisor.shutdown().unwrap();
        assert!(outcome_of(&sink).is_cancelled(), "round {round}: {}", outcome_of(&sink));
        assert_eq!(report.exit_code(), 0);
    }
}

/// The door closes before the bodies are told. One that hands over in between, and passes the
/// refusal on, ends by the shutdown.
#[test]
fn at_a_shutdown_a_refusal_that_a_body_passes_on_is_no_failure() {
    for round in 0..200 {
        let supervisor = Supervisor::builder().start().unwrap();
        let busy = TaskSpec::once("busy", move |ctx| loop {
            let inner = || TaskSpec::once("inner", |_| Ok(()));
            let inner = match round % 4 {
                0 => ctx.handle().add(inner())?,
                1 => ctx.handle().add_all([inner()])?.remove(0),
                2 => ctx.handle().submit(inner(), AdmissionPolicy::Queue)?,
                _ => {
                    let sleeps = TaskSpec::once("sleeps", |ctx| Ok(ctx.sleep(Duration::MAX)?));
                    ctx.handle().add(sleeps)?
                }
            };
            ctx.wait_for(&inner)?.into_result()?;
        });
        let busy = supervisor.handle().add(busy).unwrap();
        assert!(busy.wait_started().unwrap());
        let report = supervisor.shutdown().unwrap();
        assert!(outcome_of(&busy).is_cancelled(), "round {round}: {}", outcome_of(&busy));
        assert_eq!(report.exit_code(), 0, "{report}");
    }
}

/// Tasks that wait end before bodies are told, and thousands of them take a while. A body that is
/// told before it begins to wait would be answered at once, so it does not.
#[test]
fn at_a_shutdown_the_end_of_a_task_that_a_body_waits_for_is_no_failure() {
    let supervisor = Supervisor::builder().start().unwrap();
    let later = |_| TaskSpec::once("later", |_| Ok(())).no_slot().initial_delay(Duration::MAX);
    let waiting = supervisor.handle().add_all((0..5000).map(later)).unwrap();
    let first = waiting[0].clone();
    let late = first.clone();
    let waits = TaskSpec::once("waits", move |ctx| {
        ctx.check()?;
        Ok(ctx.wait_for(&first)?.into_result()?)
    });
    // When it begins to wait, the task is over, and it was not told.
    let comes_late = TaskSpec::once("comes late", move |ctx| {
        let _ = late.ended().recv();
        ctx.check()?;
        Ok(late.wait()?.into_result()?)
    });
    let value = TaskOutput::<u32>::new();
    let filler = TaskSpec::once("filler", value.fill_once(|_| Ok(1))).initial_delay(Duration::MAX);
    supervisor.handle().add(filler).unwrap();
    let needs_value = TaskSpec::once("needs value", move |ctx| {
        ctx.check()?;
        Ok(value.wait_value(Duration::MAX).map(drop)?)
    });
    let line = GroupSpec::new("line").then(resident("driver").initial_delay(Duration::MAX));
    let line = supervisor.handle().add_group(line).unwrap();
    let needs_line = TaskSpec::once("needs line", move |ctx| {
        ctx.check()?;
        Ok(line.wait_ready(Duration::MAX).map(drop)?)
    });
    let waits = [waits, comes_late, needs_value, needs_line];
    let waits = supervisor.handle().add_all(waits).unwrap();
    assert!(waits.iter().all(|waits| waits.wait_started().unwrap()));
    let report = supervisor.shutdown().unwrap();
    for waits in waits {
        assert_eq!(outcome_of(&waits).to_string(), "cancelled (shutdown)");
    }
    assert_eq!(report.exit_code(), 0, "{report}");
}

/// A sender that goes without a shutdown is told of at once, and so it is by a token whose attempt
/// has returned, which nobody tells.
#[test]
fn otherwise_a_channel_without_senders_is_told_of_as_such() {
    let supervisor = Supervisor::builder().start().unwrap();
    let handle = supervisor.handle();
    let (tokens, token) = bounded(1);
    let early = TaskSpec::once("early", move |ctx| {
        let (_, receiver) = bounded::<()>(1);
        assert_eq!(ctx.recv(&receiver), Err(RecvError::Disconnected));
        Ok(tokens.send(ctx.token().clone())?)
    });
    assert!(outcome_of(&handle.add(early).unwrap()).is_success());
    let token = next(&token);
    supervisor.shutdown().unwrap();
    let (_, receiver) = bounded::<()>(1);
    let found = on_thread(move || token.recv(&receiver));
    assert_eq!(next(&found), Err(RecvError::Disconnected));
}

/// Nobody tells it, so it waits for nobody: a thousand waits of a second would be noticed.
#[test]
fn a_detached_context_is_told_at_once_that_the_senders_are_gone() {
    let (ctx, _canceller) = TaskContext::detached();
    let (_, receiver) = bounded::<()>(1);
    let found =
        on_thread(move || (0..1000).all(|_| ctx.recv(&receiver) == Err(RecvError::Disconnected)));
    assert!(next(&found));
}
