//! The crate's runtime, with checks inside: what they check is private to it.

#[path = "../../../../src/runtime/controller/mod.rs"]
mod controller;
mod device;
#[path = "../../../../src/runtime/examiner.rs"]
mod examiner;
#[path = "../../../../src/runtime/groups.rs"]
mod groups;
#[path = "../../../../src/runtime/lane.rs"]
mod lane;
pub(crate) mod lane_checks;
#[path = "../../../../src/runtime/notice.rs"]
mod notice;
#[path = "../../../../src/runtime/pool/mod.rs"]
mod pool;
pub(crate) mod closing_checks;
pub(crate) mod pool_checks;
#[path = "../../../../src/runtime/publish.rs"]
mod publish;
#[path = "../../../../src/runtime/released.rs"]
mod released;
#[path = "../../../../src/runtime/required.rs"]
mod required;
#[path = "../../../../src/runtime/service/mod.rs"]
pub(crate) mod service;
#[path = "../../../../src/runtime/shutdown.rs"]
mod shutdown;
#[path = "../../../../src/runtime/signals/mod.rs"]
pub(crate) mod signals;
#[path = "../../../../src/runtime/start.rs"]
pub(crate) mod start;
#[path = "../../../../src/runtime/tally.rs"]
mod tally;
#[path = "../../../../src/runtime/values.rs"]
mod values;

pub(crate) use controller::{requests, ServiceLink};
pub(crate) use lane::{Listen, Subscriber};
pub(crate) use publish::{Dedicated, Subscribers};
