//! Accounts: who is served, with which card, under which number.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    delivery::{Action, Content, Request as Told, RetryLadder, State},
    identity::{DeviceId, DeviceKey, SubscriberId, Timestamp},
    phonebook::{AccountState, Device, DeviceState, Profile, Subscriber},
};
use link::monitor::MonitorTable;
use proto::centre::{self, accounts_server::Accounts};
use store::{Account, Audit, InboundCommit, NewAccount, NewCard};
use tonic::{Request, Response, Status};

use crate::{
    App,
    app::{CONFLICT_REPEATS, msisdn, open_device},
    audit, configuration, errors, housekeeping,
    translate::{self, account_state_from, bearer_from, check_monitor, monitor_from, profile_from},
};

/// Accounts of one call, as the contract says.
const ACCOUNTS_MAX: usize = 1000;
pub(crate) const NAME_CHARACTERS_MAX: usize = 200;
const TENANT_CHARACTERS_MAX: usize = 64;
/// How long the caller waits for the billing events and notices; what is left then goes with the housekeeping.
const ERASE_WITHIN: Duration = Duration::from_secs(5);
const IP_KEY_OCTETS: std::ops::RangeInclusive<usize> = 16..=64;

/// `centre.v1.Accounts`.
pub struct Service(pub Arc<App>);

#[tonic::async_trait]
impl Accounts for Service {
    async fn create_account(
        &self,
        request: Request<centre::CreateAccountRequest>,
    ) -> Result<Response<centre::Account>, Status> {
        let who = audit::user(request.metadata());
        let account =
            request.into_inner().account.ok_or_else(|| errors::invalid("account", "nothing", "an account"))?;
        self.0.create(&who, std::slice::from_ref(&account)).await?;
        Ok(Response::new(self.0.show_account(&account.msisdn).await?))
    }

    async fn create_accounts(
        &self,
        request: Request<centre::CreateAccountsRequest>,
    ) -> Result<Response<centre::CreateAccountsResponse>, Status> {
        let who = audit::user(request.metadata());
        let accounts = request.into_inner().accounts;
        if accounts.len() > ACCOUNTS_MAX {
            return Err(errors::invalid("accounts", accounts.len(), &format!("at most {ACCOUNTS_MAX} in one call")));
        }
        let created = self.0.create(&who, &accounts).await?;
        Ok(Response::new(centre::CreateAccountsResponse { created }))
    }

    async fn get_account(
        &self,
        request: Request<centre::GetAccountRequest>,
    ) -> Result<Response<centre::Account>, Status> {
        let who = audit::user(request.metadata());
        let msisdn = request.into_inner().msisdn;
        let shown = self.0.show_account(&msisdn).await?;
        self.0.record_look(&who, &self.0.account(&msisdn).await?.subscriber, "looked at the account").await?;
        Ok(Response::new(shown))
    }

    async fn list_audit(
        &self,
        request: Request<centre::ListAuditRequest>,
    ) -> Result<Response<centre::ListAuditResponse>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        let of = match request.msisdn.as_str() {
            "" => None,
            digits => Some(self.0.account(digits).await?.subscriber),
        };
        let limit = self.0.listing_rows(request.limit);
        let id = of.as_ref().map(|subscriber| subscriber.id);
        let found = self.0.store.audit_log(id, limit).await.map_err(errors::store)?;
        self.0.record_listing(&who, of.as_ref(), "looked at the audit log").await?;
        let entry = |row: Audit| centre::AuditEntry { at_micros: row.at.0, who: row.who, what: row.what };
        Ok(Response::new(centre::ListAuditResponse { entries: found.into_iter().map(entry).collect() }))
    }

    async fn list_accounts(
        &self,
        request: Request<centre::ListAccountsRequest>,
    ) -> Result<Response<centre::ListAccountsResponse>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        let after = match request.after_msisdn.as_str() {
            "" => None,
            digits => Some(msisdn("after_msisdn", digits)?),
        };
        let limit = self.0.listing_rows(request.limit);
        let found = self.0.store.accounts(after, limit).await.map_err(errors::store)?;
        self.0.record_listing(&who, None, &format!("listed {} accounts", found.len())).await?;
        let devices: Vec<DeviceKey> = found.iter().flat_map(keys).collect();
        let open = self.0.open_actions(&devices).await?;
        let accounts = found.iter().map(|account| describe(account, &open)).collect();
        Ok(Response::new(centre::ListAccountsResponse { accounts }))
    }

    async fn set_state(&self, request: Request<centre::SetStateRequest>) -> Result<Response<centre::Account>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        self.0.set_state(&who, &request.msisdn, account_state_from(&request.state)?).await?;
        Ok(Response::new(self.0.show_account(&request.msisdn).await?))
    }

    async fn replace_card(
        &self,
        request: Request<centre::ReplaceCardRequest>,
    ) -> Result<Response<centre::Account>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        self.0.replace_card(&who, &request).await?;
        Ok(Response::new(self.0.show_account(&request.msisdn).await?))
    }

    async fn change_number(
        &self,
        request: Request<centre::ChangeNumberRequest>,
    ) -> Result<Response<centre::Account>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        let new = msisdn("new_msisdn", &request.new_msisdn)?;
        let account = self.0.account(&request.msisdn).await?;
        let what = format!("number changed to {new}");
        let row = audit::about(self.0.now(), &who, &account.subscriber, &what);
        let id = account.subscriber.id;
        self.0.store.change_number(id, new, row).await.map_err(errors::store)?;
        self.0.unqueue(|entry| entry.device.subscriber == id && entry.acknowledgement.is_some()).await;
        Ok(Response::new(self.0.show_account(&request.new_msisdn).await?))
    }

    async fn change_user(
        &self,
        request: Request<centre::ChangeUserRequest>,
    ) -> Result<Response<centre::Account>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        self.0.change_user(&who, &request).await?;
        Ok(Response::new(self.0.show_account(&request.msisdn).await?))
    }

    async fn verify_password(
        &self,
        request: Request<centre::VerifyPasswordRequest>,
    ) -> Result<Response<centre::VerifyPasswordResponse>, Status> {
        self.0.verify_password(&request.into_inner()).await.map(Response::new)
    }

    async fn erase_account(
        &self,
        request: Request<centre::EraseAccountRequest>,
    ) -> Result<Response<centre::EraseAccountResponse>, Status> {
        let who = audit::user(request.metadata());
        let account = self.0.account(&request.into_inner().msisdn).await?;
        let id = account.subscriber.id;
        // The row that stays says that somebody was erased, by number of the row, not of the subscriber (PF-20).
        let row = Audit { at: self.0.now(), who, what: format!("subscriber {} erased", id.0) };
        let rows = self.0.store.erase(id, row).await.map_err(errors::store)?;
        self.0.unqueue(|entry| entry.device.subscriber == id).await;
        let (more, unfinished) = housekeeping::erase_rest(&self.0, ERASE_WITHIN).await;
        Ok(Response::new(centre::EraseAccountResponse { rows: rows + more, unfinished }))
    }
}

impl App {
    /// Creates all or none; how many.
    async fn create(&self, who: &str, requested: &[centre::NewAccount]) -> Result<u32, Status> {
        let accounts: Vec<NewAccount> =
            requested.iter().map(|account| self.new_account(account)).collect::<Result<_, _>>()?;
        let (Some(first), Some(last)) = (accounts.first(), accounts.last()) else { return Ok(0) };
        let (first, last) = (first.subscriber.id.0, last.subscriber.id.0);
        let what = match accounts.len() {
            1 => format!("subscriber {first}: account created"),
            created => format!("{created} accounts created, subscribers {first} to {last}"),
        };
        let row = Audit { at: self.now(), who: who.to_owned(), what };
        self.store.create_accounts(&accounts, row).await.map_err(errors::store)?;
        let actions: Vec<_> = accounts.iter().flat_map(|account| account.actions.clone()).collect();
        self.push(&actions).await;
        Ok(u32::try_from(accounts.len()).unwrap_or(u32::MAX))
    }

    pub(crate) fn new_account(&self, requested: &centre::NewAccount) -> Result<NewAccount, Status> {
        let msisdn = msisdn("msisdn", &requested.msisdn)?;
        short("name", &requested.name, NAME_CHARACTERS_MAX)?;
        short("tenant", &requested.tenant, TENANT_CHARACTERS_MAX)?;
        let profile = profile_from(&requested.profile)?;
        let monitor = monitor_from(&requested.monitor)?;
        check_monitor(profile, &monitor)?;
        let id = SubscriberId(self.next_id());
        let tenant = if requested.tenant.is_empty() { "default" } else { &requested.tenant };
        let subscriber = Subscriber {
            id,
            tenant: tenant.to_owned(),
            msisdn,
            name: requested.name.clone(),
            state: AccountState::Active,
        };
        let card = Card { iccid: &requested.iccid, ip_key: &requested.ip_key, bearer: &requested.bearer, profile };
        let device = self.new_device(id, card)?;
        let (state, first) = self.first_state(&device, monitor, requested.personalised);
        let actions = first.into_iter().map(|content| self.action(msisdn, &device, &state, content)).collect();
        Ok(NewAccount { subscriber, device, state, actions })
    }

    fn new_device(&self, subscriber: SubscriberId, card: Card<'_>) -> Result<Device, Status> {
        check_iccid(card.iccid)?;
        let bearer = bearer_from(card.bearer)?;
        let key = card.ip_key;
        if !key.is_empty() && !IP_KEY_OCTETS.contains(&key.len()) {
            return Err(errors::invalid("ip_key", format!("{} octets", key.len()), "16 to 64 octets, or none"));
        }
        Ok(Device {
            key: DeviceKey { subscriber, device: DeviceId(self.next_id()) },
            iccid: card.iccid.to_owned(),
            profile: card.profile,
            bearer,
            ip_key: (!key.is_empty()).then(|| Bytes::copy_from_slice(key)),
            opened: self.now(),
            closed: None,
        })
    }

    /// A personalised card holds its table already; any other gets it by the first configuration, and until it has
    /// accepted that nothing of it is known (D-57). Cards of E1 and E3 have none that could change; E1 is switched on.
    fn first_state(
        &self,
        device: &Device,
        monitor: MonitorTable,
        personalised: bool,
    ) -> (DeviceState, Option<Content>) {
        let (mut state, content) = match device.profile {
            _ if personalised => (DeviceState { monitor, ..DeviceState::default() }, None),
            Profile::E2 => (DeviceState::default(), Some(configuration::first(&self.config, device.bearer, &monitor))),
            profile @ (Profile::E1 | Profile::E3) => {
                let state = DeviceState { monitor, ..DeviceState::default() };
                (state, configuration::control(profile, Told::ServiceOn))
            }
        };
        if let Some(content) = &content {
            configuration::overwrite_wanted_by(&mut state.wanted, content);
        }
        (state, content)
    }

    /// D-115: a subscriber who is served again backs up everything that changed meanwhile. State, resynchronisation and
    /// audit row are one commit, guarded by the card's state: a command that read the account before is not committed.
    async fn set_state(&self, who: &str, digits: &str, wanted: AccountState) -> Result<(), Status> {
        for _ in 0..CONFLICT_REPEATS {
            let account = self.account(digits).await?;
            let Subscriber { id, msisdn, state: before, .. } = account.subscriber;
            let (device, state) = open_device(&account)?;
            let mut what = format!("state set to {}", translate::account_state(wanted));
            let mut state = state.clone();
            let (mut new_actions, mut moved_actions) = (Vec::new(), Vec::new());
            if wanted == AccountState::Active && before != AccountState::Active {
                moved_actions = self.started_over(device.key).await?;
                let content = configuration::control(device.profile, Told::Resynchronise);
                content.iter().for_each(|content| configuration::begin(content, &mut state, self.now()));
                new_actions.extend(content.map(|content| self.action(msisdn, device, &state, content)));
                what.push_str(", resynchronisation asked for");
            }
            let row = audit::about(self.now(), who, &account.subscriber, &what);
            let actions: Vec<Action> =
                moved_actions.iter().map(|(action, ..)| action).chain(&new_actions).cloned().collect();
            let states = vec![(device.key, state)];
            let batch = InboundCommit { states, new_actions, moved_actions, ..InboundCommit::default() };
            if errors::unless_changed(self.store.set_state(id, wanted, batch, row).await)?.is_some() {
                self.push(&actions).await;
                return Ok(());
            }
        }
        Err(errors::kept_changing())
    }

    /// What a card that is served again is sent: all that is open starts over at the foot of the ladder, each with the state
    /// and due time as read. Not only what waits: a processor that still reads the account as suspended would park what is
    /// due, and cannot when its row changes. What was sent may still be answered in its time.
    async fn started_over(&self, device: DeviceKey) -> Result<Vec<(Action, State, Timestamp)>, Status> {
        let (ladder, now) = (RetryLadder::default(), self.now());
        let open = self.open_actions(&[device]).await?.into_iter();
        let open = open.filter(|action| action.state != State::Sent || action.due <= now);
        let started = open.map(|mut action| {
            let read = (action.state, action.due);
            action.state = State::Waiting;
            ladder.resume(&mut action, now);
            (action, read.0, read.1)
        });
        Ok(started.collect())
    }

    /// D-112: the lost card closes with its book; the new one opens with the same monitor table.
    async fn replace_card(&self, who: &str, request: &centre::ReplaceCardRequest) -> Result<(), Status> {
        for _ in 0..CONFLICT_REPEATS {
            if self.replace_card_as_read(who, request).await?.is_some() {
                return Ok(());
            }
        }
        Err(errors::kept_changing())
    }

    /// `None`: the account changed meanwhile.
    async fn replace_card_as_read(
        &self,
        who: &str,
        request: &centre::ReplaceCardRequest,
    ) -> Result<Option<()>, Status> {
        let account = self.account(&request.msisdn).await?;
        let Subscriber { id, msisdn, .. } = account.subscriber;
        let (old, old_state) = open_device(&account)?;
        if old.iccid == request.iccid {
            return Err(errors::invalid("iccid", &request.iccid, "another card than the one that is replaced"));
        }
        let open = self.open_actions(&[old.key]).await?;
        let profile = if request.profile.is_empty() { old.profile } else { profile_from(&request.profile)? };
        let monitor = match (request.monitor.is_empty(), profile) {
            (false, _) => monitor_from(&request.monitor)?,
            (true, Profile::E2) => configuration::expected_monitor(old_state, &open),
            (true, profile) => configuration::of_entries(profile, &configuration::expected_monitor(old_state, &open)),
        };
        check_monitor(profile, &monitor)?;
        let bearer = if request.bearer.is_empty() { translate::bearer(old.bearer) } else { &request.bearer };
        let card = Card { iccid: &request.iccid, ip_key: &request.ip_key, bearer, profile };
        let device = self.new_device(id, card)?;
        let (mut state, first) = self.first_state(&device, monitor, request.personalised);
        state.security = old_state.security.as_ref().map(domain::security::Security::for_new_card);
        let actions: Vec<_> = first.into_iter().map(|content| self.action(msisdn, &device, &state, content)).collect();
        let what = format!("card of device {} replaced by device {}", old.key.device.0, device.key.device.0);
        let row = audit::about(self.now(), who, &account.subscriber, &what);
        let new = NewCard { device, state, actions };
        let written = self.store.replace_card((old.key, old_state.version), &new, row).await;
        let written = errors::unless_changed(written)?;
        if written.is_some() {
            self.unqueue(|entry| entry.device == old.key && entry.acknowledgement.is_some()).await;
            self.push(&new.actions).await;
        }
        Ok(written)
    }

    async fn show_account(&self, digits: &str) -> Result<centre::Account, Status> {
        let account = self.account(digits).await?;
        let user = self.store.user(account.subscriber.id).await.map_err(errors::store)?.unwrap_or_default();
        let devices: Vec<DeviceKey> = keys(&account).collect();
        let shown = describe(&account, &self.open_actions(&devices).await?);
        let (address, login) = (user.address, user.login.unwrap_or_default());
        Ok(centre::Account { address, login, has_password: user.has_password, ..shown })
    }

    /// All that is under way and comes in turn, however much it is: decisions are made by it.
    pub(crate) async fn open_actions(&self, devices: &[DeviceKey]) -> Result<Vec<Action>, Status> {
        self.store.ordered_actions(devices).await.map_err(errors::store)
    }

    /// Rows of a listing: as asked, at most the setting; 0 is the setting.
    pub(crate) fn listing_rows(&self, asked: u32) -> u32 {
        if asked == 0 { self.config.listing_rows_max } else { asked.min(self.config.listing_rows_max) }
    }
}

/// What a request says of a card.
struct Card<'a> {
    iccid: &'a str,
    ip_key: &'a [u8],
    bearer: &'a str,
    profile: Profile,
}

fn keys(account: &Account) -> impl Iterator<Item = DeviceKey> {
    account.devices.iter().map(|(device, _)| device.key)
}

/// `open`: the ordered actions of its devices, and maybe of others.
fn describe(account: &Account, open: &[Action]) -> centre::Account {
    let restoring = |key: DeviceKey| {
        open.iter().any(|action| action.device == key && matches!(action.content, Content::Restore { .. }))
    };
    let devices = account.devices.iter();
    centre::Account {
        subscriber_id: account.subscriber.id.0,
        tenant: account.subscriber.tenant.clone(),
        msisdn: account.subscriber.msisdn.digits(),
        name: account.subscriber.name.clone(),
        state: translate::account_state(account.subscriber.state).to_owned(),
        devices: devices.map(|(device, state)| translate::device(device, state, restoring(device.key))).collect(),
        ..centre::Account::default()
    }
}

/// ICCID: 18 to 20 decimal digits (ITU-T E.118, TS 102 221 13.2).
fn check_iccid(iccid: &str) -> Result<(), Status> {
    if (18..=20).contains(&iccid.len()) && iccid.bytes().all(|octet| octet.is_ascii_digit()) {
        return Ok(());
    }
    Err(errors::invalid("iccid", format!("{iccid:?}"), "18 to 20 digits"))
}

pub(crate) fn short(field: &str, text: &str, characters_max: usize) -> Result<(), Status> {
    let characters = text.chars().count();
    if characters > characters_max || text.contains('\0') {
        let expected = format!("at most {characters_max}, none of them NUL");
        return Err(errors::invalid(field, format!("{characters} characters"), &expected));
    }
    Ok(())
}
