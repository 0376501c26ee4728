//! One message of a card against the book: what is to be committed, and what the sender gets.
//!
//! Order of use: [`parse`], then read what [`pages_needed`] and [`needs_open_actions`] name, then [`apply`] for each
//! message of the card in order on the same [`Card`] and [`Pages`], then commit all of it with the [`Effects`]. Nothing is
//! changed by a message that is refused, except the counter of its link, and by one that needs a closer look.

mod answers;
mod asynchronous;
mod backup;
mod comparison;
mod first;
mod receipt;
mod reply;
mod restore_request;
mod tables;
#[cfg(test)]
mod tests;
mod third;
mod transfer;

use std::time::Duration;

pub use asynchronous::Countdown;
pub use backup::refuse_for_now;
use bytes::Bytes;
pub use comparison::{begin_resynchronisation, check_mismatch, decide_held, mismatch_due};
use link::{
    first_octet::{FirstOctet, classify},
    message::{FileResult, Message},
    monitor::MonitorTable,
    reason::{self, Reason},
    third::{FILE_CHECK, FileCheck},
};
pub use receipt::{delivered, is_settled_by_receipt, receipt_pages};
pub use reply::Reply;

use super::{
    AccountState, Bearer, Card, Change, DeviceState, LastMessage, PageKey, Pages, Profile, RecordChange, Source,
};
use crate::{
    asynchronous::Spacing,
    delivery::{Acknowledgement, Action, ActionId, Content, QueueEntry, RetryLadder, State},
    identity::{IdGenerator, Msisdn, Timestamp},
    security::Stamp,
};

/// The centre's rules that have a number in them.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How long a repeat without a reference is recognised (D-110).
    pub duplicate_window: Duration,
    /// Off only to prove that the tests notice.
    pub recognise_duplicates: bool,
    /// Status events that a mismatch is given to heal by itself (D-62, D-124).
    pub grace_status_events: u32,
    /// Least time between two resynchronisations of a device (D-62).
    pub resynchronisation_spacing: Duration,
    /// Resynchronisations of a device in 24 h (D-62).
    pub resynchronisations_per_day: usize,
    /// A resynchronisation that would empty more than this share of the records, and more than
    /// [`Self::hold_records`], is held (D-112).
    pub hold_percent: usize,
    pub hold_records: usize,
    /// What late messages of E3 are given before a mismatch counts (D-61).
    pub third_grace: Duration,
    /// What files of E3 are checked with, as their cards do (S3-SV-05).
    pub third_check: FileCheck,
    /// Between two resynchronisations of an E1 card, which has no checksum to compare (D-129); a day is spread over it.
    /// `None`: never by itself.
    pub first_interval: Option<Duration>,
    /// An E1 card that was silent for so long after a resynchronisation has told all: longer than its scan of 254 entries
    /// and a repeat take.
    pub first_quiet: Duration,
    pub ladder: RetryLadder,
    /// When a card is asked for its next blocks that leaves it to the centre (AS-V1-07).
    pub spacing: Spacing,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            duplicate_window: Duration::from_secs(600),
            recognise_duplicates: true,
            grace_status_events: 72,
            resynchronisation_spacing: Duration::from_secs(600),
            resynchronisations_per_day: 3,
            hold_percent: 25,
            hold_records: 5,
            third_grace: Duration::from_secs(30),
            third_check: FILE_CHECK,
            first_interval: Some(Duration::from_secs(7 * 24 * 3600)),
            first_quiet: Duration::from_secs(30 * 60),
            ladder: RetryLadder::default(),
            spacing: Spacing::default(),
        }
    }
}

/// What every step needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub now: Timestamp,
    pub ids: &'a IdGenerator,
    pub policy: &'a Policy,
}

/// A whole message (reassembled, transport removed).
#[derive(Clone, Debug)]
pub struct Incoming {
    pub octets: Bytes,
    pub bearer: Bearer,
    /// Message reference or IP counter; `None` on SMPP (D-110).
    pub reference: Option<u64>,
    /// The secured packet that it was in, opened; `None`: it came plain.
    pub stamp: Option<Stamp>,
    /// 16 octets, or empty.
    pub trace: Bytes,
}

/// What the first look at a message gives.
#[derive(Clone, Debug)]
pub enum Parsed {
    /// Of the second embodiment.
    Message(Message),
    /// Of the asynchronous mode, which every profile has (D-50).
    Asynchronous(link::asynchronous::Message),
    /// Of a transfer between devices, whatever their profile.
    Transfer(link::transfer::Message),
    First(link::first::Message),
    /// A backup of the first embodiment whose checksum is wrong, with the numbers of its entries as they came (D-24).
    FirstDamaged {
        record_numbers: Vec<u8>,
    },
    Third(link::third::Message),
    /// Of one of the profiles, but not decodable; or of a type that only the centre sends.
    Malformed {
        reason: Reason,
        what: String,
    },
    /// No profile's message (D-02).
    Unsupported {
        first_octet: Option<u8>,
    },
}

/// What is to be committed beside states, pages and moved actions, and what follows the commit.
#[derive(Debug, Default)]
pub struct Effects {
    pub changes: Vec<Change>,
    pub new_actions: Vec<Action>,
    pub notes: Vec<Note>,
    /// Pushed after the commit; losing them only delays.
    pub to_queue: Vec<QueueEntry>,
    /// Cards that are newly marked because their database checksum is another than the centre's (SC-ID-10).
    pub mismatches: u64,
    /// For the log.
    pub countdowns: Vec<Countdown>,
}

/// A message for customer service or the error analysis (SC-ER-01).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub msisdn: Msisdn,
    pub kind: &'static str,
    pub text: String,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Stored,
    Duplicate,
    Refused(Reason),
    /// Nothing is changed yet: read the card's open actions and apply again.
    LookCloser,
}

/// Outcome of a message, and the error message that goes straight to its sender (SC-OC-03).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    pub reply: Option<Reply>,
}

impl Verdict {
    fn stored() -> Self {
        Self { outcome: Outcome::Stored, reply: None }
    }

    fn refused(reason: Reason, reply: Option<Reply>) -> Self {
        Self { outcome: Outcome::Refused(reason), reply }
    }
}

/// Classifies (SC-ID-02) and decodes, with the monitor table that the card is known to have (SC-DB-07).
#[must_use]
pub fn parse(octets: &[u8], monitor: &MonitorTable) -> Parsed {
    let first_octet = octets.first().copied();
    match first_octet.map(classify) {
        None => Parsed::Malformed { reason: Reason::Malformed, what: "the message is empty".to_owned() },
        Some(FirstOctet::SecondEmbodiment(_)) => match Message::decode(octets, monitor) {
            Ok(message) if is_from_card(&message) => Parsed::Message(message),
            Ok(message) => of_the_centre(format!("{:?}", message.message_type())),
            Err(malformed) => Parsed::Malformed { reason: malformed.reason(), what: malformed.to_string() },
        },
        Some(FirstOctet::FirstEmbodiment(_)) => first::parse(octets),
        Some(FirstOctet::ThirdEmbodiment(_)) => third::parse(octets),
        Some(FirstOctet::Asynchronous(_)) => match link::asynchronous::Message::decode(octets) {
            Ok(message) => Parsed::Asynchronous(message),
            Err(malformed) => Parsed::Malformed { reason: malformed.reason(), what: malformed.to_string() },
        },
        Some(FirstOctet::Transfer(_)) => transfer::parse(octets),
        Some(_) => Parsed::Unsupported { first_octet },
    }
}

fn of_the_centre(what: String) -> Parsed {
    Parsed::Malformed { reason: Reason::Unsupported, what: format!("{what} is a message of the centre") }
}

/// The profile that sends messages like this one; `None`: every profile, or nobody (D-02, D-50).
fn profile_of(octets: &[u8]) -> Option<Profile> {
    match classify(*octets.first()?) {
        FirstOctet::FirstEmbodiment(_) => Some(Profile::E1),
        FirstOctet::SecondEmbodiment(_) => Some(Profile::E2),
        FirstOctet::ThirdEmbodiment(_) => Some(Profile::E3),
        _ => None,
    }
}

fn is_from_card(message: &Message) -> bool {
    match message {
        Message::Backup { .. }
        | Message::RestoreAcknowledgement { .. }
        | Message::ConfigurationAcknowledgement { .. }
        | Message::RestoreRequest { .. }
        | Message::Error { .. } => true,
        Message::BackupAcknowledgement { .. }
        | Message::Restore { .. }
        | Message::AddressableRestore { .. }
        | Message::Configuration { .. } => false,
    }
}

/// Whether [`apply`] wants the card's open actions, as far as can be told now; see [`Outcome::LookCloser`].
#[must_use]
pub fn needs_open_actions(parsed: &Parsed, card: &Card) -> bool {
    is_answer(parsed)
        || matches!(parsed, Parsed::Message(Message::RestoreRequest { .. }))
        || matches!(parsed, Parsed::Asynchronous(_) | Parsed::Transfer(_))
        || matches!(parsed, Parsed::Third(link::third::Message::Control { .. }))
        || tables::is_unreadable(parsed, card)
}

fn is_answer(parsed: &Parsed) -> bool {
    matches!(
        parsed,
        Parsed::Message(Message::RestoreAcknowledgement { .. } | Message::ConfigurationAcknowledgement { .. })
    )
}

/// The pages that [`apply`] will look at; those that do not exist are simply not handed in.
pub fn pages_needed(incoming: &Incoming, parsed: &Parsed, card: &Card, keys: &mut Vec<PageKey>) {
    if card.has_actions() {
        tables::pages_needed(incoming, card, keys);
    }
    if let Parsed::Asynchronous(link::asynchronous::Message::Blocks { blocks, .. }) = parsed {
        asynchronous::pages_needed(blocks, &card.view, keys);
    }
    match parsed {
        Parsed::Message(Message::Backup { records, .. }) => {
            backup::pages_needed(records, &card.view, &card.view.state.monitor, keys);
        }
        Parsed::Message(Message::RestoreAcknowledgement { .. }) => answers::pages_needed(card, keys),
        Parsed::Message(Message::RestoreRequest { .. }) => book_pages(&card.view, keys),
        Parsed::Transfer(message) => transfer::pages_needed(message, card, keys),
        Parsed::First(message) => first::pages_needed(message, &card.view, keys),
        Parsed::Third(message) => third::pages_needed(message, &card.view, keys),
        _ => {}
    }
}

/// Every page that the card's monitor table reaches.
pub fn book_pages(view: &super::DeviceView, keys: &mut Vec<PageKey>) {
    for (_, row) in view.state.monitor.rows().filter(|(_, row)| row.is_enabled()) {
        let file = super::FilePath { df: row.df, ef: row.ef };
        let first = row.record_offset.saturating_add(1);
        let last = row.record_offset.saturating_add(row.record_count);
        let pages =
            [first, last].map(|record| PageKey::of(view.device.key, file, record).map_or(0, |(key, _)| key.page));
        keys.extend((pages[0]..=pages[1]).map(|page| PageKey { device: view.device.key, file, page }));
    }
}

/// Applies one message of the card.
pub fn apply(
    incoming: &Incoming,
    parsed: Parsed,
    card: &mut Card,
    pages: &mut Pages,
    context: Context<'_>,
    effects: &mut Effects,
) -> Verdict {
    if card.view.subscriber.state != AccountState::Active {
        let reply = Reply::to(incoming, card, reason::TEMPORARY_FAILURE, Reason::ServiceOff);
        return Verdict::refused(Reason::ServiceOff, reply.map(Reply::once_a_day));
    }
    let hash = hash(&incoming.octets, incoming.stamp.map(Stamp::reference).or(incoming.reference));
    if let Some(used) = used_before(incoming, hash, card, context, effects) {
        return used;
    }
    match repeat(incoming, hash, &card.view.state, context) {
        Repeat::No => {}
        // Blocks and what a transfer says may come twice; the session knows what that means.
        Repeat::Duplicate
            if incoming.bearer == Bearer::Sms && matches!(parsed, Parsed::Asynchronous(_) | Parsed::Transfer(_)) => {}
        // The same answer to another action is no repeat: two restores of one record are acknowledged by equal octets.
        Repeat::Duplicate if incoming.bearer == Bearer::Sms && is_answer(&parsed) && awaits_answer(card) => {}
        Repeat::Duplicate => {
            if incoming.bearer == Bearer::Sms && is_answer(&parsed) {
                answers::take_late(&incoming.octets, card, context);
            }
            return duplicate(incoming, card, context, effects);
        }
        Repeat::OldCounter => return Verdict::refused(Reason::KeyOrCounterRefused, None),
    }
    if is_answer(&parsed) && answers::take_late(&incoming.octets, card, context) {
        counted(incoming, card);
        return Verdict { outcome: Outcome::Duplicate, reply: None };
    }
    if matches!(parsed, Parsed::Asynchronous(_) | Parsed::Transfer(_)) && !card.has_actions() {
        return Verdict { outcome: Outcome::LookCloser, reply: None };
    }
    let parsed = match tables::choose(incoming, parsed, card) {
        tables::Choice::Read(parsed) => parsed,
        tables::Choice::LookCloser => return Verdict { outcome: Outcome::LookCloser, reply: None },
    };
    counted(incoming, card);
    let profile = card.view.device.profile;
    if let Some(other) = profile_of(&incoming.octets).filter(|other| *other != profile) {
        let what = format!("a message of {other:?} from a device of {profile:?}");
        return malformed(incoming, card, Reason::Unsupported, what, effects);
    }
    match parsed {
        Parsed::Malformed { reason, what } => malformed(incoming, card, reason, what, effects),
        Parsed::Unsupported { first_octet } => {
            let what = first_octet.map_or_else(String::new, |octet| format!("first octet {octet:02X}"));
            malformed(incoming, card, Reason::Unsupported, what, effects)
        }
        Parsed::Asynchronous(message) => asynchronous::apply(incoming, message, hash, card, pages, context, effects),
        Parsed::Transfer(message) => transfer::apply(incoming, message, hash, card, pages, context, effects),
        Parsed::FirstDamaged { record_numbers } => first::damaged(incoming, card, &record_numbers, context, effects),
        message @ (Parsed::Message(_) | Parsed::First(_) | Parsed::Third(_)) => {
            accept(incoming, hash, message, card, pages, context, effects)
        }
    }
}

/// The message counts: what it does, and the journal row that records it (D-118).
fn accept(
    incoming: &Incoming,
    hash: u64,
    message: Parsed,
    card: &mut Card,
    pages: &mut Pages,
    context: Context<'_>,
    effects: &mut Effects,
) -> Verdict {
    let mut step = Step { incoming, card, pages, context, effects, records: Vec::new(), source: Source::Backup };
    let mut answer = Bytes::new();
    let mut verdict = Verdict::stored();
    match message {
        Parsed::Message(Message::Backup { records, checksum, refused }) => {
            answer = step.backup(records, checksum, refused);
        }
        Parsed::Message(Message::RestoreAcknowledgement { records }) => step.restore_acknowledgement(&records),
        Parsed::Message(Message::ConfigurationAcknowledgement { records }) => {
            step.configuration_acknowledgement(&records);
        }
        Parsed::Message(Message::RestoreRequest { ranges }) => verdict.reply = step.restore_request(&ranges),
        Parsed::Message(Message::Error { records }) => step.card_error(&records),
        Parsed::First(message) => answer = step.first(message),
        Parsed::Third(message) => (answer, verdict.reply) = step.third(message),
        // `apply` lets nothing else through.
        _ => {}
    }
    let Step { records, source, .. } = step;
    record_message(hash, records, source, answer, card, context, effects);
    verdict
}

/// The journal row of a message that counts, and what is known of the card by it.
fn record_message(
    hash: u64,
    records: Vec<RecordChange>,
    source: Source,
    answer: Bytes,
    card: &mut Card,
    context: Context<'_>,
    effects: &mut Effects,
) {
    let change = Change {
        device: card.view.device.key,
        id: context.ids.next(context.now),
        at: context.now,
        source,
        dedup: hash,
        records,
    };
    effects.changes.push(change);
    card.view.state.last_message = Some(LastMessage { hash, at: context.now, answer });
    card.view.state.last_contact = Some(context.now);
    card.touched = true;
}

/// The parts that the steps of one message share.
struct Step<'a, 'c> {
    incoming: &'a Incoming,
    card: &'a mut Card,
    pages: &'a mut Pages,
    context: Context<'c>,
    effects: &'a mut Effects,
    /// What the message changes in the book.
    records: Vec<RecordChange>,
    source: Source,
}

impl Step<'_, '_> {
    fn note(&mut self, kind: &'static str, text: String) {
        self.effects.notes.push(Note { msisdn: self.card.view.subscriber.msisdn, kind, text });
    }

    fn state(&mut self) -> &mut DeviceState {
        &mut self.card.view.state
    }

    /// D-16: reported by the card, logged for the error analysis (SC-ID-15), never answered (D-115).
    fn card_error(&mut self, records: &[FileResult]) {
        for record in records {
            self.note(
                "card-error",
                format!(
                    "file {:04X}/{:04X} record {}: result {:02X} reason {:02X}",
                    record.df, record.ef, record.record_number, record.result, record.reason
                ),
            );
        }
    }

    /// Queues the ordered action whose turn it is.
    fn queue_head(&mut self) {
        self.effects.to_queue.extend(self.card.head(self.context.now).map(QueueEntry::of));
    }
}

/// A new action of this card, due at once.
fn new_action(card: &Card, content: Content, channel: Bearer, trace: &Bytes, context: Context<'_>) -> Action {
    Action {
        device: card.view.device.key,
        id: ActionId(context.ids.next(context.now)),
        content,
        msisdn: card.view.subscriber.msisdn,
        is_secured: card.view.state.required_security().is_some(),
        channel,
        state: State::Queued,
        attempts: 0,
        created: context.now,
        due: context.now,
        launched: None,
        receipt: None,
        cause: String::new(),
        traces: if trace.is_empty() { Vec::new() } else { vec![trace.clone()] },
    }
}

/// A new action that comes in turn; the card's open actions are read. The batch's later messages see it among them. It has
/// not been launched, so no answer moves it before it is committed.
fn order(action: Action, card: &mut Card, effects: &mut Effects) {
    if card.open.iter().all(|open| !open.state.is_open() || !open.content.is_ordered()) {
        effects.to_queue.push(QueueEntry::of(&action));
    }
    effects.new_actions.push(action.clone());
    card.open.push(action);
}

/// A new backup acknowledgement, committed with the data and queued after it (SC-ID-07). It goes where the message came
/// from: that way is open now.
fn acknowledge(records: Bytes, incoming: &Incoming, card: &Card, context: Context<'_>, effects: &mut Effects) {
    let content = Content::BackupAcknowledgement(Acknowledgement { profile: card.view.device.profile, records });
    let action = new_action(card, content, incoming.bearer, &incoming.trace, context);
    effects.to_queue.push(QueueEntry::of(&action));
    effects.new_actions.push(action);
}

/// A secured packet whose counter was accepted before, or is too old (D-110, D-127): the last one again gets its first
/// answer, as the network repeats what we did not answer in time; any other is a replay.
fn used_before(
    incoming: &Incoming,
    hash: u64,
    card: &mut Card,
    context: Context<'_>,
    effects: &mut Effects,
) -> Option<Verdict> {
    let stamp = incoming.stamp?;
    if card.view.state.security.as_ref().is_some_and(|security| security.is_new(stamp)) {
        return None;
    }
    let last = card.view.state.last_message.as_ref().filter(|last| last.hash == hash);
    Some(match last {
        Some(last) if context.now.since(last.at) <= context.policy.duplicate_window => {
            duplicate(incoming, card, context, effects)
        }
        _ => Verdict::refused(Reason::KeyOrCounterRefused, None),
    })
}

enum Repeat {
    No,
    Duplicate,
    OldCounter,
}

/// D-110: with a counter, one that is not higher; otherwise equality with the last accepted message within the window.
fn repeat(incoming: &Incoming, hash: u64, state: &DeviceState, context: Context<'_>) -> Repeat {
    if !context.policy.recognise_duplicates {
        return Repeat::No;
    }
    let last = state.last_message.as_ref();
    let is_last = last.is_some_and(|last| last.hash == hash);
    match (incoming.bearer, incoming.reference) {
        (Bearer::Ip, Some(counter)) if counter > u64::from(state.uplink_counter) => Repeat::No,
        (Bearer::Ip, Some(_)) if is_last => Repeat::Duplicate,
        (Bearer::Ip, Some(_)) => Repeat::OldCounter,
        _ if is_last && last.is_some_and(|last| context.now.since(last.at) <= context.policy.duplicate_window) => {
            Repeat::Duplicate
        }
        _ => Repeat::No,
    }
}

/// The message uses up its counters: that of its packet, and that of its IP link.
fn counted(incoming: &Incoming, card: &mut Card) {
    if let (Some(stamp), Some(security)) = (incoming.stamp, &mut card.view.state.security) {
        card.touched |= security.accept(stamp);
    }
    if let (Bearer::Ip, Some(counter)) = (incoming.bearer, incoming.reference) {
        card.view.state.uplink_counter = u32::try_from(counter).unwrap_or(u32::MAX);
        card.touched = true;
    }
}

fn awaits_answer(card: &Card) -> bool {
    card.open.iter().any(|action| action.state == State::Sent && action.content.is_ordered())
}

/// The repeat gets the first answer: the card may have lost it.
fn duplicate(incoming: &Incoming, card: &mut Card, context: Context<'_>, effects: &mut Effects) -> Verdict {
    let answer = card.view.state.last_message.as_ref().map(|last| last.answer.clone()).unwrap_or_default();
    if !answer.is_empty() {
        acknowledge(answer, incoming, card, context, effects);
    }
    Verdict { outcome: Outcome::Duplicate, reply: None }
}

fn malformed(incoming: &Incoming, card: &Card, reason: Reason, what: String, effects: &mut Effects) -> Verdict {
    effects.notes.push(Note {
        msisdn: card.view.subscriber.msisdn,
        kind: "refused-message",
        text: format!("reason {:02X}: {what}", reason.code()),
    });
    Verdict::refused(reason, Reply::to(incoming, card, reason::PERMANENT_FAILURE, reason))
}

/// 64-bit FNV-1a of the application data (and the reference, if there is one), mixed at the end; never 0, which means no
/// key.
fn hash(octets: &[u8], reference: Option<u64>) -> u64 {
    let step = |hash: u64, octet: &u8| (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01B3);
    let hash = octets.iter().fold(0xCBF2_9CE4_8422_2325, step);
    let hash = reference.map_or(hash, |reference| reference.to_be_bytes().iter().fold(hash, step));
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (mixed ^ (mixed >> 32)).max(1)
}
