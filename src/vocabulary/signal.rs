//! [`Signal`]: the number of a signal, with the names that systems give it.

use core::fmt;

/// A signal of Unix, as its number on this system. The constants name those that programs send and
/// listen to; [`from_raw`](Self::from_raw) takes any other.
///
/// ```
/// # use threadvisor::Signal;
/// assert_eq!(Signal::TERM.as_raw(), 15);
/// assert_eq!(Signal::from(1), Signal::HUP);
/// assert_eq!(Signal::TERM.to_string(), "SIGTERM");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Signal(i32);

/// The constants, and the names by their numbers.
macro_rules! signals {
    ($($(#[$attribute:meta])* $name:ident = $number:expr, $shown:literal;)+) => {
        impl Signal {
            $(
                $(#[$attribute])*
                #[doc = concat!("The signal `", $shown, "`.")]
                pub const $name: Self = Self($number);
            )+

            const fn name(self) -> Option<&'static str> {
                $(
                    $(#[$attribute])*
                    if self.0 == Self::$name.0 {
                        return Some($shown);
                    }
                )+
                None
            }
        }
    };
}

signals! {
    HUP = 1, "SIGHUP";
    INT = 2, "SIGINT";
    QUIT = 3, "SIGQUIT";
    ILL = 4, "SIGILL";
    TRAP = 5, "SIGTRAP";
    ABRT = 6, "SIGABRT";
    FPE = 8, "SIGFPE";
    KILL = 9, "SIGKILL";
    SEGV = 11, "SIGSEGV";
    PIPE = 13, "SIGPIPE";
    ALRM = 14, "SIGALRM";
    TERM = 15, "SIGTERM";
    BUS = of_family(7, 10, 10), "SIGBUS";
    USR1 = of_family(10, 16, 30), "SIGUSR1";
    USR2 = of_family(12, 17, 31), "SIGUSR2";
    CHLD = of_family(17, 18, 20), "SIGCHLD";
    CONT = of_family(18, 25, 19), "SIGCONT";
    STOP = of_family(19, 23, 17), "SIGSTOP";
    TSTP = of_family(20, 24, 18), "SIGTSTP";
    WINCH = of_family(28, 20, 28), "SIGWINCH";
    #[cfg(any(target_os = "linux", target_os = "android"))]
    PWR = of_family(30, 19, 29), "SIGPWR";
}

/// Of the signals that came late, each family of systems has its own numbers: Linux on most
/// processors, System V, and BSD.
const fn of_family(linux: i32, system_v: i32, bsd: i32) -> i32 {
    let is_linux = cfg!(any(target_os = "linux", target_os = "android"));
    let is_mips = cfg!(any(target_arch = "mips", target_arch = "mips64"))
        || cfg!(any(target_arch = "mips32r6", target_arch = "mips64r6"));
    let is_sparc = cfg!(any(target_arch = "sparc", target_arch = "sparc64"));
    if cfg!(any(target_os = "solaris", target_os = "illumos")) || is_linux && is_mips {
        system_v
    } else if is_linux && !is_sparc {
        linux
    } else {
        bsd
    }
}

impl Signal {
    /// The signal with this number.
    ///
    /// ```
    /// # use threadvisor::Signal;
    /// assert_eq!(Signal::from_raw(15), Signal::TERM);
    /// assert_eq!(Signal::from_raw(15).to_string(), "SIGTERM");
    /// ```
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// Returns its number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

impl From<i32> for Signal {
    fn from(number: i32) -> Self {
        Self::from_raw(number)
    }
}

/// By name; a signal without one is shown as `signal 40`.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}
