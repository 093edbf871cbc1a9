//! A picture of what ran when, on which thread, and why it waited.
//!
//! `cargo run --example timeline --features timeline -- [FOLDER]` ends after 1.5 s and writes
//! `timeline.html`, `timeline.svg` and `timeline.json` into the folder (default: the system's for
//! temporary files). The page shows a sensor that fails twice before it works, two syncs of one
//! tenant of which the second waits for the first, three writers of which one at a time may use the
//! flash, a query that is too slow, a group that restarts, and a probe that hangs and is given up.
//! The JSON is for <https://ui.perfetto.dev>.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use threadvisor::prelude::*;
use threadvisor::Timeline;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn sleeper(name: &str, span: Duration) -> TaskSpec {
    TaskSpec::new(name, move |ctx| Ok(ctx.sleep(span)?))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let (timeline, log) = Timeline::new();
    let supervisor = Supervisor::builder()
        .thread_name("demo")
        .class_limit("flash", 1)
        .grace(ms(300))
        .dedicated_subscriber(timeline, 8192)
        .start()?;
    let handle = supervisor.handle();

    let sensor = TaskSpec::new("sensor", |ctx| {
        ctx.sleep(ms(40))?;
        match ctx.attempt() {
            1 | 2 => Err("no such device: /dev/ttyUSB0".into()),
            _ => Ok(()),
        }
    });
    let backoff = BackoffPolicy::exponential(ms(100), ms(400)).jitter(JitterPolicy::None);
    handle.add(sensor.every(ms(200)).retry_early().backoff(backoff))?;

    let hangs = TaskSpec::shared("probe", |ctx| {
        if ctx.attempt() == 1 {
            // Stands in for a library that takes no notice of anything.
            let _ = std::sync::mpsc::channel::<()>().1.recv_timeout(ms(900));
            let (_keeps, never) = std::sync::mpsc::channel::<()>();
            let _ = never.recv_timeout(ms(900));
        }
        Ok(())
    });
    let hangs = hangs.timeout(ms(250)).grace(ms(150)).abandon_policy(AbandonPolicy::Release);
    handle.add(hangs.backoff(BackoffPolicy::constant(ms(200))))?;

    for (name, span) in [("sync orders", 350), ("sync prices", 250)] {
        handle.submit(sleeper(name, ms(span)).slot("tenant-42"), AdmissionPolicy::Queue)?;
    }
    for name in ["write log", "write config", "write image"] {
        handle.add(sleeper(name, ms(180)).class("flash"))?;
    }
    let query = sleeper("slow query", ms(5000)).timeout(ms(300)).max_retries(1);
    handle.add(query.backoff(BackoffPolicy::constant(ms(150))))?;
    handle.add(sleeper("http server", Duration::MAX))?;

    // The reader starts once the driver is ready, and again whenever the driver has failed.
    let driver = TaskSpec::new("driver", |ctx| {
        ctx.sleep(ms(100))?;
        ctx.ready();
        ctx.sleep(if ctx.attempt() == 1 { ms(350) } else { Duration::MAX })?;
        Err("the modem was unplugged".into())
    });
    let driver = driver.ready_within(ms(900)).backoff(BackoffPolicy::constant(ms(150)));
    let reader = sleeper("reader", Duration::MAX);
    handle.add_group(GroupSpec::new("modem").one_for_all().then([driver]).then([reader]))?;
    handle.add(sleeper("the end", ms(1400)).shutdown_on_end())?;

    let report = supervisor.wait_shutdown()?;
    println!("{report}");
    log.write_html(File::create(folder.join("timeline.html"))?)?;
    log.write_svg(File::create(folder.join("timeline.svg"))?)?;
    log.write_chrome(File::create(folder.join("timeline.json"))?)?;
    println!("see {}", folder.join("timeline.html").display());
    Ok(())
}
