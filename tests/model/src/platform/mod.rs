//! The crate's platform with a model checker's: `sync` has its primitives, `clock` the time of an
//! execution, `linger` looks once.

#[path = "../../../../src/platform/bell.rs"]
pub(crate) mod bell;
#[path = "../../../../src/platform/chain.rs"]
pub(crate) mod chain;
pub(crate) mod clock;
pub(crate) mod linger;
#[path = "../../../../src/platform/manual.rs"]
pub(crate) mod manual;
#[path = "../../../../src/platform/model_clock.rs"]
pub(crate) mod model_clock;
#[path = "../../../../src/platform/notify.rs"]
pub(crate) mod notify;
#[path = "../../../../src/platform/stall.rs"]
pub(crate) mod stall;
pub(crate) mod sync;
#[path = "../../../../src/platform/threads.rs"]
pub(crate) mod threads;
#[path = "../../../../src/platform/user_value.rs"]
pub(crate) mod user_value;
#[path = "../../../../src/platform/unwind.rs"]
pub(crate) mod unwind;
#[cfg(unix)]
#[path = "../../../../src/platform/wake_fd.rs"]
pub(crate) mod wake_fd;
