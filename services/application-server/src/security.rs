//! How cards' messages are secured: levels, key versions, and the import of a card maker's output file (D-125).
//!
//! Keys are derived from the master key, or come wrapped by the card maker's transport key and are kept wrapped under the
//! master key. None is shown, logged, or written to the audit.

use std::sync::Arc;

use domain::{
    phonebook::{Device, DeviceState},
    security::{KeySource, KeyVersion, Level, Security, TAR_DOWN, TAR_UP},
};
use proto::centre::{self, security_server::Security as SecurityCalls};
use secured::{Algorithm, CardKeys, Tar};
use store::{Account, Audit, InboundCommit};
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use crate::{
    App,
    app::{CONFLICT_REPEATS, msisdn, open_device},
    audit, errors,
};

/// Cards of one call, as the contract says.
const CARDS_MAX: usize = 1000;
/// ITU-T E.212.
const IMSI_DIGITS: std::ops::RangeInclusive<usize> = 6..=15;

/// `centre.v1.Security`.
pub struct Service(pub Arc<App>);

#[tonic::async_trait]
impl SecurityCalls for Service {
    async fn show_security(
        &self,
        request: Request<centre::ShowSecurityRequest>,
    ) -> Result<Response<centre::DeviceSecurity>, Status> {
        let who = audit::user(request.metadata());
        let account = self.0.account(&request.into_inner().msisdn).await?;
        self.0.record_look(&who, &account.subscriber, "looked at the card's security").await?;
        shown(&account).map(Response::new)
    }

    async fn set_security(
        &self,
        request: Request<centre::SetSecurityRequest>,
    ) -> Result<Response<centre::DeviceSecurity>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        let wanted = Wanted::of(&request.level, &request.tar_up, &request.tar_down)?;
        let algorithm = algorithm("algorithm", &request.algorithm)?;
        let version = if request.key_version == 0 { None } else { Some(version(request.key_version)?) };
        let change = |_: &Device, state: &DeviceState| {
            let security = match &state.security {
                Some(security) => {
                    let current = &security.current;
                    let is_other = version.is_some_and(|it| it != current.version)
                        || algorithm.is_some_and(|it| it != current.algorithm);
                    if is_other {
                        let got = "other keys than the card has";
                        return Err(errors::invalid("key_version", got, "the card's own; RotateKeys changes them"));
                    }
                    wanted.applied(security.clone())
                }
                None => {
                    let algorithm = algorithm.unwrap_or(Algorithm::Aes128);
                    wanted.new_security(KeyVersion::new(version.unwrap_or(1), algorithm, KeySource::Derived))
                }
            };
            let what = format!("security set to {}", security.level.name());
            Ok((security, what))
        };
        self.0.change_security(&who, &request.msisdn, change).await.map(Response::new)
    }

    async fn rotate_keys(
        &self,
        request: Request<centre::RotateKeysRequest>,
    ) -> Result<Response<centre::DeviceSecurity>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        let algorithm = algorithm("algorithm", &request.algorithm)?;
        let change = |_: &Device, state: &DeviceState| {
            let mut security = state.security.clone().ok_or_else(no_keys)?;
            let current = security.current.version;
            let next = match request.key_version {
                0 => current.saturating_add(1),
                asked => version(asked)?,
            };
            if next <= current || !KeyVersion::VERSIONS.contains(&next) {
                let expected = format!("{} to 15: a version is never used again", u32::from(current) + 1);
                return Err(errors::invalid("key_version", next, &expected));
            }
            let algorithm = algorithm.unwrap_or(security.current.algorithm);
            security.rotate(KeyVersion::new(next, algorithm, KeySource::Derived), !request.at_once);
            Ok((security, format!("keys changed from version {current} to {next}")))
        };
        self.0.change_security(&who, &request.msisdn, change).await.map(Response::new)
    }

    async fn import_cards(
        &self,
        request: Request<centre::ImportCardsRequest>,
    ) -> Result<Response<centre::ImportCardsResponse>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        if request.cards.len() > CARDS_MAX {
            let expected = format!("at most {CARDS_MAX} in one call");
            return Err(errors::invalid("cards", request.cards.len(), &expected));
        }
        let wanted = Wanted::of(&request.level, &request.tar_up, &request.tar_down)?;
        self.0.check_import()?;
        let mut response = centre::ImportCardsResponse::default();
        for (index, card) in (0..).zip(&request.cards) {
            match self.0.import(&who, card, &request, &wanted).await {
                Ok(Imported::Created) => response.created += 1,
                Ok(Imported::Updated) => response.updated += 1,
                Ok(Imported::Unchanged) => response.unchanged += 1,
                Err(status) => {
                    let cause = status.message().to_owned();
                    response.refused.push(centre::RefusedCard { index, cause });
                }
            }
        }
        Ok(Response::new(response))
    }
}

/// What a request says beside the keys.
struct Wanted {
    level: Level,
    tar_up: Option<Tar>,
    tar_down: Option<Tar>,
}

impl Wanted {
    fn of(level: &str, tar_up: &[u8], tar_down: &[u8]) -> Result<Self, Status> {
        let expected = "none, integrity or integrity_and_cipher";
        let level = Level::from_name(level).ok_or_else(|| errors::invalid("level", format!("{level:?}"), expected))?;
        Ok(Self { level, tar_up: tar("tar_up", tar_up)?, tar_down: tar("tar_down", tar_down)? })
    }

    fn applied(&self, security: Security) -> Security {
        let tar_up = self.tar_up.unwrap_or(security.tar_up);
        let tar_down = self.tar_down.unwrap_or(security.tar_down);
        Security { level: self.level, tar_up, tar_down, ..security }
    }

    fn new_security(&self, current: KeyVersion) -> Security {
        let security = Security { level: self.level, tar_up: TAR_UP, tar_down: TAR_DOWN, current, previous: None };
        self.applied(security)
    }
}

/// What became of a card of the file.
enum Imported {
    Created,
    Updated,
    Unchanged,
}

impl App {
    /// Reads the open card, changes its security, and writes it with the audit row; again when it changed meanwhile.
    async fn change_security(
        &self,
        who: &str,
        digits: &str,
        change: impl Fn(&Device, &DeviceState) -> Result<(Security, String), Status>,
    ) -> Result<centre::DeviceSecurity, Status> {
        for _ in 0..CONFLICT_REPEATS {
            let account = self.account(digits).await?;
            let (device, state) = open_device(&account)?;
            let (security, what) = change(device, state)?;
            self.check_keys(&security)?;
            let row = audit::about(self.now(), who, &account.subscriber, &what);
            let state = DeviceState { security: Some(security), ..state.clone() };
            let batch = InboundCommit { states: vec![(device.key, state)], ..InboundCommit::default() };
            if errors::unless_changed(self.store.commit(batch, row).await)?.is_some() {
                return shown(&self.account(digits).await?);
            }
        }
        Err(errors::kept_changing())
    }

    /// Before a card is secured: afterwards nothing of it would be taken.
    fn check_keys(&self, security: &Security) -> Result<(), Status> {
        if security.level == Level::None || self.keyring.has_master_key() {
            return Ok(());
        }
        Err(Status::failed_precondition("no card can be secured: expected a master key (setting master_key)"))
    }

    fn check_import(&self) -> Result<(), Status> {
        if self.transport.is_some() && self.keyring.has_master_key() {
            return Ok(());
        }
        let expected = "expected a master key and the card maker's transport key (settings master_key, transport_key)";
        Err(Status::failed_precondition(format!("nothing can be imported: {expected}")))
    }

    async fn import(
        &self,
        who: &str,
        card: &centre::ImportedCard,
        request: &centre::ImportCardsRequest,
        wanted: &Wanted,
    ) -> Result<Imported, Status> {
        let is_imsi = IMSI_DIGITS.contains(&card.imsi.len()) && card.imsi.bytes().all(|octet| octet.is_ascii_digit());
        if !is_imsi {
            return Err(errors::invalid("imsi", format!("{} characters", card.imsi.len()), "6 to 15 digits"));
        }
        let keys = self.kept_keys(card)?;
        let number = msisdn("msisdn", &card.msisdn)?;
        for _ in 0..CONFLICT_REPEATS {
            let Some(account) = self.store.account(number).await.map_err(errors::store)? else {
                return self.import_new(who, card, request, wanted.new_security(keys)).await;
            };
            let (device, state) = open_device(&account)?;
            if device.iccid != card.iccid {
                return Err(errors::invalid("iccid", &card.iccid, "that of the number's open card; replace it first"));
            }
            let Some(security) = with_keys(state, &keys, wanted)? else { return Ok(Imported::Unchanged) };
            let what = format!("keys of version {} imported", keys.version);
            let row = audit::about(self.now(), who, &account.subscriber, &what);
            let state = DeviceState { security: Some(security), ..state.clone() };
            let batch = InboundCommit { states: vec![(device.key, state)], ..InboundCommit::default() };
            if errors::unless_changed(self.store.commit(batch, row).await)?.is_some() {
                return Ok(Imported::Updated);
            }
        }
        Err(errors::kept_changing())
    }

    /// A number that nobody has: the card maker says who has it.
    async fn import_new(
        &self,
        who: &str,
        card: &centre::ImportedCard,
        request: &centre::ImportCardsRequest,
        security: Security,
    ) -> Result<Imported, Status> {
        let requested = centre::NewAccount {
            msisdn: card.msisdn.clone(),
            iccid: card.iccid.clone(),
            profile: request.profile.clone(),
            bearer: request.bearer.clone(),
            personalised: true,
            ..centre::NewAccount::default()
        };
        let mut account = self.new_account(&requested)?;
        account.state.security = Some(security);
        let what = format!("subscriber {}: account created from a card maker's file", account.subscriber.id.0);
        let row = Audit { at: self.now(), who: who.to_owned(), what };
        self.store.create_accounts(&[account], row).await.map_err(errors::store)?;
        Ok(Imported::Created)
    }

    /// The card's keys out of the transport key's wrapping, and kept under the master key.
    fn kept_keys(&self, card: &centre::ImportedCard) -> Result<KeyVersion, Status> {
        let version = version(card.key_version)?;
        let algorithm = algorithm("algorithm", &card.algorithm)?.unwrap_or(Algorithm::Aes128);
        let transport =
            self.transport.as_ref().ok_or_else(|| Status::failed_precondition("transport_key is not set"))?;
        let mut octets = Zeroizing::new(Vec::with_capacity(CardKeys::COUNT * algorithm.key_octets()));
        let wrapped = [
            ("kic_down", &card.kic_down),
            ("kid_down", &card.kid_down),
            ("kic_up", &card.kic_up),
            ("kid_up", &card.kid_up),
        ];
        for (field, wrapped) in wrapped {
            let expected = format!("a key of {} octets wrapped by the transport key", algorithm.key_octets());
            let key = transport.unwrap(wrapped).filter(|key| key.len() == algorithm.key_octets());
            let key = key.ok_or_else(|| errors::invalid(field, format!("{} octets", wrapped.len()), &expected))?;
            octets.extend_from_slice(&key);
        }
        let source = self.keyring.keep(&card.iccid, version, algorithm, &octets);
        let source = source.map_err(|fault| Status::failed_precondition(fault.to_string()))?;
        Ok(KeyVersion::new(version, algorithm, source))
    }
}

/// The setting with these keys; `None`: it is so already.
fn with_keys(state: &DeviceState, keys: &KeyVersion, wanted: &Wanted) -> Result<Option<Security>, Status> {
    let Some(before) = &state.security else { return Ok(Some(wanted.new_security(keys.clone()))) };
    let mut security = wanted.applied(before.clone());
    let current = &before.current;
    let is_same = current.version == keys.version && current.algorithm == keys.algorithm;
    if is_same && current.source == KeySource::Awaited {
        security.current.source = keys.source.clone();
    } else if keys.version > current.version {
        security.rotate(keys.clone(), true);
    } else if !(is_same && current.source == keys.source) {
        let expected = format!("above {}, for the card has other keys under that version", current.version);
        return Err(errors::invalid("key_version", keys.version, &expected));
    }
    Ok((security != *before).then_some(security))
}

fn shown(account: &Account) -> Result<centre::DeviceSecurity, Status> {
    let (device, state) = open_device(account)?;
    let known = centre::DeviceSecurity {
        msisdn: account.subscriber.msisdn.digits(),
        device_id: device.key.device.0,
        level: Level::None.name().to_owned(),
        ..centre::DeviceSecurity::default()
    };
    let Some(security) = &state.security else { return Ok(known) };
    let Security { level, tar_up, tar_down, current, previous } = security;
    Ok(centre::DeviceSecurity {
        level: level.name().to_owned(),
        tar_up: tar_up.to_vec().into(),
        tar_down: tar_down.to_vec().into(),
        key_version: current.version.into(),
        algorithm: current.algorithm.name().to_owned(),
        key_source: match current.source {
            KeySource::Derived => "derived",
            KeySource::Wrapped(_) => "imported",
            KeySource::Awaited => "awaited",
        }
        .to_owned(),
        previous_version: previous.as_ref().map_or(0, |keys| keys.version.into()),
        counter_up: current.window.highest,
        ..known
    })
}

fn no_keys() -> Status {
    Status::failed_precondition("the card has no keys; set its security first")
}

/// Empty: not said.
fn algorithm(field: &str, name: &str) -> Result<Option<Algorithm>, Status> {
    if name.is_empty() {
        return Ok(None);
    }
    let known: Vec<&str> = Algorithm::ALL.into_iter().map(Algorithm::name).collect();
    let found = Algorithm::from_name(name);
    found.map(Some).ok_or_else(|| errors::invalid(field, format!("{name:?}"), &known.join(", ")))
}

fn version(number: u32) -> Result<u8, Status> {
    let version = u8::try_from(number).ok().filter(|version| KeyVersion::VERSIONS.contains(version));
    version.ok_or_else(|| errors::invalid("key_version", number, "1 to 15"))
}

/// Empty: not said.
fn tar(field: &str, octets: &[u8]) -> Result<Option<Tar>, Status> {
    if octets.is_empty() {
        return Ok(None);
    }
    let found = octets.try_into().ok();
    found.map(Some).ok_or_else(|| errors::invalid(field, format!("{} octets", octets.len()), "3 octets, or none"))
}
