//! What the bodies of tasks return, and who gets it.

mod destructors;
mod next_values;
mod types;
mod values;
mod waits;

use threadvisor::prelude::*;
use threadvisor::TaskOutput;

/// A task whose values are the numbers of its attempts, and a shared output.
fn counter(output: &TaskOutput<u64>) -> TaskSpec {
    TaskSpec::new("counter", output.fill(|ctx| Ok(ctx.attempt())))
}
