//! Backups in blocks with pauses, end to end over SMPP and IP: each variant, a restart of the centre, what operators see.

use std::sync::Arc;

use link::{asynchronous::Variant, configuration::Item};
use loadtest::fleet::Phone;
use mobile::{
    Bearer, Contact, OwnMemoryConfig, Profile, Station, StationConfig,
    applet::{MENU_BACKUP, MENU_BACKUP_ASYNCHRONOUS, MENU_BACKUP_NORMAL, asynchronous, first, third},
};
use proto::centre::{self, restore_request::Selection};

use crate::{
    console::console,
    rig::{Records, Rig, account_of, card_settings, held, msisdn, until, write},
};

/// Modes of CID 0x0D.
const SERVER_COUNTDOWN: u8 = 0;
const MOBILE_TIMER: u8 = 1;
const STATUS: u8 = 2;
/// Seconds of the countdown in which the centre is restarted.
const DELAY: u16 = 20;

/// A phone with ten entries that wait for a backup, three of them in a message.
async fn phone(rig: &Rig, number: u32, bearer: Bearer, mode: u8, delay: u16) -> Arc<Phone> {
    let phone = rig.phone(number, bearer).await;
    let item = Item::Asynchronous { mode, blocks_per_message: 3, delay };
    assert_eq!(rig.configure(&phone, &[item]).await.state, "done");
    for record in 1..=10 {
        write(&phone, record, &format!("Person {record}"));
    }
    assert!(!phone.with(|station| station.pending()), "the entries wait");
    phone
}

async fn sessions(rig: &Rig, phone: &Phone) -> Vec<centre::Session> {
    let request = centre::ListSessionsRequest { msisdn: phone.subscription.msisdn.clone(), device_id: 0 };
    rig.commands.clone().list_sessions(request).await.expect("sessions").into_inner().sessions
}

/// Waits until the card was told the end and the centre has what the card has.
async fn completed(rig: &Rig, phone: &Phone, backups: u64) {
    until("the backup is complete", async || {
        phone.with(|station| station.statistics().backups_completed == backups && !station.pending())
    })
    .await;
    assert_eq!(rig.book(&phone.subscription.msisdn).await, held(phone));
}

/// What the centre sent of the asynchronous mode, without the session number.
fn told(rig: &Rig, phone: &Phone) -> Vec<Vec<u8>> {
    let delivered = rig.delivered(&phone.subscription.msisdn).into_iter().map(|message| message.payload.to_vec());
    let mode = delivered.filter(|payload| matches!(payload.first(), Some(0xA0..=0xA7)));
    mode.map(|mut payload| {
        payload.remove(1);
        payload
    })
    .collect()
}

/// Covers: AS-V1-04, AS-V1-05, AS-SV-02
#[tokio::test]
async fn the_centre_counts_down_and_asks_three_times() {
    let rig = Rig::start().await;
    let phone = phone(&rig, 70, Bearer::Sms, SERVER_COUNTDOWN, 1).await;
    phone.select(MENU_BACKUP_ASYNCHRONOUS);
    completed(&rig, &phone, 1).await;
    let expected = [vec![0xA2, 10, 1, 4, 10], vec![0xA2, 10, 1, 7, 10], vec![0xA2, 10, 1, 10, 10], vec![0xA3, 10, 0]];
    assert_eq!(told(&rig, &phone), expected);
    // One change later: one block, and the end; few entries go in normal mode.
    write(&phone, 4, "Changed");
    phone.select(MENU_BACKUP);
    completed(&rig, &phone, 2).await;
    assert_eq!(told(&rig, &phone)[4..], [vec![0xA3, 1, 0]]);
    let sent: Vec<_> = sessions(&rig, &phone).await;
    assert_eq!((sent.len(), sent[0].blocks, sent[0].variant.as_str()), (2, 1, "normal"));
    rig.stop().await;
}

/// Covers: AS-V2-04, AS-V2-05
#[tokio::test]
async fn where_the_phone_counts_the_centre_only_says_the_end() {
    let rig = Rig::start().await;
    for (number, mode) in [(71, MOBILE_TIMER), (72, STATUS)] {
        let phone = phone(&rig, number, Bearer::Sms, mode, 60).await;
        phone.select(MENU_BACKUP_ASYNCHRONOUS);
        completed(&rig, &phone, 1).await;
        assert_eq!(told(&rig, &phone), [vec![0xA3, 10, 0]], "mode {mode}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn over_ip_it_is_the_same() {
    let rig = Rig::start().await;
    let counted = phone(&rig, 73, Bearer::Ip, SERVER_COUNTDOWN, 1).await;
    counted.select(MENU_BACKUP_ASYNCHRONOUS);
    completed(&rig, &counted, 1).await;
    let normal = phone(&rig, 74, Bearer::Ip, MOBILE_TIMER, 1).await;
    normal.select(MENU_BACKUP_NORMAL);
    completed(&rig, &normal, 1).await;
    rig.stop().await;
}

/// Cards of the other profiles are set at provisioning; what the centre does is the same, and so is what follows.
///
/// Covers: G-12, AS-GN-06
#[tokio::test]
async fn cards_of_the_first_and_third_embodiment_back_up_in_blocks_too() {
    let rig = Rig::start().await;
    for (number, mode) in [(80, SERVER_COUNTDOWN), (84, MOBILE_TIMER), (88, STATUS)] {
        let delay = if mode == SERVER_COUNTDOWN { 1 } else { 60 };
        let asynchronous = asynchronous::Settings::default().configured(mode, 3, delay);
        let first = Profile::First(first::Settings { asynchronous, ..first::Settings::default() });
        let third = Profile::Third(third::Settings { asynchronous, ..third::Settings::default() });
        tokio::join!(
            blocks_of(&rig, &first, number, Bearer::Sms),
            blocks_of(&rig, &first, number + 1, Bearer::Ip),
            blocks_of(&rig, &third, number + 2, Bearer::Sms),
            blocks_of(&rig, &third, number + 3, Bearer::Ip),
        );
    }
    rig.stop().await;
}

async fn blocks_of(rig: &Rig, profile: &Profile, number: u32, bearer: Bearer) {
    let phone = rig.phone_of(profile.clone(), number, bearer).await;
    for record in 1..=10 {
        write(&phone, record, &format!("Person {record}"));
    }
    assert!(!phone.with(|station| station.pending()), "the entries wait");
    phone.select(MENU_BACKUP_ASYNCHRONOUS);
    completed(rig, &phone, 1).await;
    let (moment, before) = (runtime::clock::now(), held(&phone));
    // Then only what has changed, a deletion too.
    write(&phone, 2, "Changed");
    assert!(phone.with(|station| station.delete_contact(9)));
    phone.select(MENU_BACKUP);
    completed(rig, &phone, 2).await;
    assert_eq!(sessions(rig, &phone).await[0].blocks, 2, "{profile:?}");
    // A restore is no change: nothing is left to back up.
    assert_eq!(rig.restore(&phone, moment, Selection::All(true)).await.state, "done");
    assert_eq!((held(&phone), rig.book(&msisdn(number)).await), (before.clone(), before));
    phone.select(MENU_BACKUP);
    assert!(!phone.with(|station| station.pending()));
}

/// The address book in the device itself, as the centre names it.
const OWN_MEMORY: (u32, u32) = (0x0000, 0x0001);

/// A device with an address book of its own, ten entries in it.
fn device(rig: &Rig, number: u32, config: StationConfig, variant: Variant) -> Arc<Phone> {
    let backup = asynchronous::Settings { variant, delay_seconds: 1, ..asynchronous::Settings::default() };
    let own_memory = Some(OwnMemoryConfig { backup, ..OwnMemoryConfig::default() });
    let phone = rig.switch_on(number, Station::new(StationConfig { own_memory, ..config }));
    for record in 1..=10 {
        let contact = Contact { name: format!("Longer than a card's name {record}"), number: format!("+4930{record}") };
        assert_eq!(phone.with(|station| station.write_own(record, Some(&contact))), Ok(true));
    }
    phone
}

/// What the device itself holds.
fn held_by_itself(phone: &Phone) -> Records {
    let (df, ef) = OWN_MEMORY;
    let records = phone.with(|station| station.own_records());
    records.into_iter().map(|(number, octets)| ((df, ef, number.into()), octets)).collect()
}

/// Card and phone each have their backup, at the same time and under one number.
///
/// Covers: AS-GN-03
#[tokio::test]
async fn a_phones_own_book_is_backed_up_beside_its_cards() {
    let rig = Rig::start().await;
    for (number, bearer) in [(92, Bearer::Sms), (93, Bearer::Ip)] {
        rig.subscribe(account_of(&Profile::Second, number, bearer)).await;
        let phone = device(&rig, number, card_settings(bearer), Variant::ServerCountdown);
        let item = Item::Asynchronous { mode: SERVER_COUNTDOWN, blocks_per_message: 3, delay: 1 };
        assert_eq!(rig.configure(&phone, &[item]).await.state, "done");
        (1..=7).for_each(|record| write(&phone, record, &format!("Person {record}")));
        phone.select(MENU_BACKUP_ASYNCHRONOUS);
        phone.select_own(MENU_BACKUP_ASYNCHRONOUS);
        until("both backups are complete", async || {
            phone.with(|station| station.statistics().backups_completed == 2 && !station.pending())
        })
        .await;
        let expected: Records = held(&phone).into_iter().chain(held_by_itself(&phone)).collect();
        assert_eq!(expected.len(), 17);
        assert_eq!(rig.book(&msisdn(number)).await, expected);
        let sessions = sessions(&rig, &phone).await;
        let states: Vec<&str> = sessions.iter().map(|session| session.state.as_str()).collect();
        assert_eq!(states, ["complete", "complete"], "neither has ended the other");
        // What is restored to the card is the card's.
        assert_eq!(rig.restore(&phone, 0, Selection::All(true)).await.records_failed, 0);
        assert_eq!(rig.book(&msisdn(number)).await, expected);
    }
    rig.stop().await;
}

/// A phone without a card by SMS, a PDA by IP.
///
/// Covers: AS-GN-04
#[tokio::test]
async fn devices_without_a_card_are_backed_up() {
    let rig = Rig::start().await;
    let variants = [Variant::ServerCountdown, Variant::MobileTimer, Variant::Normal];
    for (number, variant) in (94..).step_by(2).zip(variants) {
        for (number, bearer) in [(number, Bearer::Sms), (number + 1, Bearer::Ip)] {
            rig.subscribe(account_of(&Profile::Second, number, bearer)).await;
            let config = StationConfig { has_card: false, ..card_settings(bearer) };
            let phone = device(&rig, number, config, variant);
            let item = if variant == Variant::Normal { MENU_BACKUP_NORMAL } else { MENU_BACKUP_ASYNCHRONOUS };
            phone.select_own(item);
            until("the backup is complete", async || {
                phone.with(|station| station.statistics().backups_completed == 1 && !station.pending())
            })
            .await;
            assert_eq!(rig.book(&msisdn(number)).await, held_by_itself(&phone));
            assert_eq!(sessions(&rig, &phone).await[0].variant, variant_name(variant));
        }
    }
    rig.stop().await;
}

fn variant_name(variant: Variant) -> &'static str {
    match variant {
        Variant::ServerCountdown => "server_countdown",
        Variant::MobileTimer => "mobile_timer",
        Variant::Status => "status",
        Variant::Normal => "normal",
    }
}

/// Covers: AS-V1-08, AS-SV-03
#[tokio::test]
async fn a_countdown_survives_the_centre_and_operators_see_it() {
    let mut rig = Rig::start().await;
    // Long enough for the centre to stop and start.
    let phone = phone(&rig, 75, Bearer::Sms, SERVER_COUNTDOWN, DELAY).await;
    let item = Item::Asynchronous { mode: SERVER_COUNTDOWN, blocks_per_message: 4, delay: DELAY };
    assert_eq!(rig.configure(&phone, &[item]).await.state, "done");
    for record in 5..=10 {
        assert!(phone.with(|station| station.delete_contact(record)));
    }
    write(&phone, 5, "The last");
    phone.select(MENU_BACKUP_ASYNCHRONOUS);
    until("the first blocks are stored", async || {
        sessions(&rig, &phone).await.first().is_some_and(|session| session.received == 4)
    })
    .await;
    let session = sessions(&rig, &phone).await.remove(0);
    assert_eq!((session.state.as_str(), session.variant.as_str()), ("counting", "server_countdown"));
    assert_eq!((session.blocks, session.delay_seconds), (5, DELAY.into()));
    assert_eq!(session.missing, [5]);
    assert_eq!(session.next_micros - session.updated_micros, i64::from(DELAY) * 1_000_000);
    let rows = console(&rig, &["sessions", &msisdn(75)]).await;
    let row = rows.as_array().and_then(|rows| rows.first()).expect("a row");
    let field = |name: &str| row.get(name).cloned().unwrap_or_default();
    assert_eq!((field("received"), field("blocks"), field("missing")), (4.into(), 5.into(), "5".into()), "{row}");
    rig.restart_centre().await;
    let told_before = told(&rig, &phone).len();
    let remained = session.next_micros - runtime::clock::now();
    assert!(told_before == 0 && remained > 0, "the restart took longer than the countdown: {remained} µs");
    until("it asks", async || !told(&rig, &phone).is_empty()).await;
    let late = runtime::clock::now() - session.next_micros;
    assert!((0..5_000_000).contains(&late), "{late} µs after its time");
    completed(&rig, &phone, 1).await;
    assert_eq!(told(&rig, &phone), [vec![0xA2, 5, 1, 5, 5], vec![0xA3, 5, 0]]);
    assert_eq!(sessions(&rig, &phone).await[0].state, "complete");
    rig.stop().await;
}
