//! What is fuzzed, apart from the fuzzer: each function takes any bytes at all and panics only if a
//! promise is broken.
//!
//! The machine is compiled into this package once more, because the crate keeps it to itself.
#![allow(
    dead_code,
    unused_imports,
    reason = "of the crate's files, only what the machine needs is used"
)]

extern crate alloc;

mod bytes;
mod cells;
mod closings;
mod history;
mod line;
mod plans;
mod settings;
mod supervisor;

#[path = "../../../src/machine/tests/audit_face.rs"]
mod audit_face;
#[path = "../../../src/machine/tests/cell_model.rs"]
mod cell_model;
#[path = "../../../src/machine/mod.rs"]
mod machine;
#[path = "../../../src/vocabulary/mod.rs"]
mod vocabulary;

pub use history::history;
pub use settings::settings;
pub use supervisor::supervisor;
