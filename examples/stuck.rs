//! A call that nothing can wake: the attempt outlives its deadline and its grace, is abandoned, and
//! the work goes on beside the thread that is stuck.
//!
//! `cargo run --example stuck` ends after 0.8 s. You see the first attempt of the probe overdue
//! after 0.3 s and abandoned 0.2 s later, each time with what Linux says its thread is doing
//! (blocked in `recvfrom`, without using the CPU); then that the second attempt succeeds; and a
//! report that names the stuck thread. All tasks ended well, so the exit code is 0.

use std::net::UdpSocket;
use std::time::Duration;

use threadvisor::prelude::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn main() -> Result<RunReport, Box<dyn std::error::Error>> {
    let supervisor = Supervisor::builder()
        .max_abandoned(4) // once four attempts are stuck, `Release` acts as `Hold`
        .on_event(|event| println!("{event}"))
        .start()?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    // `shared`, because only a body of this kind can run beside an attempt that never came back.
    let probe = TaskSpec::shared("probe", move |ctx| {
        if ctx.attempt() == 1 {
            // Stands in for a library that offers neither a timeout nor a way to interrupt it.
            ctx.mark("waiting for an answer");
            socket.recv(&mut [0; 16])?;
        }
        println!("probe: attempt {} has its answer", ctx.attempt());
        Ok(())
    })
    .timeout(ms(300))
    .grace(ms(200))
    .abandon_policy(AbandonPolicy::Release)
    .backoff(BackoffPolicy::constant(ms(200)));
    let probe = supervisor.handle().add(probe)?;
    println!("probe: {}", probe.wait()?);
    for stuck in &supervisor.handle().snapshot()?.abandoned {
        println!("still stuck while everything else goes on: {stuck}");
    }

    let report = supervisor.shutdown()?;
    println!("\n{report}");
    // A stuck thread may still use what destructors and `atexit` handlers free. If it runs C code,
    // `std::process::abort` or a call of `_exit` is safer than a return from `main`.
    Ok(report)
}
