//! Stands in for the crate's `runtime` where that is not checked: there is nobody to ask.

pub(crate) mod requests {
    use std::any::Any;
    use std::sync::Arc;
    use std::time::Duration;

    use crate::output::error::Closed;
    use crate::output::snapshot::Snapshot;
    use crate::platform::sync::channel::Receiver;
    use crate::task::door::Door;
    use crate::task::envelope::Envelope;
    use crate::task::group::GroupRecord;
    use crate::task::record::Record;
    use crate::task::request::{FoundGroup, Until};
    use crate::vocabulary::group::GroupState;
    use crate::vocabulary::id::{ClassKey, TaskId};
    use crate::vocabulary::reason::{SlotCancelled, TaskState};

    macro_rules! not_asked {
        ($($name:ident($($of:ty),*) $(-> $answer:ty)?;)*) => {
            $(pub(crate) fn $name($(_: $of),*) $(-> $answer)? {
                unreachable!("no check asks the controller")
            })*
        };
    }

    not_asked! {
        cancel(&Arc<Record>);
        wait_began(&Arc<Record>);
        wait_ended(&Arc<Record>);
        skip_wait(&Arc<Record>) -> bool;
        restart(&Arc<Record>) -> bool;
        pause(&Arc<Record>) -> bool;
        resume(&Arc<Record>) -> bool;
        set_interval(&Arc<Record>, Duration) -> bool;
        set_class_limit(&Door, ClassKey, u32);
        state(&Arc<Record>) -> TaskState;
        waits_in_vain(&Arc<Record>, &Arc<Record>, bool) -> bool;
        cancel_slot(&Door, &str) -> SlotCancelled;
        owner(&Door, &str) -> Option<Arc<Record>>;
        task(&Door, TaskId) -> Option<Arc<Record>>;
        snapshot(&Door) -> Result<Snapshot, Closed>;
        group(&Door, &str) -> Option<FoundGroup>;
        group_state(&Door, &Arc<GroupRecord>) -> GroupState;
        cancel_group(&Door, &Arc<GroupRecord>);
        restart_group(&Door, &Arc<GroupRecord>) -> bool;
        wait_until(&Door, Until, impl Send + 'static);
        serve_group(&mut dyn Any, Envelope);
        flush(&Door) -> Result<Option<Receiver<()>>, Closed>;
    }
}
