//! The centre with one subscriber and a card by the book, and what becomes of each type of message between them.

mod asynchronous;
mod backups;
mod configurations;
mod equality;
mod first;
mod messages;
mod restores;
mod resynchronisation;
mod strange_answers;
mod third;
mod transfer;

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use link::{
    backup,
    checksum::crc16,
    checksum_table::ChecksumTable,
    message::{FileResult, Message, Record},
    monitor::{MonitorRow, MonitorTable},
    reason::Reason,
};
use proptest::prelude::*;

use super::*;
use crate::{
    delivery::{ConfigurationItem, Progress, RestoreRecord, build},
    identity::{DeviceId, DeviceKey, SubscriberId},
    phonebook::{Device, DeviceView, EF_ADN, FilePath, LateAnswers, Page, Subscriber, Transfers, history, restore},
};

const KEY: DeviceKey = DeviceKey { subscriber: SubscriberId(1), device: DeviceId(2) };
const START: Timestamp = Timestamp(1_750_000_000_000_000);

fn adn(name: &str) -> Bytes {
    let mut octets = name.as_bytes().to_vec();
    octets.resize(14, 0xFF);
    octets.extend([5, 0x81, 0x20, 0x80, 0x91, 0x99]);
    octets.resize(28, 0xFF);
    octets.into()
}

fn row(record_offset: u8, record_count: u8, data_offset: u16, data_octets: u8) -> MonitorRow {
    MonitorRow { df: 0x7F10, ef: 0x6F3A, record_offset, record_count, data_offset, data_octets }
}

/// The centre with one subscriber: what the store would keep, and everything that a commit ever said.
struct Centre {
    card: Card,
    pages: HashMap<PageKey, Page>,
    journal: Vec<Change>,
    notes: Vec<Note>,
    acknowledgements: Vec<Bytes>,
    queued: Vec<QueueEntry>,
    policy: Policy,
    ids: IdGenerator,
    now: Timestamp,
}

impl Centre {
    fn new(rows: Vec<MonitorRow>) -> Self {
        let subscriber = Subscriber {
            id: KEY.subscriber,
            tenant: "default".to_owned(),
            msisdn: Msisdn::parse("447700900001").unwrap(),
            name: String::new(),
            state: AccountState::Active,
        };
        let device = Device {
            key: KEY,
            iccid: "8944000000000000001".to_owned(),
            profile: Profile::E2,
            bearer: Bearer::Sms,
            ip_key: None,
            opened: START,
            closed: None,
        };
        let state = DeviceState { monitor: MonitorTable::new(rows), ..DeviceState::default() };
        Self {
            card: Card::new(DeviceView { subscriber, device, state }),
            pages: HashMap::new(),
            journal: Vec::new(),
            notes: Vec::new(),
            acknowledgements: Vec::new(),
            queued: Vec::new(),
            policy: Policy::default(),
            ids: IdGenerator::new(1),
            now: START,
        }
    }

    fn adn() -> Self {
        Self::new(vec![row(0, 100, 0, 28)])
    }

    /// A card without a monitor table: EF_ADN, 100 entries of 28 octets.
    fn of(profile: Profile) -> Self {
        let mut centre = Self::adn();
        centre.card.view.device.profile = profile;
        centre
    }

    /// The network says that the last message of the head arrived.
    fn receipt(&mut self) {
        self.pass(1);
        let open = self.card.open.clone();
        let id = open.first().expect("an open action").id;
        self.card = Card::new(self.card.view.clone());
        self.card.set_actions(open);
        let mut keys = Vec::new();
        receipt_pages(&self.card, &mut keys);
        let at = self.now;
        self.step(keys, |card, pages, context, effects| delivered(card, pages, id, at, context, effects));
    }

    /// Customer service asks for a restore of this book.
    fn restore(&mut self, book: &restore::Book, selection: &restore::Selection) {
        let records = plan(self, book, &self.book(), selection);
        let profile = self.card.view.device.profile;
        let content =
            restore::content(profile, &self.book(), restore::for_profile(profile, records), self.policy.third_check);
        let context = Context { now: self.now, ids: &self.ids, policy: &self.policy };
        let action = new_action(&self.card, content, Bearer::Sms, &Bytes::new(), context);
        self.card.open.push(action);
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    fn receive(&mut self, octets: &[u8]) -> Verdict {
        self.receive_on(octets, Bearer::Sms, None)
    }

    fn receive_on(&mut self, octets: &[u8], bearer: Bearer, reference: Option<u64>) -> Verdict {
        self.pass(1);
        let incoming =
            Incoming { octets: Bytes::copy_from_slice(octets), bearer, reference, stamp: None, trace: Bytes::new() };
        // As the service does: the actions are read only when the domain asks for them.
        let open = std::mem::take(&mut self.card.open);
        let mut parsed = parse(octets, &self.card.view.state.monitor);
        self.card = Card::new(self.card.view.clone());
        // No session is known, nothing is stored.
        self.card.set_transfers(Transfers::default());
        let mut read = needs_open_actions(&parsed, &self.card);
        loop {
            if read {
                self.card.set_actions(open.clone());
            }
            let mut keys = Vec::new();
            pages_needed(&incoming, &parsed, &self.card, &mut keys);
            let verdict = self
                .step(keys, |card, pages, context, effects| apply(&incoming, parsed, card, pages, context, effects));
            if verdict.outcome != Outcome::LookCloser {
                if !read {
                    self.card.open.splice(0..0, open);
                }
                return verdict;
            }
            assert!(!read, "asked twice");
            read = true;
            parsed = parse(octets, &self.card.view.state.monitor);
        }
    }

    fn sweep(&mut self) -> bool {
        let mut keys = Vec::new();
        book_pages(&self.card.view, &mut keys);
        self.step(keys, check_mismatch)
    }

    fn step<T>(
        &mut self,
        keys: Vec<PageKey>,
        act: impl FnOnce(&mut Card, &mut Pages, Context<'_>, &mut Effects) -> T,
    ) -> T {
        let read = keys.iter().filter_map(|key| Some((*key, self.pages.get(key)?.clone()))).collect();
        let mut pages = Pages::new(read);
        let mut effects = Effects::default();
        let context = Context { now: self.now, ids: &self.ids, policy: &self.policy };
        let done = act(&mut self.card, &mut pages, context, &mut effects);
        for (key, page) in pages.into_changed() {
            // As the store keeps it.
            self.pages.insert(key, Page::from_octets(page.to_octets()).unwrap());
        }
        let state = &self.card.view.state;
        assert_eq!(
            DeviceState::from_octets(state.to_octets(), state.version, state.downlink_counter).as_ref(),
            Ok(state)
        );
        self.journal.extend(effects.changes);
        self.notes.extend(effects.notes);
        self.queued.extend(effects.to_queue);
        for action in effects.new_actions {
            assert_eq!(Content::from_octets(action.content.to_octets()).as_ref(), Ok(&action.content));
            match &action.content {
                Content::BackupAcknowledgement(Acknowledgement { profile, records }) => {
                    assert_eq!(*profile, self.card.view.device.profile);
                    self.acknowledgements.push(records.clone());
                }
                _ => assert!(self.card.open.contains(&action), "the next message of the batch would not see it"),
            }
        }
        self.card.take_moved();
        self.card.open.retain(|action| action.state.is_open());
        done
    }

    /// As the outbound side launches: the next message of the head.
    fn launch(&mut self) -> Vec<u8> {
        let profile = self.card.view.device.profile;
        let action = self.card.open.first_mut().expect("an open action");
        let message = build::next_message(&mut action.content, profile, 140).expect("something to send");
        self.policy.ladder.launched(action, None, self.now);
        message
    }

    fn book(&self) -> restore::Book {
        restore::book(&self.pages.iter().map(|(key, page)| (*key, page.clone())).collect::<Vec<_>>())
    }

    fn record(&self, number: u8) -> Option<Bytes> {
        self.book().get(&(EF_ADN, number)).cloned()
    }

    fn newest_first(&self) -> Vec<Change> {
        self.journal.iter().rev().cloned().collect()
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.notes.iter().map(|note| note.kind).collect()
    }
}

/// A card by the book: records, checksum table, messages.
#[derive(Clone, Default)]
struct ModelCard {
    rows: Vec<MonitorRow>,
    records: HashMap<u8, Bytes>,
    table: ChecksumTable,
}

impl ModelCard {
    fn new(rows: Vec<MonitorRow>) -> Self {
        Self { rows, ..Self::default() }
    }

    fn adn() -> Self {
        Self::new(vec![row(0, 100, 0, 28)])
    }

    /// Puts a record into the file and says which monitored parts changed.
    fn edit(&mut self, number: u8, octets: &Bytes) -> Vec<Record> {
        self.records.insert(number, octets.clone());
        let mut changed = Vec::new();
        for (index, row) in (0..).zip(self.rows.clone()).filter(|(_, row)| row.covers(number)) {
            let start = usize::from(row.data_offset);
            let data = octets.slice(start..start + usize::from(row.data_octets));
            let before = self.table.get(index, number);
            let empty = data.iter().all(|octet| *octet == 0xFF);
            let after = if empty {
                self.table.remove(index, number);
                None
            } else {
                self.table.set(index, number, crc16(&data));
                Some(crc16(&data))
            };
            if before != after {
                changed.push(Record { monitor_index: index, record_number: number, data });
            }
        }
        changed
    }

    fn message(&self, records: &[Record]) -> Vec<u8> {
        let mut builder = backup::Builder::new(140);
        for record in records {
            builder.push(record).unwrap();
        }
        builder.finish(self.table.database_checksum())
    }

    fn backup(&mut self, number: u8, octets: &Bytes) -> Vec<u8> {
        let records = self.edit(number, octets);
        self.message(&records)
    }

    /// CID 0x09 FF and 0x0A FF: a message per record.
    fn resynchronise(&mut self) -> Vec<Vec<u8>> {
        self.table.clear(None);
        let mut records: Vec<_> = self.records.clone().into_iter().collect();
        records.sort();
        let changed: Vec<_> =
            records.iter().map(|(number, octets)| (self.edit(*number, octets), self.clone())).collect();
        changed
            .into_iter()
            .filter(|(records, _)| !records.is_empty())
            .map(|(records, card)| card.message(&records))
            .collect()
    }
}

fn empty() -> Bytes {
    vec![0xFF; 28].into()
}

fn plan(
    centre: &Centre,
    book: &restore::Book,
    target: &restore::Book,
    selection: &restore::Selection,
) -> Vec<RestoreRecord> {
    let monitor = &centre.card.view.state.monitor;
    restore::plan(restore::Origin { book, monitor }, target, monitor, selection).unwrap()
}
