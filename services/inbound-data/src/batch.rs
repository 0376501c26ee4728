//! One batch against the store: read, decide in memory, commit once (design section 7, step 3).
//!
//! [`Processor::attempt`] is a pure function of what it reads, so a conflict is simply read and done again.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use domain::{
    delivery::{Action, ActionId, QueueEntry, State},
    identity::{DeviceKey, IdGenerator, Msisdn, Timestamp},
    phonebook::{
        AccountState, Bearer, Card, PageKey, Pages,
        apply::{self, Context, Countdown, Effects, Incoming, Outcome as Decided, Parsed, Policy, Reply},
    },
    security::{Keyring, packet::Refusal},
};
use link::{message::Message, reason::Reason};
use proto::inbound::{Bearer as WireBearer, InboundMessage, Outcome};
use runtime::Clock;
use store::{BillingEvent, InboundCommit, InboundStore, Notice, Part, PartsKey, StoreError};

use crate::{
    envelope::{self, Envelope, Observed, Opening, What},
    item::{Answer, Item, Received},
    metrics::Metrics,
    reassembly::{Added, Assembly, Shape, shape},
    replies::ErrorMessage,
    transfers,
};

/// What all workers share.
pub struct Processor {
    pub store: Arc<dyn InboundStore>,
    pub ids: IdGenerator,
    pub policy: Policy,
    pub clock: Clock,
    pub metrics: Metrics,
    pub parts_age_max: Duration,
    /// Parts of incomplete messages that one number may have waiting.
    pub parts_max: usize,
    pub keyring: Keyring,
    /// What a sender is told to wait when its card's keys cannot be had.
    pub retry_after: Duration,
}

/// What an attempt wants to be written, and what follows when it was.
#[derive(Default)]
pub struct Attempt {
    /// One per item; `None`: done over in the next attempt, for an item before it changed how it is read.
    pub answers: Vec<Option<Answer>>,
    pub commit: InboundCommit,
    pub to_queue: Vec<QueueEntry>,
    pub replies: Vec<ErrorMessage>,
    /// Devices that were silent for a while and are there again (D-128).
    pub awake: Vec<DeviceKey>,
    pub resynchronisations: u64,
    /// Cards newly marked for a checksum that differs (SC-ID-10).
    pub mismatches: u64,
    /// Countdowns of asynchronous backups that began, for the log.
    pub countdowns: Vec<Countdown>,
    /// Kinds of the notices in the commit.
    pub notices: Vec<&'static str>,
    /// Numbers whose error message of the day this attempt uses up.
    pub told: Vec<Msisdn>,
    /// What was seen of secured messages.
    pub observed: Vec<Observed>,
}

/// What is kept over the attempts of a batch.
#[derive(Default)]
pub struct Memory {
    /// Numbers that may get, or were refused, their error message of the day (D-115).
    pub claims: HashMap<Msisdn, bool>,
    /// Numbers whose card's open actions are wanted.
    pub closer: HashSet<Msisdn>,
}

/// Kind of the notice about a number that nobody has (SC-ER-04).
const NO_ACCOUNT: &str = "no-account";
/// A card that sent something within this time is not asked again whether anything waits for it.
const AWAKE_MICROS: i64 = 10_000_000;

/// What the sender of a part is told to wait when its number has too many waiting.
const PARTS_PAUSE: Duration = Duration::from_secs(30);

impl Processor {
    pub fn now(&self) -> Timestamp {
        Timestamp((self.clock)())
    }

    /// Reads and decides.
    pub async fn attempt(&self, items: &[Item], memory: &mut Memory) -> Result<Attempt, StoreError> {
        let now = self.now();
        let mut batch = Batch::new(items, now);
        batch.read_cards(self).await?;
        batch.assemble(self).await?;
        batch.parse(&self.keyring, self.retry_after);
        batch.read_actions(self, memory).await?;
        batch.read_transfers(self).await?;
        batch.read_pages(self).await?;
        batch.decide(Context { now, ids: &self.ids, policy: &self.policy }, memory);
        batch.claim(self, memory).await?;
        Ok(batch.finish(&memory.claims, &self.policy))
    }

    /// Writes.
    pub async fn commit(&self, commit: InboundCommit) -> Result<(), StoreError> {
        let began = Instant::now();
        let done = self.store.commit(commit).await;
        self.metrics.commit_seconds.record(began.elapsed());
        done
    }
}

/// A whole message on its way through the steps.
struct Whole {
    item: usize,
    card: usize,
    incoming: Incoming,
    envelope: Envelope,
    parsed: Option<Parsed>,
    /// Which of the completed long messages it is.
    completion: Option<usize>,
}

struct Batch<'a> {
    items: &'a [Item],
    now: Timestamp,
    cards: Vec<Card>,
    by_number: HashMap<Msisdn, Option<usize>>,
    /// State and due time of the actions as they were read: what guards their overwriting.
    read: HashMap<(DeviceKey, ActionId), (State, Timestamp)>,
    wholes: Vec<Whole>,
    pages: Pages,
    effects: Effects,
    /// Error messages to be claimed first, then sent.
    replies: Vec<(usize, Reply)>,
    unknown: Vec<(Msisdn, usize)>,
    assembly: Assembly,
    /// Long messages that were applied, or refused for good.
    done: HashSet<usize>,
    attempt: Attempt,
}

impl<'a> Batch<'a> {
    fn new(items: &'a [Item], now: Timestamp) -> Self {
        Self {
            items,
            now,
            cards: Vec::new(),
            by_number: HashMap::with_capacity(items.len()),
            read: HashMap::new(),
            wholes: Vec::with_capacity(items.len()),
            pages: Pages::default(),
            effects: Effects::default(),
            replies: Vec::new(),
            unknown: Vec::new(),
            assembly: Assembly::default(),
            done: HashSet::new(),
            attempt: Attempt { answers: vec![None; items.len()], ..Attempt::default() },
        }
    }

    /// Account validation first (SC-AC-01): number, account, device, state.
    async fn read_cards(&mut self, processor: &Processor) -> Result<(), StoreError> {
        let mut numbers = Vec::with_capacity(self.items.len());
        for msisdn in self.items.iter().filter_map(Item::msisdn) {
            if self.by_number.insert(msisdn, None).is_none() {
                numbers.push(msisdn);
            }
        }
        if numbers.is_empty() {
            return Ok(());
        }
        let views = processor.store.devices(&numbers).await?;
        for (msisdn, view) in numbers.into_iter().zip(views) {
            let Some(view) = view else { continue };
            self.by_number.insert(msisdn, Some(self.cards.len()));
            self.cards.push(Card::new(view));
        }
        Ok(())
    }

    fn card_of(&self, msisdn: Option<Msisdn>) -> Option<usize> {
        self.by_number.get(&msisdn?).copied().flatten()
    }

    /// Sorts messages into whole ones, parts that wait, and those that nothing can be done with.
    async fn assemble(&mut self, processor: &Processor) -> Result<(), StoreError> {
        let mut parts: Vec<(usize, usize, Part)> = Vec::new();
        for (at, item) in self.items.iter().enumerate() {
            let Item::Message(received) = item else { continue };
            let card = self.card_of(received.msisdn);
            if self.is_of_another_card(received, card) {
                let refused = Answer { close_link: true, ..Answer::refused(Reason::KeyOrCounterRefused) };
                self.answer(at, refused);
                self.bill(received, None, false);
                continue;
            }
            let Some(card) = card else {
                self.refuse_unknown(at, received);
                continue;
            };
            let Some(msisdn) = received.msisdn else { continue };
            let active = self.cards.get(card).is_some_and(|card| card.view.subscriber.state == AccountState::Active);
            match shape(msisdn, &received.message.user_data_header) {
                Shape::Part { key, sequence, others } if active => {
                    let payload = received.message.payload.clone();
                    let part = Part { key, sequence, user_data_header: others, payload, arrived: self.now };
                    parts.push((at, card, part));
                }
                Shape::Secured(envelope) => {
                    let octets = received.message.payload.clone();
                    self.whole(at, card, received, (octets, envelope), None);
                }
                Shape::Malformed if active => {
                    self.answer(at, Answer::refused(Reason::Malformed));
                    self.bill(received, Some(card), false);
                }
                _ => self.whole(at, card, received, single(received), None),
            }
        }
        if !parts.is_empty() {
            self.assemble_parts(processor, parts).await?;
        }
        // Completed messages were added behind the whole ones; a card's messages go in the order of arrival.
        self.wholes.sort_by_key(|whole| whole.item);
        Ok(())
    }

    async fn assemble_parts(
        &mut self,
        processor: &Processor,
        parts: Vec<(usize, usize, Part)>,
    ) -> Result<(), StoreError> {
        let keys: HashSet<PartsKey> = parts.iter().map(|(_, _, part)| part.key.clone()).collect();
        let stored = processor.store.parts(&keys.into_iter().collect::<Vec<_>>()).await?;
        let age_max = i64::try_from(processor.parts_age_max.as_micros()).unwrap_or(i64::MAX);
        let mut numbers: Vec<Msisdn> = parts.iter().map(|(_, _, part)| part.key.msisdn).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let held = processor.store.parts_held(&numbers).await?;
        let oldest = Timestamp(self.now.0.saturating_sub(age_max));
        self.assembly = Assembly::new(stored, oldest, held, processor.parts_max);
        for (at, card, part) in parts {
            let Some(Item::Message(received)) = self.items.get(at) else { continue };
            match self.assembly.add(part) {
                Added::Whole(assembled) => {
                    let octets = (assembled.octets, assembled.envelope);
                    self.whole(at, card, received, octets, Some(assembled.completion));
                }
                Added::Waits => {
                    self.answer(at, Answer::of(Outcome::Stored));
                    self.bill(received, Some(card), false);
                }
                Added::Full => {
                    processor.metrics.parts_refused.increment(1);
                    self.answer(at, Answer::retry(PARTS_PAUSE));
                }
            }
        }
        Ok(())
    }

    fn whole(
        &mut self,
        item: usize,
        card: usize,
        received: &Received,
        (octets, envelope): (Bytes, Envelope),
        completion: Option<usize>,
    ) {
        let incoming = incoming(&received.message, octets);
        self.wholes.push(Whole { item, card, incoming, envelope, parsed: None, completion });
    }

    /// An IP connection outlives what it was opened for: the card was replaced, the number is another's, the account is
    /// gone. What the edge verified is the device, so a number that leads elsewhere is not its own (D-114, SC-ID-03).
    fn is_of_another_card(&self, received: &Received, card: Option<usize>) -> bool {
        let device = received.message.device_id;
        let open = card.and_then(|card| self.cards.get(card)).map(|card| card.view.device.key.device.0);
        device != 0 && open != Some(device)
    }

    /// SC-AC-01: nothing but a billing event, and once a day an error message and a notice (D-115, SC-ER-04).
    fn refuse_unknown(&mut self, at: usize, received: &Received) {
        self.answer(at, Answer::refused(Reason::UnknownSubscriber));
        self.bill(received, None, false);
        if let Some(msisdn) = received.msisdn {
            self.unknown.push((msisdn, at));
        }
    }

    /// Opens and decodes; what follows an answer that may change the monitor table waits for the next attempt.
    fn parse(&mut self, keyring: &Keyring, retry_after: Duration) {
        let mut changed = HashSet::new();
        let mut transferring = HashSet::new();
        let (cards, now) = (&mut self.cards, self.now);
        let mut awake = Vec::new();
        let mut unread = Vec::new();
        self.wholes.retain_mut(|whole| {
            let Some(card) = cards.get_mut(whole.card) else { return false };
            if changed.contains(&whole.card) {
                return false;
            }
            let Whole { incoming, envelope, .. } = whole;
            match envelope::open(incoming.octets.clone(), *envelope, incoming.bearer, &card.view, keyring) {
                Opening::Read(octets, stamp) => (incoming.octets, incoming.stamp) = (octets, stamp),
                other => {
                    unread.push((whole.item, whole.card, whole.completion, other));
                    return false;
                }
            }
            let state = &card.view.state;
            let parsed = apply::parse(&whole.incoming.octets, &state.monitor);
            if matches!(parsed, Parsed::Message(Message::ConfigurationAcknowledgement { .. })) {
                changed.insert(whole.card);
            }
            if let Parsed::Transfer(message) = &parsed
                && !transfers::may_follow(message, whole.card, &mut transferring, &mut changed)
            {
                return false;
            }
            // What it sends while it is not served is refused, and what waits for it stays.
            let is_served = card.view.subscriber.state == AccountState::Active;
            if is_served && state.last_contact.is_none_or(|at| now.0.saturating_sub(at.0) > AWAKE_MICROS) {
                awake.push(card.view.device.key);
            }
            whole.parsed = Some(parsed);
            true
        });
        awake.dedup();
        self.attempt.awake = awake;
        for (item, card, completion, opening) in unread {
            self.settle_unread(item, card, completion, opening, retry_after);
        }
    }

    /// A message that the domain never sees.
    fn settle_unread(
        &mut self,
        item: usize,
        card: usize,
        completion: Option<usize>,
        opening: Opening,
        retry_after: Duration,
    ) {
        let Some(Item::Message(received)) = self.items.get(item) else { return };
        let (answer, what) = match opening {
            Opening::Refused(refusal) => (Answer::refused(Reason::KeyOrCounterRefused), What::Refused(refusal)),
            Opening::Receipt(status) => (Answer::of(Outcome::Stored), What::Receipt(status)),
            Opening::Later(fault) => (Answer::retry(retry_after), What::NoKeys(fault)),
            Opening::Read(..) => return,
        };
        self.answer(item, answer);
        if answer.outcome != Outcome::Retry {
            self.done.extend(completion);
            self.bill(received, Some(card), false);
        }
        self.observe(received, what);
    }

    fn observe(&mut self, received: &Received, what: What) {
        self.attempt.observed.extend(received.msisdn.map(|msisdn| Observed { msisdn, what }));
    }

    fn checks(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.items.iter().enumerate().filter_map(|(at, item)| match item {
            Item::Check(msisdn) => Some((at, self.card_of(Some(*msisdn))?)),
            Item::Message(_) => None,
        })
    }

    async fn read_actions(&mut self, processor: &Processor, memory: &Memory) -> Result<(), StoreError> {
        let answering = self.wholes.iter().filter(|whole| {
            let Some((parsed, card)) = whole.parsed.as_ref().zip(self.cards.get(whole.card)) else { return false };
            memory.closer.contains(&card.view.subscriber.msisdn) || apply::needs_open_actions(parsed, card)
        });
        let mut cards: Vec<usize> =
            answering.map(|whole| whole.card).chain(self.checks().map(|(_, card)| card)).collect();
        cards.sort_unstable();
        cards.dedup();
        if cards.is_empty() {
            return Ok(());
        }
        let keys: HashMap<DeviceKey, usize> =
            cards.into_iter().filter_map(|card| Some((self.cards.get(card)?.view.device.key, card))).collect();
        let actions = processor.store.open_actions(&keys.keys().copied().collect::<Vec<_>>()).await?;
        let mut of_card: HashMap<usize, Vec<Action>> = keys.values().map(|card| (*card, Vec::new())).collect();
        for action in actions {
            self.read.insert((action.device, action.id), (action.state, action.due));
            if let Some(open) = keys.get(&action.device).and_then(|card| of_card.get_mut(card)) {
                open.push(action);
            }
        }
        for (card, open) in of_card {
            if let Some(card) = self.cards.get_mut(card) {
                card.set_actions(open);
            }
        }
        Ok(())
    }

    /// Sessions and collections that transfers are about.
    async fn read_transfers(&mut self, processor: &Processor) -> Result<(), StoreError> {
        let message = |whole: &Whole| match &whole.parsed {
            Some(Parsed::Transfer(message)) => Some((whole.card, message.clone())),
            _ => None,
        };
        let messages: Vec<_> = self.wholes.iter().filter_map(message).collect();
        if messages.is_empty() {
            return Ok(());
        }
        transfers::read(processor.store.as_ref(), &messages, &mut self.cards).await
    }

    async fn read_pages(&mut self, processor: &Processor) -> Result<(), StoreError> {
        let mut keys: Vec<PageKey> = Vec::with_capacity(self.wholes.len());
        for whole in &self.wholes {
            if let (Some(parsed), Some(card)) = (&whole.parsed, self.cards.get(whole.card)) {
                apply::pages_needed(&whole.incoming, parsed, card, &mut keys);
            }
        }
        for (_, card) in self.checks() {
            if let Some(card) = self.cards.get(card) {
                apply::book_pages(&card.view, &mut keys);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        if !keys.is_empty() {
            self.pages = Pages::new(processor.store.pages(&keys).await?);
        }
        Ok(())
    }

    /// Message after message on the same cards and pages.
    fn decide(&mut self, context: Context<'_>, memory: &mut Memory) {
        let mut waiting = HashSet::new();
        for whole in std::mem::take(&mut self.wholes) {
            let Some(parsed) = whole.parsed else { continue };
            let Some(Item::Message(received)) = self.items.get(whole.item) else { continue };
            let Some(card) = self.cards.get_mut(whole.card).filter(|_| !waiting.contains(&whole.card)) else {
                continue;
            };
            let verdict = apply::apply(&whole.incoming, parsed, card, &mut self.pages, context, &mut self.effects);
            let answer = match verdict.outcome {
                Decided::Stored => Answer::of(Outcome::Stored),
                Decided::Duplicate => Answer::of(Outcome::Duplicate),
                Decided::Refused(reason) => Answer::refused(reason),
                // It, and what the card sent after it, is done in the next attempt.
                Decided::LookCloser => {
                    memory.closer.insert(card.view.subscriber.msisdn);
                    waiting.insert(whole.card);
                    continue;
                }
            };
            self.done.extend(whole.completion);
            if verdict.outcome == Decided::Refused(Reason::KeyOrCounterRefused) && whole.incoming.stamp.is_some() {
                self.observe(received, What::Refused(Refusal::Replayed));
            }
            self.answer(whole.item, answer);
            self.bill(received, Some(whole.card), verdict.outcome == Decided::Duplicate);
            self.replies.extend(verdict.reply.map(|reply| (whole.item, reply)));
        }
        let checks: Vec<_> = self.checks().collect();
        for (at, card) in checks {
            let actions = self.effects.new_actions.len();
            if let Some(card) = self.cards.get_mut(card)
                && !apply::check_mismatch(card, &mut self.pages, context, &mut self.effects)
            {
                // The store took it for due: written again, it has the right time.
                card.touched |= card.view.state.mismatch_since.is_some();
            }
            self.attempt.resynchronisations +=
                u64::try_from(self.effects.new_actions.len() - actions).unwrap_or_default();
            self.answer(at, Answer::of(Outcome::Stored));
        }
        for (at, item) in self.items.iter().enumerate() {
            if matches!(item, Item::Check(_)) {
                self.answer(at, Answer::of(Outcome::Stored));
            }
        }
    }

    /// Error messages that go out once a day and number (D-115): which of them are the first of the day.
    async fn claim(&mut self, processor: &Processor, memory: &mut Memory) -> Result<(), StoreError> {
        let once_a_day = self.replies.iter().filter(|(_, reply)| reply.once_a_day);
        let numbers = once_a_day.filter_map(|(at, _)| self.items.get(*at)?.msisdn());
        let unknown = self.unknown.iter().map(|(msisdn, _)| *msisdn);
        let mut asked: Vec<Msisdn> =
            numbers.chain(unknown).filter(|msisdn| !memory.claims.contains_key(msisdn)).collect();
        asked.sort_unstable();
        asked.dedup();
        if asked.is_empty() {
            return Ok(());
        }
        let claimed = processor.store.claim_error_replies(&asked, self.now).await?;
        for msisdn in asked {
            memory.claims.insert(msisdn, claimed.contains(&msisdn));
        }
        Ok(())
    }

    fn finish(mut self, claims: &HashMap<Msisdn, bool>, policy: &Policy) -> Attempt {
        self.notice_unknown(claims);
        let (new_parts, finished_parts) =
            std::mem::take(&mut self.assembly).into_writes(|completion| self.done.contains(&completion));
        // Two replicas that store a part each must not both find the message incomplete: the second one's version is old.
        for part in &new_parts {
            if let Some(card) = self.card_of(Some(part.key.msisdn)).and_then(|card| self.cards.get_mut(card)) {
                card.touched = true;
            }
        }
        for (at, reply) in std::mem::take(&mut self.replies) {
            let Some(Item::Message(received)) = self.items.get(at) else { continue };
            let Some(msisdn) = received.msisdn else { continue };
            if reply.once_a_day && !self.may_tell(claims, msisdn) {
                continue;
            }
            self.reply(received, msisdn, reply);
        }
        let mut attempt = self.attempt;
        let commit = &mut attempt.commit;
        for card in &mut self.cards {
            let moved = card.take_moved().into_iter();
            commit.transfers.extend(card.take_transfer_writes());
            commit.moved_actions.extend(moved.filter_map(|action| {
                let (state, due) = self.read.get(&(action.device, action.id)).copied()?;
                Some((action, state, due))
            }));
        }
        // One order for all writers, so that two batches never wait for each other crosswise.
        self.cards.retain(|card| card.touched);
        self.cards.sort_unstable_by_key(|card| card.view.device.key);
        commit.mismatch_due = self.cards.iter().filter_map(|card| mismatch_due(card, policy)).collect();
        commit.states = self.cards.into_iter().map(|card| (card.view.device.key, card.view.state)).collect();
        commit.pages = self.pages.into_changed();
        commit.changes = self.effects.changes;
        commit.new_actions = self.effects.new_actions;
        attempt.mismatches = self.effects.mismatches;
        attempt.countdowns = self.effects.countdowns;
        attempt.notices.extend(self.effects.notes.iter().map(|note| note.kind));
        let notes = self.effects.notes.into_iter().map(|note| Notice {
            at: self.now,
            msisdn: Some(note.msisdn),
            kind: note.kind.to_owned(),
            text: note.text,
        });
        commit.notices.extend(notes);
        (commit.new_parts, commit.finished_parts) = (new_parts, finished_parts);
        attempt.to_queue = self.effects.to_queue;
        attempt
    }

    fn notice_unknown(&mut self, claims: &HashMap<Msisdn, bool>) {
        for (msisdn, at) in std::mem::take(&mut self.unknown) {
            if !self.may_tell(claims, msisdn) {
                continue;
            }
            let Some(Item::Message(received)) = self.items.get(at) else { continue };
            if let Some(reply) = Reply::unknown_subscriber(&received.message.payload) {
                self.reply(received, msisdn, reply);
            }
            self.attempt.commit.notices.push(Notice {
                at: self.now,
                msisdn: Some(msisdn),
                kind: NO_ACCOUNT.to_owned(),
                text: "a message of a number without an account".to_owned(),
            });
            self.attempt.notices.push(NO_ACCOUNT);
        }
    }

    /// Uses up the number's error message of the day.
    fn may_tell(&mut self, claims: &HashMap<Msisdn, bool>, msisdn: Msisdn) -> bool {
        let may = claims.get(&msisdn) == Some(&true) && !self.attempt.told.contains(&msisdn);
        if may {
            self.attempt.told.push(msisdn);
        }
        may
    }

    fn reply(&mut self, received: &Received, msisdn: Msisdn, reply: Reply) {
        let card = self.card_of(Some(msisdn)).and_then(|card| self.cards.get(card));
        let error = ErrorMessage {
            msisdn,
            device: card.map(|card| card.view.device.key),
            bearer: bearer(&received.message),
            security: card.and_then(|card| {
                let security = card.view.state.required_security()?;
                Some(Box::new((security.clone(), card.view.device.iccid.clone())))
            }),
            profile: reply.profile,
            octets: reply.octets,
            trace: received.message.trace_id.clone(),
        };
        self.attempt.replies.push(error);
    }

    fn answer(&mut self, at: usize, answer: Answer) {
        if let Some(place) = self.attempt.answers.get_mut(at) {
            *place = Some(answer);
        }
    }

    fn bill(&mut self, received: &Received, card: Option<usize>, duplicate: bool) {
        let card = card.and_then(|card| self.cards.get(card));
        self.attempt.commit.billing.push(billing(received, card, duplicate, self.now));
    }
}

/// When a marked card is to be looked at.
pub fn mismatch_due(card: &Card, policy: &Policy) -> Option<(DeviceKey, Timestamp)> {
    let view = &card.view;
    Some((view.device.key, apply::mismatch_due(&view.device, &view.state, policy)?))
}

/// A message that came in one piece.
fn single(received: &Received) -> (Bytes, Envelope) {
    let payload = &received.message.payload;
    match bearer(&received.message) {
        Bearer::Ip => Envelope::of_ip(payload),
        Bearer::Sms => (payload.clone(), Envelope::Plain),
    }
}

fn bearer(message: &InboundMessage) -> Bearer {
    if message.bearer() == WireBearer::Ip { Bearer::Ip } else { Bearer::Sms }
}

/// A whole message for the domain; `octets`: without transport.
pub fn incoming(message: &InboundMessage, octets: Bytes) -> Incoming {
    let trace = if message.trace_id.len() == 16 { message.trace_id.clone() } else { Bytes::new() };
    Incoming { octets, bearer: bearer(message), reference: message.reference, stamp: None, trace }
}

/// One per signal, accepted or not (D-64, D-124).
pub fn billing(received: &Received, card: Option<&Card>, duplicate: bool, now: Timestamp) -> BillingEvent {
    let message = &received.message;
    let kind = match bearer(message) {
        Bearer::Sms => "sms",
        Bearer::Ip => "ip",
    };
    BillingEvent {
        at: now,
        msisdn: received.msisdn,
        subscriber: card.map(|card| card.view.subscriber.id),
        channel: format!("{kind}/{}", message.link),
        octets: u32::try_from(message.payload.len()).unwrap_or(u32::MAX),
        first_octet: message.payload.first().copied(),
        duplicate,
        account_state: match card.map(|card| card.view.subscriber.state) {
            Some(AccountState::Active) => "active",
            Some(AccountState::Suspended) => "suspended",
            Some(AccountState::ServiceOff) => "service_off",
            None => "unknown",
        },
    }
}
