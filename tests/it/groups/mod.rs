//! Groups on real threads, through the public API. The rules themselves are checked without
//! threads, in `src/machine/tests/rules`.

mod admission;
mod order;
mod shown;
mod strategies;
mod waits;

use std::time::Duration;

use threadvisor::prelude::*;

use crate::support::{End, Puppet, Rig, WATCHDOG};

const LONG: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

/// Nobody's grace passes, and a retry follows soon.
fn rig() -> Rig {
    let soon = TaskDefaults::new().backoff(BackoffPolicy::constant(MS));
    Rig::start(Supervisor::builder().grace(WATCHDOG).defaults(soon))
}

/// A line of a driver and two readers, under the strategy that `with` sets. All of them are up.
struct Line {
    group: GroupHandle,
    driver: Puppet,
    readers: [Puppet; 2],
}

impl Line {
    fn up(rig: &Rig, with: impl FnOnce(GroupSpec) -> GroupSpec) -> Self {
        let (spec, driver) = Puppet::new("driver");
        let ((gps, gps_strings), (sms, sms_strings)) = (Puppet::new("gps"), Puppet::new("sms"));
        let group = with(GroupSpec::new("line")).then(spec).then([gps, sms]);
        let group = rig.handle.add_group(group).unwrap();
        let line = Self { group, driver, readers: [gps_strings, sms_strings] };
        assert_eq!(line.driver.started(), 1);
        line.readers.iter().for_each(|reader| assert_eq!(reader.started(), 1));
        assert!(line.group.wait_ready(WATCHDOG).unwrap());
        line
    }

    fn member(&self, place: usize) -> &TaskHandle {
        &self.group.members()[place]
    }

    fn readers_end(&self) {
        self.readers.iter().for_each(|reader| assert!(reader.end(End::Obey)));
    }

    fn readers_start(&self) {
        self.readers.iter().for_each(|reader| assert!(reader.started() > 1));
    }

    /// Stops it, with bodies that obey.
    fn stop(&self) {
        self.group.cancel();
        self.readers_go_back(CancelReason::Stop);
        assert_eq!(self.driver.told(), CancelReason::Stop);
        self.driver.end(End::Obey);
        assert!(self.group.wait().unwrap().iter().all(Outcome::is_cancelled));
    }

    /// Waits until both readers have been told, and lets them return. The driver has not been told.
    fn readers_go_back(&self, reason: CancelReason) {
        for reader in &self.readers {
            assert_eq!(reader.told(), reason);
            assert_eq!(self.member(0).state(), TaskState::Running);
            reader.end(End::Obey);
        }
    }
}
