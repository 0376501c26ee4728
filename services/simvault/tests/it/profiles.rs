//! Cards of the first and third embodiment beside those of the second, on one centre and on both bearers.

use std::{sync::Arc, time::Duration};

use loadtest::{
    fleet::Phone,
    smsc::{Faults, Leg},
};
use mobile::{Bearer, Input, Profile};
use proto::centre::{RecordRange, restore_request::Selection};

use crate::rig::{Rig, delete, held, msisdn, until, write};

fn first() -> Profile {
    Profile::First(mobile::applet::first::Settings::default())
}

fn third() -> Profile {
    Profile::Third(mobile::applet::third::Settings::default())
}

/// Octets of the longest message that came of this number since then: an echo would be a long one, or many.
fn longest_since(rig: &Rig, number: &str, micros: i64) -> (i64, i64) {
    let sql = "SELECT count(*), coalesce(max(octets), 0) FROM billing_event WHERE msisdn = ?1 AND at > ?2";
    let number: i64 = number.parse().expect("digits");
    rig.database().query_row(sql, (number, micros), |row| Ok((row.get(0)?, row.get(1)?))).expect("events")
}

fn now() -> i64 {
    runtime::clock::now()
}

/// Edits, a restore of some and of all, and no echo; the card and its book are equal after each.
async fn life(rig: &Rig, phone: &Phone) {
    for record in 1..=6 {
        write(phone, record, &format!("Person {record}"));
    }
    write(phone, 30, "Last");
    rig.settled(phone).await;
    let (moment, before) = (now(), held(phone));
    assert_eq!(before.len(), 7);
    delete(phone, 2);
    write(phone, 3, "Somebody");
    write(phone, 9, "Surplus");
    rig.settled(phone).await;
    let after = held(phone);
    // One record of then; the rest stays.
    let range = Selection::Range(RecordRange { monitor_index: 0, first: 2, last: 2 });
    assert_eq!(rig.restore(phone, moment, range).await.state, "done");
    let mut expected = after;
    expected
        .extend(before.iter().filter(|((_, _, record), _)| *record == 2).map(|(key, octets)| (*key, octets.clone())));
    assert_eq!((held(phone), rig.book(&phone.subscription.msisdn).await), (expected.clone(), expected));
    // All as it was: the surplus goes.
    assert_eq!(rig.restore(phone, moment, Selection::All(true)).await.state, "done");
    assert_eq!(held(phone), before);
    assert_eq!(rig.book(&phone.subscription.msisdn).await, before);
    // A restored record is not backed up again: the next edit comes alone.
    let restored = now();
    write(phone, 12, "Alone");
    rig.settled(phone).await;
    let newest = rig.history(phone).await;
    assert_eq!((newest[0].record_number, newest[0].source.as_str()), (12, "backup"));
    assert!(newest[1..].iter().take(3).all(|entry| entry.source == "restore"));
    let (messages, octets) = longest_since(rig, &phone.subscription.msisdn, restored);
    // E1 has messages of one length, the others one record; a repeat is no echo.
    assert!(messages >= 1 && octets <= 117, "{messages} messages of up to {octets} octets");
}

/// Covers: G-12
#[tokio::test]
async fn one_centre_serves_every_profile_on_both_bearers_at_once() {
    let rig = Rig::start().await;
    let profiles = [first(), Profile::Second, third()];
    let cards =
        [Bearer::Sms, Bearer::Ip].into_iter().flat_map(|bearer| profiles.clone().map(|profile| (bearer, profile)));
    let mut phones: Vec<Arc<Phone>> = Vec::new();
    for (number, (bearer, profile)) in (300..).zip(cards) {
        phones.push(rig.phone_of(profile, number, bearer).await);
    }
    let lives = phones.iter().map(|phone| life(&rig, phone));
    for life in lives.collect::<Vec<_>>() {
        life.await;
    }
    rig.stop().await;
}

/// Covers: S1-RS-05
#[tokio::test]
async fn an_e1_restore_goes_in_as_many_messages_as_it_needs() {
    let rig = Rig::start().await;
    let phone = rig.phone_of(first(), 310, Bearer::Sms).await;
    for record in 1..=30 {
        write(&phone, record, &format!("Person {record}"));
    }
    rig.settled(&phone).await;
    let (moment, full) = (now(), held(&phone));
    for record in 1..=30 {
        delete(&phone, record);
    }
    rig.settled(&phone).await;
    assert!(rig.book(&msisdn(310)).await.is_empty());
    let before = rig.delivered(&msisdn(310)).len();
    assert_eq!(rig.restore(&phone, moment, Selection::All(true)).await.state, "done");
    let delivered = rig.delivered(&msisdn(310));
    let restores: Vec<_> = delivered.iter().skip(before).filter(|message| message.payload[0] == 0x02).collect();
    assert_eq!(restores.len(), 8, "30 entries, four at a time");
    assert!(restores.iter().all(|message| message.payload.len() == 119 && message.protocol_id == 0));
    assert_eq!((held(&phone), rig.book(&msisdn(310)).await), (full.clone(), full));
    rig.stop().await;
}

/// What the network loses and doubles is sent again, and the end is equal.
///
/// Covers: S1-MS-01, S1-AK-05
#[tokio::test]
async fn cards_and_books_are_equal_in_the_end_on_a_bad_network() {
    let rig = Rig::with(1, |config| {
        config.inbound_data.third_grace = Duration::from_secs(1);
        config.inbound_data.grace_status_events = 1;
        config.inbound_data.resynchronisation_spacing = Duration::ZERO;
        config.inbound_data.resynchronisations_per_day = 1000;
        config.inbound_data.sweep_interval = Duration::from_millis(200);
    })
    .await;
    let leg = Leg { loss: 0.1, duplication: 0.1, ..Leg::default() };
    rig.smsc.set_faults(None, Faults { mobile_originated: leg, ..Faults::default() }).await;
    let phones = [rig.phone_of(first(), 320, Bearer::Sms).await, rig.phone_of(third(), 321, Bearer::Sms).await];
    for phone in &phones {
        for record in 1..=30 {
            write(phone, record, &format!("Person {record}"));
        }
        delete(phone, 7);
    }
    until("some of it arrived", async || rig.smsc.counters().mo_acked > 4).await;
    phones.iter().for_each(|phone| write(phone, 15, "Edited"));
    until("most of it arrived", async || rig.smsc.counters().mo_acked > 8).await;
    rig.smsc.set_faults(None, Faults::default()).await;
    phones.iter().for_each(|phone| write(phone, 16, "Last"));
    for phone in &phones {
        until("the book is the card's", async || rig.book(&phone.subscription.msisdn).await == held(phone)).await;
    }
    rig.stop().await;
}

/// The book is damaged behind everybody's back.
///
/// Covers: S1-RY-01, S3-RY-01
#[tokio::test]
async fn a_resynchronisation_makes_the_book_the_cards_again() {
    let rig = Rig::start().await;
    for (number, profile, bearer) in [
        (330, first(), Bearer::Sms),
        (331, third(), Bearer::Sms),
        (332, first(), Bearer::Ip),
        (333, third(), Bearer::Ip),
    ] {
        let phone = rig.phone_of(profile, number, bearer).await;
        for record in [1, 2, 3, 4, 5, 20, 30] {
            write(&phone, record, &format!("Person {record}"));
        }
        rig.settled(&phone).await;
        let expected = held(&phone);
        let id = rig.account(&phone).await.subscriber_id;
        let lost = "DELETE FROM book_page WHERE subscriber_id = ?1 AND page = 0";
        assert_eq!(rig.database().execute(lost, [id]).expect("deleted"), 1);
        assert_eq!(rig.book(&msisdn(number)).await.len(), 2);
        assert_eq!(rig.control(&phone, "resynchronise").await.r#type, "control");
        until("the book is whole again", async || rig.book(&msisdn(number)).await == expected).await;
        assert_eq!(held(&phone), expected);
    }
    rig.stop().await;
}

/// Covers: S3-RS-01
#[tokio::test]
async fn an_e3_card_asks_for_its_data_and_gets_it_without_an_echo() {
    let rig = Rig::start().await;
    for (number, bearer) in [(340, Bearer::Sms), (341, Bearer::Ip)] {
        let phone = rig.phone_of(third(), number, bearer).await;
        for record in 1..=12 {
            write(&phone, record, &format!("Person {record}"));
        }
        rig.settled(&phone).await;
        let expected = held(&phone);
        let asked = match bearer {
            // A card like the old one, but blank, that nobody told the centre about.
            Bearer::Sms => rig.switch_on(number, crate::rig::card_of(third(), bearer)),
            // The counters of the link are in the card (D-114), so by IP it is the same one.
            Bearer::Ip => phone,
        };
        let since = now();
        asked.with(|station| station.handle_input(Input::MenuSelection(1), Duration::ZERO));
        until("the restore is over", async || {
            let actions = rig.actions(&msisdn(number), false).await;
            actions.iter().any(|action| action.r#type == "restore" && action.state == "done")
        })
        .await;
        until("the card has its data", async || held(&asked) == expected).await;
        assert_eq!(asked.with(|station| station.statistics()).records_restored, 12);
        rig.settled(&asked).await;
        assert_eq!(rig.book(&msisdn(number)).await, expected);
        let (messages, octets) = longest_since(&rig, &msisdn(number), since);
        assert!(messages == 1 && octets <= 3, "the request alone: {messages} messages of up to {octets} octets");
    }
    rig.stop().await;
}

#[tokio::test]
async fn an_e1_card_is_switched_off_and_on() {
    let rig = Rig::start().await;
    let phone = rig.phone_of(first(), 350, Bearer::Sms).await;
    write(&phone, 1, "Before");
    rig.settled(&phone).await;
    rig.control(&phone, "service_off").await;
    until("it is off", async || phone.with(|station| !station.first().expect("E1").eeprom().service_on)).await;
    write(&phone, 2, "Meanwhile");
    assert_eq!(rig.configuration(&phone).await.settings[0].acknowledged.as_ref(), [0]);
    assert_eq!(rig.book(&msisdn(350)).await.len(), 1);
    rig.control(&phone, "service_on").await;
    rig.settled(&phone).await;
    assert_eq!(rig.book(&msisdn(350)).await.len(), 2);
    rig.stop().await;
}

/// NK-CV-02's way with a lost card: the book of one profile on a card of another, and back.
#[tokio::test]
async fn a_book_moves_from_profile_to_profile() {
    let rig = Rig::start().await;
    let phone = rig.phone_of(Profile::Second, 360, Bearer::Sms).await;
    for record in [1, 2, 8, 30] {
        write(&phone, record, &format!("Person {record}"));
    }
    rig.settled(&phone).await;
    let expected = held(&phone);
    for (serial, profile) in [(770_001, first()), (770_002, third()), (770_003, Profile::Second)] {
        let phone = rig.replace_by(profile, 360, serial).await;
        assert!(held(&phone).is_empty());
        assert_eq!(rig.restore(&phone, 0, Selection::All(true)).await.state, "done");
        assert_eq!((held(&phone), rig.book(&msisdn(360)).await), (expected.clone(), expected.clone()));
    }
    rig.stop().await;
}
