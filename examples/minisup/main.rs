//! A tool: a small process supervisor for an embedded box. Programs start in order, are started
//! again when they end, are stopped in the reverse order, and killed if they do not obey.
//!
//! ```text
//! minisup CONFIG                     runs the programs of a file, until it is stopped
//! minisup status                     shows them
//! minisup start|stop|restart NAME    one of them
//! minisup stop                       all, and minisup itself
//! ```
//!
//! The file has a section for each program; everything but `command` has a default:
//!
//! ```toml
//! [web]
//! command = ["nginx", "-g", "daemon off;"]
//! directory = "/srv/web"
//! environment = { LANG = "C" }
//! after = ["cache"]                   # starts when that is ready, stops before it
//! ready = "port 127.0.0.1:80"         # "line TEXT", "notify"
//! restart = "always"                  # "on-failure", "never"
//! backoff = 0.1                       # seconds; doubled for each failure in a row, up to 30
//! stop = { signal = "QUIT", time = 5 }    # after so many seconds it is killed
//! ```
//!
//! All programs are one group, and `after` sorts them into its phases: one starts when all of the
//! phases before its own are ready, and one that is not within 30 s is started anew. systemd
//! (`Type=notify`) is told when all are.
//!
//! The socket, the state and a lock are in the directory `MINISUP_DIR`, by default `/run/minisup`.
//! If minisup is killed, its programs live on, and the next one ends them before it starts its own.
//! With `ready = "line .."`, a program writes through minisup, and fails to write without it.
//!
//! `cargo run --example minisup --features poll,process` needs no file: it runs three programs
//! of its own for about two seconds. You see that `web` starts after `cache` is
//! ready; that `cache` is back after it was killed; that `job` is stopped and started by its name;
//! and that `stop` ends `web` before `cache`. The exit code is 0.

mod config;
mod control;
mod run;
mod state;

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    let directory = env::var_os("MINISUP_DIR").unwrap_or_else(|| "/run/minisup".into());
    tool(&words, Path::new(&directory)).into()
}

pub(crate) fn tool(words: &[String], directory: &Path) -> u8 {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => show(),
        ["status" | "stop"] | ["start" | "stop" | "restart", _] => {
            control::ask(directory, &words.join(" ")).map(|text| {
                let _ = writeln!(io::stdout(), "{text}");
                0
            })
        }
        ["start" | "restart" | "-h" | "--help"] | [_, _, ..] => {
            Err("usage: minisup CONFIG | status | start NAME | stop [NAME] | restart NAME".into())
        }
        [path] => run::run(path, directory),
    };
    done.unwrap_or_else(|error| {
        say(error);
        1
    })
}

/// Tells what is going on, in one call. A full disk or a closed terminal is no reason to end.
fn say(text: impl Display) {
    let _ = io::stderr().write_all(format!("minisup: {text}\n").as_bytes());
}

/// Runs a shell that uses this program.
fn show() -> Result<u8, Failure> {
    let mut shell = Command::new("sh");
    shell.args(["-ec", include_str!("demo.sh")]).env("CONFIG", include_str!("demo.toml"));
    let status = shell.env("MINISUP", env::current_exe()?).status()?;
    Ok(u8::from(!status.success()))
}
