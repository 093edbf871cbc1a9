//! What a span shows, and how that looks.

/// What a span shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Task,
    Queued,
    Starting,
    Permit,
    Backoff,
    Interval,
    Paused,
    Held,
    Closing,
    Running,
    Succeeded,
    Cancelled,
    Failed,
    Panicked,
    TimedOut,
    Unresponsive,
    Abandoned,
    Told,
    /// The abandoned thread, until it comes back.
    Stuck,
    GroupStarts,
    GroupIsUp,
    GroupRestarts,
    GroupStops,
    Drain,
    Shutdown,
    /// A moment.
    Note,
    Warning,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Frame,
    Bar,
    Hatched,
    Strip,
    Diamond,
}

impl Shape {
    /// Of those in one row, a deeper one lies in one that is less deep.
    pub(super) const fn depth(self) -> u8 {
        match self {
            Self::Frame => 0,
            Self::Bar | Self::Hatched => 1,
            Self::Strip => 2,
            Self::Diamond => 3,
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) label: &'static str,
    pub(super) colour: u32,
    /// One of the names of colours that Chrome knows.
    pub(super) chrome: &'static str,
    pub(super) shape: Shape,
    /// Whether a reader who looks for trouble wants to see it first.
    pub(super) is_trouble: bool,
}

impl Kind {
    /// In the order of the variants.
    pub(super) const LOOKS: [Look; 27] = {
        use Shape::{Bar, Diamond, Frame, Hatched, Strip};
        [
            look("task", 0xe4_e9_f0, "grey", Frame),
            look("queued", 0xc9_b8_e8, "grey", Bar),
            look("waits to start", 0xbc_c7_d6, "grey", Bar),
            look("waits for a permit", 0xf3_d9_8b, "yellow", Bar),
            look("backoff", 0xf4_b6_a6, "olive", Bar),
            look("waits for its next run", 0xd3_db_e6, "grey", Bar),
            look("paused", 0xb9_c0_c9, "grey", Bar),
            look("holds its slot", 0x77_77_77, "black", Hatched),
            look("is dropped", 0xa9_b7_c6, "grey", Bar),
            look("runs", 0x7f_b2_e5, "thread_state_running", Bar),
            look("succeeded", 0x55_a8_68, "good", Bar),
            look("cancelled", 0x98_a3_af, "grey", Bar),
            trouble(look("failed", 0xd9_53_4f, "bad", Bar)),
            trouble(look("panicked", 0x8b_1a_1a, "terrible", Bar)),
            trouble(look("timed out", 0xe8_87_2b, "terrible", Bar)),
            trouble(look("unresponsive", 0x8e_44_ad, "terrible", Bar)),
            trouble(look("abandoned", 0x22_22_22, "black", Bar)),
            look("told to return", 0xf7_e4_63, "yellow", Strip),
            trouble(look("abandoned, thread stuck", 0x22_22_22, "black", Hatched)),
            look("starts", 0xbc_c7_d6, "grey", Bar),
            look("is up", 0xbf_e0_c7, "good", Bar),
            look("restarts", 0xf4_b6_a6, "bad", Bar),
            look("stops", 0x98_a3_af, "grey", Bar),
            look("drain", 0x8f_c1_d4, "grey", Bar),
            look("shutdown", 0x5b_7f_95, "grey", Bar),
            look("event", 0x4a_6f_a5, "grey", Diamond),
            trouble(look("warning", 0xb5_17_9e, "terrible", Diamond)),
        ]
    };

    pub(super) const fn look(self) -> Look {
        Self::LOOKS[self as usize]
    }

    pub(super) const fn is_attempt(self) -> bool {
        self as u8 >= Self::Running as u8 && self as u8 <= Self::Abandoned as u8
    }
}

const fn look(label: &'static str, colour: u32, chrome: &'static str, shape: Shape) -> Look {
    Look { label, colour, chrome, shape, is_trouble: false }
}

const fn trouble(look: Look) -> Look {
    Look { is_trouble: true, ..look }
}

impl Look {
    /// The colour of letters that can be read on its own.
    pub(super) const fn ink(self) -> &'static str {
        let [_, red, green, blue] = self.colour.to_be_bytes();
        let light = red as u32 * 3 + green as u32 * 6 + blue as u32;
        if light < 1300 {
            "#fff"
        } else {
            "#222"
        }
    }
}
