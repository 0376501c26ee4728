//! Secured cards end to end: by SMS and IP, with integrity and with cipher; what is not their own; restarts and rotations.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use link::{backup, checksum::crc16, message::Record};
use loadtest::{
    fleet::Phone,
    smsc::{Delivery, MobileOriginated, MobileTerminated, Number},
};
use mobile::{
    Bearer, CardSecurity, Profile, Station, StationConfig,
    applet::{MENU_BACKUP_ASYNCHRONOUS, asynchronous, first, third},
};
use proto::centre::{self, restore_request::Selection, security_client::SecurityClient};
use runtime::config::Secret;
use secured::{
    Algorithm, CardKeys, Spi,
    command::{self, Command},
    master::MasterKey,
};
use tonic::transport::Channel;
use uicc::files::EF_ADN;

use crate::{
    logs,
    rig::{
        CENTRE, Records, Rig, account_of, card_settings, delete, held, msisdn, new_account, until, write, write_long,
    },
};

const MASTER: &str = "C0FFEE00C0FFEE00C0FFEE00C0FFEE00C0FFEE00C0FFEE00C0FFEE00C0FFEE00";
const TAR_UP: [u8; 3] = domain::security::TAR_UP;
const TAR_DOWN: [u8; 3] = domain::security::TAR_DOWN;

async fn start() -> Rig {
    Rig::with(1, |config| config.master_key = Secret::new(MASTER)).await
}

fn calls(rig: &Rig) -> SecurityClient<Channel> {
    SecurityClient::new(rig.channel.clone())
}

/// As the card maker derives them.
fn keys(number: u32, version: u8) -> CardKeys {
    let master = MasterKey::from_hex(MASTER).expect("a key");
    master.card_keys(&new_account(number, Bearer::Sms).iccid, version, Algorithm::Aes128).expect("keys")
}

fn station(bearer: Bearer, least: Spi, keys: Vec<CardKeys>) -> Station {
    station_of(Profile::Second, bearer, least, keys)
}

fn station_of(profile: Profile, bearer: Bearer, least: Spi, keys: Vec<CardKeys>) -> Station {
    let security = Some(CardSecurity { least, keys, tar_up: TAR_UP, tar_down: TAR_DOWN });
    Station::new(StationConfig { profile, security, ..card_settings(bearer) })
}

async fn subscribe(rig: &Rig, number: u32, bearer: Bearer, level: &str) -> centre::DeviceSecurity {
    subscribe_as(rig, &Profile::Second, number, bearer, level).await
}

async fn subscribe_as(
    rig: &Rig,
    profile: &Profile,
    number: u32,
    bearer: Bearer,
    level: &str,
) -> centre::DeviceSecurity {
    rig.subscribe(account_of(profile, number, bearer)).await;
    let request = centre::SetSecurityRequest { msisdn: msisdn(number), level: level.to_owned(), ..Default::default() };
    calls(rig).set_security(request).await.expect("set").into_inner()
}

async fn phone(rig: &Rig, number: u32, bearer: Bearer, least: Spi) -> Arc<Phone> {
    phone_as(rig, Profile::Second, number, bearer, least).await
}

async fn phone_as(rig: &Rig, profile: Profile, number: u32, bearer: Bearer, least: Spi) -> Arc<Phone> {
    let level = if least.is_ciphered { "integrity_and_cipher" } else { "integrity" };
    subscribe_as(rig, &profile, number, bearer, level).await;
    rig.switch_on(number, station_of(profile, bearer, least, vec![keys(number, 1), keys(number, 2)]))
}

fn contains(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|window| window == text.as_bytes())
}

fn packet(message: &MobileTerminated) -> &[u8] {
    assert!(message.user_data_header && message.payload.starts_with(&[2, 0x70, 0]), "{message:?}");
    &message.payload[3..]
}

/// Backup, acknowledgement and restore of one card.
async fn lives(rig: &Rig, number: u32, bearer: Bearer, least: Spi) {
    let phone = phone(rig, number, bearer, least).await;
    for record in 1..=9 {
        write(&phone, record, &format!("Person {record}"));
    }
    write_long(&phone, 12, "Far away");
    rig.settled(&phone).await;
    let book = rig.book(&msisdn(number)).await;
    assert_eq!(book.len(), 11);
    let moment = runtime::clock::now();
    for record in 1..=9 {
        write(&phone, record, "Somebody else");
    }
    rig.settled(&phone).await;
    let action = rig.restore(&phone, moment, Selection::All(true)).await;
    assert_eq!((action.state.as_str(), action.records_failed), ("done", 0));
    assert_eq!(held(&phone), book);
    assert_eq!(rig.book(&msisdn(number)).await, book);
    assert_eq!(rig.configure(&phone, &[link::configuration::Item::RetryPreset(3)]).await.state, "done");
    let statistics = phone.with(|station| station.statistics());
    assert_eq!((statistics.insecure_refused, statistics.records_given_up), (0, 0));
    let delivered = rig.delivered(&msisdn(number));
    assert_eq!(delivered.is_empty(), bearer == Bearer::Ip);
    for message in &delivered {
        let command = command::open(packet(message), &keys(number, 1).down).expect("the centre's packet");
        assert_eq!((command.tar, command.spi), (TAR_DOWN, least));
    }
    let readable = delivered.iter().any(|message| contains(&message.payload, "Person"));
    assert_eq!(readable, bearer == Bearer::Sms && !least.is_ciphered, "the SM is unreadable without the key");
}

/// Covers: S1-BK-05
#[tokio::test]
async fn a_secured_card_backs_up_and_is_restored_by_sms_and_ip() {
    let rig = start().await;
    tokio::join!(
        lives(&rig, 700, Bearer::Sms, Spi::INTEGRITY),
        lives(&rig, 701, Bearer::Sms, Spi::CIPHER),
        lives(&rig, 702, Bearer::Ip, Spi::INTEGRITY),
        lives(&rig, 703, Bearer::Ip, Spi::CIPHER),
    );
    // A lost card: the new one has keys of its own by its own ICCID.
    let lost = msisdn(701);
    let book = rig.book(&lost).await;
    let request = centre::ReplaceCardRequest {
        msisdn: lost.clone(),
        iccid: new_account(799, Bearer::Sms).iccid,
        personalised: true,
        ..Default::default()
    };
    rig.accounts.clone().replace_card(request).await.expect("replaced");
    let new = rig.switch_on(701, station(Bearer::Sms, Spi::CIPHER, vec![keys(799, 1)]));
    assert_eq!(rig.restore(&new, 0, Selection::All(true)).await.state, "done");
    assert_eq!(held(&new), book);
    rig.settled(&new).await;
    rig.stop().await;
}

/// The packets in what the SMSC delivered, opened: of two parts one.
fn opened(rig: &Rig, number: u32) -> Vec<Command> {
    let mut packets: Vec<Vec<u8>> = Vec::new();
    for message in rig.delivered(&msisdn(number)) {
        assert!(message.user_data_header && message.protocol_id == 0x7F, "{message:?}");
        match &message.payload[..] {
            [2, 0x70, 0, packet @ ..] | [7, 0, 3, _, 2, 1, 0x70, 0, packet @ ..] => packets.push(packet.to_vec()),
            [5, 0, 3, _, 2, 2, rest @ ..] => packets.last_mut().expect("the first part").extend(rest),
            other => panic!("{other:02X?}"),
        }
    }
    packets.iter().map(|packet| command::open(packet, &keys(number, 1).down).expect("the centre's packet")).collect()
}

/// Backup, deletion, restore, resynchronisation and a lost card of a profile without a monitor table; `first_octets`: of
/// what the centre sends it.
async fn lives_as(rig: &Rig, profile: Profile, number: u32, bearer: Bearer, least: Spi, first_octets: &[u8]) {
    let phone = phone_as(rig, profile.clone(), number, bearer, least).await;
    for record in 1..=9 {
        write(&phone, record, &format!("Person {record}"));
    }
    rig.settled(&phone).await;
    let (moment, book) = (runtime::clock::now(), rig.book(&msisdn(number)).await);
    assert_eq!(book.len(), 9);
    for record in 1..=4 {
        write(&phone, record, "Somebody else");
    }
    delete(&phone, 9);
    write(&phone, 20, "Surplus");
    rig.settled(&phone).await;
    let action = rig.restore(&phone, moment, Selection::All(true)).await;
    assert_eq!((action.state.as_str(), action.records_failed), ("done", 0));
    assert_eq!((held(&phone), rig.book(&msisdn(number)).await), (book.clone(), book.clone()));
    rig.control(&phone, "resynchronise").await;
    rig.settled(&phone).await;
    let statistics = phone.with(|station| station.statistics());
    assert_eq!((statistics.insecure_refused, statistics.records_given_up, statistics.errors_received), (0, 0, 0));
    let commands = opened(rig, number);
    assert_eq!(commands.is_empty(), bearer == Bearer::Ip);
    for Command { tar, spi, data, .. } in commands {
        assert_eq!((tar, spi), (TAR_DOWN, least));
        assert!(first_octets.contains(&data[0]), "{data:02X?}");
    }
    // The card was lost: keys of its own, and the book comes back in packets.
    let request = centre::ReplaceCardRequest {
        msisdn: msisdn(number),
        iccid: new_account(number + 50, bearer).iccid,
        ip_key: crate::rig::ip_key(number).into(),
        personalised: true,
        ..Default::default()
    };
    rig.accounts.clone().replace_card(request).await.expect("replaced");
    let new = rig.switch_on(number, station_of(profile, bearer, least, vec![keys(number + 50, 1)]));
    assert_eq!(rig.restore(&new, 0, Selection::All(true)).await.state, "done");
    assert_eq!((held(&new), rig.book(&msisdn(number)).await), (book.clone(), book));
    assert_eq!(new.with(|station| station.statistics()).insecure_refused, 0);
}

/// Messages of one length that no single packet takes (E1), and tagged sets that fill what a packet leaves (E3).
///
/// Covers: G-12, S1-BK-05
#[tokio::test]
async fn secured_cards_of_the_first_and_third_embodiment_live_on_both_bearers() {
    let rig = start().await;
    let first = || Profile::First(first::Settings { with_checksum: true, ..first::Settings::default() });
    let third = || Profile::Third(third::Settings::default());
    let (to_first, to_third) = ([0x02, 0x03, 0x06], [0x83, 0x85, 0x86, 0x87]);
    tokio::join!(
        lives_as(&rig, first(), 760, Bearer::Sms, Spi::INTEGRITY, &to_first),
        lives_as(&rig, first(), 761, Bearer::Sms, Spi::CIPHER, &to_first),
        lives_as(&rig, first(), 762, Bearer::Ip, Spi::CIPHER, &to_first),
        lives_as(&rig, third(), 763, Bearer::Sms, Spi::INTEGRITY, &to_third),
        lives_as(&rig, third(), 764, Bearer::Sms, Spi::CIPHER, &to_third),
        lives_as(&rig, third(), 765, Bearer::Ip, Spi::CIPHER, &to_third),
    );
    let restores = rig.delivered(&msisdn(760));
    assert!(restores.iter().any(|message| message.payload.starts_with(&[7, 0, 3])), "119 octets take two parts");
    rig.stop().await;
}

/// Features of their own may be used together: blocks with pauses, each message in a packet.
///
/// Covers: G-12
#[tokio::test]
async fn secured_cards_of_every_profile_back_up_in_blocks() {
    let rig = start().await;
    let variant = link::asynchronous::Variant::ServerCountdown;
    let blocks = asynchronous::Settings { variant, delay_seconds: 1, ..asynchronous::Settings::default() };
    let mode = Some(blocks);
    let first = Profile::First(first::Settings { asynchronous: mode, ..first::Settings::default() });
    let third = Profile::Third(third::Settings { asynchronous: mode, ..third::Settings::default() });
    tokio::join!(
        secured_blocks(&rig, &first, 770, Bearer::Sms),
        secured_blocks(&rig, &first, 771, Bearer::Ip),
        secured_blocks(&rig, &Profile::Second, 772, Bearer::Sms),
        secured_blocks(&rig, &Profile::Second, 773, Bearer::Ip),
        secured_blocks(&rig, &third, 774, Bearer::Sms),
        secured_blocks(&rig, &third, 775, Bearer::Ip),
    );
    rig.stop().await;
}

async fn secured_blocks(rig: &Rig, profile: &Profile, number: u32, bearer: Bearer) {
    let phone = phone_as(rig, profile.clone(), number, bearer, Spi::CIPHER).await;
    if *profile == Profile::Second {
        let item = link::configuration::Item::Asynchronous { mode: 0, blocks_per_message: 3, delay: 1 };
        assert_eq!(rig.configure(&phone, &[item]).await.state, "done");
    }
    (1..=7).for_each(|record| write(&phone, record, &format!("Person {record}")));
    assert!(rig.book(&msisdn(number)).await.is_empty());
    phone.select(MENU_BACKUP_ASYNCHRONOUS);
    rig.settled(&phone).await;
    assert_eq!(rig.book(&msisdn(number)).await.len(), 7);
    let statistics = phone.with(|station| station.statistics());
    assert_eq!((statistics.backups_completed, statistics.insecure_refused), (1, 0), "{profile:?} {bearer:?}");
    let told = opened(rig, number).into_iter().map(|command| command.data[0]);
    let mode: Vec<u8> = told.filter(|first| matches!(first, 0xA0..=0xA7)).collect();
    assert_eq!(mode, if bearer == Bearer::Sms { vec![0xA2, 0xA2, 0xA3] } else { vec![] });
}

/// A backup of one record of EF_ADN, as the card's applet makes it.
fn backup_of(record_number: u8, name: &str) -> Vec<u8> {
    let mut data = name.as_bytes().to_vec();
    data.resize(14, 0xFF);
    data.extend([5, 0x81, 0x20, 0x80, 0x91, 0x99]);
    data.resize(28, 0xFF);
    let checksum = crc16(&data);
    let mut message = backup::Builder::new(113);
    message.push(&Record { monitor_index: 0, record_number, data: data.into() }).expect("fits");
    message.finish(checksum)
}

fn sealed(number: u32, version: u8, counter: u64, data: Vec<u8>) -> Vec<u8> {
    let command = Command { spi: Spi::INTEGRITY, tar: TAR_UP, counter, data };
    command::seal(&command, &keys(number, version).up).expect("sealed")
}

fn originated(number: u32, header: bool, octets: &[u8]) -> MobileOriginated {
    let payload = if header { [&[2, 0x70, 0], octets].concat() } else { octets.to_vec() };
    MobileOriginated {
        msisdn: Number::new(msisdn(number).as_bytes()).expect("number"),
        destination: Number::new(CENTRE.as_bytes()).expect("number"),
        protocol_id: 0x7F,
        data_coding: 0xF6,
        user_data_header: header,
        payload: payload.into(),
        message_reference: None,
    }
}

/// Offers a packet as this number's; the network is never asked to bring it again.
async fn offer(rig: &Rig, number: u32, header: bool, octets: &[u8]) {
    let sent = rig.smsc.mobile_originated(originated(number, header, octets)).await;
    assert_eq!((sent.delivery, sent.attempts), (Delivery::Accepted, 1));
}

fn record_of(book: &Records, record: u32) -> Option<String> {
    let octets = book.get(&(EF_ADN.df.into(), EF_ADN.ef.into(), record))?;
    Some(octets[..14].iter().filter(|octet| **octet != 0xFF).map(|octet| char::from(*octet)).collect())
}

/// Covers: S1-BK-05
#[tokio::test]
async fn what_is_not_the_cards_own_is_refused_logged_and_not_stored() {
    let rig = start().await;
    let number = 710;
    subscribe(&rig, number, Bearer::Sms, "integrity").await;
    let masked = domain::identity::Msisdn::parse(&msisdn(number)).expect("number").to_string();
    let refused = |cause: &str| logs::lines(&["a message is refused for its security", &masked, cause]).len();
    let good = sealed(number, 1, 10, backup_of(1, "Anna"));
    // Forged in each of its parts, made with other keys, for another, by another, and plain.
    let mut forged = good.clone();
    *forged.last_mut().expect("octets") ^= 1;
    offer(&rig, number, true, &forged).await;
    let other_keys = sealed(711, 1, 11, backup_of(1, "Eve"));
    offer(&rig, number, true, &other_keys).await;
    assert_eq!(refused("forged"), 2);
    offer(&rig, number, true, &sealed(number, 2, 12, backup_of(1, "Eve"))).await;
    assert_eq!(refused("keys that the device does not have"), 1);
    offer(&rig, number, false, &backup_of(1, "Eve")).await;
    assert_eq!(refused("a plain message"), 1);
    let reflected = Command { spi: Spi::INTEGRITY, tar: TAR_UP, counter: 13, data: backup_of(1, "Eve") };
    offer(&rig, number, true, &command::seal(&reflected, &keys(number, 1).down).expect("sealed")).await;
    assert_eq!(refused("forged"), 3, "the centre's own keys are not the card's");
    assert!(rig.book(&msisdn(number)).await.is_empty());
    let counter_up = async || {
        let request = centre::ShowSecurityRequest { msisdn: msisdn(number) };
        calls(&rig).show_security(request).await.expect("shown").into_inner().counter_up
    };
    assert_eq!(counter_up().await, 0, "what was refused moves no counter");
    // The good one, then a later one, then the good one again: a replay.
    offer(&rig, number, true, &good).await;
    offer(&rig, number, true, &sealed(number, 1, 14, backup_of(1, "Berta"))).await;
    offer(&rig, number, true, &good).await;
    assert_eq!(refused("the counter was used before"), 1);
    assert_eq!(record_of(&rig.book(&msisdn(number)).await, 1).as_deref(), Some("Berta"));
    assert_eq!(counter_up().await, 14);
    // Nobody was told anything but the two backups' acknowledgements.
    until("both are acknowledged", async || !rig.delivered(&msisdn(number)).is_empty()).await;
    for message in rig.delivered(&msisdn(number)) {
        let command = command::open(packet(&message), &keys(number, 1).down).expect("the centre's packet");
        assert_eq!(command.data[0] & 0xF8, 0x10, "backup acknowledgement");
    }
    assert!(rig.notices(&msisdn(number), "refused-message").await.is_empty());
    // A device that is not secured takes no packets.
    rig.subscribe(centre::NewAccount { personalised: true, ..new_account(711, Bearer::Sms) }).await;
    offer(&rig, 711, true, &other_keys).await;
    assert!(rig.book(&msisdn(711)).await.is_empty());
    rig.stop().await;
}

#[tokio::test]
async fn packets_that_overtook_one_another_are_taken_once_each() {
    let rig = start().await;
    let number = 720;
    subscribe(&rig, number, Bearer::Sms, "integrity").await;
    let message = |counter: u8| sealed(number, 1, counter.into(), backup_of(counter, &format!("Person {counter}")));
    for counter in [5, 3, 9, 1, 4, 8] {
        offer(&rig, number, true, &message(counter)).await;
    }
    for counter in [3, 5, 1, 9] {
        offer(&rig, number, true, &message(counter)).await;
    }
    let history = {
        let request = centre::HistoryRequest { msisdn: msisdn(number), device_id: 0, limit: 100 };
        rig.books.clone().history(request).await.expect("history").into_inner().entries
    };
    let mut records: Vec<u32> = history.iter().map(|entry| entry.record_number).collect();
    records.sort_unstable();
    assert_eq!(records, [1, 3, 4, 5, 8, 9], "each once");
    // A packet in two parts, the second first.
    let long = [backup_of(11, "Person 11"), vec![0; 100]].concat();
    let packet = sealed(number, 1, 20, long);
    let (first, second) = packet.split_at(132);
    for (header, part) in [(&[5, 0, 3, 77, 2, 2][..], second), (&[7, 0, 3, 77, 2, 1, 0x70, 0][..], first)] {
        let payload: Bytes = [header, part].concat().into();
        let sent = rig.smsc.mobile_originated(MobileOriginated { payload, ..originated(number, true, &[]) }).await;
        assert_eq!(sent.delivery, Delivery::Accepted);
    }
    let request = centre::ShowSecurityRequest { msisdn: msisdn(number) };
    assert_eq!(calls(&rig).show_security(request).await.expect("shown").into_inner().counter_up, 20);
    rig.stop().await;
}

/// The counter of a packet that is not ciphered.
fn counter(message: &MobileTerminated) -> u64 {
    packet(message)[10..15].iter().fold(0, |counter, octet| counter << 8 | u64::from(*octet))
}

#[tokio::test]
async fn no_counter_is_used_twice_over_a_restart_of_the_centre() {
    let mut rig = start().await;
    let phone = phone(&rig, 730, Bearer::Sms, Spi::INTEGRITY).await;
    for round in 0..3 {
        for record in 1..=3 {
            write(&phone, record, &format!("Round {round} {record}"));
        }
        rig.settled(&phone).await;
        rig.restart_centre().await;
    }
    let counters: Vec<u64> = rig.delivered(&msisdn(730)).iter().map(counter).collect();
    assert!(counters.len() >= 3 && counters.is_sorted_by(|a, b| a < b), "{counters:?}");
    assert_eq!(phone.with(|station| station.statistics()).insecure_refused, 0);
    rig.stop().await;
}

#[tokio::test]
async fn keys_are_changed_while_the_card_lives() {
    let rig = start().await;
    let number = 740;
    let phone = phone(&rig, number, Bearer::Sms, Spi::CIPHER).await;
    write(&phone, 1, "Before");
    rig.settled(&phone).await;
    let request = centre::RotateKeysRequest { msisdn: msisdn(number), ..Default::default() };
    let rotated = calls(&rig).rotate_keys(request).await.expect("rotated").into_inner();
    assert_eq!((rotated.key_version, rotated.previous_version), (2, 1));
    // The card still sends under the old keys, hears the new ones in the answer, and goes on with them.
    write(&phone, 2, "Between");
    rig.settled(&phone).await;
    write(&phone, 3, "After");
    rig.settled(&phone).await;
    until("the card was heard under the new keys", async || {
        let request = centre::ShowSecurityRequest { msisdn: msisdn(number) };
        let shown = calls(&rig).show_security(request).await.expect("shown").into_inner();
        (shown.key_version, shown.previous_version) == (2, 0) && shown.counter_up > 0
    })
    .await;
    // What is made with the old keys is nobody's now.
    offer(&rig, number, true, &sealed(number, 1, 1 << 30, backup_of(9, "Eve"))).await;
    assert_eq!(record_of(&rig.book(&msisdn(number)).await, 9), None);
    assert_eq!(rig.restore(&phone, 0, Selection::All(true)).await.state, "done");
    let versions: Vec<u8> = rig.delivered(&msisdn(number)).iter().map(|message| packet(message)[5] >> 4).collect();
    assert!(versions.first() == Some(&1) && versions.last() == Some(&2) && versions.is_sorted(), "{versions:?}");
    rig.stop().await;
}

/// What somebody else sends in the centre's name: the card does nothing.
#[tokio::test]
async fn a_secured_card_takes_nothing_but_its_centres_packets() {
    let rig = start().await;
    let number = 750;
    let phone = phone(&rig, number, Bearer::Sms, Spi::INTEGRITY).await;
    write(&phone, 1, "Mine");
    rig.settled(&phone).await;
    let before = held(&phone);
    let restore = |name: &str| [&[0x18, 0, 1][..], &backup_of(1, name)[3..31]].concat();
    let command =
        Command { spi: Spi::INTEGRITY, tar: TAR_DOWN, counter: u64::from(u32::MAX) << 8, data: restore("Eve") };
    let by_another = command::seal(&command, &keys(751, 1).down).expect("sealed");
    let replay = rig.delivered(&msisdn(number)).first().expect("an acknowledgement").payload.clone();
    let messages = [
        (false, Bytes::from(restore("Eve"))),
        (true, [&[2, 0x70, 0], &by_another[..]].concat().into()),
        (true, replay),
    ];
    for (at, (user_data_header, payload)) in (1..).zip(messages) {
        let message = MobileTerminated {
            message_id: 0,
            msisdn: Number::new(msisdn(number).as_bytes()).expect("number"),
            originator: Number::new(CENTRE.as_bytes()).expect("number"),
            protocol_id: 0x7F,
            data_coding: 0xF6,
            user_data_header,
            payload,
        };
        rig.inject.send(message).await.expect("running");
        until("the card has it", async || phone.with(|station| station.statistics()).insecure_refused == at).await;
    }
    tokio::time::timeout(Duration::from_secs(60), rig.settled(&phone)).await.expect("nothing to send");
    assert_eq!(held(&phone), before);
    rig.stop().await;
}
