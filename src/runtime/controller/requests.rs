//! What callers ask of the controller. Each request is a function here and travels as a closure, so
//! that a program contains only those that it makes. None of them blocks the controller.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::Controller;
use crate::machine::{Answer, Input};
use crate::output::error::Closed;
use crate::output::snapshot::Snapshot;
use crate::platform::sync::channel::{self, Receiver, Sender};
use crate::task::door::Door;
use crate::task::envelope::Envelope;
use crate::task::group::GroupRecord;
use crate::task::record::Record;
use crate::task::request::{FoundGroup, Request, ServiceRequest, Settled, Unsettled, Until};
use crate::vocabulary::group::GroupState;
use crate::vocabulary::id::{ClassKey, SlotKey, TaskAddr, TaskId};
use crate::vocabulary::reason::{SlotCancelled, TaskState};

/// Sends an order; false if the supervisor has ended.
fn tell(door: &Door, order: impl FnOnce(&mut Controller) + Send + 'static) -> bool {
    door.send(Request::Ask(Box::new(|controller| {
        if let Some(controller) = controller.downcast_mut() {
            order(controller);
        }
    })))
}

/// Sends a question and waits for its answer, which the controller sends without waiting for
/// anything. `None` if the supervisor has ended, or if this is a child of its process.
fn ask<T: Send + 'static>(
    door: &Door,
    question: impl FnOnce(&mut Controller) -> T + Send + 'static,
) -> Option<T> {
    if door.is_forked() {
        return None;
    }
    let (reply, answer) = channel::bounded(1);
    tell(door, move |controller| {
        let answer = question(controller);
        // Whoever has it finds the events that led to it in the lanes.
        controller.publisher.deliver();
        let _ = reply.send(answer);
    });
    answer.recv().ok()
}

/// Passes a request about a task to the machine; says whether that changes anything.
fn ask_task(record: &Arc<Record>, input: impl FnOnce(TaskAddr) -> Input + Send + 'static) -> bool {
    let about = Arc::clone(record);
    let taken = ask(&record.door, move |controller| {
        let Some(task) = controller.find(&about) else { return false };
        controller.learn_of_claim(task);
        controller.ask(input(task)) == Some(Answer::Taken(true))
    });
    taken.unwrap_or(false)
}

fn tell_task(record: &Arc<Record>, input: fn(TaskAddr) -> Input) {
    let about = Arc::clone(record);
    tell(&record.door, move |controller| {
        if let Some(task) = controller.find(&about) {
            controller.feed(input(task));
        }
    });
}

/// Stops this task.
pub(crate) fn cancel(record: &Arc<Record>) {
    tell_task(record, Input::StopRequested);
}

/// A body waits for this task.
pub(crate) fn wait_began(record: &Arc<Record>) {
    tell_task(record, Input::WaitBegan);
}

/// It no longer does.
pub(crate) fn wait_ended(record: &Arc<Record>) {
    tell_task(record, Input::WaitEnded);
}

/// Starts the next attempt now.
pub(crate) fn skip_wait(record: &Arc<Record>) -> bool {
    ask_task(record, Input::SkipRequested)
}

/// Ends this attempt and starts the next one.
pub(crate) fn restart(record: &Arc<Record>) -> bool {
    ask_task(record, Input::RestartRequested)
}

/// Starts no attempt until the task is resumed.
pub(crate) fn pause(record: &Arc<Record>) -> bool {
    ask_task(record, Input::PauseRequested)
}

pub(crate) fn resume(record: &Arc<Record>) -> bool {
    ask_task(record, Input::ResumeRequested)
}

/// Takes this interval from now on.
pub(crate) fn set_interval(record: &Arc<Record>, interval: Duration) -> bool {
    ask_task(record, move |task| Input::IntervalRequested { task, interval })
}

/// Takes this limit of a class from now on.
pub(crate) fn set_class_limit(door: &Door, class: ClassKey, limit: u32) {
    let input = Input::ClassLimitRequested { class, limit };
    ask(door, move |controller| controller.feed(input));
}

pub(crate) fn state(record: &Arc<Record>) -> TaskState {
    let about = Arc::clone(record);
    ask(&record.door, move |controller| controller.state(&about)).unwrap_or(TaskState::Over)
}

/// Whether the waiter's attempt would wait for something of its own, if it waited for the other
/// task: until that has ended, or only until it has started.
pub(crate) fn waits_in_vain(waiter: &Arc<Record>, other: &Arc<Record>, until_end: bool) -> bool {
    let (by, of) = (Arc::clone(waiter), Arc::clone(other));
    let found = ask(&other.door, move |controller| controller.waits_in_vain(&by, &of, until_end));
    found.unwrap_or(false)
}

/// Stops the owner of this slot, and removes the submissions that wait there.
pub(crate) fn cancel_slot(door: &Door, slot: &str) -> SlotCancelled {
    let slot = slot.to_owned();
    let found = ask(door, move |controller| {
        let key = SlotKey(controller.values.slots.key(&slot)?);
        match controller.ask(Input::SlotStopRequested(key)) {
            Some(Answer::SlotCancelled(found)) => Some(found),
            Some(Answer::Taken(_)) | None => None,
        }
    });
    found.flatten().unwrap_or_default()
}

pub(crate) fn owner(door: &Door, slot: &str) -> Option<Arc<Record>> {
    let slot = slot.to_owned();
    ask(door, move |controller| controller.owner(&slot))?
}

pub(crate) fn task(door: &Door, id: TaskId) -> Option<Arc<Record>> {
    ask(door, move |controller| controller.task(id))?
}

pub(crate) fn snapshot(door: &Door) -> Result<Snapshot, Closed> {
    let moment = ask(door, Controller::moment).ok_or(Closed)?;
    Ok(moment.snapshot(door))
}

pub(crate) fn group(door: &Door, name: &str) -> Option<FoundGroup> {
    let name = name.to_owned();
    ask(door, move |controller| controller.group(&name))?
}

pub(crate) fn group_state(door: &Door, group: &Arc<GroupRecord>) -> GroupState {
    let group = Arc::clone(group);
    let state = ask(door, move |controller| controller.group_state(&group));
    state.unwrap_or(GroupState::Over)
}

/// Takes in a group that is handed over.
pub(crate) fn serve_group(controller: &mut dyn Any, envelope: Envelope) {
    if let Some(controller) = controller.downcast_mut::<Controller>() {
        controller.serve_group(envelope);
    }
}

/// Stops this group.
pub(crate) fn cancel_group(door: &Door, group: &Arc<GroupRecord>) {
    let group = Arc::clone(group);
    tell(door, move |controller| {
        if let Some(group) = controller.groups.find(&group) {
            controller.feed(Input::GroupStopRequested(group));
        }
    });
}

/// Restarts all members of this group, in order; says whether it can.
pub(crate) fn restart_group(door: &Door, group: &Arc<GroupRecord>) -> bool {
    let group = Arc::clone(group);
    let asked = ask(door, move |controller| {
        let group = controller.groups.find(&group)?;
        controller.ask(Input::GroupRestartRequested(group))
    });
    asked.flatten() == Some(Answer::Taken(true))
}

/// Has the reply dropped when this is so, or the supervisor has ended.
pub(crate) fn wait_until(door: &Door, until: Until, reply: impl Send + 'static) {
    tell(door, move |controller| {
        if until != Until::Idle {
            controller.serve_service_request(ServiceRequest::Announce);
        }
        controller.waiters.push(Box::new(move |controller| {
            let _ = &reply;
            controller.has_come(until)
        }));
    });
}

/// When the shared lane has served every event up to now; `None` if it already has.
pub(crate) fn flush(door: &Door) -> Result<Option<Receiver<()>>, Closed> {
    ask(door, |controller| controller.publisher.flush()).ok_or(Closed)
}

/// Has something told to the service manager.
pub(crate) fn service(door: &Door, request: ServiceRequest) {
    tell(door, move |controller| controller.serve_service_request(request));
}

/// Has the reply sent when nothing more happens before the clock moves; false if nothing ever will,
/// because the supervisor has ended, or this is a child of its process. For manual clocks, like the
/// next three.
pub(crate) fn settle(door: &Door, reply: Sender<Settled>) -> bool {
    !door.is_forked()
        && tell(door, move |controller| {
            controller.waiters.push(Box::new(move |controller| controller.answer_settled(&reply)));
        })
}

/// Has what is due served: a turn serves it before any request.
pub(crate) fn tick(door: &Door) {
    ask(door, |_| ());
}

/// What keeps the supervisor from settling.
pub(crate) fn unsettled(door: &Door) -> Option<Unsettled> {
    ask(door, |controller| controller.unsettled())
}

/// Has this task not waited for when settling.
pub(crate) fn ignore(record: &Arc<Record>) {
    let about = Arc::clone(record);
    tell(&record.door, move |controller| controller.ignore(&about));
}
