//! Backup: what is stored, acknowledged, refused and repeated.

use super::*;

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

/// A compact backup (type 10) is stored and acknowledged as the plain one of the same records is, also by a centre that has
/// not switched it on (D-08).
///
/// Covers: S1-BK-04, SC-ID-02
#[test]
fn a_compact_backup_is_stored_and_acknowledged_like_a_plain_one() {
    let (mut centre, mut card) = (Centre::adn(), ModelCard::adn());
    let records = [card.edit(1, &adn("A")), card.edit(2, &adn("B")), card.edit(3, &adn("C"))].concat();
    let mut builder = link::compact::Builder::backup(link::SMS_OCTETS);
    records.iter().for_each(|record| builder.push(record).expect("fits"));
    let message = builder.finish_backup(card.table.database_checksum());
    assert!(message[0] == 0x52 && link::compact::is_format(message[1]));
    assert_eq!(centre.receive(&message), Verdict { outcome: Outcome::Stored, reply: None });
    assert_eq!([1, 2, 3].map(|number| centre.record(number)), ["A", "B", "C"].map(|name| Some(adn(name))));
    assert_eq!(centre.acknowledgements, [vec![0, 1, 0, 0, 2, 0, 0, 3, 0]]);
    assert_eq!(centre.card.view.state.checksums, card.table);
    assert_eq!(centre.card.view.state.mismatch_since, None);
    assert_eq!(centre.receive(&message).outcome, Outcome::Duplicate);
    let unknown = [&[0x52, 0x02], &message[2..]].concat();
    let refused = centre.receive(&unknown);
    assert_eq!(refused.outcome, Outcome::Refused(Reason::Unsupported));
    assert_eq!(refused.reply.map(|reply| reply.octets), Some(vec![0x48, 0, 0, 0, 0, 0, 2, 0x0C]));
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

/// Covers: SC-ID-04
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
