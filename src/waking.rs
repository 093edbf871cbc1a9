//! Waking blocked work: which call is woken how, and what to do where nothing helps.
//!
//! A task that is told to return has its token cancelled. A thread that sits in a system call or in
//! a C library does not see that. It has to wait for the token beside what it waits for, or leave a
//! hook that wakes it.
//!
//! # The pattern
//! ```
//! # use std::net::UdpSocket;
//! # use threadvisor::prelude::*;
//! # let socket = UdpSocket::bind("127.0.0.1:0")?;
//! # let supervisor = Supervisor::builder().start()?;
//! let receiver = supervisor.handle().add(TaskSpec::new("receiver", move |ctx| {
//!     let (waker, own) = (socket.try_clone()?, socket.local_addr()?);
//!     let _hook = ctx.on_cancel(move || { let _ = waker.send_to(&[], own); }); // 1. the hook
//!     loop {
//!         let (_size, _sender) = socket.recv_from(&mut [0; 1500])?; // 2. the call
//!         ctx.check()?; // 3. the question what ended it
//!     }
//! }))?;
//! receiver.cancel();
//! assert!(matches!(receiver.wait()?, Outcome::Cancelled { .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! - The hook comes first. One that is hung up after the cancel runs at once, so none is missed; a
//!   cancel between a check and a call without a hook is.
//! - The check comes after the call. A socket that was shut down looks like a peer that hung up.
//! - The guard is dropped before what the hook uses is freed: after that the hook does not run.
//!   Never drop it while holding a lock that the hook takes, for it waits for a hook that runs.
//! - A hook wakes and returns. It does not block, join or log to a slow disk: after 100 ms it is an
//!   event, and other hooks of its attempt wait behind it.
//!
//! # Which call is woken how
//! | what blocks | what wakes it | mind |
//! |---|---|---|
//! | a pause | [`ctx.sleep(d)?`](crate::TaskContext::sleep) in place of `thread::sleep` | |
//! | another task | [`ctx.wait_for(&task)?`](crate::TaskContext::wait_for) | |
//! | a crossbeam channel | `select!` with [`ctx.cancelled()`](crate::TaskContext::cancelled) | when both are ready it picks either: `check` first |
//! | a channel of `std` | a hook that sends a message | it cannot select; dropping the last sender works as well |
//! | a condition variable of yours | a hook that sets a flag and notifies | under the mutex that the waiter holds, or the wake-up is lost |
//! | `read`, `write` of a TCP or Unix stream | a hook that calls `shutdown(Both)` on a `try_clone` | the stream is dead then; connect again |
//! | `TcpListener::accept` | `ctx.accept(&listener)?`, or a hook that connects to it | not to 0.0.0.0 but to loopback; a firewall may object |
//! | `UdpSocket::recv` | `ctx.wait_readable(&socket, None)?`, or a hook that sends it an empty datagram | a connected socket takes none from itself |
//! | a serial line, tty, pipe, CAN, GPIO, inotify, timer or process descriptor | `ctx.wait_readable(&fd, None)?`, or your own `poll` with [`ctx.cancel_fd()`](crate::TaskContext::cancel_fd) | the descriptor must be non-blocking, or the read after the wait can still block |
//! | `connect` | `TcpStream::connect_timeout` with [`ctx.io_timeout(max)`](crate::TaskContext::io_timeout) | looking up the name comes before that, see below |
//! | a call that takes a timeout, and nothing else | a short one from `io_timeout`, in a loop with `check` | wakes up for nothing; each `read` has its own, so a peer that drips defeats it; `std` refuses zero |
//! | a C library whose interrupt is remembered (`curl_multi_wakeup`) | [`ctx.on_cancel`](crate::TaskContext::on_cancel) | |
//! | one whose interrupt is lost unless the call runs (`sqlite3_interrupt`) | [`ctx.on_cancel_every`](crate::TaskContext::on_cancel_every) | `check` between the calls; drop the guard before the handle is closed |
//! | one whose interrupt is only a flag (`pcap_breakloop`) | the same, and something that ends its wait | most have a descriptor to be polled |
//! | the output of a child process | a hook that kills it, or better its process group | whoever inherited the pipe keeps it open |
//!
//! `ctx.accept`, `ctx.wait_readable` and `ctx.wait_writable` need Unix and the feature `io`. A wait
//! for a descriptor costs no wake-ups and leaves the resource as it was, so prefer that where there
//! is one, and a hook where a library hides it.
//!
//! The examples `accept`, `stream`, `udp`, `serial`, `consumer` and `nudge` show one kind each.
//!
//! A condition variable, with the flag where the waiter looks for it:
//! ```
//! # use std::sync::{Arc, Condvar, Mutex};
//! # use threadvisor::prelude::*;
//! # let supervisor = Supervisor::builder().start()?;
//! let waiter = supervisor.handle().add(TaskSpec::new("waiter", |ctx| {
//!     let pair = Arc::new((Mutex::new(false), Condvar::new()));
//!     let own = Arc::clone(&pair);
//!     let wake = move || {
//!         *own.0.lock().unwrap() = true;
//!         own.1.notify_all();
//!     };
//!     let told = ctx.interruptible(wake, || {
//!         let told = pair.0.lock().unwrap();
//!         *pair.1.wait_while(told, |told| !*told).unwrap()
//!     });
//!     assert!(told);
//!     Ok(ctx.check()?)
//! }))?;
//! waiter.cancel();
//! assert!(matches!(waiter.wait()?, Outcome::Cancelled { .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What looks like a way and is none
//! - **Closing the descriptor** from another thread. On Linux the blocked thread stays blocked, and
//!   the next file that anybody opens may get the number.
//! - **Shutting a listener down.** Ends `accept` on Linux, not everywhere else, and `std` does not
//!   offer it.
//! - **A signal to the thread.** One that arrives just before the call is lost, and the standard
//!   library goes on after `EINTR` in `accept`, `connect`, `read_exact`, `write_all`, `io::copy`
//!   and others. For the same reason a [`Cancelled`](crate::Cancelled) that became an `io::Error`
//!   has the kind `Other`, never `Interrupted`.
//! - **`pthread_cancel`.** Takes a thread's stack away without running destructors; undefined
//!   behaviour where Rust code is on it.
//!
//! # What cannot be woken at all
//! - Regular files: `poll` calls them ready, and a read from a dead NFS server or a dying SD card
//!   blocks in the kernel (state `D`), where not even `SIGKILL` reaches it; so do the `ioctl`s of
//!   some drivers.
//! - Looking up names, which `ToSocketAddrs` and `TcpStream::connect("host:80")` do: as long as the
//!   resolver's own timeouts allow.
//! - `flock` and other waits for locks of files; but a try in a loop with `ctx.sleep` can be.
//! - C calls that offer neither descriptor, timeout nor interrupt; and code that computes, unless
//!   it calls `check` now and then.
//!
//! # What to do then
//! Such a thread cannot be ended, only given up. Bound how long it may keep others waiting:
//! - [`timeout`](crate::TaskSpec::timeout) or [`watchdog`](crate::TaskSpec::watchdog) tells the
//!   attempt, and [`grace`](crate::TaskSpec::grace) later it is abandoned: events, ledger and
//!   shutdown report name its thread, its last [`mark`](crate::TaskContext::mark), and on Linux the
//!   system call it is in. A shutdown takes no longer than the grace and the event drain.
//! - With [`AbandonPolicy::Hold`](crate::AbandonPolicy::Hold) its slot stays taken, as is right for
//!   a port that two must not use at once. With `Release` the work goes on, and a task made by
//!   [`from_task`](crate::TaskSpec::from_task) is even retried beside the stuck thread:
//!   [`max_abandoned`](crate::Builder::max_abandoned) says how many threads that may cost.
//! - [`dedicated_thread`](crate::TaskSpec::dedicated_thread) keeps a library's thread-locals away
//!   from other tasks.
//! - Best of all, put such code into a child process, and let a hook kill that: the only cancel
//!   that always works, but for state `D`. Start it in a process group of its own
//!   (`CommandExt::process_group(0)`), so that the signal reaches its helpers, and read both its
//!   pipes, or it blocks on a full one. Leave `PR_SET_PDEATHSIG` alone: it fires when the worker
//!   that started the child is retired.
//! - If threads are stuck when the program ends, leave it without running destructors and `atexit`
//!   handlers that may free what they use.
//!
//! ```
//! # use std::net::UdpSocket;
//! # use std::time::Duration;
//! # use threadvisor::prelude::*;
//! struct Probe(UdpSocket);
//! impl Task for Probe {
//!     fn run(&self, ctx: &TaskContext) -> TaskResult {
//!         if ctx.attempt() == 1 {
//!             self.0.recv(&mut [0; 16])?; // nothing ever comes, and nobody left a hook
//!         }
//!         Ok(())
//!     }
//! }
//! let supervisor = Supervisor::builder().start()?;
//! let probe = TaskSpec::from_task("probe", Probe(UdpSocket::bind("127.0.0.1:0")?))
//!     .timeout(Duration::from_millis(20))
//!     .grace(Duration::from_millis(20))
//!     .abandon_policy(AbandonPolicy::Release)
//!     .backoff(BackoffPolicy::constant(Duration::from_millis(1)));
//! let report = supervisor.run([probe])?;
//! assert_eq!((report.outcomes.completed, report.shutdown.abandoned.len()), (1, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
