//! A device's message in a transfer (0xC1 to 0xC6): its session and collection, what it gets as an answer, and the
//! address-book entries of a collection that is stored (NK, D-91 to D-93, D-130). Transfers belong to every profile.
//!
//! What the centre says to a device is one action: the device's next message overwrites it, and silence repeats it.

use std::time::Duration;

use bytes::Bytes;
use link::transfer::Message;

use super::{Context, Effects, Incoming, Outcome, Parsed, Step, Verdict, new_action, of_the_centre, record_message};
use crate::{
    delivery::{Action, Content, QueueEntry, RetryLadder, State, Words},
    phonebook::{Bearer, Card, Page, PageKey, Pages, Source},
    transfer::{
        book::BookRecord,
        desk::{Answer, Caller},
    },
};

/// A device that sends parts of an item is not silent: it is not asked again before so long after the last.
const PART_WITHIN: Duration = Duration::from_secs(30);

pub(super) fn parse(octets: &[u8]) -> Parsed {
    match Message::decode(octets) {
        Ok(message @ (Message::SessionOpen { .. } | Message::ItemRequest { .. })) => {
            of_the_centre(format!("transfer message {:02X}", message.encode().first().copied().unwrap_or_default()))
        }
        Ok(message) => Parsed::Transfer(message),
        Err(malformed) => Parsed::Malformed { reason: malformed.reason(), what: malformed.to_string() },
    }
}

/// Pages of the entries that a message may make a part of the book.
pub(super) fn pages_needed(message: &Message, card: &Card, keys: &mut Vec<PageKey>) {
    let (Message::ItemResult { session, .. }, Some(transfers)) = (message, &card.transfers) else { return };
    let device = card.view.device.key;
    for record in transfers.desk.entries(device.subscriber, *session) {
        keys.extend(PageKey::of(device, record.file, record.record_number).map(|(key, _)| key));
    }
}

pub(super) fn apply(
    incoming: &Incoming,
    message: Message,
    hash: u64,
    card: &mut Card,
    pages: &mut Pages,
    context: Context<'_>,
    effects: &mut Effects,
) -> Verdict {
    let Some(mut transfers) = card.transfers.take() else {
        return Verdict { outcome: Outcome::LookCloser, reply: None };
    };
    // The session goes by the device's channel, whatever the initiation came by (NK-IN-04); what comes by IP shows that
    // this way is open.
    let bearer = if incoming.bearer == Bearer::Ip { Bearer::Ip } else { card.view.channel() };
    let device = card.view.device.key;
    let subscriber_of = |number| transfers.subscribers.get(&number).copied();
    let caller = Caller { device, bearer };
    let mut answer = transfers.desk.receive(caller, message, transfers.new_id, subscriber_of, context.now);
    let records = std::mem::take(&mut answer.book);
    let is_running = transfers.desk.is_running(device);
    card.transfers = Some(transfers);
    let mut step = Step { incoming, card, pages, context, effects, records: Vec::new(), source: Source::Backup };
    step.say(answer, bearer, is_running);
    records.into_iter().for_each(|record| step.entry(record));
    let Step { records, source, .. } = step;
    record_message(hash, records, source, Bytes::new(), card, context, effects);
    Verdict::stored()
}

impl Step<'_, '_> {
    /// What the device's action is from now on.
    fn say(&mut self, answer: Answer, bearer: Bearer, is_running: bool) {
        let now = self.context.now;
        let of_transfer = |action: &&Action| matches!(action.content, Content::Transfer(_)) && action.state.is_open();
        let open = self.card.open.iter().find(of_transfer).cloned();
        let messages: Vec<Bytes> = answer.messages.iter().map(|message| message.encode().into()).collect();
        let mut words = Words { messages, item: answer.item };
        let Some(mut action) = open else {
            if words != Words::default() {
                let action = new_action(
                    self.card,
                    Content::Transfer(Box::new(words)),
                    bearer,
                    &self.incoming.trace,
                    self.context,
                );
                self.effects.to_queue.push(QueueEntry::of(&action));
                self.card.open.push(action.clone());
                self.effects.new_actions.push(action);
            }
            return;
        };
        let Content::Transfer(held) = &mut action.content else { return };
        if words == Words::default() {
            if !is_running {
                action.state = State::Cancelled;
                action.due = now;
                "the session waits for the device".clone_into(&mut action.cause);
            } else if action.state == State::Sent && action.due < now.plus(PART_WITHIN) {
                action.due = now.plus(RetryLadder::TRANSFER.first);
            } else {
                return;
            }
            return self.put(action);
        }
        // A copy of the initiation, or a word about another session: what the device is to answer is said with it.
        if is_running && !words.wants_answer() {
            let held = std::mem::take(held.as_mut());
            for message in held.messages {
                if !words.messages.contains(&message) {
                    words.messages.push(message);
                }
            }
            words.item = held.item;
        }
        action.content = Content::Transfer(Box::new(words));
        action.channel = bearer;
        action.state = State::Queued;
        action.attempts = 0;
        action.due = now;
        action.launched = None;
        action.cause.clear();
        self.effects.to_queue.push(QueueEntry::of(&action));
        self.put(action);
    }

    /// A record of an entry, as the device had it when it was asked to store. Where the card backs up its changes itself,
    /// its own word is newer. What does not fit the book's file is in the collection all the same.
    fn entry(&mut self, BookRecord { file, record_number, octets }: BookRecord) {
        let Some((key, slot)) = PageKey::of(self.card.view.device.key, file, record_number) else { return };
        let is_backed_up = self.card.view.state.monitor.covering(file.df, file.ef, record_number).next().is_some();
        if is_backed_up && self.pages.record(&key, slot).is_some() {
            return;
        }
        let is_of_file = |page: &Page| page.slot_octets == 0 || usize::from(page.slot_octets) == octets.len();
        if !self.pages.get(&key).is_none_or(is_of_file) {
            return;
        }
        if let Err(why) = self.whole_record(file, record_number, octets) {
            self.note("incompatible-data", format!("record {record_number} of a collection is not in the book: {why}"));
        }
    }
}
