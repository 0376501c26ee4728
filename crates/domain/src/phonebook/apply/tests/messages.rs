//! Any message: who may send what, and octets that are no message.

use super::{restores::restore_action, *};

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
    // In the layout that the number speaks.
    assert_eq!(Reply::unknown_subscriber(&[0x01; 117]).unwrap().octets, [0x07, 0x01, 9]);
    assert_eq!(Reply::unknown_subscriber(&[0x83, 1, 1]).unwrap().octets, [0x84, 1, 9]);
    for error in [[0x07, 0x02, 0x08], [0x84, 1, 8]] {
        assert_eq!(Reply::unknown_subscriber(&error), None);
    }
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
        &[0xA2, 1, 1, 0],
        &[0xA4],
        &[0xC2, 0, 1, 0, 0, 0, 7, 0, 0],
        &[0xC3, 0, 0, 0, 7, 0, 1],
        &[0xC7],
        &[0x60],
        &[0xF2],
        &[0],
    ] {
        let centre = check(octets, refused(Reason::Unsupported));
        assert_eq!(centre.kinds(), ["refused-message"]);
    }
    check(&[], refused(Reason::Malformed));
    check(&[0xA1], refused(Reason::Malformed));
    check(&[0xA1, 1, 1, 1, 1, 0, 0, 0, 2, 1, 0x41], Outcome::Stored);
    check(&[0xC1], refused(Reason::Malformed));
    check(&[0x48, 1], refused(Reason::Malformed));
}

/// D-50: a device has one profile, and what another one sends is refused in the layout of who sent it.
#[test]
fn a_message_of_another_profile_is_refused_in_its_own_layout() {
    let first = link::first::Message::Backup { entries: Vec::new(), is_checked: false }.encode();
    let of_profile = [
        (Profile::E1, first, [0x07, 0x01, 0x0C].to_vec()),
        (Profile::E2, ModelCard::adn().backup(1, &adn("A")), [0x48, 0, 0, 0, 0, 0, 2, 0x0C].to_vec()),
        (Profile::E3, vec![0x81, 1, 1], [0x84, 1, 0x0C].to_vec()),
    ];
    for (profile, ..) in &of_profile {
        let mut centre = Centre::of(*profile);
        for (other, message, error) in &of_profile {
            let verdict = centre.receive(message);
            if other == profile {
                assert_eq!(verdict, Verdict::stored());
            } else {
                assert_eq!(verdict.outcome, Outcome::Refused(Reason::Unsupported));
                assert_eq!(verdict.reply.map(|reply| (reply.profile, reply.octets)), Some((*other, error.clone())));
            }
        }
        // What no profile sends is answered in the card's.
        let reply = centre.receive(&[0x60]).reply.unwrap();
        assert_eq!(reply.profile, *profile);
    }
}

proptest! {
    #[test]
    fn any_octets_are_survived_from_every_profile(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..160), 1..20), heads in any::<bool>()) {
        for (profile, firsts) in [(Profile::E1, [0x01, 0x07]), (Profile::E3, [0x81, 0x82])] {
            let mut centre = Centre::of(profile);
            restore_action(&mut centre, &restore::Selection::All);
            for (at, message) in messages.iter().enumerate() {
                let mut message = message.clone();
                if let Some(first) = message.first_mut().filter(|_| heads) {
                    *first = firsts[at % 2];
                    for (place, octet) in message.iter_mut().skip(1).zip([1, 1]) {
                        *place = octet;
                    }
                }
                centre.receive(&message);
                centre.pass(31);
                centre.sweep();
            }
        }
    }

    #[test]
    fn any_octets_are_survived(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..160), 1..20), head in any::<u8>()) {
        let mut centre = Centre::adn();
        restore_action(&mut centre, &restore::Selection::All);
        for mut message in messages {
            if let Some(first) = message.first_mut().filter(|_| head.is_multiple_of(2)) {
                *first = [0x08, 0x0A, 0x20, 0x38, 0x40, 0x48, 0xA1][usize::from(head / 2) % 7];
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
