//! The crate's runtime, with checks inside.

#[path = "../../../../src/runtime/controller.rs"]
pub(crate) mod controller;
mod device;
#[path = "../../../../src/runtime/finish.rs"]
mod finish;
#[path = "../../../../src/runtime/garbage.rs"]
mod garbage;
#[path = "../../../../src/runtime/lane.rs"]
mod lane;
pub(crate) mod lane_checks;
#[path = "../../../../src/runtime/ledger.rs"]
mod ledger;
#[path = "../../../../src/runtime/perform.rs"]
mod perform;
pub(crate) mod pool_checks;
#[path = "../../../../src/runtime/publish.rs"]
mod publish;
#[path = "../../../../src/runtime/reports.rs"]
mod reports;
#[path = "../../../../src/runtime/signals.rs"]
pub(crate) mod signals;
#[path = "../../../../src/runtime/tables.rs"]
mod tables;
#[path = "../../../../src/runtime/tally.rs"]
pub(crate) mod tally;
#[path = "../../../../src/runtime/view.rs"]
mod view;
#[path = "../../../../src/runtime/worker.rs"]
mod worker;
#[path = "../../../../src/runtime/workers.rs"]
mod workers;

pub(crate) use publish::Subscribers;
use reports::{Report, Returned};
