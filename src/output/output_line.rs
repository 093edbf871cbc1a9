//! A line that a child process has written.

use std::fmt;

use crate::vocabulary::escaped::Escaped;
use crate::vocabulary::id::TaskRef;

/// Which of its two outputs a process has written to.
///
/// ```
/// use threadvisor::{prelude::*, OutputStream, Program};
/// let (ctx, _canceller) = TaskContext::detached();
/// let (say, said) = std::sync::mpsc::channel();
/// Program::new("sh")
///     .args(["-c", "echo no modem >&2"])
///     .on_line(move |_, line| { let _ = say.send((line.stream, line.text.to_owned())); })
///     .run(&ctx)?;
/// assert_eq!(said.recv()?, (OutputStream::Stderr, "no modem".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Standard output; with [`merge_stderr`](crate::Program::merge_stderr) also standard error.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line that a process has written. It is displayed as `name: text`, escaped.
///
/// ```
/// use threadvisor::{prelude::*, Program};
/// let (say, said) = std::sync::mpsc::channel();
/// let supervisor = Supervisor::builder()
///     .on_output(move |line| { let _ = say.send(line.to_string()); })
///     .start()?;
/// let hello = TaskSpec::process("hello", Program::new("echo").arg("good day").capture());
/// assert!(supervisor.handle().add(hello)?.wait()?.is_success());
/// assert_eq!(said.recv()?, "hello: good day");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OutputLine<'a> {
    /// The task whose body runs the process.
    pub task: &'a TaskRef,
    /// The number of the attempt.
    pub attempt: u64,
    /// The stream that the process has written it to.
    pub stream: OutputStream,
    /// The text without its end, which is `\n`, `\r\n`, `\r` or the end of the output. Bytes that
    /// are not UTF-8 are replaced.
    pub text: &'a str,
    /// Whether the line was longer than [`max_line`](crate::Program::max_line), and goes on in the
    /// next one.
    pub cut: bool,
    /// How many lines of all processes were lost before this one, because
    /// [`on_output`](crate::SupervisorBuilder::on_output) was too slow. Always 0 in
    /// [`on_line`](crate::Program::on_line).
    pub lost: u64,
}

impl fmt::Display for OutputLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Escaped(&self.task.name), Escaped(self.text))
    }
}
