//! The demonstration: a few hundred cards are backed up over SMS and IP, changed, some lost, replaced and restored, and
//! at the end every card is compared with its book, octet by octet.
//!
//! Start at [`play`]; who plays is in [`cast`], the acts are in [`acts`], what is compared in [`books`], what a person sees meanwhile in
//! [`progress`], and at the end in [`report`].

mod acts;
mod books;
mod cast;
mod progress;
mod report;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use secured::master::MasterKey;
use tokio::sync::mpsc;

pub use report::Report;

use crate::{
    fleet::{Fleet, FleetConfig, Phone},
    ip_phone::LinkAddress,
    people::People,
    smsc::{MobileTerminated, SmscHandle},
};

/// What can be varied.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Cards; half of them on SMS, half on IP.
    pub cards: u32,
    /// Seconds of the cards' clock in one of ours; the centre's clock is the real one.
    pub speed: u32,
    /// The same seed gives the same people.
    pub seed: u64,
    /// Of a hundred cards, how many are lost.
    pub lost_percent: u32,
    /// A line for each act instead of progress bars: for a log.
    pub plain: bool,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { cards: 300, speed: 20, seed: 1, lost_percent: 20, plain: false }
    }
}

/// The centre's faces.
#[derive(Clone)]
pub struct CentreAccess {
    /// gRPC of the application server.
    pub application_server: SocketAddr,
    /// Where cards connect by IP, one for each replica.
    pub cards: Vec<LinkAddress>,
    /// The centre's number, digits.
    pub number: String,
    /// The centre's master key, from which the keys of secured cards are derived: 64 hexadecimal digits.
    pub master_key: String,
}

/// Something done to the centre between backup and restore, with the subscriber number of a card that will be lost.
pub type Damage = Box<dyn FnOnce(&str) -> anyhow::Result<()> + Send>;

/// A played demonstration; the cards live on until it is stopped.
pub struct Played {
    pub report: Report,
    pub fleet: Fleet,
    phones: Phones,
    people: People,
}

impl Played {
    /// Somebody changes a contact, or deletes one.
    pub fn live(&mut self) {
        let at = self.people.below(u32::try_from(self.phones.len()).unwrap_or(u32::MAX).max(1));
        if let Some(phone) = usize::try_from(at).ok().and_then(|at| self.phones.get(at)) {
            acts::edit_one(&mut self.people, phone);
            acts::ask_for_backup(at, phone);
        }
    }
}

/// Plays all acts.
///
/// # Errors
/// When an act does not end in its time; the error says which, and how far it came.
pub async fn play(
    options: &DemoOptions,
    smsc: SmscHandle,
    terminated: mpsc::Receiver<MobileTerminated>,
    centre: CentreAccess,
    damage: Option<Damage>,
) -> anyhow::Result<Played> {
    let started = Instant::now();
    let fleet_config = FleetConfig {
        speed: options.speed,
        sms_takes: SMS_TAKES,
        centre_number: centre.number.clone(),
        smsc: smsc.clone(),
        cards: centre.cards.clone(),
    };
    let mut stage = acts::Stage {
        options: options.clone(),
        people: People::new(options.seed),
        fleet: Fleet::new(fleet_config, terminated),
        client: acts::Client::connect(centre.application_server).await?,
        number: centre.number,
        master_key: MasterKey::from_hex(&centre.master_key).context("the master key")?,
        phones: Vec::new(),
        gone: Vec::new(),
    };
    stage.subscribe().await.context("creating the accounts")?;
    stage.configure().await.context("telling the cards how to back up")?;
    stage.fill();
    stage.settle("backing up", 1).await?;
    let (early, early_micros) = stage.remember();
    stage.edit();
    stage.settle("backing up changes", 2).await?;
    let (late, _) = stage.remember();
    let lost = stage.lost();
    if let (Some(damage), Some(&first)) = (damage, lost.first()) {
        damage(&stage.phone(first)?.subscription.msisdn).context("damaging the store")?;
    }
    let restores = stage.replace(&lost, early_micros).await.context("replacing the lost cards")?;
    stage.await_restores(&lost, 3).await?;
    let expected = books::expected(&early, &late, &restores);
    let compared = stage.compare(&expected, 4).await?;
    let report = Report::new(&stage, &smsc, &compared, restores.len(), started.elapsed());
    Ok(Played { report, fleet: stage.fleet, phones: stage.phones, people: stage.people })
}

/// PEM texts: an authority, and a certificate for `localhost` that it signed, with its key.
pub struct Certificates {
    pub authority: String,
    pub certificate: String,
    pub key: String,
}

/// New certificates, for this run only.
#[must_use]
pub fn certificates() -> Certificates {
    let authority = testkit::tls::Authority::new();
    let identity = authority.identity(&["localhost"]);
    Certificates {
        authority: authority.certificate_pem(),
        certificate: identity.certificate_pem,
        key: identity.private_key_pem,
    }
}

/// What the network takes for a short message, on the cards' clock.
const SMS_TAKES: Duration = Duration::from_secs(4);

/// A new master key, for this run only: 64 hexadecimal digits.
#[must_use]
pub fn master_key() -> String {
    let octets: [u8; 32] = rand::random();
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// All phones, in the order of their numbers.
type Phones = Vec<Arc<Phone>>;
