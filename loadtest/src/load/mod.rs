//! The load: thousands of [`LoadCard`]s that back up over the SMSC simulator, one message of a card at a time.
//!
//! A card's message is over when the centre has answered `deliver_sm` *and* its acknowledgement has come back as a short
//! message; only then the card sends its next. One task (`engine`) holds all cards; nothing is spawned per message.
//! Start with [`accounts::create`] and [`Load::start`].

pub mod accounts;
mod engine;
mod report;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::{mpsc, oneshot};

pub use report::{Report, count, millis};

use crate::{
    load_card::LoadCard,
    smsc::{MobileTerminated, SmscHandle},
};

/// Records of one message: with 28 octets each, four fill a short message and never cross a page of 16.
pub const RECORDS_PER_MESSAGE: u8 = 4;
/// The number of the first card.
pub const FIRST_MSISDN: u64 = 491_700_000_000;

/// How many messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// None; what is under way ends.
    Stopped,
    /// As many as keep this many unanswered.
    Saturated { window: usize },
    /// Evenly in time, as long as no more than `window_max` are unanswered.
    Rate { per_second: f64, window_max: usize },
}

/// A card and what it did.
pub struct Worked {
    pub card: LoadCard,
    /// Messages that the centre answered positively, or has not answered.
    pub sent: u32,
    /// What the last message still waits for.
    pub unanswered: bool,
    pub unacknowledged: bool,
}

/// Records of a card's `message`th message, from 0: four that follow one another, round and round.
#[must_use]
pub fn records_of(message: u32, records: u8) -> [u8; RECORDS_PER_MESSAGE as usize] {
    let groups = u32::from(records / RECORDS_PER_MESSAGE).max(1);
    let first = u8::try_from(message % groups).unwrap_or(0) * RECORDS_PER_MESSAGE + 1;
    std::array::from_fn(|at| first.saturating_add(u8::try_from(at).unwrap_or(0)))
}

/// Counts that are read while the load runs.
#[derive(Debug, Default)]
pub struct Counts {
    /// Offered to the SMSC.
    pub offered: AtomicU64,
    /// Answered positively by the centre.
    pub accepted: AtomicU64,
    /// Given up by the SMSC: refused for good, expired.
    pub failed: AtomicU64,
    /// Acknowledgement arrived, whole.
    pub acknowledged: AtomicU64,
    /// Over: accepted and acknowledged.
    pub completed: AtomicU64,
    /// Short messages to the cards.
    pub received: AtomicU64,
    /// Of these, what told a card nothing new: a repeat.
    pub repeats: AtomicU64,
    /// Records that the centre refused in an acknowledgement.
    pub refused_records: AtomicU64,
}

impl Counts {
    /// Offered and not answered.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        let ended = self.accepted.load(Relaxed) + self.failed.load(Relaxed);
        self.offered.load(Relaxed).saturating_sub(ended)
    }

    /// Offered and not over.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let ended = self.completed.load(Relaxed) + self.failed.load(Relaxed);
        self.offered.load(Relaxed).saturating_sub(ended)
    }
}

enum Command {
    Pace(Pace),
    /// The report since the last one.
    Report(oneshot::Sender<Report>),
    /// Ends the engine: its cards.
    End(oneshot::Sender<Vec<Worked>>),
}

/// The running load; dropping it ends it.
pub struct Load {
    commands: mpsc::UnboundedSender<Command>,
    counts: Arc<Counts>,
}

impl Load {
    /// `count` cards from [`FIRST_MSISDN`] on, with `records` records each; paused. `phones` is the SMSC's other end.
    #[must_use]
    pub fn start(smsc: SmscHandle, phones: mpsc::Receiver<MobileTerminated>, count: usize, records: u8) -> Self {
        let (commands, commands_end) = mpsc::unbounded_channel();
        let counts = Arc::new(Counts::default());
        let engine = engine::Engine::new(smsc, count, records, Arc::clone(&counts));
        tokio::spawn(engine.run(phones, commands_end));
        Self { commands, counts }
    }

    pub fn set_pace(&self, pace: Pace) {
        self.command(Command::Pace(pace));
    }

    /// What happened since the last report.
    pub async fn report(&self) -> Report {
        let (sender, report) = oneshot::channel();
        self.command(Command::Report(sender));
        report.await.unwrap_or_default()
    }

    /// Ends the load and gives the cards back.
    pub async fn end(self) -> Vec<Worked> {
        let (sender, cards) = oneshot::channel();
        self.command(Command::End(sender));
        cards.await.unwrap_or_default()
    }

    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    fn command(&self, command: Command) {
        // The engine ends only when it is told to, or with the process.
        drop(self.commands.send(command));
    }
}
