//! Normal or asynchronous: the device's choice by a threshold, and the user's (AS-MD, D-83).

use uicc::proactive::ProactiveCommand;

use super::Place;

/// General result "proactive session terminated by the user" (TS 102 223 8.12); 11, "backward move", is behind it.
pub(super) const SESSION_ENDED_BY_USER: u8 = 0x10;

/// Who chooses between the modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The device, by its threshold (AS-MD-03).
    Automatic,
    /// The user, who is asked (AS-MD-05).
    Ask,
    Normal,
    Asynchronous,
}

impl Choice {
    /// Of a menu item; `None`: it is no backup's.
    pub(crate) fn of_menu(item_id: u8) -> Option<Self> {
        super::MENU_ITEMS.iter().find(|(item, ..)| *item == item_id).map(|(.., choice)| *choice)
    }
}

/// Above it the device chooses the asynchronous mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// Seconds of a normal backup.
    Seconds(u16),
    /// Entries: a volume of data (AS-MD-04).
    Entries(u8),
}

impl Default for Threshold {
    fn default() -> Self {
        Self::Seconds(60)
    }
}

impl Threshold {
    /// Strictly above (D-83).
    #[must_use]
    pub fn is_exceeded(&self, entries: usize) -> bool {
        match self {
            Self::Seconds(seconds) => entries * 300 > usize::from(*seconds) * 255,
            Self::Entries(limit) => entries > usize::from(*limit),
        }
    }
}

/// How long a backup takes in each mode, tenths of seconds (D-83).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimates {
    pub normal_tenths: usize,
    pub asynchronous_tenths: usize,
}

impl Estimates {
    /// Normal: 300 s for 255 entries. Asynchronous: that and the delays between the messages.
    #[must_use]
    pub fn of(entries: usize, blocks_per_message: u8, delay_seconds: u16) -> Self {
        let normal_tenths = (entries * 3000 + 127) / 255;
        let pauses = entries.div_ceil(usize::from(blocks_per_message.max(1))).saturating_sub(1);
        Self { normal_tenths, asynchronous_tenths: normal_tenths + pauses * usize::from(delay_seconds) * 10 }
    }
}

/// What the user is asked first, or second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub(super) is_about_normal: bool,
    estimates: Estimates,
    pub(super) places: Vec<Place>,
    pub(super) is_cut: bool,
}

impl Question {
    /// Normal mode first: it is the default.
    pub(super) fn first(estimates: Estimates, places: Vec<Place>, is_cut: bool) -> (Self, ProactiveCommand) {
        Self { is_about_normal: true, estimates, places, is_cut }.asked()
    }

    /// After a refusal: the other mode, or nothing.
    pub(super) fn next(self) -> Option<(Self, ProactiveCommand)> {
        self.is_about_normal.then(|| Self { is_about_normal: false, ..self }.asked())
    }

    /// DISPLAY TEXT that the user clears: to agree, or by going back (AS-MD-05); with both figures (AS-MD-06).
    fn asked(self) -> (Self, ProactiveCommand) {
        let Estimates { normal_tenths, asynchronous_tenths } = self.estimates;
        let mode = if self.is_about_normal { "Normal" } else { "Asynchronous" };
        let text = format!(
            "Backup of {}: normal {}, asynchronous {}. {mode} now?",
            self.places.len(),
            seconds(normal_tenths),
            seconds(asynchronous_tenths)
        );
        (self, ProactiveCommand::DisplayText { text })
    }
}

fn seconds(tenths: usize) -> String {
    format!("{}.{} s", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers: AS-MD-02, AS-MD-04
    #[test]
    fn the_estimates_are_those_of_the_decision_and_both_thresholds_say_the_same() {
        let example = Estimates::of(10, 3, 120);
        assert_eq!(
            (seconds(example.normal_tenths), seconds(example.asynchronous_tenths)),
            ("11.8 s".into(), "371.8 s".into())
        );
        assert_eq!(Estimates::of(255, 3, 120).normal_tenths, 3000);
        assert_eq!((Estimates::of(51, 3, 120).normal_tenths, Estimates::of(52, 3, 120).normal_tenths), (600, 612));
        for threshold in [Threshold::default(), Threshold::Entries(51)] {
            assert!(!threshold.is_exceeded(51) && threshold.is_exceeded(52), "{threshold:?}");
        }
    }
}
