//! The acts, in their order: subscribe, fill, settle, edit, lose and replace, restore, compare.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail, ensure};
use link::configuration::Item;
use mobile::{Bearer, Contact};
use proto::centre::{
    self, accounts_client::AccountsClient, commands_client::CommandsClient, phonebooks_client::PhonebooksClient,
    restore_request::Selection, security_client::SecurityClient,
};
use secured::master::MasterKey;
use tonic::transport::{Channel, Endpoint};

use super::{
    DemoOptions, Phones,
    books::{Books, CardBook, Records},
    cast::{CARD_EXTENSIONS, CARD_RECORDS, Embodiment, role},
    progress::Progress,
};
use crate::{
    fleet::{Fleet, Phone, Subscription},
    people::People,
    table::thousands,
};

/// Accounts in one call.
const ACCOUNTS_PER_CALL: usize = 200;
/// Digits of a number that EF_ADN itself holds.
const ADN_DIGITS: usize = 20;
/// Serial numbers of the cards in place of lost ones begin here.
const REPLACED: u32 = 500_000;
/// An act that moves nothing for this long has failed.
const PATIENCE: Duration = Duration::from_secs(45);

/// The application server's faces.
pub struct Client {
    pub accounts: AccountsClient<Channel>,
    pub books: PhonebooksClient<Channel>,
    pub commands: CommandsClient<Channel>,
    pub security: SecurityClient<Channel>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let channel =
            Endpoint::from_shared(format!("http://{address}"))?.connect().await.context("application-server")?;
        Ok(Self {
            accounts: AccountsClient::new(channel.clone()),
            books: PhonebooksClient::new(channel.clone()),
            commands: CommandsClient::new(channel.clone()),
            security: SecurityClient::new(channel),
        })
    }
}

/// Everything the acts work with.
pub struct Stage {
    pub options: DemoOptions,
    pub people: People,
    pub fleet: Fleet,
    pub client: Client,
    pub number: String,
    pub master_key: MasterKey,
    pub phones: Phones,
    /// Phones with the cards that were lost, by their places among the phones: what they did counts.
    pub gone: Vec<(usize, Arc<Phone>)>,
}

/// What the comparison found.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    pub cards: usize,
    /// Cards that hold what they should and whose book at the centre says the same.
    pub identical: usize,
    /// What differs, a line per card.
    pub differences: Vec<String>,
}

impl Stage {
    pub fn phone(&self, at: usize) -> anyhow::Result<&Arc<Phone>> {
        self.phones.get(at).context("no such phone")
    }

    /// An account for every card, then the cards in their phones.
    pub async fn subscribe(&mut self) -> anyhow::Result<()> {
        let subscriptions: Vec<Subscription> = (0..self.options.cards)
            .map(|at| Subscription { msisdn: format!("49170{:07}", 1000 + at), ip_key: self.key() })
            .collect();
        let accounts: Vec<centre::NewAccount> =
            (0_u32..).zip(&subscriptions).map(|(at, subscription)| new_account(at, subscription)).collect();
        for accounts in accounts.chunks(ACCOUNTS_PER_CALL) {
            let request = centre::CreateAccountsRequest { accounts: accounts.to_vec() };
            self.client.accounts.create_accounts(request).await?;
        }
        for (at, subscription) in (0_u32..).zip(subscriptions) {
            if let Some(level) = role(at).level() {
                let (msisdn, level) = (subscription.msisdn.clone(), level.to_owned());
                let request = centre::SetSecurityRequest { msisdn, level, ..Default::default() };
                self.client.security.set_security(request).await?;
            }
            let station = role(at).card(&self.number, &self.master_key, &iccid(at));
            self.phones.push(self.fleet.add(subscription, station));
        }
        Ok(())
    }

    /// Tells the cards of the second embodiment that back up another way, and waits until they have heard.
    pub async fn configure(&mut self) -> anyhow::Result<()> {
        let mut open = Vec::new();
        for at in 0..self.phones.len() {
            if self.tell(at).await? {
                open.push(at);
            }
        }
        let started = Instant::now();
        while let Some(&at) = open.last() {
            if self.has_open(at, "configuration").await? {
                ensure!(started.elapsed() < PATIENCE, "{} cards have not answered", open.len());
                tokio::time::sleep(Duration::from_millis(100)).await;
            } else {
                open.pop();
            }
        }
        Ok(())
    }

    /// True: the card has to be told something.
    async fn tell(&mut self, at: usize) -> anyhow::Result<bool> {
        let items = role(u32::try_from(at)?).configuration();
        if items.is_empty() {
            return Ok(false);
        }
        let items = items.iter().map(Item::encode);
        let items = items.map(|item| centre::ConfigurationItem { cid: item.cid.into(), data: item.data }).collect();
        let msisdn = self.phone(at)?.subscription.msisdn.clone();
        self.client.commands.configure(centre::ConfigureRequest { msisdn, items }).await?;
        Ok(true)
    }

    /// Every owner types 55 to 95 contacts in, and thinks again about some of them.
    pub fn fill(&mut self) {
        for phone in &self.phones {
            let count = 55 + self.people.below(41);
            let second_thoughts = self.people.below(10);
            let places =
                (1..=count).chain((0..second_thoughts).map(|_| 1 + self.people.below(count)).collect::<Vec<_>>());
            for place in places {
                let contact = self.people.contact();
                write(phone, octet(place), &contact);
            }
        }
        self.ask_for_backups();
    }

    fn ask_for_backups(&self) {
        (0..).zip(&self.phones).for_each(|(at, phone)| ask_for_backup(at, phone));
    }

    /// A few weeks later: new numbers, new people, and some who are not wanted any more.
    pub fn edit(&mut self) {
        for phone in &self.phones {
            for _ in 0..4 + self.people.below(5) {
                edit_one(&mut self.people, phone);
            }
        }
        self.ask_for_backups();
    }

    /// Waits until every card has sent everything and was acknowledged.
    pub async fn settle(&mut self, title: &str, act: u8) -> anyhow::Result<()> {
        let mut progress = Progress::new(&self.options, act, title, self.phones.len() as u64);
        let open = |phone: &&Arc<Phone>| phone.with(|station| station.pending());
        let mut moved = (usize::MAX, u64::MAX, Instant::now());
        loop {
            let waiting = self.phones.iter().filter(open).count();
            let stored = self.sum(|_| true, |statistics| statistics.records_backed_up);
            // A backup in blocks counts when it is over.
            let sent = self.sum(|_| true, |statistics| statistics.sms_sent + statistics.ip_sent);
            progress.show((self.phones.len() - waiting) as u64, &format!("{} changes stored", thousands(stored)));
            if waiting == 0 {
                progress.finish();
                return Ok(());
            }
            if (waiting, sent) != (moved.0, moved.1) {
                moved = (waiting, sent, Instant::now());
            }
            if moved.2.elapsed() > PATIENCE {
                bail!("{title}: {waiting} of {} cards still wait for acknowledgements", self.phones.len());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Every card as it is now, and the time.
    pub fn remember(&self) -> (Books, i64) {
        let books = self.phones.iter().map(|phone| phone.with(CardBook::read)).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (books, i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
    }

    /// Which cards are lost, evenly over both bearers, all profiles and modes.
    pub fn lost(&self) -> Vec<usize> {
        let every = (100 / self.options.lost_percent.clamp(1, 100)) as usize;
        // A step that is odd meets all of them.
        (0..self.phones.len()).step_by(every | 1).collect()
    }

    /// Blank cards in place of the lost ones, and a restore for each; true: as of `early_micros`.
    pub async fn replace(&mut self, lost: &[usize], early_micros: i64) -> anyhow::Result<HashMap<usize, bool>> {
        let mut restores = HashMap::new();
        for &at in lost {
            let old = self.phone(at)?.subscription.clone();
            let subscription = Subscription { msisdn: old.msisdn.clone(), ip_key: self.key() };
            let index = u32::try_from(at)?;
            let request = centre::ReplaceCardRequest {
                msisdn: old.msisdn.clone(),
                iccid: iccid(REPLACED + index),
                ip_key: subscription.ip_key.clone().into(),
                bearer: bearer_name(role(index).bearer).to_owned(),
                personalised: true,
                ..centre::ReplaceCardRequest::default()
            };
            self.client.accounts.replace_card(request).await.with_context(|| format!("card {at}"))?;
            let blank = role(index).card(&self.number, &self.master_key, &iccid(REPLACED + index));
            let phone = self.fleet.add(subscription, blank);
            if let Some(place) = self.phones.get_mut(at) {
                self.gone.push((at, std::mem::replace(place, phone)));
            }
            // Before the restore, which goes the same way.
            self.tell(at).await.with_context(|| format!("card {at}"))?;
            let is_early = restores.len() % 2 == 1;
            let request = centre::RestoreRequest {
                msisdn: old.msisdn,
                from_device_id: 0,
                as_of_micros: if is_early { early_micros } else { 0 },
                selection: Some(Selection::All(true)),
            };
            self.client.commands.restore(request).await.with_context(|| format!("restore of card {at}"))?;
            restores.insert(at, is_early);
        }
        Ok(restores)
    }

    /// Waits until no restore is open any more.
    pub async fn await_restores(&mut self, lost: &[usize], act: u8) -> anyhow::Result<()> {
        let mut progress = Progress::new(&self.options, act, "restoring", lost.len() as u64);
        let mut open: Vec<usize> = lost.to_vec();
        let mut moved = (u64::MAX, Instant::now());
        while !open.is_empty() {
            let mut still = Vec::new();
            for at in open {
                if self.has_open(at, "restore").await? || self.phone(at)?.with(|station| station.pending()) {
                    still.push(at);
                }
            }
            open = still;
            let written = self.sum(|_| true, |statistics| statistics.records_restored);
            progress.show((lost.len() - open.len()) as u64, &format!("{} records restored", thousands(written)));
            if written != moved.0 {
                moved = (written, Instant::now());
            }
            if moved.1.elapsed() > PATIENCE {
                bail!("restoring: {} of {} restores are still open", open.len(), lost.len());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        progress.finish();
        Ok(())
    }

    /// What the cards at these places did, lost ones too.
    pub fn sum(&self, places: impl Fn(usize) -> bool, value: fn(&mobile::Statistics) -> u64) -> u64 {
        let present = self.phones.iter().enumerate();
        let gone = self.gone.iter().map(|(at, phone)| (*at, phone));
        let counted = present.chain(gone).filter(|(at, _)| places(*at));
        counted.map(|(_, phone)| phone.with(|station| value(&station.statistics()))).sum()
    }

    /// The longest time for which one of the phones at these places was busy with short messages, on its own clock.
    pub fn longest_blocked(&self, places: impl Fn(usize) -> bool) -> Duration {
        let present = self.phones.iter().enumerate();
        let gone = self.gone.iter().map(|(at, phone)| (*at, phone));
        let counted = present.chain(gone).filter(|(at, _)| places(*at));
        counted.map(|(_, phone)| phone.with(|station| station.statistics().longest_blocked)).max().unwrap_or_default()
    }

    async fn has_open(&mut self, at: usize, action_type: &str) -> anyhow::Result<bool> {
        let msisdn = self.phone(at)?.subscription.msisdn.clone();
        let request = centre::ListActionsRequest { msisdn, limit: 10, open_only: true };
        let actions = self.client.commands.list_actions(request).await?.into_inner().actions;
        Ok(actions.iter().any(|action| action.r#type == action_type))
    }

    /// Every card with what it should hold, and with its book at the centre.
    pub async fn compare(&mut self, expected: &Books, act: u8) -> anyhow::Result<Compared> {
        let mut progress = Progress::new(&self.options, act, "comparing", self.phones.len() as u64);
        let mut compared = Compared { cards: self.phones.len(), ..Compared::default() };
        for (ready, (phone, expected)) in (1..).zip(self.phones.clone().iter().zip(expected)) {
            let held = phone.with(CardBook::read);
            let request = centre::ShowBookRequest { msisdn: phone.subscription.msisdn.clone(), ..Default::default() };
            let book = self.client.books.show_book(request).await?.into_inner();
            let stored: Records = book
                .records
                .into_iter()
                .map(|record| ((record.df, record.ef, record.record_number), record.octets.into()))
                .collect();
            let (held, expected) = (held.by_record(), expected.by_record());
            if held == expected && stored == held {
                compared.identical += 1;
            } else {
                let number = runtime::mask::number(&phone.subscription.msisdn);
                let card = differing(&expected, &held);
                let centre = differing(&held, &stored);
                compared
                    .differences
                    .push(format!("{number}: card against its book: {card}; centre against card: {centre}"));
            }
            progress.show(ready, &format!("{} identical", compared.identical));
        }
        progress.finish();
        Ok(compared)
    }

    /// A device key.
    fn key(&mut self) -> Vec<u8> {
        (0..16).map(|_| octet(self.people.below(256))).collect()
    }
}

/// The owner of a card that backs up when it is asked to asks for it.
pub fn ask_for_backup(at: u32, phone: &Phone) {
    if let Some(item) = role(at).menu_item() {
        phone.select(item);
    }
}

/// One contact is written or deleted.
pub fn edit_one(people: &mut People, phone: &Phone) {
    let record = octet(1 + people.below(u32::from(CARD_RECORDS)));
    if people.chance(35) {
        phone.with(|station| station.delete_contact(record));
    } else {
        let contact = people.contact();
        write(phone, record, &contact);
    }
}

/// Whoever does not fit is not written down: the card is full of long numbers, or its applet backs up EF_ADN only, so that
/// its owner keeps to numbers that need no second record.
fn write(phone: &Phone, record: u8, contact: &Contact) {
    let is_long = contact.number.chars().filter(char::is_ascii_digit).count() > ADN_DIGITS;
    phone.with(|station| {
        let takes_long = station.first().is_none() && station.third().is_none();
        if takes_long || !is_long {
            station.write_contact(record, contact).ok();
        }
    });
}

/// How many records differ, and the first of them.
fn differing(one: &Records, other: &Records) -> String {
    let mut names: Vec<_> = one.keys().chain(other.keys()).filter(|name| one.get(*name) != other.get(*name)).collect();
    names.sort_unstable();
    names.dedup();
    match names.first() {
        None => "equal".to_owned(),
        Some((df, ef, number)) => {
            format!("{} records differ, the first is {df:04X}/{ef:04X} record {number}", names.len())
        }
    }
}

fn new_account(at: u32, subscription: &Subscription) -> centre::NewAccount {
    let row = |index: u32, ef: u32, record_count: u8, data_octets: u32| centre::MonitorRow {
        index,
        df: 0x7F10,
        ef,
        record_offset: 0,
        record_count: record_count.into(),
        data_offset: 0,
        data_octets,
    };
    let role = role(at);
    let mut monitor = vec![row(0, 0x6F3A, CARD_RECORDS, 28)];
    if role.embodiment == Embodiment::Second {
        monitor.push(row(1, 0x6F4A, CARD_EXTENSIONS, 13));
    }
    centre::NewAccount {
        msisdn: subscription.msisdn.clone(),
        name: format!("Subscriber {at}"),
        iccid: iccid(at),
        profile: role.embodiment.name().to_owned(),
        bearer: bearer_name(role.bearer).to_owned(),
        ip_key: subscription.ip_key.clone().into(),
        monitor,
        personalised: true,
        ..Default::default()
    }
}

fn bearer_name(bearer: Bearer) -> &'static str {
    match bearer {
        Bearer::Sms => "sms",
        Bearer::Ip => "ip",
    }
}

fn iccid(at: u32) -> String {
    format!("8949{at:015}")
}

fn octet(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}
