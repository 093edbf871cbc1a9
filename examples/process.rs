//! Programs as tasks: one that fails and is started again, and one that is stopped with its helper.
//!
//! `cargo run --example process --features process` ends after about 0.3 s. You see what the
//! programs write, each line with the name of its task; that `import` succeeds in its third
//! attempt; that `server` is ready once it says so, and ends with its helper when the supervisor
//! shuts down. The exit code is 0.

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::time::Duration;

    use threadvisor::prelude::*;
    use threadvisor::{Program, ReadySign};

    let supervisor = Supervisor::builder()
        .on_output(|line| println!("{line}"))
        .on_event(|event| {
            if event.kind.attempt().is_some() {
                println!("  {event}");
            }
        })
        .start()?;
    let handle = supervisor.handle();

    let server = "(trap 'echo helper ends; exit' TERM; while :; do sleep 0.01; done) & \
                  echo listening; wait";
    let server = Program::new("sh")
        .args(["-c", server])
        .capture()
        .ready_by(ReadySign::Line("listening".into()))
        .stop_timeout(Duration::from_secs(1));
    let server = TaskSpec::process("server", server).ready_within(Duration::from_secs(5));
    let server = handle.add(server.restart(RestartPolicy::Always))?;

    // A body of one's own runs a program, too, and uses what it returns.
    let import = TaskSpec::new("import", |ctx| {
        let script = format!("echo try {0}; test {0} -ge 3 || exit 75", ctx.attempt());
        let output = Program::new("sh").args(["-c", &script]).output(ctx)?;
        ctx.mark(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Ok(())
    });
    let import = import.backoff(BackoffPolicy::constant(Duration::from_millis(10)));
    println!("import: {}", handle.add(import)?.wait()?);

    let report = supervisor.shutdown()?;
    println!("server: {}", server.wait()?);
    println!("{report}");
    assert_eq!(report.exit_code(), 0);
    Ok(())
}

#[cfg(not(unix))]
fn main() {}
