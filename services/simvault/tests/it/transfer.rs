//! Collections go from one phone to another by way of the whole centre, over SMPP and IP: each wish, restarts and kills in
//! the middle, other users, what operators see.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use link::transfer::{Message, Wish};
use loadtest::{
    fleet::{Fleet, FleetConfig, Phone, Subscription},
    ip_phone::LinkAddress,
    smsc::{Smsc, SmscConfig},
};
use mobile::{
    Bearer, Contact, Profile, Station, StationConfig,
    transfer::{Phone as Content, TransferApp},
};
use proto::centre::{self, accounts_client::AccountsClient, transfers_client::TransfersClient};
use testkit::Folder;
use tokio_util::sync::CancellationToken;
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint},
};
use uicc::files::EF_ADN;

use crate::{
    console::console,
    rig::{CENTRE, Rig, card, card_settings, ip_key, msisdn, new_account, until},
};

const STORE: Wish = Wish { fetch: false, data: true, settings: true, moves: false };
const FETCH: Wish = Wish { fetch: true, ..STORE };
const RING_OCTETS: usize = 3000;

/// A phone whose model has these settings, as they are when it is new.
fn content(settings: &[&str]) -> Content {
    Content::new(settings.iter().map(|key| ((*key).to_owned(), Bytes::from_static(b"new"))).collect(), 20)
}

/// The software of an old phone, with something of everything; its card has two contacts more.
fn install_old(phone: &Phone, bearer: Bearer) {
    let mut old = content(&["volume", "language", "vibrator"]);
    old.data.insert("ring/1".to_owned(), (0..RING_OCTETS).map(|at| at.to_le_bytes()[0]).collect());
    old.data.insert("ring/2".to_owned(), Bytes::from_static(b"beep"));
    for (key, value) in [("volume", "7"), ("language", "nl"), ("vibrator", "on")] {
        old.settings.insert(key.to_owned(), Bytes::from_static(value.as_bytes()));
    }
    for (record, contact) in (1..).zip(some_contacts()) {
        phone.with(|station| station.write_contact(record, &contact)).expect("it fits");
    }
    phone.install(TransferApp::new(old, bearer));
}

fn some_contacts() -> [Contact; 2] {
    let contact = |name: &str, number: &str| Contact { name: name.to_owned(), number: number.to_owned() };
    [contact("Anna", "+31201234567"), contact("Zoe", "112")]
}

fn select(phone: &Phone, wish: Wish, name: &str) {
    let selected = phone.with_transfer(|station, app, now| app.select(station, wish, name, now));
    selected.expect("installed").expect("no other transfer runs");
}

/// Waits for the end; what the user reads then.
async fn ended(phone: &Phone) -> String {
    until("the transfer ends", async || phone.with_transfer(|_, app, _| app.next_call().is_none()) == Some(true)).await;
    phone.transfer_texts().pop().unwrap_or_default()
}

async fn transfers(rig: &Rig, number: u32) -> centre::ListTransfersResponse {
    listed(&rig.channel, number).await.expect("transfers")
}

async fn listed(channel: &Channel, number: u32) -> Result<centre::ListTransfersResponse, Status> {
    let request = centre::ListTransfersRequest { msisdn: msisdn(number) };
    TransfersClient::new(channel.clone()).list_transfers(request).await.map(Response::into_inner)
}

fn data_of(phone: &Phone) -> BTreeMap<String, Bytes> {
    phone.with_transfer(|_, app, _| app.phone.data.clone()).expect("installed")
}

fn settings_of(phone: &Phone) -> BTreeMap<String, Bytes> {
    phone.with_transfer(|_, app, _| app.phone.settings.clone()).expect("installed")
}

fn contacts_of(phone: &Phone) -> Vec<Contact> {
    let mut contacts: Vec<Contact> =
        phone.with(|station| station.contacts()).into_iter().map(|(_, contact)| contact).collect();
    contacts.sort_by(|one, other| one.name.cmp(&other.name));
    contacts
}

/// What the centre said to a phone by SMS.
fn said(rig: &Rig, number: u32) -> Vec<Message> {
    let delivered = rig.delivered(&msisdn(number)).into_iter();
    delivered.filter_map(|message| Message::decode(&message.payload).ok()).collect()
}

/// Covers: NK-GN-01, NK-GN-02, NK-GN-03, NK-GN-05, NK-GN-06, NK-IN-01, NK-IN-02, NK-CV-01, NK-CV-02, NK-EN-01
#[tokio::test]
async fn a_collection_of_an_e2_card_s_phone_comes_to_an_e1_card_s_phone_of_another_model() {
    let rig = Rig::start().await;
    // A card that backs up nothing itself: what is in the book came with the collection.
    rig.subscribe(centre::NewAccount { personalised: true, ..new_account(80, Bearer::Sms) }).await;
    let silent = StationConfig { service_on: false, ..card_settings(Bearer::Sms) };
    let old = rig.switch_on(80, Station::new(silent));
    install_old(&old, Bearer::Sms);
    select(&old, STORE, "main");
    assert_eq!(ended(&old).await, "main: stored, 7 items");
    // The device never opens the session: the centre does, then it asks for item after item.
    let words = said(&rig, 80);
    let [Message::SessionOpen { transaction: 1, session, items: 0 }, Message::ItemRequest { item: 1, .. }, ..] =
        words[..]
    else {
        panic!("{words:?}")
    };
    let asked =
        words.iter().filter_map(|word| if let Message::ItemRequest { item, .. } = word { Some(*item) } else { None });
    assert_eq!(asked.collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(matches!(words.last(), Some(Message::SessionEnd { session: ended, result: 0 }) if *ended == session));

    // Fetched to the same phone: nothing is there twice.
    select(&old, FETCH, "main");
    assert_eq!(ended(&old).await, "main: fetched, 7 items");
    assert_eq!(contacts_of(&old), some_contacts());
    let (data, settings) = (data_of(&old), settings_of(&old));

    // The entries are in the book of the old card, as its backups are.
    let row = (u32::from(EF_ADN.df), u32::from(EF_ADN.ef), 1);
    let record = old.with(|station| station.read_record(EF_ADN, 1)).expect("a record");
    assert_eq!(rig.book(&msisdn(80)).await.get(&row), Some(&record));

    // A new card of another profile, in a phone whose model has no vibrator.
    let new = rig.replace_by(Profile::First(mobile::applet::first::Settings::default()), 80, 800_080).await;
    new.install(TransferApp::new(content(&["volume", "language"]), Bearer::Sms));
    let heard = said(&rig, 80).len();
    select(&new, FETCH, "main");
    assert_eq!(ended(&new).await, "main: fetched, 6 items; not known to this phone: vibrator");
    // This session, too, the centre has opened.
    let words = said(&rig, 80).split_off(heard);
    assert!(
        matches!(words[..], [Message::SessionOpen { transaction: 1, items: 7, .. }, Message::Item { item: 1, .. }, ..]),
        "{words:?}"
    );
    assert_eq!(contacts_of(&new), some_contacts());
    assert_eq!(data_of(&new), data);
    let known: BTreeMap<_, _> = settings.into_iter().filter(|(key, _)| key != "vibrator").collect();
    assert_eq!(settings_of(&new), known);
    rig.stop().await;
}

/// Covers: NK-GN-04, NK-SE-03
#[tokio::test]
async fn a_move_over_sms_goes_on_after_a_restart_of_the_centre_at_the_first_item_that_was_not_confirmed() {
    let mut rig = Rig::start().await;
    let phone = rig.phone(81, Bearer::Sms).await;
    install_old(&phone, Bearer::Sms);
    let before = (contacts_of(&phone), data_of(&phone), settings_of(&phone));
    let moving = |wish: Wish| Wish { moves: true, ..wish };
    select(&phone, moving(STORE), "main");
    until("some of it is staged", async || {
        transfers(&rig, 81).await.sessions.first().is_some_and(|session| session.item >= 3)
    })
    .await;
    let listed = transfers(&rig, 81).await;
    assert!(listed.collections.is_empty(), "not before it is whole");
    assert_eq!(contacts_of(&phone).len(), 2, "nothing is deleted before the centre has all of it");
    let heard = said(&rig, 81).len();
    rig.restart_centre().await;
    assert_eq!(ended(&phone).await, "main: stored, 7 items");
    let first = said(&rig, 81).split_off(heard).into_iter().find_map(|word| match word {
        Message::ItemRequest { item, .. } => Some(item),
        _ => None,
    });
    assert!(first.is_none_or(|item| u32::from(item) >= listed.sessions[0].item), "{first:?}");
    assert!(contacts_of(&phone).is_empty() && data_of(&phone).is_empty(), "moved");
    assert_eq!(settings_of(&phone)["volume"], "new");
    assert_eq!(transfers(&rig, 81).await.collections.len(), 1);

    select(&phone, moving(FETCH), "main");
    let newest = async || transfers(&rig, 81).await.sessions.remove(0);
    until("some of it is fetched", async || {
        let session = newest().await;
        session.direction == "fetch" && session.item >= 3
    })
    .await;
    let (heard, session) = (said(&rig, 81).len(), newest().await);
    assert_eq!((session.state.as_str(), session.direction.as_str(), session.items), ("running", "fetch", 7));
    rig.restart_centre().await;
    assert_eq!(ended(&phone).await, "main: fetched, 7 items");
    let again = said(&rig, 81).split_off(heard).into_iter().filter_map(|word| match word {
        Message::Item { item, .. } => Some(u32::from(item)),
        _ => None,
    });
    assert!(again.min().is_none_or(|item| item >= session.item), "no item twice");
    assert_eq!((contacts_of(&phone), data_of(&phone), settings_of(&phone)), before);
    let listed = transfers(&rig, 81).await;
    assert_eq!((listed.collections.len(), listed.sessions[0].state.as_str()), (0, "done"), "moved away");
    rig.stop().await;
}

/// Covers: NK-GN-07, NK-IN-04, NK-EN-02
#[tokio::test]
async fn initiated_by_sms_the_session_is_held_over_ip_and_quotas_are_told() {
    let rig = Rig::start().await;
    let phone = rig.phone(82, Bearer::Ip).await;
    install_old(&phone, Bearer::Ip);
    // More than 255 short messages hold.
    phone.with_transfer(|_, app, _| app.phone.data.insert("ring/3".to_owned(), vec![7; 60_000].into()));
    by_sms_then_ip(&phone, STORE, "main");
    assert_eq!(ended(&phone).await, "main: stored, 8 items");
    assert!(said(&rig, 82).is_empty(), "the centre said nothing by SMS");
    let all = (contacts_of(&phone), data_of(&phone));
    for record in [1, 2] {
        assert!(phone.with(|station| station.delete_contact(record)));
    }
    phone.install(TransferApp::new(content(&["volume", "language", "vibrator"]), Bearer::Ip));
    for (wish, items, contacts) in
        [(Wish { data: false, ..FETCH }, 3, 0), (Wish { settings: false, ..FETCH }, 5, 2), (FETCH, 8, 2)]
    {
        by_sms_then_ip(&phone, wish, "main");
        assert_eq!(ended(&phone).await, format!("main: fetched, {items} items"));
        assert_eq!(contacts_of(&phone).len(), contacts);
    }
    assert_eq!((contacts_of(&phone), data_of(&phone)), all);

    // An item, and a collection too many.
    phone.with_transfer(|_, app, _| app.phone.data.insert("ring/4".to_owned(), vec![7; 70_000].into()));
    select(&phone, STORE, "main");
    assert_eq!(ended(&phone).await, "main: failed, an item is too large");
    phone.with_transfer(|_, app, _| app.phone.data.remove("ring/4"));
    for name in ["2", "3", "4", "5"] {
        select(&phone, Wish { data: false, ..STORE }, name);
        assert_eq!(ended(&phone).await, format!("{name}: stored, 3 items"));
    }
    select(&phone, STORE, "sixth");
    assert_eq!(ended(&phone).await, "sixth: failed, there is no room");
    let listed = transfers(&rig, 82).await.collections;
    let sizes: Vec<_> = listed.iter().map(|it| (it.name.as_str(), it.data_items, it.setting_items)).collect();
    assert_eq!(sizes, [("2", 0, 3), ("3", 0, 3), ("4", 0, 3), ("5", 0, 3), ("main", 5, 3)]);
    rig.stop().await;
}

/// The initiation is a short message, as of a phone that has no connection at that moment.
fn by_sms_then_ip(phone: &Phone, wish: Wish, name: &str) {
    let selected = phone.with_transfer(|station, app, now| {
        app.bearer = Bearer::Sms;
        let selected = app.select(station, wish, name, now);
        let initiation = app.poll_output();
        app.bearer = Bearer::Ip;
        selected.map(|()| initiation)
    });
    let initiation = selected.expect("installed").expect("no other transfer runs");
    let Some(mobile::transfer::TransferOutput::Send(octets)) = initiation else { panic!("{initiation:?}") };
    phone.send_short_message(octets.into());
}

/// Covers: NK-SE-02, NK-ST-01
#[tokio::test]
async fn another_subscriber_fetches_with_consent_only_and_operators_see_collections_and_sessions() {
    let rig = Rig::start().await;
    let (anna, bob) = tokio::join!(rig.phone(83, Bearer::Ip), rig.phone(84, Bearer::Ip));
    install_old(&anna, Bearer::Ip);
    bob.install(TransferApp::new(content(&["volume"]), Bearer::Ip));
    select(&anna, STORE, "main");
    assert_eq!(ended(&anna).await, "main: stored, 7 items");
    let theirs = format!("{}/main", msisdn(83));
    let fetch = async |phone: &Arc<Phone>, name: &str| {
        select(phone, FETCH, name);
        ended(phone).await
    };
    assert_eq!(fetch(&bob, "main").await, "main: failed, there is no such collection");
    assert_eq!(fetch(&bob, &theirs).await, format!("{theirs}: failed, it is not yours"));
    let (annas, bobs) = (msisdn(83), msisdn(84));
    let given = console(&rig, &["transfer", "consent", &annas, "main", "--to", &bobs]).await;
    assert_eq!(given.get("consent").and_then(|it| it.as_str()), Some("given"), "{given}");
    let text = fetch(&bob, &theirs).await;
    assert_eq!(text, format!("{theirs}: fetched, 5 items; not known to this phone: language, vibrator"));
    assert_eq!((contacts_of(&bob), data_of(&bob)), (contacts_of(&anna), data_of(&anna)));
    let listed = console(&rig, &["transfer", "list", &annas]).await;
    let rows = |of: &serde_json::Value, list: &str| of.get(list).and_then(|it| it.as_array()).cloned().expect("rows");
    let [collection] = &rows(&listed, "collections")[..] else { panic!("{listed}") };
    let field = |of: &serde_json::Value, name: &str| of.get(name).cloned().unwrap_or_default();
    assert_eq!((field(collection, "name"), field(collection, "data")), ("main".into(), 4.into()), "{collection}");
    assert_eq!(field(collection, "settings"), serde_json::Value::from(3));
    let account = rig.account(&anna).await;
    assert_eq!(field(collection, "device"), serde_json::Value::from(account.devices[0].device_id));
    assert!(field(collection, "octets").as_u64().is_some_and(|octets| octets > RING_OCTETS as u64));
    assert_eq!(field(&rows(&listed, "consents")[0], "fetched_by"), serde_json::Value::from(bobs.as_str()));
    assert_eq!(field(&rows(&listed, "sessions")[0], "state"), serde_json::Value::from("done"));
    let withdrawn = console(&rig, &["transfer", "withdraw", &annas, "main", "--to", &bobs]).await;
    assert_eq!(field(&withdrawn, "consent"), serde_json::Value::from("withdrawn"));
    assert_eq!(fetch(&bob, &theirs).await, format!("{theirs}: failed, it is not yours"));
    let audit = console(&rig, &["audit", &annas]).await.to_string();
    for what in ["consent to fetch a collection given to", "withdrawn from", "looked at the transfers"] {
        assert!(audit.contains(what) && audit.contains("olga"), "{what}: {audit}");
    }
    rig.stop().await;
}

/// `simvault all` as a process, on ports that stay.
struct Process {
    file: PathBuf,
    child: Child,
    log: Option<JoinHandle<()>>,
}

impl Process {
    fn start(file: PathBuf) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_simvault"));
        command
            .args(["all", "--config"])
            .arg(&file)
            .env_remove("RUST_LOG")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("simvault starts");
        let mut lines = BufReader::new(child.stderr.take().expect("standard error")).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("all services run")), "it starts");
        Self { file, child, log: Some(std::thread::spawn(move || lines.for_each(drop))) }
    }

    /// At once, with whatever it is doing, and again.
    fn kill_and_start(mut self) -> Self {
        let file = std::mem::take(&mut self.file);
        drop(self);
        Self::start(file)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        self.log.take().into_iter().for_each(|log| log.join().expect("read"));
    }
}

/// Covers: NK-SE-03
#[tokio::test]
async fn a_centre_that_is_killed_in_the_middle_loses_nothing_and_the_same_session_goes_on() {
    const ITEMS: usize = 300;
    let (folder, stop) = (Folder::new("killed"), CancellationToken::new());
    let [cards, application] = [(); 2].map(|()| testkit::free_port());
    let file = folder.join("simvault.toml");
    let settings = format!(
        "[telemetry]\nmetrics_listen = \"127.0.0.1:0\"\n[store]\nurl = \"sqlite:{}\"\n\
         [inbound_ip]\nlisten = \"127.0.0.1:{cards}\"\n\
         [application_server.server]\nlisten = \"127.0.0.1:{application}\"\n",
        folder.join("simvault.db").display()
    );
    std::fs::write(&file, settings).expect("written");
    let mut process = Process::start(file);
    let channel = Endpoint::from_shared(format!("http://127.0.0.1:{application}")).expect("address").connect_lazy();
    let account = centre::NewAccount { personalised: true, ..new_account(85, Bearer::Ip) };
    let request = centre::CreateAccountRequest { account: Some(account) };
    AccountsClient::new(channel.clone()).create_account(request).await.expect("account");

    let (smsc, terminated) = Smsc::start(SmscConfig::default(), stop.clone()).await.expect("SMSC");
    let cards = vec![LinkAddress { address: ([127, 0, 0, 1], cards).into(), tls: None }];
    let fleet = Fleet::new(
        FleetConfig { speed: 300, centre_number: CENTRE.to_owned(), smsc, cards, sms_takes: Duration::ZERO },
        terminated,
    );
    let phone = fleet.add(Subscription { msisdn: msisdn(85), ip_key: ip_key(85) }, card(Bearer::Ip));
    let mut many = Content::new(BTreeMap::new(), ITEMS);
    many.data = (0..ITEMS).map(|at| (format!("note/{at:03}"), vec![at.to_le_bytes()[0]; 50].into())).collect();
    let all = many.data.clone();
    phone.install(TransferApp::new(many, Bearer::Ip));

    let wish = Wish { moves: true, settings: false, ..STORE };
    for (wish, kills) in [(wish, [20, 150]), (Wish { fetch: true, ..wish }, [20, 150])] {
        select(&phone, wish, "main");
        let mut ids = BTreeSet::new();
        for item in kills {
            let mut newest = centre::TransferSession::default();
            until("it gets on", async || {
                let sessions = listed(&channel, 85).await.map(|listed| listed.sessions).unwrap_or_default();
                newest = sessions.into_iter().next().unwrap_or_default();
                (newest.direction == "fetch") == wish.fetch && newest.item >= item
            })
            .await;
            assert_eq!(newest.state, "running", "killed in the middle: {newest:?}");
            ids.insert(newest.session_id);
            process = process.kill_and_start();
        }
        let text = ended(&phone).await;
        assert!(text.ends_with(&format!("{ITEMS} items")), "{text}");
        assert_eq!(data_of(&phone), if wish.fetch { all.clone() } else { BTreeMap::new() });
        let after = listed(&channel, 85).await.expect("transfers");
        assert_eq!(after.collections.len(), usize::from(!wish.fetch), "moved");
        ids.insert(after.sessions[0].session_id);
        assert_eq!(ids.len(), 1, "one session all along");
    }
    fleet.stop().await;
    stop.cancel();
    drop(process);
}
