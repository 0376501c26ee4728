use link::{
    asynchronous::{Message as Asynchronous, Variant},
    monitor::MonitorRow,
};
use proptest::prelude::*;

use super::*;
use crate::{
    asynchronous::{Spacing, State as SessionState},
    phonebook::{EF_EXT1, PHONE_MEMORY},
};

fn block(number: u8) -> Bytes {
    [&[number], adn(&format!("N{number}")).as_ref()].concat().into()
}

/// Blocks `first` to `last` of the session, each the record of its number.
fn blocks(session: u8, total: u8, (first, last): (u8, u8), variant: Variant, delay_seconds: u16) -> Vec<u8> {
    let blocks = (first..=last).map(block).collect();
    Asynchronous::Blocks { session, total, first, variant, delay_seconds, blocks }.encode()
}

fn counted(first: u8, last: u8) -> Vec<u8> {
    blocks(7, 10, (first, last), Variant::ServerCountdown, 0)
}

impl Centre {
    fn session(&self) -> crate::asynchronous::Session {
        self.card.view.state.sessions.last().cloned().expect("a session")
    }

    /// The session's message and when it is due, in seconds.
    fn countdown(&self) -> (Vec<u8>, u64) {
        let [action] = &self.card.open[..] else { panic!("one action: {:?}", self.card.open) };
        let Content::Asynchronous { message } = &action.content else { panic!("{action:?}") };
        (message.to_vec(), action.due.since(self.now).as_secs())
    }

    /// The outbound side, once the countdown is over.
    fn launch_due(&mut self) -> Vec<u8> {
        self.now = self.card.open[0].due;
        let action = &mut self.card.open[0];
        let message = build::next_message(&mut action.content, Profile::E2, 140).expect("a message");
        action.content.ladder(&self.policy.ladder).launched(action, None, self.now);
        if action.content.ends_by_leaving() {
            self.card.open.clear();
        }
        message
    }
}

/// Covers: AS-BL-04, AS-V1-03, AS-V1-04, AS-V1-05, AS-SV-01
#[test]
fn ten_blocks_are_four_messages_three_resumes_and_one_ok() {
    let mut centre = Centre::adn();
    let mut sent = Vec::new();
    for (first, last) in [(1, 3), (4, 6), (7, 9), (10, 10)] {
        assert_eq!(centre.receive(&counted(first, last)).outcome, Outcome::Stored);
        for number in first..=last {
            assert_eq!(centre.record(number), Some(adn(&format!("N{number}"))), "stored before anything is sent");
        }
        let due = if last < 10 { 120 } else { 0 };
        assert_eq!(centre.countdown().1, due);
        sent.push(centre.launch_due());
    }
    assert_eq!(
        sent,
        [
            vec![0xA2, 7, 0x0A, 1, 4, 0x0A],
            vec![0xA2, 7, 0x0A, 1, 7, 0x0A],
            vec![0xA2, 7, 0x0A, 1, 0x0A, 0x0A],
            vec![0xA3, 7, 0x0A, 0],
        ]
    );
    assert_eq!((centre.session().state, centre.session().next), (SessionState::Complete, None));
    assert_eq!(centre.queued.len(), 1, "only the end is queued at once");
    assert!(centre.card.open.is_empty());
}

/// Covers: AS-V1-09
#[test]
fn lost_blocks_are_named_again() {
    let mut centre = Centre::adn();
    centre.receive(&counted(1, 3));
    assert_eq!(centre.launch_due(), [0xA2, 7, 0x0A, 1, 4, 0x0A]);
    // 4 to 6 were lost: the reminder names them still.
    assert_eq!(centre.card.open[0].due.since(centre.now).as_secs(), 120);
    assert_eq!(centre.launch_due(), [0xA2, 7, 0x0A, 1, 4, 0x0A]);
    centre.receive(&counted(7, 9));
    assert_eq!(centre.countdown().0, [0xA2, 7, 0x0A, 2, 4, 6, 0x0A, 0x0A]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Covers: AS-BL-05
    #[test]
    fn any_order_and_any_repeats_give_the_same_book(
        order in Just(vec![0_usize, 1, 2, 3, 0, 1, 2, 3]).prop_shuffle(), variant in 0_u8..4, waits in 0_u64..20,
    ) {
        let parts = [(1, 3), (4, 6), (7, 9), (10, 10)];
        let mut centre = Centre::adn();
        let (mut got, mut ends) = ([false; 11], 0);
        for at in order {
            let (first, last) = parts[at];
            (first..=last).for_each(|number| got[usize::from(number)] = true);
            centre.pass(waits);
            centre.receive(&blocks(7, 10, (first, last), Variant::from_flags(variant), 0));
            let session = centre.session();
            let missing: Vec<u8> = session.missing().iter().flat_map(|range| range.first..=range.last).collect();
            let expected: Vec<u8> = (1..=10).filter(|number| !got[usize::from(*number)]).collect();
            prop_assert_eq!(&missing, &expected);
            // What is due at once is launched before the next message comes.
            if missing.is_empty() && !centre.card.open.is_empty() {
                prop_assert_eq!(centre.launch_due(), [0xA3, 7, 0x0A, 0]);
                ends += 1;
            }
        }
        let is_repeated_late = waits >= 4;
        prop_assert!(ends == 1 || is_repeated_late);
        prop_assert_eq!(centre.book().len(), 10);
        for number in 1..=10 {
            prop_assert_eq!(centre.record(number), Some(adn(&format!("N{number}"))));
        }
    }
}

/// Covers: AS-V2-04, AS-V2-05
#[test]
fn where_the_device_counts_nothing_is_sent_before_the_last_block() {
    for variant in [Variant::MobileTimer, Variant::Status, Variant::Normal] {
        let mut centre = Centre::adn();
        for (first, last) in [(1, 3), (4, 6), (7, 9)] {
            centre.receive(&blocks(7, 10, (first, last), variant, 60));
            assert!(centre.card.open.is_empty());
            let next = centre.session().next.map(|next| next.since(centre.now).as_secs());
            assert_eq!(next, (variant != Variant::Normal).then_some(60));
        }
        centre.receive(&blocks(7, 10, (10, 10), variant, 60));
        assert_eq!(centre.launch_due(), [0xA3, 7, 0x0A, 0]);
        assert!(centre.card.open.is_empty());
    }
    // The last has come and an earlier one has not: asked for, but not at once, for it may only be late.
    let mut centre = Centre::adn();
    centre.receive(&blocks(7, 4, (4, 4), Variant::MobileTimer, 60));
    assert_eq!(centre.countdown(), (vec![0xA2, 7, 4, 1, 1, 3], 60));
    centre.receive(&blocks(7, 4, (1, 3), Variant::MobileTimer, 60));
    assert_eq!(centre.countdown(), (vec![0xA3, 7, 4, 0], 0));
}

/// Covers: AS-V1-06, AS-V1-07
#[test]
fn the_countdown_is_the_devices_or_the_centres() {
    let mut centre = Centre::adn();
    let of_20 = |first, last, delay| blocks(7, 20, (first, last), Variant::ServerCountdown, delay);
    centre.receive(&of_20(1, 3, 30));
    assert_eq!(centre.countdown().1, 30);
    centre.receive(&of_20(4, 6, 0));
    assert_eq!(centre.countdown().1, 120);
    // Once more the same: the countdown goes on.
    centre.pass(10);
    centre.receive(&of_20(4, 6, 0));
    assert_eq!(centre.countdown().1, 120 - 11);
    centre.policy.spacing = Spacing::Random { min: Duration::from_secs(200), max: Duration::from_secs(210) };
    centre.receive(&of_20(7, 9, 0));
    assert!((200..=210).contains(&centre.countdown().1));
    // 15:06:40 UTC, and some seconds.
    centre.policy.spacing = Spacing::Timetable(vec![15 * 60, 16 * 60]);
    centre.receive(&of_20(10, 12, 0));
    let due = centre.card.open[0].due.0.rem_euclid(86_400_000_000);
    assert_eq!(due, 16 * 3_600_000_000);
    assert_eq!(centre.session().next, Some(centre.card.open[0].due));
}

/// Covers: AS-V1-10
#[test]
fn a_silent_card_is_reminded_three_times_then_suspended_and_resumed_by_its_next_message() {
    let mut centre = Centre::adn();
    centre.receive(&counted(1, 3));
    let mut waits = Vec::new();
    for _ in 0..4 {
        let before = centre.now;
        centre.launch_due();
        waits.push(centre.now.since(before).as_secs());
    }
    assert_eq!(waits, [120, 120, 240, 480], "the resume message and its three reminders");
    let action = &mut centre.card.open[0];
    let ladder = action.content.ladder(&centre.policy.ladder);
    ladder.overdue(action, "silence", action.due);
    assert_eq!(action.state, State::Waiting, "suspended");
    assert!(ladder.resume(action, centre.now), "any message of the card does this");
    assert_eq!((action.state, action.due), (State::Queued, centre.now));
    // And so do its blocks.
    action.state = State::Waiting;
    centre.receive(&counted(4, 6));
    assert_eq!(centre.countdown(), (vec![0xA2, 7, 0x0A, 1, 7, 0x0A], 120));
}

#[test]
fn a_card_that_missed_the_end_is_told_again() {
    let mut centre = Centre::adn();
    let only = blocks(9, 1, (1, 1), Variant::ServerCountdown, 0);
    centre.receive(&only);
    assert_eq!(centre.launch_due(), [0xA3, 9, 1, 0]);
    centre.receive(&only);
    assert!(centre.card.open.is_empty(), "the network has sent it twice");
    centre.pass(60);
    centre.receive(&only);
    assert_eq!(centre.launch_due(), [0xA3, 9, 1, 0]);
}

#[test]
fn a_new_backup_ends_the_one_before_and_not_the_other_sides() {
    let mut centre = Centre::adn();
    centre.receive(&counted(1, 3));
    centre.receive(&blocks(0x85, 10, (1, 3), Variant::ServerCountdown, 0));
    assert_eq!(centre.card.open.len(), 2);
    centre.receive(&blocks(8, 1, (1, 1), Variant::ServerCountdown, 0));
    let states: Vec<_> = centre.card.view.state.sessions.iter().map(|it| (it.number, it.state)).collect();
    assert_eq!(states, [(7, SessionState::Replaced), (0x85, SessionState::Receiving), (8, SessionState::Complete)]);
    let open: Vec<_> = centre.card.open.iter().map(|action| action.content.session()).collect();
    assert_eq!(open, [Some(0x85), Some(8)], "the countdown of session 7 is cancelled");
    // A late block of it changes nothing.
    centre.receive(&counted(4, 6));
    assert_eq!(centre.record(4), None);
    for session in 9..40 {
        centre.receive(&blocks(session, 2, (1, 1), Variant::ServerCountdown, 0));
    }
    assert_eq!(centre.card.view.state.sessions.len(), 4);
}

/// The block's file is said when it is not EF_ADN.
#[test]
fn blocks_of_other_files_and_of_the_phones_memory_are_stored_where_they_belong() {
    let ext1 = MonitorRow { ef: 0x6F4A, ..row(0, 20, 0, 13) };
    let mut centre = Centre::new(vec![row(0, 100, 0, 28), ext1]);
    let extension = [[0x02].as_slice(), &[0x11; 12]].concat();
    let messages: Vec<Bytes> = vec![
        block(1),
        [&[0, 0x7F, 0x10, 0x6F, 0x4A, 3], extension.as_slice()].concat().into(),
        [&[0, 0, 0, 0, 1, 250], b"ALICE +49301234".as_slice()].concat().into(),
    ];
    let message = Asynchronous::Blocks {
        session: 1,
        total: 3,
        first: 1,
        variant: Variant::Normal,
        delay_seconds: 0,
        blocks: messages,
    };
    centre.receive(&message.encode());
    let book = centre.book();
    assert_eq!(book.get(&(EF_EXT1, 3)).map(|data| data.to_vec()), Some(extension.clone()));
    assert_eq!(book.get(&(PHONE_MEMORY, 250)).map(|data| data.to_vec()), Some(b"ALICE +49301234".to_vec()));
    let checksums = &centre.card.view.state.checksums;
    assert_eq!(checksums.get(0, 1), Some(crc16(&adn("N1"))));
    assert_eq!(checksums.get(1, 3), Some(crc16(&extension)));
    assert_eq!(checksums.len(), 2);
    assert_eq!(centre.journal.last().map(|change| change.records.len()), Some(3));
}

#[test]
fn what_cannot_be_stored_is_reported_and_not_asked_for_again() {
    let mut centre = Centre::adn();
    let strange: [&[u8]; 4] = [&[], &[5], &[0, 0x12, 0x34, 0x56, 0x78, 1, 1], &[0, 0x7F, 0x10, 0x6F, 0x3A, 0, 1]];
    let message = Asynchronous::Blocks {
        session: 1,
        total: 4,
        first: 1,
        variant: Variant::Normal,
        delay_seconds: 0,
        blocks: strange.iter().map(|octets| Bytes::copy_from_slice(octets)).collect(),
    };
    assert_eq!(centre.receive(&message.encode()).outcome, Outcome::Stored);
    assert_eq!(centre.kinds(), ["incompatible-data"; 4]);
    assert_eq!(centre.launch_due(), [0xA3, 1, 4, 2]);
    assert!(centre.book().is_empty());
    // A message of the centre, from a card.
    let verdict = centre.receive(&[0xA3, 1, 4, 0]);
    assert_eq!(verdict.outcome, Outcome::Refused(Reason::Unsupported));
    let verdict = centre.receive(&[0xA1, 1, 4]);
    assert_eq!(verdict.outcome, Outcome::Refused(Reason::Malformed));
}

#[test]
fn emptied_and_changed_records_of_a_second_backup_are_stored() {
    let mut centre = Centre::adn();
    centre.receive(&blocks(1, 3, (1, 3), Variant::Normal, 0));
    let second = Asynchronous::Blocks {
        session: 2,
        total: 1,
        first: 1,
        variant: Variant::Normal,
        delay_seconds: 0,
        blocks: vec![[&[2], empty().as_ref()].concat().into()],
    };
    centre.receive(&second.encode());
    assert_eq!((centre.record(1), centre.record(2)), (Some(adn("N1")), None));
    assert_eq!(centre.card.view.state.checksums.get(0, 2), None);
}

#[test]
fn every_profile_has_the_asynchronous_mode() {
    for profile in [Profile::E1, Profile::E3] {
        let mut centre = Centre::new(vec![]);
        centre.card.view.device.profile = profile;
        assert_eq!(centre.receive(&counted(1, 3)).outcome, Outcome::Stored);
        assert_eq!(centre.record(3), Some(adn("N3")));
    }
}
