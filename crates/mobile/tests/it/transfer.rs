//! The phone's transfer software alone; with the centre: `crates/domain/tests/it/transfer.rs`.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use link::{
    configuration::Bearer,
    transfer::{ItemPart, Kind, Message, Wish},
};
use mobile::{
    Station, StationConfig,
    transfer::{Phone, TransferApp, TransferOutput, TransferRuns},
};
use proptest::prelude::*;

const FETCH: Wish = Wish { fetch: true, data: true, settings: true, moves: false };

fn app() -> (Station, TransferApp) {
    let settings = BTreeMap::from([("volume".to_owned(), Bytes::from_static(b"1"))]);
    let station = Station::new(StationConfig { service_on: false, ..StationConfig::default() });
    (station, TransferApp::new(Phone::new(settings, 3), Bearer::Sms))
}

fn outputs(app: &mut TransferApp) -> Vec<TransferOutput> {
    std::iter::from_fn(|| app.poll_output()).collect()
}

/// Vector 21 of section 15.
#[test]
fn the_menu_sends_an_initiation_and_one_transfer_runs_at_a_time() {
    let (mut station, mut app) = app();
    let store = Wish { fetch: false, ..FETCH };
    app.select(&mut station, store, "main", Duration::ZERO).expect("none runs");
    let initiation = |octets: &[u8]| vec![TransferOutput::Send(octets.to_vec())];
    assert_eq!(outputs(&mut app), initiation(b"\xC1\x00\x01\x06\x04main"));
    assert_eq!(app.select(&mut station, FETCH, "main", Duration::ZERO), Err(TransferRuns));
    app.cancel();
    assert_eq!(outputs(&mut app), [TransferOutput::Display("main: given up".to_owned())]);
    app.select(&mut station, FETCH, "main", Duration::ZERO).expect("none runs");
    assert_eq!(outputs(&mut app), initiation(b"\xC1\x00\x02\x07\x04main"));
}

#[test]
fn silence_is_an_initiation_again_ever_later_and_after_a_day_the_end() {
    let (mut station, mut app) = app();
    app.select(&mut station, FETCH, "main", Duration::ZERO).expect("none runs");
    let first = outputs(&mut app);
    let mut times = Vec::new();
    while let Some(now) = app.next_call() {
        app.tick(&mut station, now);
        match &outputs(&mut app)[..] {
            [TransferOutput::Display(text)] => assert_eq!((text.as_str(), now.as_secs() / 3600), ("main: failed", 24)),
            again => {
                assert_eq!(again, first);
                times.push(now.as_secs());
            }
        }
    }
    assert_eq!(times[..6], [60, 180, 420, 900, 1805, 2710]);
}

fn any_message() -> impl Strategy<Value = Message> {
    let numbers = (0..2_u32, 0..4_u16);
    let key = prop::sample::select(vec![&b"volume"[..], b"\xFF", b"\x7F\x10\x6F\x3A\x01", b"ring"]);
    prop_oneof![
        (0..3_u16, 0..2_u32, 0..4_u16).prop_map(|(transaction, session, items)| Message::SessionOpen {
            transaction,
            session,
            items
        }),
        numbers.clone().prop_map(|(session, item)| Message::ItemRequest { session, item }),
        (numbers.clone(), any::<bool>(), key, 1..3_u8, prop::collection::vec(any::<u8>(), 0..40)).prop_map(
            |((session, item), is_data, key, part, value)| {
                let kind = if is_data { Kind::Data } else { Kind::Setting };
                let (key, value) = (Bytes::from_static(key), value.into());
                Message::Item { session, item, part: ItemPart { kind, key, part, parts: 2, value } }
            }
        ),
        (numbers, any::<u8>(), any::<u8>()).prop_map(|((session, item), result, reason)| Message::ItemResult {
            session,
            item,
            result,
            reason
        }),
        (0..2_u32, any::<u8>()).prop_map(|(session, result)| Message::SessionEnd { session, result }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_comes_the_phone_stays_within_its_limits(
        fetch in any::<bool>(),
        messages in prop::collection::vec((any_message(), 0..4000_u64), 1..40),
        octets in prop::collection::vec(any::<u8>(), 0..30),
    ) {
        let (mut station, mut app) = app();
        app.phone.data.insert("ring".to_owned(), vec![1; 300].into());
        let mut now = Duration::ZERO;
        app.select(&mut station, Wish { fetch, ..FETCH }, "main", now).expect("none runs");
        app.receive(&mut station, &octets, now);
        for (message, seconds) in messages {
            now += Duration::from_secs(seconds);
            app.receive(&mut station, &message.encode(), now);
            app.tick(&mut station, now);
            for output in outputs(&mut app) {
                if let TransferOutput::Send(octets) = output {
                    prop_assert!(octets.len() <= 140 && Message::decode(&octets).is_ok());
                }
            }
            prop_assert!(app.phone.data.len() <= 3 && app.phone.settings.len() == 1);
        }
    }
}
