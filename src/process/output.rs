//! What a process writes: it is read as it comes, so that the process never waits for long.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::ioctl_fionbio;

use super::exit::ProcessExit;
use super::lines::Lines;
use crate::output::output_line::OutputStream;

/// The reading end of a pipe, and what came of it.
pub(super) struct Pipe {
    stream: OutputStream,
    /// `None` at the end of the output.
    file: Option<File>,
    lines: Lines,
    last: VecDeque<String>,
    /// What [`Program::output`](crate::Program::output) returns.
    kept: Option<Kept>,
}

/// The beginning of what was written to one stream, and how many bytes came after that.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    pub(super) lost: u64,
}

/// What a process has written; returned from [`Program::output`](crate::Program::output).
///
/// ```
/// # use threadvisor::{Program, TaskContext};
/// # let (ctx, _canceller) = TaskContext::detached();
/// let output = Program::new("sh").args(["-c", "echo 1; echo 2 >&2"]).output(&ctx)?;
/// assert_eq!((output.stdout, output.stderr), (b"1\n".to_vec(), b"2\n".to_vec()));
/// assert_eq!(output.exit.code, Some(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessOutput {
    /// How it ended.
    pub exit: ProcessExit,
    /// What it has written to standard output: the first MiB.
    pub stdout: Vec<u8>,
    /// What it has written to standard error: the first MiB.
    pub stderr: Vec<u8>,
    /// How many bytes of both streams came after these and were discarded.
    pub lost: u64,
}

/// A pipe that no process inherits unless it is given to it. Where the system cannot make it so at
/// once, a process that another thread starts at this moment may get it as well.
pub(super) fn new_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    #[cfg(not(target_vendor = "apple"))]
    let both = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    #[cfg(target_vendor = "apple")]
    let both = {
        let both = rustix::pipe::pipe()?;
        for end in [&both.0, &both.1] {
            rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
        }
        both
    };
    Ok(both)
}

/// Takes each line that is read: its stream, its text, and whether it was cut.
pub(super) type Take<'a> = &'a mut dyn FnMut(OutputStream, &str, bool);

/// How many lines an error tells.
const LAST_LINES: usize = 5;

/// How much of each of them.
const LAST_LINE: usize = 200;

impl Pipe {
    pub(super) fn new(
        stream: OutputStream,
        fd: impl Into<OwnedFd>,
        max_line: usize,
        keeps: bool,
    ) -> io::Result<Self> {
        let fd = fd.into();
        // Only this end: the process blocks as it is used to.
        ioctl_fionbio(&fd, true)?;
        let (file, lines) = (Some(File::from(fd)), Lines::new(max_line));
        Ok(Self { stream, file, lines, last: VecDeque::new(), kept: keeps.then(Kept::default) })
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Reads once. False if nothing was there, as at the end of the output.
    pub(super) fn read(&mut self, buffer: &mut [u8], take: Take<'_>) -> bool {
        let Some(file) = &mut self.file else { return false };
        let read = match file.read(buffer) {
            Ok(read) => read,
            Err(error) if is_for_later(&error) => return false,
            // A pipe has no errors; whatever this is, nothing more comes.
            Err(_) => 0,
        };
        if read == 0 {
            self.end(take);
            return false;
        }
        if let Some(kept) = &mut self.kept {
            let fits = read.min(MAX_KEPT - kept.bytes.len());
            kept.bytes.extend_from_slice(&buffer[..fits]);
            kept.lost += (read - fits) as u64;
        }
        self.lines.feed(&buffer[..read], taker(self.stream, &mut self.last, take));
        true
    }

    /// Nothing more is read. What has begun is the last line.
    pub(super) fn end(&mut self, take: Take<'_>) {
        if self.file.take().is_some() {
            self.lines.end(taker(self.stream, &mut self.last, take));
        }
    }

    pub(super) fn last_lines(&self) -> impl Iterator<Item = &String> {
        self.last.iter()
    }

    pub(super) fn into_kept(self) -> Kept {
        self.kept.unwrap_or_default()
    }
}

fn taker<'a>(
    stream: OutputStream,
    last: &'a mut VecDeque<String>,
    take: Take<'a>,
) -> impl FnMut(&[u8], bool) + 'a {
    move |line, cut| {
        let text = String::from_utf8_lossy(line);
        note_last(last, &text);
        take(stream, &text, cut);
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn note_last(last: &mut VecDeque<String>, text: &str) {
    if text.trim().is_empty() {
        return;
    }
    // Of the oldest line, the memory is used again.
    let oldest = (last.len() == LAST_LINES).then(|| last.pop_front()).flatten();
    let mut line = oldest.unwrap_or_default();
    line.clear();
    line.extend(text.chars().take(LAST_LINE));
    last.push_back(line);
}

/// How much [`Program::output`](crate::Program::output) keeps of each stream.
const MAX_KEPT: usize = 1 << 20;
