mod strange_answers;

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
    phonebook::{Device, DeviceView, EF_ADN, FilePath, Page, Subscriber, history, restore},
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

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    fn receive(&mut self, octets: &[u8]) -> Verdict {
        self.receive_on(octets, Bearer::Sms, None)
    }

    fn receive_on(&mut self, octets: &[u8], bearer: Bearer, reference: Option<u64>) -> Verdict {
        self.pass(1);
        let incoming = Incoming { octets: Bytes::copy_from_slice(octets), bearer, reference, trace: Bytes::new() };
        // As the service does: the actions are read only when the domain asks for them.
        let open = std::mem::take(&mut self.card.open);
        let mut parsed = parse(octets, &self.card.view.state.monitor);
        self.card = Card::new(self.card.view.clone());
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
                Content::BackupAcknowledgement { records } => self.acknowledgements.push(records.clone()),
                _ => self.card.open.push(action),
            }
        }
        self.card.take_moved();
        self.card.open.retain(|action| action.state.is_open());
        done
    }

    /// As the outbound side launches: the next message of the head.
    fn launch(&mut self) -> Vec<u8> {
        let action = self.card.open.first_mut().expect("an open action");
        let message = build::next_message(&mut action.content, 140).expect("something to send");
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

/// Covers: SC-ID-04, SC-ID-09
#[test]
fn the_vector_is_stored_and_the_second_version_replaces_it() {
    let mut centre = Centre::adn();
    let bob = [0x42, 0x4F, 0x42]
        .into_iter()
        .chain([0xFF; 11])
        .chain([0x06, 0x91, 0x00, 0x11, 0x32, 0x54, 0xF6])
        .chain([0xFF; 7]);
    let bob: Vec<u8> = bob.collect();
    let message = [&[0x0A, 0, 1], bob.as_slice(), &[0xD0, 0x26]].concat();
    assert_eq!(centre.receive(&message), Verdict { outcome: Outcome::Stored, reply: None });
    assert_eq!(centre.record(1).as_deref(), Some(bob.as_slice()));
    let table = centre.card.view.state.checksums.to_octets();
    assert_eq!(table, [0x00, 0x01, 0xD1, 0xD2]);
    assert_eq!(centre.card.view.state.mismatch_since, None);
    assert_eq!(centre.acknowledgements, [vec![0, 1, 0]]);
    let mut card = ModelCard::adn();
    let second = card.backup(1, &adn("BOBBY"));
    centre.receive(&second);
    assert_eq!(centre.record(1), Some(adn("BOBBY")));
    assert_eq!(centre.card.view.state.checksums, card.table);
}

/// Covers: SC-ID-05, SC-ID-17
#[test]
fn each_record_gets_its_own_result() {
    let mut centre = Centre::adn();
    let record = |monitor_index, record_number, name| Record { monitor_index, record_number, data: adn(name) };
    let message = |records: &[Record]| {
        let records = records.to_vec();
        Message::Backup { records, checksum: link::message::PartialChecksum::Absent, refused: None }.encode()
    };
    centre.receive(&message(&[record(0, 1, "A"), record(0, 101, "B"), record(0, 3, "C")]));
    assert_eq!(centre.acknowledgements[0], vec![0, 1, 0, 0, 101, 2, 0, 3, 0]);
    assert_eq!((centre.record(1), centre.record(3)), (Some(adn("A")), Some(adn("C"))));
    // An unknown index has no known length: it and what follows is refused once.
    centre.receive(&message(&[record(0, 4, "D"), record(9, 5, "E"), record(0, 6, "F")]));
    assert_eq!(centre.acknowledgements[1], vec![0, 4, 0, 9, 5, 2]);
    assert_eq!((centre.record(4), centre.record(5), centre.record(6)), (Some(adn("D")), None, None));
    assert_eq!(centre.kinds(), ["not-under-backup", "not-under-backup"]);
}

/// Covers: SC-ER-03
#[test]
fn incompatible_data_is_reported_and_not_stored() {
    let mut centre = Centre::adn();
    let mut octets = adn("A").to_vec();
    octets[14] = 0x20;
    let mut card = ModelCard::adn();
    centre.receive(&card.backup(2, &adn("B")));
    centre.receive(&card.backup(1, &octets.into()));
    assert_eq!((centre.record(1), centre.kinds()), (None, vec!["incompatible-data"]));
    assert_eq!(centre.acknowledgements[1], vec![0, 1, 2]);
    // A record that is cut or too long leaves octets that are no record.
    let verdict = centre.receive(&[0x08, 0, 1].into_iter().chain([7; 29]).collect::<Vec<_>>());
    assert_eq!(verdict.outcome, Outcome::Refused(Reason::Malformed));
    assert_eq!(centre.kinds()[1], "refused-message");
}

#[test]
fn a_repeat_gets_the_first_answer_and_a_b_a_ends_as_a() {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    let (a, b) = (card.backup(1, &adn("A")), card.backup(1, &adn("B")));
    assert_eq!(centre.receive(&a).outcome, Outcome::Stored);
    assert_eq!(centre.receive(&a).outcome, Outcome::Duplicate);
    assert_eq!(centre.acknowledgements, [vec![0, 1, 0], vec![0, 1, 0]]);
    assert_eq!(centre.journal.len(), 1);
    assert_eq!(centre.receive(&b).outcome, Outcome::Stored);
    assert_eq!(centre.receive(&a).outcome, Outcome::Stored);
    assert_eq!(centre.record(1), Some(adn("A")));
    centre.pass(601);
    assert_eq!(centre.receive(&a).outcome, Outcome::Stored);
}

#[test]
fn a_counter_goes_up_only() {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    let (a, b) = (card.backup(1, &adn("A")), card.backup(1, &adn("B")));
    let mut receive = |octets: &[u8], counter| centre.receive_on(octets, Bearer::Ip, Some(counter)).outcome;
    assert_eq!(receive(&a, 7), Outcome::Stored);
    assert_eq!(receive(&a, 7), Outcome::Duplicate);
    assert_eq!(receive(&b, 7), Outcome::Refused(Reason::KeyOrCounterRefused));
    assert_eq!(receive(&b, 9), Outcome::Stored);
    assert_eq!(receive(&b, 10), Outcome::Stored);
    assert_eq!(centre.card.view.state.uplink_counter, 10);
}

/// Covers: SC-AC-02
#[test]
fn a_suspended_subscriber_gets_an_error_only() {
    let mut centre = Centre::adn();
    for state in [AccountState::Suspended, AccountState::ServiceOff] {
        centre.card.view.subscriber.state = state;
        let verdict = centre.receive(&ModelCard::adn().backup(1, &adn("A")));
        assert_eq!(verdict.outcome, Outcome::Refused(Reason::ServiceOff));
        let reply = verdict.reply.unwrap();
        assert_eq!((reply.octets, reply.once_a_day), (vec![0x48, 0, 0, 0, 0, 0, 1, 0x0A], true));
        let error =
            Message::Error { records: vec![FileResult { df: 0, ef: 0, record_number: 0, result: 2, reason: 4 }] };
        assert_eq!(centre.receive(&error.encode()).reply, None);
    }
    assert!(centre.book().is_empty() && centre.journal.is_empty() && centre.acknowledgements.is_empty());
    let unknown = Reply::unknown_subscriber(&[0x08, 0, 1]).unwrap();
    assert_eq!(unknown.octets, [0x48, 0, 0, 0, 0, 0, 2, 9]);
    assert_eq!(Reply::unknown_subscriber(&[0x48, 0, 0, 0, 0, 0, 2, 9]), None);
    centre.card.view.subscriber.state = AccountState::Active;
    assert_eq!(centre.receive(&ModelCard::adn().backup(1, &adn("A"))).outcome, Outcome::Stored);
}

/// Covers: SC-ID-02, SC-ID-15
#[test]
fn every_kind_of_message_has_its_place() {
    let check = |octets: &[u8], expected: Outcome| {
        let mut centre = Centre::adn();
        assert_eq!(centre.receive(octets).outcome, expected, "{octets:02X?}");
        centre
    };
    let refused = |reason| Outcome::Refused(reason);
    check(&ModelCard::adn().backup(1, &adn("A")), Outcome::Stored);
    check(&[0x40], Outcome::Stored);
    check(&[0x20, 0x7F, 0x10, 0x6F, 0x3A, 1, 0, 0], Outcome::Stored);
    check(&[0x38, 1, 0], Outcome::Stored);
    let error = check(&[0x48, 0x7F, 0x10, 0x6F, 0x3A, 5, 2, 4], Outcome::Stored);
    assert_eq!(error.notes[0].text, "file 7F10/6F3A record 5: result 02 reason 04");
    // Centre's types, lengths not supported, compact types, other profiles, reserved octets.
    for octets in [
        [0x10, 0, 1, 0].as_slice(),
        &[0x0B, 0, 1, 2],
        &[0x50, 0],
        &[0x01; 117],
        &[0x81, 1, 1],
        &[0xA1],
        &[0xC1],
        &[0x60],
        &[0xF2],
        &[0],
    ] {
        let centre = check(octets, refused(Reason::Unsupported));
        assert_eq!(centre.kinds(), ["refused-message"]);
    }
    check(&[], refused(Reason::Malformed));
    check(&[0x48, 1], refused(Reason::Malformed));
}

/// Covers: SC-ID-10
#[test]
fn a_mismatch_is_given_its_grace_then_the_card_is_asked_once() {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    let (first, delayed) = (card.backup(1, &adn("A")), card.backup(2, &adn("B")));
    let third = card.backup(3, &adn("C"));
    centre.receive(&first);
    // Merely overtaken: heals by itself.
    centre.receive(&third);
    assert!(centre.card.view.state.mismatch_since.is_some());
    centre.pass(300);
    assert!(!centre.sweep());
    centre.receive(&delayed);
    let last = card.backup(4, &adn("D"));
    centre.receive(&last);
    assert_eq!(centre.card.view.state.mismatch_since, None);
    // A row deleted behind the centre's back does not.
    centre.card.view.state.checksums.remove(0, 2);
    centre.receive(&card.backup(5, &adn("E")));
    centre.pass(359);
    assert!(!centre.sweep());
    centre.pass(1);
    assert!(centre.sweep());
    assert_eq!(centre.launch(), [0x30, 0x09, 0xFF, 0x0A, 0xFF]);
    for message in card.resynchronise() {
        centre.receive(&message);
    }
    centre.receive(&[0x38, 0x09, 0, 0x0A, 0]);
    assert_eq!(centre.card.view.state.checksums, card.table);
    assert!(centre.card.view.state.resynchronisation.is_none() && centre.card.open.is_empty());
    assert_eq!(centre.card.view.state.mismatch_since, None);
}

#[test]
fn the_grace_follows_the_devices_poll_interval_and_three_a_day_are_enough() {
    let mut centre = Centre::adn();
    centre.card.view.state.settings.insert(0x0B, Bytes::from_static(&[10, 1]));
    let mut card = ModelCard::adn();
    card.backup(1, &adn("LOST"));
    centre.receive(&card.backup(2, &adn("B")));
    centre.pass(719);
    assert!(!centre.sweep());
    let mut asked = 0;
    for _ in 0..10 {
        centre.pass(721);
        centre.sweep();
        asked += usize::from(!centre.card.open.is_empty());
        centre.card.open.clear();
        let octets = adn(&format!("{}", centre.now.0 % 97));
        centre.receive(&card.backup(3, &octets));
    }
    assert_eq!(asked, 3);
    assert_eq!(centre.kinds(), ["resynchronisation-limit"]);
}

fn surplus_scenario(surplus: u8) -> (Centre, ModelCard) {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    for number in 1..=20 {
        centre.receive(&card.backup(number, &adn(&format!("N{number}"))));
    }
    // Deletions whose messages and checksum rows were lost on the way.
    for number in 1..=surplus {
        card.backup(number, &empty());
    }
    centre.receive(&card.backup(30, &adn("NEW")));
    centre.pass(361);
    assert!(centre.sweep());
    centre.launch();
    for message in card.resynchronise() {
        centre.receive(&message);
    }
    centre.receive(&[0x38, 0x09, 0, 0x0A, 0]);
    assert!(!centre.sweep(), "not before the card is quiet");
    centre.pass(361);
    assert!(centre.sweep());
    (centre, card)
}

#[test]
fn what_a_resynchronising_card_does_not_report_is_emptied() {
    let (centre, card) = surplus_scenario(5);
    assert_eq!(centre.card.view.state.checksums, card.table);
    assert_eq!(centre.book().len(), 16);
    assert!(centre.card.view.state.resynchronisation.is_none());
    assert_eq!(centre.journal.last().unwrap().records.len(), 5);
}

#[test]
fn a_resynchronisation_that_would_empty_too_much_is_held() {
    let (mut centre, mut card) = surplus_scenario(6);
    assert_eq!(centre.book().len(), 21);
    assert_eq!(centre.kinds(), ["resynchronisation-held"]);
    assert!(centre.card.view.state.resynchronisation.as_ref().is_some_and(|held| held.held));
    // Held, but the service goes on, and nothing is asked again.
    centre.receive(&card.backup(31, &adn("LATER")));
    assert_eq!(centre.record(31), Some(adn("LATER")));
    centre.pass(3600);
    assert!(!centre.sweep() && centre.card.open.is_empty());
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

fn restore_action(centre: &mut Centre, selection: &restore::Selection) {
    let book = centre.book();
    let records = plan(centre, &book, &book, selection);
    let context = Context { now: centre.now, ids: &centre.ids, policy: &centre.policy };
    let action = new_action(&centre.card, Content::Restore { records }, Bearer::Sms, &Bytes::new(), context);
    centre.card.open.push(action);
}

fn acknowledge_restore(results: &[(u8, u8, u8)]) -> Vec<u8> {
    let records = results.iter().map(|&(record_number, result, reason)| FileResult {
        df: 0x7F10,
        ef: 0x6F3A,
        record_number,
        result,
        reason,
    });
    Message::RestoreAcknowledgement { records: records.collect() }.encode()
}

/// Covers: SC-ID-12, SC-ID-13
#[test]
fn a_restore_goes_on_until_every_record_is_answered() {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    for number in 1..=6 {
        centre.receive(&card.backup(number, &adn(&format!("N{number}"))));
    }
    restore_action(&mut centre, &restore::Selection::All);
    // Unmatched: logged, harmless.
    centre.receive(&acknowledge_restore(&[(77, 0, 0)]));
    assert_eq!(centre.kinds(), ["unmatched-acknowledgement"]);
    assert_eq!(centre.launch().len(), 1 + 4 * 30);
    centre.receive(&acknowledge_restore(&[(1, 0, 0), (2, 0, 0), (3, 1, 5), (4, 0, 0)]));
    let action = centre.card.open[0].clone();
    assert_eq!((action.state, action.due.since(centre.now)), (State::Queued, Duration::from_secs(300)));
    // Only what failed, and what was never sent, goes again.
    let again = centre.launch();
    assert_eq!((again.len(), again[2]), (1 + 3 * 30, 3));
    centre.receive(&acknowledge_restore(&[(3, 1, 5), (5, 0, 0), (6, 0, 0)]));
    assert_eq!(centre.card.open[0].due.since(centre.now), Duration::from_secs(600));
    centre.launch();
    centre.receive(&acknowledge_restore(&[(3, 0, 0)]));
    assert!(centre.card.open.is_empty());
    assert_eq!(centre.journal.last().unwrap().source, Source::Restore);
}

#[test]
fn a_restore_acknowledgement_writes_the_book_and_a_refusal_is_reported() {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    centre.receive(&card.backup(1, &adn("OLD")));
    let before = centre.now;
    centre.receive(&card.backup(1, &empty()));
    assert_eq!(centre.record(1), None);
    let (book, past) = (centre.book(), history::as_of(&centre.book(), &centre.newest_first(), before));
    let records = plan(&centre, &past, &book, &restore::Selection::All);
    let context = Context { now: centre.now, ids: &centre.ids, policy: &centre.policy };
    let action = new_action(&centre.card, Content::Restore { records }, Bearer::Sms, &Bytes::new(), context);
    centre.card.open.push(action);
    centre.launch();
    centre.receive(&acknowledge_restore(&[(1, 0, 0)]));
    assert_eq!(centre.record(1), Some(adn("OLD")));
    card.edit(1, &adn("OLD"));
    assert_eq!(centre.card.view.state.checksums, card.table);
    restore_action(&mut centre, &restore::Selection::All);
    centre.launch();
    centre.receive(&acknowledge_restore(&[(1, 2, 4)]));
    assert!(centre.card.open.is_empty());
    assert_eq!(centre.kinds(), ["restore-refused"]);
}

/// Covers: SC-ID-14, SC-DB-07
#[test]
fn the_monitor_table_changes_with_the_acknowledgement_and_loses_nothing() {
    let mut centre = Centre::new(vec![row(0, 10, 0, 14)]);
    let mut card = ModelCard::new(vec![row(0, 10, 0, 14)]);
    centre.receive(&card.backup(1, &adn("ANNA")));
    assert_eq!(centre.record(1), Some(adn("ANNA").slice(..14)));
    let item = |cid, data: Vec<u8>| ConfigurationItem { cid, data: data.into(), progress: Progress::Open };
    let wider = row(0, 10, 0, 28);
    let items = vec![item(6, [vec![0], wider.to_octets().to_vec()].concat()), item(4, vec![1])];
    let context = Context { now: centre.now, ids: &centre.ids, policy: &centre.policy };
    let action = new_action(&centre.card, Content::Configuration { items }, Bearer::Sms, &Bytes::new(), context);
    centre.card.open.push(action);
    centre.launch();
    // In flight during the change: parsed with the old table.
    centre.receive(&card.backup(2, &adn("BEN")));
    assert_eq!(centre.record(2), Some(adn("BEN").slice(..14)));
    centre.receive(&[0x38, 0x06, 0, 0x04, 0]);
    assert_eq!(centre.card.view.state.monitor.row(0), Some(&wider));
    assert_eq!(centre.card.view.state.settings.get(&4).map(|data| data.to_vec()), Some(vec![1]));
    assert_eq!(centre.card.view.channel(), Bearer::Ip);
    assert!(centre.card.view.state.checksums.is_empty());
    // The longer records go on where the shorter ones were.
    card = ModelCard { rows: vec![wider], records: card.records, table: ChecksumTable::default() };
    for message in card.resynchronise() {
        assert_eq!(centre.receive(&message).outcome, Outcome::Stored);
    }
    assert_eq!((centre.record(1), centre.record(2)), (Some(adn("ANNA")), Some(adn("BEN"))));
    assert_eq!(centre.card.view.state.checksums, card.table);
}

/// Sends a configuration with these monitor rows to the card.
fn configure(centre: &mut Centre, rows: &[(u8, MonitorRow)]) {
    let items = rows.iter().map(|(index, row)| ConfigurationItem {
        cid: 6,
        data: [vec![*index], row.to_octets().to_vec()].concat().into(),
        progress: Progress::Open,
    });
    let content = Content::Configuration { items: items.collect() };
    let context = Context { now: centre.now, ids: &centre.ids, policy: &centre.policy };
    let action = new_action(&centre.card, content, Bearer::Sms, &Bytes::new(), context);
    centre.card.open.push(action);
    centre.launch();
}

#[test]
fn backups_in_the_new_form_may_come_before_the_acknowledgement() {
    // A new card: nothing of it is known, its first backups are more urgent to it than the acknowledgement.
    let mut centre = Centre::new(Vec::new());
    configure(&mut centre, &[(0, row(0, 100, 0, 28))]);
    let mut card = ModelCard::adn();
    for number in 1..=5 {
        assert_eq!(centre.receive(&card.backup(number, &adn("NEW"))).outcome, Outcome::Stored);
    }
    assert_eq!((centre.book().len(), &centre.card.view.state.checksums), (5, &card.table));
    centre.receive(&[0x38, 6, 0]);
    assert_eq!((&centre.card.view.state.checksums, centre.card.open.len()), (&card.table, 0));
    // A row gets longer: in flight is the old form, then the new one; both are read as what they are.
    let wide = row(0, 100, 0, 30);
    configure(&mut centre, &[(0, wide)]);
    centre.receive(&card.backup(6, &adn("OLD")));
    assert_eq!(centre.record(6), Some(adn("OLD")));
    let mut card = ModelCard { rows: vec![wide], ..ModelCard::default() };
    let wider: Bytes = [adn("WIDE").as_ref(), &[1, 2]].concat().into();
    centre.receive(&card.backup(7, &wider));
    assert_eq!((centre.record(7), centre.record(6).map(|record| record.slice(..28))), (Some(wider), Some(adn("OLD"))));
    assert_eq!((&centre.card.view.state.checksums, centre.card.view.state.mismatch_since), (&card.table, None));
    assert!(centre.acknowledgements.iter().all(|records| records[2] == 0));
}

#[test]
fn two_rows_share_a_record() {
    let rows = vec![row(0, 10, 0, 20), row(0, 10, 20, 8)];
    let mut centre = Centre::new(rows.clone());
    let mut card = ModelCard::new(rows);
    let octets: Bytes = (1..=28).map(|octet| if octet == 15 { 5 } else { octet }).collect::<Vec<u8>>().into();
    let parts = card.edit(3, &octets);
    for part in &parts {
        centre.receive(&card.message(std::slice::from_ref(part)));
    }
    assert_eq!(centre.record(3), Some(octets));
    assert_eq!(centre.card.view.state.checksums, card.table);
    centre.receive(&card.backup(3, &empty()));
    assert_eq!(centre.record(3), None);
}

/// Covers: SC-ID-16
#[test]
fn a_card_may_ask_for_its_data() {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    for number in [2, 5, 40] {
        centre.receive(&card.backup(number, &adn(&format!("N{number}"))));
    }
    centre.receive(&[0x40, 0, 1, 10]);
    assert_eq!(centre.queued.last().map(|entry| entry.action), centre.card.open.first().map(|action| action.id));
    let message = centre.launch();
    assert_eq!((message.len(), message[2], message[32]), (1 + 2 * 30, 2, 5));
    centre.card.open.clear();
    centre.receive(&[0x40]);
    assert_eq!(centre.launch().len(), 1 + 3 * 30);
    let refused = centre.receive(&[0x40, 3, 1, 1]);
    assert_eq!(refused.reply.unwrap().octets, [0x48, 0, 0, 0, 0, 0, 2, 2]);
}

/// Covers: SC-DB-13
#[test]
fn three_edits_are_three_entries() {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    for name in ["A", "B", "C"] {
        centre.receive(&card.backup(1, &adn(name)));
    }
    let journal = centre.newest_first();
    let entries: Vec<_> = history::entries(&journal).collect();
    let names: Vec<_> = entries.iter().map(|entry| (entry.old.clone(), entry.new.clone())).collect();
    assert_eq!(names, [(Some(adn("B")), Some(adn("C"))), (Some(adn("A")), Some(adn("B"))), (None, Some(adn("A")))]);
}

#[derive(Clone, Debug)]
enum Step {
    Edit { number: u8, octets: Vec<u8> },
    Delete { number: u8 },
    Lose { number: u8 },
    Restore { to: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = 1_u8..40;
    let step = prop_oneof![
        4 => (number.clone(), proptest::collection::vec(any::<u8>(), 28)).prop_map(|(number, mut octets)| {
            octets[14] %= 12;
            Step::Edit { number, octets }
        }),
        2 => number.clone().prop_map(|number| Step::Delete { number }),
        1 => number.prop_map(|number| Step::Lose { number }),
        1 => (0_usize..30).prop_map(|to| Step::Restore { to }),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Restores the book of an earlier moment to the card, message by message.
fn restore_to(centre: &mut Centre, card: &mut ModelCard, source: &restore::Book) {
    let target = centre.book();
    let plan = plan(centre, source, &target, &restore::Selection::All);
    if plan.is_empty() {
        return;
    }
    let context = Context { now: centre.now, ids: &centre.ids, policy: &centre.policy };
    let action = new_action(&centre.card, Content::Restore { records: plan }, Bearer::Sms, &Bytes::new(), context);
    centre.card.open.push(action);
    while !centre.card.open.is_empty() {
        let message = Message::decode(&centre.launch(), &centre.card.view.state.monitor).unwrap();
        let Message::Restore { records, .. } = message else { panic!("a restore") };
        let numbers: Vec<_> = records.iter().map(|record| (record.record_number, 0, 0)).collect();
        for record in records {
            card.edit(record.record_number, &record.data);
        }
        centre.receive(&acknowledge_restore(&numbers));
    }
}

/// What happens behind somebody's back.
#[derive(Clone, Debug)]
enum Damage {
    /// A checksum row of the centre goes, or is another one.
    Row {
        number: u8,
        to: Option<u16>,
    },
    /// A record of the centre goes or changes, and its checksum with it.
    Record {
        number: u8,
        name: Option<u8>,
    },
    /// The card changed and its message never arrived.
    Edit {
        number: u8,
        name: u8,
    },
    Deletion {
        number: u8,
    },
}

impl Damage {
    fn number(&self) -> u8 {
        match *self {
            Self::Row { number, .. }
            | Self::Record { number, .. }
            | Self::Edit { number, .. }
            | Self::Deletion { number } => number,
        }
    }
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let number = 1_u8..30;
    let damage = prop_oneof![
        (number.clone(), any::<Option<u16>>()).prop_map(|(number, to)| Damage::Row { number, to }),
        (number.clone(), any::<Option<u8>>()).prop_map(|(number, name)| Damage::Record { number, name }),
        (number.clone(), any::<u8>()).prop_map(|(number, name)| Damage::Edit { number, name }),
        number.prop_map(|number| Damage::Deletion { number }),
    ];
    proptest::collection::vec(damage, 1..5)
}

fn damage(centre: &mut Centre, card: &mut ModelCard, damage: &Damage) {
    match *damage {
        Damage::Row { number, to: Some(checksum) } => {
            centre.card.view.state.checksums.set(0, number, checksum);
        }
        Damage::Row { number, to: None } => {
            centre.card.view.state.checksums.remove(0, number);
        }
        Damage::Record { number, name } => {
            let (key, slot) = PageKey::of(KEY, EF_ADN, number).unwrap();
            let octets = name.map(|name| adn(&name.to_string()));
            let checksums = &mut centre.card.view.state.checksums;
            match &octets {
                Some(octets) => {
                    checksums.set(0, number, crc16(octets));
                }
                None => {
                    checksums.remove(0, number);
                }
            }
            let page = centre.pages.entry(key).or_insert_with(|| Page { slot_octets: 28, ..Page::default() });
            page.slots[slot] = octets;
        }
        Damage::Edit { number, name } => {
            card.edit(number, &adn(&name.to_string()));
        }
        Damage::Deletion { number } => {
            card.edit(number, &empty());
        }
    }
}

proptest! {
    /// Covers: SC-RY-01
    #[test]
    fn a_resynchronisation_ends_with_equal_data_whatever_was_damaged(filled in 20_u8..30, damages in damages()) {
        let mut centre = Centre::adn();
        let mut card = ModelCard::adn();
        for number in 1..=filled {
            centre.receive(&card.backup(number, &adn(&format!("N{number}"))));
        }
        // Two damages of one record may cancel out: a lost checksum row and a lost deletion leave equal tables, and
        // nothing that a card can say shows the difference.
        let mut numbers: Vec<u8> = damages.iter().map(Damage::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        prop_assume!(numbers.len() == damages.len());
        for each in &damages {
            damage(&mut centre, &mut card, each);
        }
        centre.receive(&card.backup(90, &adn("LATER")));
        for _ in 0..3 {
            centre.pass(700);
            centre.sweep();
            if centre.card.open.is_empty() {
                continue;
            }
            prop_assert_eq!(centre.card.open.len(), 1, "one at a time");
            centre.launch();
            for message in card.resynchronise() {
                centre.receive(&message);
            }
            centre.receive(&[0x38, 0x09, 0, 0x0A, 0]);
            centre.pass(700);
            centre.sweep();
        }
        prop_assert_eq!(&centre.card.view.state.checksums, &card.table);
        let on_card = card.records.iter().filter(|(_, octets)| octets.iter().any(|octet| *octet != 0xFF));
        let on_card: restore::Book = on_card.map(|(number, octets)| ((EF_ADN, *number), octets.clone())).collect();
        prop_assert_eq!(centre.book(), on_card);
        prop_assert_eq!(centre.card.view.state.mismatch_since, None);
    }

    /// Covers: S2-CF-07
    #[test]
    fn card_and_centre_compute_equal_tables_from_equal_data(steps in steps()) {
        let mut centre = Centre::adn();
        let mut card = ModelCard::adn();
        let mut kept = vec![(centre.now, centre.book())];
        for step in steps {
            match step {
                Step::Edit { number, octets } => { centre.receive(&card.backup(number, &octets.into())); }
                Step::Delete { number } => { centre.receive(&card.backup(number, &empty())); }
                // Lost, and sent again by the card later.
                Step::Lose { number } => {
                    let lost = card.backup(number, &adn("LOST"));
                    centre.pass(300);
                    centre.receive(&lost);
                }
                Step::Restore { to } => {
                    let source = kept[to % kept.len()].1.clone();
                    restore_to(&mut centre, &mut card, &source);
                }
            }
            prop_assert_eq!(&centre.card.view.state.checksums, &card.table);
            prop_assert_eq!(centre.card.view.state.mismatch_since, None);
            kept.push((centre.now, centre.book()));
        }
        let held: restore::Book = card.records.iter()
            .filter(|(_, octets)| octets.iter().any(|octet| *octet != 0xFF))
            .map(|(number, octets)| ((FilePath { df: 0x7F10, ef: 0x6F3A }, *number), octets.clone())).collect();
        prop_assert_eq!(centre.book(), held);
        // The book as of any moment equals the copy that was kept then.
        let journal = centre.newest_first();
        for (at, copy) in kept {
            prop_assert_eq!(history::as_of(&centre.book(), &journal, at), copy);
        }
    }

    #[test]
    fn any_octets_are_survived(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..160), 1..20), head in any::<u8>()) {
        let mut centre = Centre::adn();
        restore_action(&mut centre, &restore::Selection::All);
        for mut message in messages {
            if let Some(first) = message.first_mut().filter(|_| head.is_multiple_of(2)) {
                *first = [0x08, 0x0A, 0x20, 0x38, 0x40, 0x48][usize::from(head / 2) % 6];
            }
            centre.receive(&message);
            centre.sweep();
        }
    }

    #[test]
    fn stored_values_survive_any_octets(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut octets = octets;
        if let Some(first) = octets.first_mut() { *first = 1; }
        let octets = Bytes::from(octets);
        if let Ok(page) = Page::from_octets(octets.clone()) {
            prop_assert_eq!(Page::from_octets(page.to_octets()), Ok(page));
        }
        if let Ok(records) = Change::records_from_octets(octets.clone()) {
            prop_assert_eq!(Change::records_from_octets(Change::records_to_octets(&records)), Ok(records));
        }
        if let Ok(content) = Content::from_octets(octets.clone()) {
            prop_assert_eq!(Content::from_octets(content.to_octets()), Ok(content));
        }
        let _state = DeviceState::from_octets(octets.clone(), 1, 1);
        if let Ok(entry) = QueueEntry::from_octets(octets) {
            prop_assert_eq!(QueueEntry::from_octets(entry.to_octets()), Ok(entry));
        }
    }
}
