//! A whole centre in this process on the embedded store, an SMSC simulator, and virtual phones, all on loopback.
//!
//! Start at [`Rig::start`]; [`Rig::phone`] subscribes somebody. Nothing waits for a time: [`until`] asks for a state.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use edge::link::{Bind, LinkSettings};
use loadtest::{
    fleet::{Fleet, FleetConfig, Phone, Subscription},
    ip_phone::LinkAddress,
    smsc::{Carried, MobileTerminated, Smsc, SmscConfig, SmscHandle},
};
use mobile::{Bearer, Contact, Profile, Station, StationConfig};
use proto::centre::{
    self, accounts_client::AccountsClient, commands_client::CommandsClient, phonebooks_client::PhonebooksClient,
    restore_request::Selection,
};
use simvault::centre::{Centre, CentreConfig};
use store::StoreConfig;
use testkit::Folder;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use uicc::files::{EF_ADN, EF_EXT1, EF_SMSP, Path};

/// The centre's number.
pub const CENTRE: &str = "49170900000";
pub const ADN_RECORDS: u8 = 30;
pub const EXT1_RECORDS: u8 = 6;
/// How long a state may take: the cards' clock runs 60 times faster than ours.
const PATIENCE: Duration = Duration::from_secs(120);
const SPEED: u32 = 60;

/// Octets by DF, EF and record number; empty records are absent.
pub type Records = BTreeMap<(u32, u32, u32), Vec<u8>>;

/// Waits until `holds`; fails with `what` when it does not.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub struct Rig {
    /// To the application server.
    pub channel: Channel,
    pub smsc: SmscHandle,
    pub fleet: Fleet,
    pub accounts: AccountsClient<Channel>,
    pub books: PhonebooksClient<Channel>,
    pub commands: CommandsClient<Channel>,
    /// What the SMSC delivered to phones.
    pub to_phones: Arc<Mutex<Vec<MobileTerminated>>>,
    /// Everything that came to the SMSC, from phones and from the centre.
    pub carried: Arc<Mutex<Vec<Carried>>>,
    /// To phones past the SMSC.
    pub inject: mpsc::Sender<MobileTerminated>,
    /// Of the application server, and where cards connect by IP.
    pub application_server: SocketAddr,
    pub cards: SocketAddr,
    centre: Option<Centre>,
    config: CentreConfig,
    stop: CancellationToken,
    folder: Folder,
}

impl Rig {
    pub async fn start() -> Self {
        Self::with(1, |_| {}).await
    }

    /// `links`: SMPP links in each direction. `change`: other settings than the defaults.
    pub async fn with(links: u8, change: impl FnOnce(&mut CentreConfig)) -> Self {
        crate::logs::capture();
        let (folder, stop) = (Folder::new("end-to-end"), CancellationToken::new());
        let (tap, tapped) = mpsc::unbounded_channel();
        let accounts = vec![("simvault".to_owned(), "secret".to_owned())];
        let smsc_config = SmscConfig { accounts, tap: Some(tap), ..SmscConfig::default() };
        let (smsc, terminated) = Smsc::start(smsc_config, stop.clone()).await.expect("SMSC");
        let mut config = settings(&smsc, links, &folder);
        change(&mut config);
        let centre = Centre::start(config.clone(), store::open(&config.store).await.expect("store")).await;
        let centre = centre.expect("centre");
        let (to_phones, carried) = (Arc::default(), Arc::default());
        let (inject, phones) = mpsc::channel(10_000);
        tokio::spawn(watch(terminated, Arc::clone(&to_phones), inject.clone()));
        tokio::spawn(keep(tapped, Arc::clone(&carried)));
        let fleet_config = FleetConfig {
            speed: SPEED,
            sms_takes: Duration::ZERO,
            centre_number: CENTRE.to_owned(),
            smsc: smsc.clone(),
            cards: vec![LinkAddress { address: centre.cards, tls: None }],
        };
        let channel = Endpoint::from_shared(format!("http://{}", centre.application_server)).expect("address");
        let channel = channel.connect_lazy();
        Self {
            smsc,
            fleet: Fleet::new(fleet_config, phones),
            accounts: AccountsClient::new(channel.clone()),
            books: PhonebooksClient::new(channel.clone()),
            commands: CommandsClient::new(channel.clone()),
            channel,
            to_phones,
            carried,
            inject,
            application_server: centre.application_server,
            cards: centre.cards,
            centre: Some(centre),
            config,
            stop,
            folder,
        }
    }

    /// The store's file, for what no call shows or does.
    pub fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.join("simvault.db")).expect("database")
    }

    /// Whether the store refuses, for good, every page of a book that contains `text`.
    pub fn refuse_pages_with(&self, text: &str, refused: bool) {
        let name: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
        let mut sql = format!("DROP TRIGGER IF EXISTS refuse_{name};");
        if refused {
            sql.push_str(&format!(
                "CREATE TRIGGER refuse_{name} BEFORE INSERT ON book_page WHEN instr(NEW.data, CAST('{text}' AS BLOB)) > 0 \
                 BEGIN SELECT RAISE(ABORT, 'refused by the test'); END;"
            ));
        }
        self.database().execute_batch(&sql).expect("trigger");
    }

    /// From now on the rows of acknowledgements that left are kept aside, for [`Self::left`].
    pub fn keep_what_leaves(&self) {
        let sql =
            "CREATE TABLE left_action (msisdn INTEGER, subtype INTEGER, channel INTEGER, created INTEGER, id INTEGER);
                   CREATE TRIGGER keep_left AFTER DELETE ON outbound_action WHEN OLD.kind = 1 BEGIN
                   INSERT INTO left_action VALUES (OLD.msisdn, OLD.subtype, OLD.channel, OLD.created, OLD.id); END;";
        self.database().execute_batch(sql).expect("trigger");
    }

    /// Results of the acknowledgements that left to a number by a bearer, oldest first.
    pub fn left(&self, msisdn: &str, bearer: Bearer) -> Vec<u32> {
        let database = self.database();
        let sql = "SELECT subtype FROM left_action WHERE msisdn = ?1 AND channel = ?2 ORDER BY created, id";
        let mut statement = database.prepare(sql).expect("statement");
        let number: i64 = msisdn.parse().expect("digits");
        let rows = statement.query_map((number, u8::from(bearer == Bearer::Ip)), |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("results")
    }

    /// Stops the centre in order and starts it again on its store.
    pub async fn restart_centre(&mut self) {
        self.centre.take().expect("running").stop().await.expect("drained");
        let stores = store::open(&self.config.store).await.expect("store");
        self.centre = Some(Centre::start(self.config.clone(), stores).await.expect("centre"));
    }

    pub async fn stop(mut self) {
        self.fleet.stop().await;
        self.centre.take().expect("running").stop().await.expect("drained");
        self.stop.cancel();
        for carried in self.carried.lock().expect("messages").iter() {
            let octets = match carried {
                Carried::FromPhone(message) => message.payload.len(),
                Carried::ToPhone(message) => message.payload().len(),
            };
            assert!(octets <= 140, "one SM holds 140 octets (G-05): {carried:?}");
        }
        let sent = self.to_phones.lock().expect("messages");
        for message in sent.iter() {
            // What a message of every profile travels as is its device's.
            let protocol_ids: &[u8] = match message.payload.first() {
                _ if message.user_data_header => &[0x7F],
                Some(0x01..=0x07 | 0x80..=0x87 | 0xC0..=0xC7) => &[0x00],
                Some(0xA0..=0xA7) => &[0x00, 0x7F],
                _ => &[0x7F],
            };
            // What is said in a transfer is for the phone itself.
            let is_transfer = matches!(message.payload.first(), Some(0xC0..=0xC7)) && !message.user_data_header;
            let (data_coding, class) = if is_transfer { (0xF5, 1) } else { (0xF6, 2) };
            assert_eq!(message.data_coding, data_coding, "8 bit, class {class} (D-59)");
            assert!(protocol_ids.contains(&message.protocol_id), "TP-PID {:02X} (D-59)", message.protocol_id);
            // A header is that of a secured packet, alone or in two parts.
            let is_packet = matches!(
                message.payload[..],
                [2, 0x70, 0, ..] | [7, 0, 3, _, 2, 1, 0x70, 0, ..] | [5, 0, 3, _, 2, 2, ..]
            );
            assert!(!message.user_data_header || is_packet);
        }
    }

    /// Somebody with an account, and a phone with a personalised, empty card.
    pub async fn phone(&self, number: u32, bearer: Bearer) -> Arc<Phone> {
        let account = centre::NewAccount { personalised: true, ..new_account(number, bearer) };
        self.subscribe(account).await;
        self.switch_on(number, card(bearer))
    }

    /// As [`Self::phone`], with a card that speaks the messages of this profile.
    pub async fn phone_of(&self, profile: Profile, number: u32, bearer: Bearer) -> Arc<Phone> {
        self.subscribe(account_of(&profile, number, bearer)).await;
        self.switch_on(number, card_of(profile, bearer))
    }

    /// The card was lost: one of this profile takes its place.
    pub async fn replace_by(&self, profile: Profile, number: u32, serial: u32) -> Arc<Phone> {
        let request = centre::ReplaceCardRequest {
            msisdn: msisdn(number),
            iccid: format!("8949{serial:015}"),
            ip_key: ip_key(number).into(),
            personalised: true,
            profile: profile_name(&profile).to_owned(),
            ..centre::ReplaceCardRequest::default()
        };
        self.accounts.clone().replace_card(request).await.expect("replaced");
        self.switch_on(number, card_of(profile, Bearer::Sms))
    }

    /// The operator tells a card what to do; returns when the network says that it was told.
    pub async fn control(&self, phone: &Phone, request: &str) -> centre::Action {
        let msisdn = phone.subscription.msisdn.clone();
        let request = centre::ControlRequest { msisdn, request: request.to_owned() };
        let reference = self.commands.clone().control(request).await.expect("control").into_inner();
        let ended = |action: &centre::Action| action.action_id == reference.action_id && action.state == "done";
        until("the card is told", async || self.actions(&phone.subscription.msisdn, false).await.iter().any(ended))
            .await;
        let actions = self.actions(&phone.subscription.msisdn, false).await;
        actions.into_iter().find(ended).expect("an action")
    }

    pub async fn subscribe(&self, account: centre::NewAccount) {
        let request = centre::CreateAccountRequest { account: Some(account) };
        self.accounts.clone().create_account(request).await.expect("account");
    }

    /// Puts a card into the phone of this number.
    pub fn switch_on(&self, number: u32, station: Station) -> Arc<Phone> {
        self.fleet.add(Subscription { msisdn: msisdn(number), ip_key: ip_key(number) }, station)
    }

    /// The card was lost: a blank one takes its place, and the centre is told (D-112).
    pub async fn replace(&self, number: u32, bearer: Bearer) -> Arc<Phone> {
        // The counters of the IP link begin again with the new card, which has a key of its own.
        let request = centre::ReplaceCardRequest {
            msisdn: msisdn(number),
            iccid: format!("8949{:015}", 500_000 + number),
            ip_key: ip_key(number).into(),
            bearer: bearer_name(bearer).to_owned(),
            personalised: true,
            ..centre::ReplaceCardRequest::default()
        };
        self.accounts.clone().replace_card(request).await.expect("replaced");
        self.switch_on(number, card(bearer))
    }

    pub async fn account(&self, phone: &Phone) -> centre::Account {
        let request = centre::GetAccountRequest { msisdn: phone.subscription.msisdn.clone() };
        self.accounts.clone().get_account(request).await.expect("account").into_inner()
    }

    pub async fn set_state(&self, phone: &Phone, state: &str) {
        let request = centre::SetStateRequest { msisdn: phone.subscription.msisdn.clone(), state: state.to_owned() };
        self.accounts.clone().set_state(request).await.expect("state");
    }

    /// The book at the centre.
    pub async fn book(&self, msisdn: &str) -> Records {
        self.book_as_of(msisdn, 0).await
    }

    pub async fn book_as_of(&self, msisdn: &str, as_of_micros: i64) -> Records {
        let request = centre::ShowBookRequest { msisdn: msisdn.to_owned(), device_id: 0, as_of_micros };
        let book = self.books.clone().show_book(request).await.expect("book").into_inner();
        book.records
            .into_iter()
            .map(|record| ((record.df, record.ef, record.record_number), record.octets.to_vec()))
            .filter(|(_, octets)| !is_empty(octets))
            .collect()
    }

    /// Newest first.
    pub async fn history(&self, phone: &Phone) -> Vec<centre::HistoryEntry> {
        let msisdn = phone.subscription.msisdn.clone();
        let request = centre::HistoryRequest { msisdn, device_id: 0, limit: 1000 };
        self.books.clone().history(request).await.expect("history").into_inner().entries
    }

    pub async fn actions(&self, msisdn: &str, open_only: bool) -> Vec<centre::Action> {
        let request = centre::ListActionsRequest { msisdn: msisdn.to_owned(), limit: 1000, open_only };
        self.commands.clone().list_actions(request).await.expect("actions").into_inner().actions
    }

    /// Waits until the card has sent everything, was answered, and the centre holds what the card holds.
    pub async fn settled(&self, phone: &Phone) {
        until("the card and its book are equal", async || {
            !phone.with(|station| station.pending()) && self.book(&phone.subscription.msisdn).await == held(phone)
        })
        .await;
    }

    /// Customer service asks for a restore; returns when it is done.
    pub async fn restore(&self, phone: &Phone, as_of_micros: i64, selection: Selection) -> centre::Action {
        let request = centre::RestoreRequest {
            msisdn: phone.subscription.msisdn.clone(),
            from_device_id: 0,
            as_of_micros,
            selection: Some(selection),
        };
        let reference = self.commands.clone().restore(request).await.expect("restore").into_inner();
        self.ended(phone, reference.action_id).await
    }

    /// Waits for the end of an action and until the card is at rest.
    pub async fn ended(&self, phone: &Phone, action_id: i64) -> centre::Action {
        let mut ended = None;
        until("the action ends", async || {
            let actions = self.actions(&phone.subscription.msisdn, false).await;
            ended = actions.into_iter().find(|action| action.action_id == action_id);
            let is_over = ended.as_ref().is_some_and(|it| ["done", "failed", "cancelled"].contains(&it.state.as_str()));
            is_over && !phone.with(|station| station.pending())
        })
        .await;
        ended.expect("an action")
    }

    pub async fn configure(&self, phone: &Phone, items: &[link::configuration::Item]) -> centre::Action {
        let items = items
            .iter()
            .map(link::configuration::Item::encode)
            .map(|item| centre::ConfigurationItem { cid: item.cid.into(), data: item.data })
            .collect();
        let request = centre::ConfigureRequest { msisdn: phone.subscription.msisdn.clone(), items };
        let reference = self.commands.clone().configure(request).await.expect("configuration").into_inner();
        self.ended(phone, reference.action_id).await
    }

    /// Notices of this kind about this number.
    pub async fn notices(&self, msisdn: &str, kind: &str) -> Vec<centre::Notice> {
        let request = centre::ListNoticesRequest { limit: 1000 };
        let mut queues = centre::queues_client::QueuesClient::new(self.channel.clone());
        let notices = queues.list_notices(request).await.expect("notices").into_inner().notices;
        notices.into_iter().filter(|notice| notice.kind == kind && notice.msisdn == msisdn).collect()
    }

    /// What the centre knows of the card's configuration.
    pub async fn configuration(&self, phone: &Phone) -> centre::CardConfiguration {
        let request = centre::ShowConfigurationRequest { msisdn: phone.subscription.msisdn.clone(), device_id: 0 };
        self.commands.clone().show_configuration(request).await.expect("configuration").into_inner()
    }

    /// Messages that the SMSC delivered to this number.
    pub fn delivered(&self, msisdn: &str) -> Vec<MobileTerminated> {
        let all = self.to_phones.lock().expect("messages");
        all.iter().filter(|message| message.msisdn.to_string() == msisdn).cloned().collect()
    }
}

/// Writes down what goes to phones and hands it on.
async fn watch(
    mut terminated: mpsc::Receiver<MobileTerminated>,
    seen: Arc<Mutex<Vec<MobileTerminated>>>,
    phones: mpsc::Sender<MobileTerminated>,
) {
    while let Some(message) = terminated.recv().await {
        seen.lock().expect("messages").push(message.clone());
        if phones.send(message).await.is_err() {
            return;
        }
    }
}

/// Writes down what came to the SMSC.
async fn keep(mut tapped: mpsc::UnboundedReceiver<Carried>, kept: Arc<Mutex<Vec<Carried>>>) {
    while let Some(carried) = tapped.recv().await {
        kept.lock().expect("messages").push(carried);
    }
}

fn settings(smsc: &SmscHandle, links: u8, folder: &Folder) -> CentreConfig {
    let link = |at: u8, bind: Bind| LinkSettings {
        name: format!("north-{bind:?}-{at}").to_lowercase(),
        smsc: "north".to_owned(),
        addresses: vec![smsc.address().to_string()],
        bind,
        system_id: "simvault".to_owned(),
        password: runtime::config::Secret::new("secret"),
        country_code: "49".to_owned(),
        source_address: CENTRE.to_owned(),
        source_ton: 1,
        backoff_min: Duration::from_millis(50),
        ..LinkSettings::default()
    };
    let store = StoreConfig::at(format!("sqlite:{}", folder.join("simvault.db").display()));
    let mut config = CentreConfig { store, ..CentreConfig::default() };
    config.inbound_smpp.links = (0..links).map(|at| link(at, Bind::Receiver)).collect();
    config.outbound_smpp.links = (0..links).map(|at| link(at, Bind::Transmitter)).collect();
    // Ports that stay over a restart of the centre.
    config.inbound_ip.listen = ([127, 0, 0, 1], testkit::free_port()).into();
    config.application_server.server.listen = ([127, 0, 0, 1], testkit::free_port()).into();
    // The cards' clock runs faster, so a day's budget of messages is used up in minutes.
    config.outbound_action.sms_budget_per_day = 0;
    config
}

pub fn msisdn(number: u32) -> String {
    format!("49170{number:07}")
}

pub fn ip_key(number: u32) -> Vec<u8> {
    format!("key of {number:9}").into_bytes()
}

pub fn bearer_name(bearer: Bearer) -> &'static str {
    if bearer == Bearer::Sms { "sms" } else { "ip" }
}

pub fn new_account(number: u32, bearer: Bearer) -> centre::NewAccount {
    centre::NewAccount {
        msisdn: msisdn(number),
        name: format!("Subscriber {number}"),
        iccid: format!("8949{number:015}"),
        profile: "E2".to_owned(),
        bearer: bearer_name(bearer).to_owned(),
        ip_key: ip_key(number).into(),
        monitor: vec![row(0, EF_ADN, ADN_RECORDS, 28), row(1, EF_EXT1, EXT1_RECORDS, 13)],
        ..Default::default()
    }
}

/// Of a personalised card of this profile; those without a monitor table back up EF_ADN.
pub fn account_of(profile: &Profile, number: u32, bearer: Bearer) -> centre::NewAccount {
    let mut account = centre::NewAccount { personalised: true, ..new_account(number, bearer) };
    profile_name(profile).clone_into(&mut account.profile);
    if *profile != Profile::Second {
        account.monitor.truncate(1);
    }
    account
}

pub fn row(index: u32, path: Path, record_count: u8, data_octets: u32) -> centre::MonitorRow {
    centre::MonitorRow {
        index,
        df: path.df.into(),
        ef: path.ef.into(),
        record_offset: 0,
        record_count: record_count.into(),
        data_offset: 0,
        data_octets,
    }
}

pub fn card_settings(bearer: Bearer) -> StationConfig {
    StationConfig {
        centre_isdn: CENTRE.to_owned(),
        bearer,
        adn_records: ADN_RECORDS,
        ext1_records: EXT1_RECORDS,
        ..StationConfig::default()
    }
}

pub fn card(bearer: Bearer) -> Station {
    card_of(Profile::Second, bearer)
}

pub fn card_of(profile: Profile, bearer: Bearer) -> Station {
    Station::new(StationConfig { profile, ..card_settings(bearer) })
}

fn profile_name(profile: &Profile) -> &'static str {
    match profile {
        Profile::First(_) => "E1",
        Profile::Second => "E2",
        Profile::Third(_) => "E3",
    }
}

/// What the card holds in EF_ADN and, as far as monitored, EF_EXT1 and EF_SMSP.
pub fn held(phone: &Phone) -> Records {
    phone.with(held_by)
}

/// As [`held`], of a card in another phone.
pub fn held_by(station: &mut Station) -> Records {
    let files = [EF_ADN, EF_EXT1, EF_SMSP];
    // Cards without a monitor table back up EF_ADN.
    let monitored = match (station.first(), station.third()) {
        (None, None) if station.eeprom().monitor.rows().any(|(_, row)| row.ef == EF_SMSP.ef) => 3,
        (None, None) => 2,
        _ => 1,
    };
    let mut records = Records::new();
    for path in files.into_iter().take(monitored) {
        for number in 1..=u8::MAX {
            let Some(octets) = station.read_record(path, number) else { break };
            if !is_empty(&octets) {
                records.insert((path.df.into(), path.ef.into(), number.into()), octets);
            }
        }
    }
    records
}

fn is_empty(octets: &[u8]) -> bool {
    octets.iter().all(|&octet| octet == 0xFF)
}

pub fn write(phone: &Phone, record: u8, name: &str) {
    let contact = Contact { name: name.to_owned(), number: format!("+4930{:06}", u32::from(record) * 1111) };
    phone.with(|station| station.write_contact(record, &contact)).expect("written");
}

/// A contact whose number needs a record of EF_EXT1.
pub fn write_long(phone: &Phone, record: u8, name: &str) {
    let contact = Contact { name: name.to_owned(), number: "+4930123456789012345678901234".to_owned() };
    phone.with(|station| station.write_contact(record, &contact)).expect("written");
}

pub fn delete(phone: &Phone, record: u8) {
    assert!(phone.with(|station| station.delete_contact(record)));
}
