//! The signals between cards and centre as the network carries them: their size, their transport fields, and what each says
//! of itself.

use std::collections::{BTreeMap, BTreeSet};

use link::{
    configuration::Item,
    first,
    first_octet::{FirstOctet, classify},
    message::{Message, Record},
    monitor::MonitorTable,
    third,
};
use loadtest::smsc::{Carried, Delivery, MobileOriginated, Number};
use mobile::{Bearer, Profile};
use proto::centre::{self, restore_request::Selection};
use smpp::ShortMessage;
use uicc::files::{EF_ADN, EF_EXT1, Path};

use crate::rig::{ADN_RECORDS, CENTRE, Records, Rig, delete, held, msisdn, new_account, until, write, write_long};

fn first() -> Profile {
    Profile::First(mobile::applet::first::Settings::default())
}

fn third() -> Profile {
    Profile::Third(mobile::applet::third::Settings::default())
}

/// What came to the SMSC of this number's phone.
fn from_phone(rig: &Rig, number: &str) -> Vec<MobileOriginated> {
    let of_phone = |carried: &Carried| match carried {
        Carried::FromPhone(message) if message.msisdn.to_string() == number => Some(message.clone()),
        _ => None,
    };
    rig.carried.lock().expect("messages").iter().filter_map(of_phone).collect()
}

/// What came to it of the centre for this number.
fn to_phone(rig: &Rig, number: &str) -> Vec<ShortMessage> {
    let for_phone = |carried: &Carried| match carried {
        Carried::ToPhone(message) if message.destination_addr.addr.to_string() == number => Some((**message).clone()),
        _ => None,
    };
    rig.carried.lock().expect("messages").iter().filter_map(for_phone).collect()
}

/// A full card is backed up, edited and restored by short messages; the longest in each direction is `least` to 140 octets.
async fn sizes(rig: &Rig, number: u32, profile: Profile, settings: &[Item], least: usize) {
    let phone = rig.phone_of(profile, number, Bearer::Sms).await;
    if !settings.is_empty() {
        assert_eq!(rig.configure(&phone, settings).await.state, "done");
    }
    for record in 1..=ADN_RECORDS {
        write(&phone, record, &format!("Somebody {record:05}"));
    }
    rig.settled(&phone).await;
    let (moment, full) = (runtime::clock::now(), held(&phone));
    for record in 1..=ADN_RECORDS {
        if record % 5 == 0 { delete(&phone, record) } else { write(&phone, record, "Another") }
    }
    rig.settled(&phone).await;
    assert_eq!(rig.restore(&phone, moment, Selection::All(true)).await.state, "done");
    assert_eq!(held(&phone), full);
    let up: Vec<usize> = from_phone(rig, &msisdn(number)).iter().map(|message| message.payload.len()).collect();
    let down: Vec<usize> = to_phone(rig, &msisdn(number)).iter().map(|message| message.payload().len()).collect();
    for (way, octets) in [("up", up), ("down", down)] {
        let most = octets.iter().max().copied().unwrap_or(0);
        assert!((least..=140).contains(&most), "{number} {way}: {octets:?}");
    }
    let statistics = phone.with(|station| station.statistics());
    assert_eq!((statistics.ip_sent, statistics.ip_received), (0, 0), "all of it by SMS");
}

/// Every test of this suite looks at the messages that its network carried ([`Rig::stop`]); here are full ones of every
/// embodiment, in both directions.
///
/// Covers: G-05
#[tokio::test]
async fn no_short_message_of_any_embodiment_has_more_than_140_octets() {
    let rig = Rig::start().await;
    tokio::join!(
        sizes(&rig, 800, first(), &[], 117),
        sizes(&rig, 801, Profile::Second, &[], 121),
        // As many records as there is time for between two messages; they are shorter.
        sizes(&rig, 802, Profile::Second, &[Item::Compact { on: true }], 60),
        sizes(&rig, 803, third(), &[], 110),
    );
    rig.stop().await;
}

/// What a signal says.
struct Signal {
    operation: &'static str,
    /// By row of the monitor table and record number.
    data: Vec<((u8, u8), Vec<u8>)>,
}

fn signal(operation: &'static str, data: impl IntoIterator<Item = ((u8, u8), Vec<u8>)>) -> Signal {
    Signal { operation, data: data.into_iter().collect() }
}

/// Reads a signal from its octets alone; `monitor`: of a card that has a monitor table.
fn read(octets: &[u8], monitor: &MonitorTable) -> Signal {
    match classify(octets[0]) {
        FirstOctet::FirstEmbodiment(_) => read_first(first::Message::decode(octets).expect("E1")),
        FirstOctet::SecondEmbodiment(_) => read_second(Message::decode(octets, monitor).expect("E2")),
        FirstOctet::ThirdEmbodiment(_) => read_third(third::Message::decode(octets).expect("E3")),
        other => panic!("{other:?}"),
    }
}

fn read_first(message: first::Message) -> Signal {
    let data = |entries: Vec<first::Entry>| entries.into_iter().map(|it| ((0, it.record_number), it.data.to_vec()));
    match message {
        first::Message::Backup { entries, .. } => signal("backup", data(entries)),
        first::Message::Restore { entries } => signal("restore", data(entries)),
        first::Message::Acknowledgement { results } => {
            signal("backup acknowledgement", results.into_iter().map(|it| ((0, it.record_number), vec![it.result])))
        }
        first::Message::ServiceOn => signal("service on", []),
        first::Message::ServiceOff => signal("service off", []),
        first::Message::Resynchronise => signal("resynchronise", []),
        first::Message::Error { refused, reason } => signal("error", [((0, refused), vec![reason])]),
    }
}

fn read_second(message: Message) -> Signal {
    let data =
        |records: Vec<Record>| records.into_iter().map(|it| ((it.monitor_index, it.record_number), it.data.to_vec()));
    match message {
        Message::Backup { records, refused: None, .. } => signal("backup", data(records)),
        Message::Restore { records, refused: None } => signal("restore", data(records)),
        Message::BackupAcknowledgement { records } => signal(
            "backup acknowledgement",
            records.into_iter().map(|it| ((it.monitor_index, it.record_number), vec![it.result])),
        ),
        Message::RestoreAcknowledgement { records } => signal(
            "restore acknowledgement",
            records.into_iter().map(|it| ((0, it.record_number), vec![it.result, it.reason])),
        ),
        Message::Configuration { items, unparsed: None } => {
            signal("configuration", items.into_iter().map(|it| ((0, it.cid), it.data.to_vec())))
        }
        Message::ConfigurationAcknowledgement { records } => {
            signal("configuration acknowledgement", records.into_iter().map(|(cid, result)| ((0, cid), vec![result])))
        }
        other => panic!("{other:?}"),
    }
}

fn read_third(message: third::Message) -> Signal {
    let data = |sets: Vec<third::Set>| {
        sets.into_iter().map(|set| ((0, set.record_number), set.to_record(28).expect("a record of 28 octets")))
    };
    match message {
        third::Message::Change { sets } | third::Message::ChangeComplete { sets, .. } => signal("backup", data(sets)),
        third::Message::Restore { sets } | third::Message::RestoreComplete { sets, .. } => {
            signal("restore", data(sets))
        }
        third::Message::Confirmation { result } => signal("backup acknowledgement", [((0, 0), vec![result])]),
        third::Message::Control { request: third::Request::Resynchronise } => signal("resynchronise", []),
        third::Message::Control { request } => panic!("{request:?}"),
        third::Message::Error { reason } => signal("error", [((0, 0), vec![reason])]),
    }
}

/// The records that signals of this operation leave behind, the later one winning.
fn outcome(signals: &[Signal], operation: &str) -> Records {
    let mut records = BTreeMap::new();
    for ((row, number), octets) in signals.iter().filter(|it| it.operation == operation).flat_map(|it| it.data.clone())
    {
        let Path { df, ef } = if row == 0 { EF_ADN } else { EF_EXT1 };
        records.insert((df.into(), ef.into(), number.into()), octets);
    }
    records.retain(|_, octets| octets.iter().any(|octet| *octet != 0xFF));
    records
}

/// Every signal of a life, read from nothing but itself: who it is from and for, what is to be done, and with what.
///
/// Covers: G-09
#[tokio::test]
async fn every_signal_names_its_ends_its_operation_and_its_data() {
    let rig = Rig::start().await;
    for (number, profile) in [(810, first()), (811, Profile::Second), (812, third())] {
        let is_second = profile == Profile::Second;
        let phone = rig.phone_of(profile, number, Bearer::Sms).await;
        let monitor = if is_second { phone.with(|it| it.eeprom().monitor.clone()) } else { MonitorTable::default() };
        for record in 1..=9 {
            write(&phone, record, &format!("Person {record}"));
        }
        if is_second {
            write_long(&phone, 12, "Far away");
        }
        rig.settled(&phone).await;
        delete(&phone, 4);
        write(&phone, 5, "Somebody else");
        rig.settled(&phone).await;
        let (name, expected) = (msisdn(number), held(&phone));
        // From the card: its number, the centre's, the operation, and what is on the card now.
        let up: Vec<Signal> = from_phone(&rig, &name).iter().map(|it| read(&it.payload, &monitor)).collect();
        assert_eq!(outcome(&up, "backup"), expected, "{number}");
        let destinations: BTreeSet<String> =
            from_phone(&rig, &name).iter().map(|message| message.destination.to_string()).collect();
        assert_eq!(destinations, [CENTRE.to_owned()].into());
        // From the centre: all of it back, and an order.
        assert_eq!(rig.restore(&phone, 0, Selection::All(true)).await.state, "done");
        if is_second {
            assert_eq!(rig.configure(&phone, &[Item::RetryPreset(3)]).await.state, "done");
        } else {
            rig.control(&phone, "resynchronise").await;
        }
        let (first, second) = (to_phone(&rig, &name), from_phone(&rig, &name));
        let down: Vec<Signal> = first.iter().map(|message| read(message.payload(), &monitor)).collect();
        assert_eq!(outcome(&down, "restore"), expected, "{number}");
        let originators: BTreeSet<String> = first.iter().map(|message| message.source_addr.addr.to_string()).collect();
        assert_eq!(originators, [CENTRE.to_owned()].into());
        let up = second.iter().map(|message| read(&message.payload, &monitor));
        let operations: BTreeSet<&str> = up.chain(down).map(|signal| signal.operation).collect();
        let of_all = ["backup", "backup acknowledgement", "restore"];
        let own: &[&str] = if is_second {
            &["configuration", "configuration acknowledgement", "restore acknowledgement"]
        } else {
            &["resynchronise"]
        };
        assert_eq!(operations, of_all.iter().chain(own).copied().collect(), "{number}");
    }
    rig.stop().await;
}

fn offered(number: u32, payload: Vec<u8>) -> MobileOriginated {
    MobileOriginated {
        msisdn: Number::new(msisdn(number).as_bytes()).expect("a number"),
        destination: Number::new(CENTRE.as_bytes()).expect("a number"),
        protocol_id: 0,
        data_coding: 0xF5,
        user_data_header: false,
        payload: payload.into(),
        message_reference: None,
    }
}

/// What Table 1 names, in the words of a `submit_sm`: duplicates are not rejected, the validity is relative, no reply path,
/// the centre's number and the card's, protocol, coding and length.
fn check_transport(message: &ShortMessage, number: u32) {
    assert_eq!(message.destination_addr.addr.to_string(), msisdn(number));
    assert_eq!(message.source_addr.addr.to_string(), CENTRE);
    assert_eq!((message.esm_class, message.replace_if_present_flag), (0, 0));
    assert_eq!((message.protocol_id, message.data_coding), (0x00, 0xF6), "D-59");
    let validity = message.validity_period.as_str().expect("text");
    assert!(validity.len() == 16 && validity.ends_with('R'), "{validity:?}");
    assert!(message.tlvs.message_payload().is_none() && (1..=140).contains(&message.short_message.len()));
}

/// Covers: S3-MF-08
#[tokio::test]
async fn errors_and_orders_to_an_e3_card_travel_as_its_data_does() {
    let rig = Rig::start().await;
    let phone = rig.phone_of(third(), 820, Bearer::Sms).await;
    write(&phone, 1, "Alice");
    rig.settled(&phone).await;
    assert_eq!(rig.restore(&phone, 0, Selection::All(true)).await.state, "done");
    // The centre begins.
    rig.control(&phone, "resynchronise").await;
    // A version that nobody knows yet: the centre answers with an error.
    rig.smsc.mobile_originated(offered(820, vec![0x81, 0x02, 0x01])).await;
    let sent = |first: &[u8]| {
        let messages = to_phone(&rig, &msisdn(820));
        messages.into_iter().find(|message| message.payload().starts_with(first))
    };
    until("the error leaves", async || sent(&[0x84]).is_some()).await;
    let kinds: [&[u8]; 4] = [&[0x85, 0x01, 0x01, 0x00], &[0x87, 0x01, 0x01], &[0x83, 0x01, 0x02], &[0x84, 0x01, 0x0C]];
    for kind in kinds {
        check_transport(&sent(kind).unwrap_or_else(|| panic!("no message {kind:02X?}")), 820);
    }
    rig.stop().await;
}

/// Vector 2 in, vector 4 out, each function of the adaptor with its trace: received, its entries extracted and handed to the
/// store, a result for each generated, a message assembled.
///
/// Covers: SC-E1-01
#[tokio::test]
async fn an_e1_backup_goes_in_and_its_acknowledgement_comes_out() {
    let rig = Rig::start().await;
    rig.keep_what_leaves();
    let mut account =
        centre::NewAccount { personalised: true, profile: "E1".to_owned(), ..new_account(830, Bearer::Sms) };
    account.monitor.truncate(1);
    // One entry less than the card thinks: the last is refused.
    account.monitor[0].record_count = 29;
    rig.subscribe(account).await;
    let entry = |record_number, name: &str| {
        let mut data = [0xFF; 28];
        data[..name.len()].copy_from_slice(name.as_bytes());
        data[14..20].copy_from_slice(&[5, 0x81, 0x20, 0x80, 0x91, 0x99]);
        first::Entry { record_number, data }
    };
    let entries = vec![entry(1, "BOB"), entry(2, "HOME"), entry(30, "OFFICE")];
    let backup = first::Message::Backup { entries: entries.clone(), is_checked: false }.encode();
    assert_eq!(backup.len(), 117);
    let delivered = rig.smsc.mobile_originated(offered(830, backup)).await;
    assert_eq!((delivered.delivery, delivered.attempts), (Delivery::Accepted, 1));
    let book: Vec<(u32, Vec<u8>)> =
        rig.book(&msisdn(830)).await.into_iter().map(|((.., n), octets)| (n, octets)).collect();
    let expected: Vec<(u32, Vec<u8>)> =
        entries[..2].iter().map(|entry| (entry.record_number.into(), entry.data.to_vec())).collect();
    assert_eq!(book, expected, "extracted, and in the database");
    until("the acknowledgement leaves", async || !to_phone(&rig, &msisdn(830)).is_empty()).await;
    let [acknowledgement] = to_phone(&rig, &msisdn(830)).try_into().expect("one message");
    assert_eq!(acknowledgement.payload()[..], [0x03, 1, 0, 2, 0, 30, 2, 0, 0]);
    check_transport(&acknowledgement, 830);
    until("its row goes", async || rig.left(&msisdn(830), Bearer::Sms).len() == 1).await;
    let sql = "SELECT channel, octets, first_octet FROM billing_event WHERE msisdn = ?1";
    let number: i64 = msisdn(830).parse().expect("digits");
    let received: (String, i64, i64) = rig
        .database()
        .query_row(sql, [number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .expect("one event: it was received once");
    assert_eq!((received.0.starts_with("sms/"), received.1, received.2), (true, 117, 1));
    rig.stop().await;
}

/// Covers: S1-NW-02
#[tokio::test]
async fn what_is_sent_while_a_phone_is_off_reaches_it_when_it_is_on_again() {
    let rig = Rig::start().await;
    let phone = rig.phone_of(first(), 840, Bearer::Sms).await;
    for record in 1..=6 {
        write(&phone, record, &format!("Person {record}"));
    }
    rig.settled(&phone).await;
    let (name, moment, before) = (msisdn(840), runtime::clock::now(), held(&phone));
    (1..=6).for_each(|record| write(&phone, record, "Another"));
    rig.settled(&phone).await;
    let after = held(&phone);
    let number = Number::new(name.as_bytes()).expect("a number");
    rig.smsc.set_reachable(number, false).await;
    let received = rig.delivered(&name).len();
    let request = centre::RestoreRequest {
        msisdn: name.clone(),
        from_device_id: 0,
        as_of_micros: moment,
        selection: Some(Selection::All(true)),
    };
    let ordered = rig.commands.clone().restore(request).await.expect("restore").into_inner();
    let is_restore = |message: &ShortMessage| message.payload().starts_with(&[0x02]);
    until("the network has the first message", async || to_phone(&rig, &name).iter().any(is_restore)).await;
    assert_eq!((rig.delivered(&name).len(), held(&phone)), (received, after), "the network keeps it");
    // Nobody does anything but the phone's owner.
    rig.smsc.set_reachable(number, true).await;
    assert_eq!(rig.ended(&phone, ordered.action_id).await.state, "done");
    assert_eq!((held(&phone), rig.book(&name).await), (before.clone(), before));
    rig.stop().await;
}
