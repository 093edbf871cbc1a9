//! What a panic in a body does, by how the program was built. With `panic = "abort"`, as its own
//! manifest says: work goes on as always until the panic, which ends the process by SIGABRT. With
//! `CARGO_PROFILE_DEV_PANIC=unwind`: it is a failure like any other, and this ends with 0.

use threadvisor::prelude::*;
use threadvisor::PANIC_ISOLATION;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let supervisor = Supervisor::builder().start()?;
    let fine = supervisor.handle().add(TaskSpec::once("fine", |_| Ok(())))?;
    assert!(fine.wait()?.is_success());
    println!("panics are isolated: {PANIC_ISOLATION}");
    let panics = supervisor.handle().add(TaskSpec::once("panics", |_| panic!("on purpose")))?;
    println!("survived: {}", panics.wait()?);
    if PANIC_ISOLATION {
        return Ok(());
    }
    Err("a panic must not be survived with panic = \"abort\"".into())
}
