//! Transfer of a collection to the centre and from it, as the phone's user asks for it (D-91).
//!
//! Software of the phone, not of the card: it has the ring tones and settings. [`Phone`] is what there is to transfer,
//! `exchange` the device's side of the messages; [`TransferApp`] is both, with its menu. It is given messages and the time
//! and gives [`TransferOutput`]s. All of it is in memory that keeps its content without power.

mod exchange;
mod phone;

use std::{collections::VecDeque, time::Duration};

use link::{
    configuration::Bearer,
    reason::Reason,
    transfer::{Message, Wish, parts::Item},
};

use crate::Station;
use exchange::{Ended, Exchange, Step};
pub use phone::Phone;

/// What the phone does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferOutput {
    /// Application data to the centre, over the bearer that the phone was last given.
    Send(Vec<u8>),
    /// Text for the user.
    Display(String),
}

/// A transfer runs already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a transfer is under way: one at a time")]
pub struct TransferRuns;

/// The phone's transfer software.
#[derive(Clone, Debug)]
pub struct TransferApp {
    pub phone: Phone,
    /// Where messages go: what the network offers now.
    pub bearer: Bearer,
    /// Of the last initiation.
    transaction: u16,
    exchange: Option<Exchange>,
    outputs: VecDeque<TransferOutput>,
}

impl TransferApp {
    #[must_use]
    pub fn new(phone: Phone, bearer: Bearer) -> Self {
        Self { phone, bearer, transaction: 0, exchange: None, outputs: VecDeque::new() }
    }

    /// The user's menu: store or fetch, data or settings or both, move or copy, and the collection's name.
    ///
    /// # Errors
    /// [`TransferRuns`].
    pub fn select(&mut self, station: &mut Station, wish: Wish, name: &str, now: Duration) -> Result<(), TransferRuns> {
        if self.exchange.is_some() {
            return Err(TransferRuns);
        }
        // What is stored is what there is now: edits until the end do not tear it.
        let items = if wish.fetch { Vec::new() } else { self.phone.collect(station, wish) };
        self.transaction = self.transaction.wrapping_add(1);
        let exchange = Exchange::new(self.transaction, wish, name.to_owned(), items, now);
        self.outputs.push_back(TransferOutput::Send(exchange.initiation().encode()));
        self.exchange = Some(exchange);
        Ok(())
    }

    /// The user gives up.
    pub fn cancel(&mut self) {
        let Some(exchange) = self.exchange.take() else { return };
        if let Some(message) = exchange.end_message() {
            self.outputs.push_back(TransferOutput::Send(message.encode()));
        }
        self.outputs.push_back(TransferOutput::Display(format!("{}: given up", exchange.name)));
    }

    /// Application data that begins with C0 to C7. What is malformed or of no session of this phone is ignored.
    pub fn receive(&mut self, station: &mut Station, octets: &[u8], now: Duration) {
        let (Ok(message), Some(exchange)) = (Message::decode(octets), &mut self.exchange) else { return };
        let phone = &mut self.phone;
        let steps = exchange.handle(message, self.bearer, now, |item| phone.apply(station, item));
        self.perform(station, steps);
    }

    /// Time has come to [`Self::next_call`].
    pub fn tick(&mut self, station: &mut Station, now: Duration) {
        let Some(exchange) = &mut self.exchange else { return };
        let steps = exchange.tick(self.bearer, now);
        self.perform(station, steps);
    }

    /// The phone is switched on after it was off: what it had not sent is gone, and a transfer goes on where it was.
    pub fn power_on(&mut self, now: Duration) {
        self.outputs.clear();
        if let Some(exchange) = &mut self.exchange {
            self.outputs.push_back(TransferOutput::Send(exchange.resume(now).encode()));
        }
    }

    /// When [`Self::tick`] has something to do.
    #[must_use]
    pub fn next_call(&self) -> Option<Duration> {
        self.exchange.as_ref().map(|exchange| exchange.next_try())
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<TransferOutput> {
        self.outputs.pop_front()
    }

    fn perform(&mut self, station: &mut Station, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Send(message) => self.outputs.push_back(TransferOutput::Send(message.encode())),
                Step::WaitForIp => {
                    let name = self.exchange.as_ref().map_or("", |exchange| exchange.name.as_str());
                    let text = format!("{name}: an item is too large for SMS, it waits for IP");
                    self.outputs.push_back(TransferOutput::Display(text));
                }
                Step::End(ended) => {
                    let Some(exchange) = self.exchange.take() else { return };
                    if ended == Ended::Done && exchange.wish.moves && !exchange.wish.fetch {
                        self.phone.delete(station, exchange.items());
                    }
                    self.outputs.push_back(TransferOutput::Display(result_text(&exchange, &ended)));
                }
            }
        }
    }
}

/// What the user reads at the end (NK-EN-01, NK-CV-01).
fn result_text(exchange: &Exchange, ended: &Ended) -> String {
    let (name, count) = (&exchange.name, exchange.count_done());
    let mut text = match ended {
        Ended::Done if exchange.wish.fetch => format!("{name}: fetched, {count} items"),
        Ended::Done => format!("{name}: stored, {count} items"),
        Ended::Failed(reason) if exchange.wish.fetch && count > 0 => {
            format!("{name}: fetched in part, {count} items{}", because(*reason))
        }
        Ended::Failed(reason) => format!("{name}: failed{}", because(*reason)),
    };
    for (label, keys) in [("not known to this phone", &exchange.unknown), ("not applied", &exchange.failed)] {
        if !keys.shown.is_empty() {
            text.push_str(&format!("; {label}: {}", keys.shown.join(", ")));
        }
        if keys.more > 0 {
            text.push_str(&format!(" and {} more", keys.more));
        }
    }
    text
}

fn because(reason: Option<Reason>) -> &'static str {
    match reason {
        None => "",
        Some(Reason::UnknownFile) => ", there is no such collection",
        Some(Reason::AccessDenied) => ", it is not yours",
        Some(Reason::MemoryFault) => ", there is no room",
        Some(Reason::BadDataLengthOrOffset) => ", an item is too large",
        Some(Reason::RecordOutOfRange) => ", there is nothing in it",
        Some(_) => ", the centre refused it",
    }
}

/// A key as a person reads it: text, or the place of a card's record.
fn shown_key(item: &Item) -> String {
    match std::str::from_utf8(&item.key) {
        Ok(key) if !key.chars().any(char::is_control) => key.to_owned(),
        _ => format!("entry {}", item.key.last().copied().unwrap_or_default()),
    }
}
