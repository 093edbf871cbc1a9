//! Shows a supervisor to other programs, over HTTP: what it does now as JSON, and what it has done
//! as counters in the text format of Prometheus. The server is a task of the same supervisor, and
//! each of its clients is one.
//!
//! `cargo run --example http --features serde` asks itself and ends after about 1 s. You see the
//! counters and the snapshot while one task runs, one waits for its retry, and a client that has
//! sent half a request keeps one of the 4 permits for clients. That client is hung up on after 1 s.
//! The exit code is 0.
//!
//! `cargo run --example http --features serde 127.0.0.1:9090` only serves, until it gets SIGTERM or
//! Ctrl-C (feature `signals`). Try `curl 127.0.0.1:9090/metrics` and `/snapshot`.

#![allow(clippy::disallowed_methods, reason = "the clock of the sources has no use outside them")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use threadvisor::prelude::*;

/// What a client may take, from the first byte that is read to the last that is written.
const LIMIT: Duration = Duration::from_secs(1);
/// The longest request.
const MAX_REQUEST: usize = 4096;
/// How many clients are served at the same time. Others wait.
const CLIENTS: usize = 4;

/// Numbers by metric and labels. Clones share them: one goes to the supervisor, one to the server.
/// The labels are those that the crate gives, so there are few of them, whatever the tasks do.
#[derive(Clone, Default)]
struct Counters(Arc<Mutex<BTreeMap<&'static str, BTreeMap<String, f64>>>>);

impl Counters {
    fn add(&self, metric: &'static str, label: &str, value: &str, n: f64) {
        let mut metrics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let series = metrics.entry(metric).or_default();
        *series.entry(format!("{label}=\"{value}\"")).or_default() += n;
    }

    fn render(&self, text: &mut String) {
        for (metric, series) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(text, "# TYPE {metric} counter");
            for (labels, value) in series {
                let _ = writeln!(text, "{metric}{{{labels}}} {value}");
            }
        }
    }
}

impl Subscribe for Counters {
    fn on_event(&mut self, event: &Event) {
        use EventKind as E;
        let label = event.kind.label();
        self.add("threadvisor_events_total", "event", label, 1.0);
        match &event.kind {
            E::AttemptSucceeded { ran, .. } | E::AttemptFailed { ran, .. } => {
                self.add("threadvisor_run_seconds_total", "event", label, ran.as_secs_f64());
            }
            E::TaskEnded { outcome, .. } => {
                self.add("threadvisor_tasks_total", "outcome", outcome.label(), 1.0);
            }
            // A refused submission has this as its last event, and no `TaskEnded`.
            E::Rejected { why } => {
                self.add("threadvisor_rejections_total", "why", why.label(), 1.0);
            }
            _ => {}
        }
    }

    fn name(&self) -> &'static str {
        "counters"
    }
}

/// What is so at this moment. Events may be lost; this is not.
fn render_gauges(snapshot: &Snapshot, text: &mut String) {
    let mut states = BTreeMap::new();
    for task in &snapshot.tasks {
        *states.entry(task.state.label()).or_insert(0) += 1;
    }
    let _ = writeln!(text, "# TYPE threadvisor_tasks gauge");
    for (state, count) in states {
        let _ = writeln!(text, "threadvisor_tasks{{state=\"{state}\"}} {count}");
    }
    for (metric, value) in [
        ("threadvisor_healthy", usize::from(snapshot.is_healthy())),
        ("threadvisor_abandoned", snapshot.abandoned.len()),
        ("threadvisor_worker_threads", snapshot.workers.threads),
    ] {
        let _ = writeln!(text, "# TYPE {metric} gauge\n{metric} {value}");
    }
}

/// Makes a task of each client. The hook wakes `accept`, which no flag can wake; with the feature
/// `poll`, on Unix, `ctx.accept(&listener)?` needs none.
fn accept(ctx: &TaskContext, listener: &TcpListener, counters: &Counters) -> TaskResult {
    let mut address = listener.local_addr()?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into()); // 0.0.0.0 is nothing to connect to
    }
    let _hook = ctx.on_cancel(move || {
        let _ = TcpStream::connect_timeout(&address, Duration::from_millis(50));
    });
    loop {
        let (stream, peer) = listener.accept()?;
        ctx.check()?;
        let counters = counters.clone();
        let client = TaskSpec::once(format!("to {peer}"), move |ctx| {
            // What a client does wrong is no failure of this program.
            if let Err(error) = serve(ctx, &stream, &counters) {
                println!("hung up on {peer}: {error}");
            }
            Ok(())
        });
        // Whoever cannot be served in time is hung up on, so no crowd of them piles up.
        ctx.handle().add(client.no_slot().class("clients").expires_in(LIMIT))?;
    }
}

/// A stream that has to be done in time. Each call of the system could take its time anew from a
/// peer that sends or takes one byte at a time, so each gets only what is left.
struct InTime<'a> {
    stream: &'a TcpStream,
    until: Instant,
}

impl InTime<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.until.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(ErrorKind::TimedOut.into()),
        }
    }

    /// Names it plainly: the system says of a call that it would block.
    fn late(error: io::Error) -> io::Error {
        match error.kind() {
            ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
            _ => error,
        }
    }
}

impl Read for InTime<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(bytes).map_err(Self::late)
    }
}

impl Write for InTime<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes).map_err(Self::late)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn serve(ctx: &TaskContext, stream: &TcpStream, counters: &Counters) -> io::Result<()> {
    let waker = stream.try_clone()?;
    let _hook = ctx.on_cancel(move || {
        let _ = waker.shutdown(Shutdown::Both);
    });
    let mut stream = InTime { stream, until: Instant::now() + LIMIT };
    let path = read_path(&mut stream)?;
    let (status, kind, body) = match path.as_deref() {
        Some("/metrics") => {
            let mut text = String::new();
            counters.render(&mut text);
            render_gauges(&snapshot(ctx)?, &mut text);
            ("200 OK", "text/plain; version=0.0.4", text)
        }
        Some("/snapshot") => {
            ("200 OK", "application/json", serde_json::to_string(&snapshot(ctx)?)?)
        }
        Some(_) => ("404 Not Found", "text/plain", "/metrics or /snapshot\n".to_owned()),
        None => ("400 Bad Request", "text/plain", "only short GET requests\n".to_owned()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

fn snapshot(ctx: &TaskContext) -> io::Result<Snapshot> {
    ctx.handle().snapshot().map_err(io::Error::other)
}

/// The path that a request asks for; `None` if it is not a GET, or is too long.
fn read_path(stream: &mut impl Read) -> io::Result<Option<String>> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut bytes = [0; 1024];
        let size = stream.read(&mut bytes)?;
        if size == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        request.extend_from_slice(&bytes[..size]);
        if request.len() > MAX_REQUEST {
            return Ok(None);
        }
    }
    let request = String::from_utf8_lossy(&request);
    let path = request.strip_prefix("GET ").and_then(|rest| rest.split([' ', '?']).next());
    Ok(path.map(str::to_owned))
}

/// Plays a client.
fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_head, body) = answer.split_once("\r\n\r\n").ok_or(ErrorKind::InvalidData)?;
    Ok(body.to_owned())
}

fn main() -> Result<RunReport, Box<dyn std::error::Error>> {
    let given = std::env::args().nth(1);
    let listener = TcpListener::bind(given.as_deref().unwrap_or("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    println!("listens on {address}");

    let counters = Counters::default();
    let builder =
        Supervisor::builder().subscriber(counters.clone()).class_limit("clients", CLIENTS);
    #[cfg(all(unix, feature = "signals"))]
    let builder = builder.shutdown_on_signals();
    let supervisor = builder.start()?;
    let handle = supervisor.handle();

    // The work that is watched.
    let uptime = TaskSpec::new("uptime", |_| {
        let _ = std::fs::read_to_string("/proc/uptime");
        Ok(())
    });
    handle.add(uptime.repeat_after(Duration::from_millis(100)))?;
    let absent = TaskSpec::new("absent", |_| Ok(std::fs::metadata("/no/such/file").map(drop)?));
    handle.add(absent.backoff(BackoffPolicy::constant(Duration::from_secs(60))))?;
    let resident = handle.add(TaskSpec::new("resident", |ctx| Ok(ctx.sleep(Duration::MAX)?)))?;
    resident.wait_started()?;

    let server = TaskSpec::new("server", move |ctx| accept(ctx, &listener, &counters));
    handle.add(server.restart(RestartPolicy::Always))?;
    if given.is_some() {
        return Ok(supervisor.wait_shutdown()?);
    }

    let mut slow = TcpStream::connect(address)?;
    slow.write_all(b"GET /met")?;
    for path in ["/metrics", "/snapshot"] {
        println!("\n{path}:\n{}", ask(address, path)?.trim_end());
    }
    // The answer to a request that never ends is that the connection does.
    assert_eq!(slow.read(&mut [0])?, 0);
    let report = supervisor.shutdown()?;
    println!("\n{report}");
    Ok(report)
}
