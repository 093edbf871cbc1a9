//! What a span shows, and how that looks.

/// What a span shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Task,
    /// A task that failed for good.
    GaveUp,
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
    pub(super) const LOOKS: [Look; 28] = {
        use Shape::{Bar, Diamond, Frame, Hatched, Strip};
        [
            look("task", 0xe9_ed_f2, "grey", Frame),
            trouble(look("task that failed", 0xf9_cf_cf, "bad", Frame)),
            look("queued", 0xc9_b8_e8, "grey", Bar),
            look("waits to start", 0xb3_dc_ea, "grey", Bar),
            look("waits for a permit", 0xf3_d9_8b, "yellow", Bar),
            look("backoff", 0xf4_b6_a6, "olive", Bar),
            look("waits for its next run", 0xe4_e1_d3, "grey", Bar),
            look("paused", 0xc9_a7_7c, "grey", Bar),
            look("holds its slot", 0x77_77_77, "black", Hatched),
            look("is dropped", 0xae_bd_8f, "grey", Bar),
            look("runs", 0x7f_b2_e5, "thread_state_running", Bar),
            look("succeeded", 0x55_a8_68, "good", Bar),
            look("cancelled", 0x98_a3_af, "grey", Bar),
            trouble(look("failed", 0xd9_53_4f, "bad", Bar)),
            trouble(look("panicked", 0x8b_1a_1a, "terrible", Bar)),
            trouble(look("timed out", 0xe8_87_2b, "terrible", Bar)),
            trouble(look("unresponsive", 0x8e_44_ad, "terrible", Bar)),
            trouble(look("abandoned", 0x22_22_22, "black", Bar)),
            look("told to return", 0xff_d5_00, "yellow", Strip),
            trouble(look("abandoned, thread stuck", 0x22_22_22, "black", Hatched)),
            look("starts", 0x8f_d0_c9, "grey", Bar),
            look("is up", 0xbf_e0_c7, "good", Bar),
            look("restarts", 0xef_8f_b0, "bad", Bar),
            look("stops", 0x7a_7f_9a, "grey", Bar),
            look("drain", 0x4f_b0_c6, "grey", Bar),
            look("shutdown", 0x40_60_7a, "grey", Bar),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_colours_of_one_shape_look_alike() {
        for (place, one) in Kind::LOOKS.iter().enumerate() {
            for other in Kind::LOOKS[..place].iter().filter(|other| other.shape == one.shape) {
                let parts = one.colour.to_be_bytes().into_iter().zip(other.colour.to_be_bytes());
                let apart = parts.map(|(one, other)| u32::from(one.abs_diff(other))).sum::<u32>();
                assert!(apart >= 40, "{} and {}", one.label, other.label);
            }
        }
    }
}
