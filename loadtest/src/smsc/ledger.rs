//! Every message and its outcome, and their sums.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use super::Number;

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    MobileOriginated,
    MobileTerminated,
    /// A delivery receipt of the SMSC for the centre.
    Receipt,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Kept: on its way, absent phone, or waiting for its next attempt.
    Stored,
    /// The centre answered `ESME_ROK`, or the phone has it.
    Delivered,
    /// The centre refused it for good.
    Refused,
    Expired,
    /// Lost by injection.
    Lost,
}

/// One message.
#[derive(Debug, Clone)]
pub struct Entry {
    pub direction: Direction,
    /// The phone.
    pub msisdn: Number,
    pub outcome: Outcome,
    /// `deliver_sm` sent, or attempts to reach the phone.
    pub attempts: u32,
    pub taken_at: Instant,
    pub ended_at: Option<Instant>,
}

/// Sums since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages of phones that were taken.
    pub mo_offered: u64,
    pub mo_acked: u64,
    /// Negative answers, temporary ones included.
    pub mo_nacked: u64,
    /// Attempts after the first.
    pub mo_redelivered: u64,
    /// Given up: refused for good.
    pub mo_refused: u64,
    pub mo_expired: u64,
    pub mo_lost: u64,
    /// `submit_sm` accepted.
    pub mt_accepted: u64,
    /// `submit_sm` refused.
    pub mt_refused: u64,
    /// Handed to phones, duplicates by injection included.
    pub mt_delivered: u64,
    pub mt_expired: u64,
    pub mt_lost: u64,
    pub receipts_offered: u64,
    pub receipts_acked: u64,
}

/// The book of the simulator.
#[derive(Debug)]
pub struct Ledger {
    keep: bool,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    counters: Counters,
    entries: Vec<Entry>,
}

impl Ledger {
    pub(super) fn new(keep: bool) -> Self {
        Self { keep, book: Mutex::default() }
    }

    /// The sums.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.with(|book| book.counters)
    }

    /// A copy of all entries, in the order of their arrival; empty unless `keep_ledger`.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.with(|book| book.entries.clone())
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counters)) {
        self.with(|book| change(&mut book.counters));
    }

    /// Opens an entry and gives its number.
    pub(super) fn open(&self, direction: Direction, msisdn: Number, now: Instant) -> usize {
        if !self.keep {
            return usize::MAX;
        }
        self.with(|book| {
            let outcome = Outcome::Stored;
            book.entries.push(Entry { direction, msisdn, outcome, attempts: 0, taken_at: now, ended_at: None });
            book.entries.len() - 1
        })
    }

    /// Ends an entry.
    pub(super) fn end(&self, number: usize, outcome: Outcome, attempts: u32, now: Instant) {
        if self.keep {
            self.with(|book| {
                if let Some(entry) = book.entries.get_mut(number) {
                    entry.outcome = outcome;
                    entry.attempts = attempts;
                    entry.ended_at = Some(now);
                }
            });
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Book) -> T) -> T {
        work(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
