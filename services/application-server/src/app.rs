//! What the gRPC services share: store, queue, clock, ids, and the steps that every operator command takes.

use std::sync::Arc;

use bytes::Bytes;
use domain::{
    delivery::{Action, ActionId, Content, QueueEntry, State},
    identity::{DeviceId, DeviceKey, IdGenerator, Msisdn, Timestamp},
    phonebook::{
        Bearer, Device, DeviceState, Subscriber,
        restore::{self, Book},
    },
    security::Keyring,
};
use queue::Queue;
use secured::master::MasterKey;
use store::{Account, ApplicationStore, Audit, InboundCommit, StoreError};
use tonic::Status;

use crate::{Clock, Config, audit, errors, housekeeping, passwords::Passwords};

/// How often a commit that met another writer is made again from a fresh read.
pub(crate) const CONFLICT_REPEATS: usize = 8;

/// State of the service; the gRPC services are thin wrappers over it.
pub struct App {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn ApplicationStore>,
    queue: Arc<dyn Queue>,
    clock: Clock,
    pub(crate) ids: IdGenerator,
    pub(crate) passwords: Passwords,
    pub(crate) keyring: Keyring,
    /// Of the card maker.
    pub(crate) transport: Option<MasterKey>,
}

impl App {
    pub fn new(config: Config, store: Arc<dyn ApplicationStore>, queue: Arc<dyn Queue>, clock: Clock) -> Self {
        let ids = IdGenerator::new(config.node);
        // Checked where the service starts.
        let keyring = Keyring::from_setting(config.master_key.expose()).unwrap_or_default();
        let transport = MasterKey::from_hex(config.transport_key.expose());
        Self { config, store, queue, clock, ids, passwords: Passwords::default(), keyring, transport }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp((self.clock)())
    }

    pub(crate) fn next_id(&self) -> i64 {
        self.ids.next(self.now())
    }

    /// The account of a number given as digits in a request.
    pub(crate) async fn account(&self, digits: &str) -> Result<Account, Status> {
        let msisdn = msisdn("msisdn", digits)?;
        let account = self.store.account(msisdn).await.map_err(errors::store)?;
        account.ok_or_else(|| Status::not_found(format!("msisdn {digits}: no account has this number")))
    }

    /// A new queued action for a device, due now.
    pub(crate) fn action(&self, msisdn: Msisdn, device: &Device, state: &DeviceState, content: Content) -> Action {
        let now = self.now();
        Action {
            device: device.key,
            id: ActionId(self.next_id()),
            content,
            msisdn,
            is_secured: state.required_security().is_some(),
            channel: state.channel(device.bearer),
            state: State::Queued,
            attempts: 0,
            created: now,
            due: now,
            launched: None,
            receipt: None,
            cause: String::new(),
            traces: vec![self.trace()],
        }
    }

    /// A fresh trace identifier: an operator's command starts a trace, as a card's message does.
    fn trace(&self) -> Bytes {
        Bytes::copy_from_slice(&rand::random::<[u8; 16]>())
    }

    /// Commits, then tells the queue. A queue that does not answer costs time, not the action: the janitor finds it.
    pub(crate) async fn commit(&self, batch: InboundCommit, audit: Audit) -> Result<(), StoreError> {
        let actions = batch.new_actions.clone();
        self.store.commit(batch, audit).await?;
        for action in &actions {
            let traces = runtime::Traces(&action.traces);
            tracing::debug!(%traces, msisdn = %action.msisdn, action = action.id.0, "action written");
        }
        self.push(&actions).await;
        Ok(())
    }

    /// Entries on the queue's dead-letter lists (PF-05); `None`: it does not answer.
    pub(crate) async fn dead_letters(&self) -> Option<u64> {
        let mut dead = 0_u64;
        for channel in [Bearer::Sms, Bearer::Ip] {
            match self.queue.depth(channel).await {
                Ok(depth) => dead = dead.saturating_add(depth.dead),
                Err(error) => {
                    tracing::warn!(%error, "dead letters were not counted");
                    return None;
                }
            }
        }
        Some(dead)
    }

    /// Puts committed actions into the queue.
    pub(crate) async fn push(&self, actions: &[Action]) {
        for channel in [Bearer::Sms, Bearer::Ip] {
            let bodies: Vec<Bytes> = actions
                .iter()
                .filter(|action| action.channel == channel)
                .map(|action| QueueEntry::of(action).to_octets())
                .collect();
            if bodies.is_empty() {
                continue;
            }
            if let Err(error) = self.queue.push(channel, &bodies).await {
                tracing::warn!(%error, actions = bodies.len(), "the queue did not take actions; the janitor will");
            }
        }
    }

    /// Takes entries out of the queue. An acknowledgement travels whole, with its number: what waits must not go to
    /// whoever gets that number, or the card. What still has a row the janitor queues again, as the row is now.
    pub(crate) async fn unqueue(&self, is_meant: impl Fn(&QueueEntry) -> bool + Sync) {
        let is_meant = |body: &Bytes| QueueEntry::from_octets(body.clone()).is_ok_and(|entry| is_meant(&entry));
        for channel in [Bearer::Sms, Bearer::Ip] {
            match self.queue.remove(channel, &is_meant).await {
                Ok(0) => {}
                Ok(entries) => tracing::info!(entries, "entries were taken out of the queue"),
                Err(error) => tracing::warn!(%error, "entries of before were not taken out of the queue"),
            }
        }
    }

    /// Tells the queue of the oldest open ordered action of a device, whose turn may have come.
    pub(crate) async fn push_next(&self, device: DeviceKey) {
        match self.store.ordered_actions(&[device]).await {
            Ok(open) => {
                if let Some(next) =
                    open.into_iter().filter(|action| action.content.is_ordered()).min_by_key(|action| action.id)
                {
                    self.push(&[next]).await;
                }
            }
            Err(error) => tracing::warn!(%error, "the next action of a device was not read; the janitor will queue it"),
        }
    }

    /// An audit row by itself, for looks.
    pub(crate) async fn record_look(&self, who: &str, subscriber: &Subscriber, what: &str) -> Result<(), Status> {
        let row = audit::about(self.now(), who, subscriber, what);
        self.store.commit(InboundCommit::default(), row).await.map_err(errors::store)
    }

    /// An audit row for a look at many, or at all of one subscriber.
    pub(crate) async fn record_listing(&self, who: &str, of: Option<&Subscriber>, what: &str) -> Result<(), Status> {
        if let Some(subscriber) = of {
            return self.record_look(who, subscriber, what).await;
        }
        let row = Audit { at: self.now(), who: who.to_owned(), what: what.to_owned() };
        self.store.commit(InboundCommit::default(), row).await.map_err(errors::store)
    }

    /// A time of a request, as far back as the journal goes; 0 is now.
    pub(crate) async fn as_of(&self, micros: i64) -> Result<Option<Timestamp>, Status> {
        if micros == 0 {
            return Ok(None);
        }
        let (at, now) = (Timestamp(micros), self.now());
        if micros < 0 || at > now {
            return Err(Status::invalid_argument(
                "the time asked for lies in the future: expected now or an earlier time",
            ));
        }
        // What was removed while the setting was shorter does not come back with a longer one.
        let removed = self.store.journal_from().await.map_err(errors::store)?;
        let from = housekeeping::journal_from(&self.config.housekeeping, now).max(removed.unwrap_or(Timestamp(0)));
        if at < from {
            return Err(Status::out_of_range(format!(
                "as_of_micros: got {micros}, expected 0 (now) or a time from {} on: the journal goes back no further \
                 (setting housekeeping.journal)",
                from.0
            )));
        }
        Ok(Some(at))
    }

    /// The records of a device at `as_of` (`None`: now), and the octets of each file's records.
    pub(crate) async fn book(&self, device: DeviceKey, as_of: Option<Timestamp>) -> Result<Book, Status> {
        let pages = self.store.book(device).await.map_err(errors::store)?;
        let mut book = restore::book(&pages);
        if let Some(as_of) = as_of {
            let limit = self.config.journal_rows_max;
            let journal = self.store.journal(device, as_of, limit).await.map_err(errors::store)?;
            if journal.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
                return Err(Status::resource_exhausted(format!(
                    "as_of_micros: more than {limit} changes since then, expected fewer (setting journal_rows_max)"
                )));
            }
            restore::undo(&mut book, &journal, as_of);
        }
        Ok(book)
    }
}

/// Digits of a request as a number.
pub(crate) fn msisdn(field: &str, digits: &str) -> Result<Msisdn, Status> {
    let problem = || errors::invalid(field, format!("{digits:?}"), "1 to 15 digits, the first not 0, no + or spaces");
    Msisdn::parse(digits).map_err(|_| problem())
}

/// The open device; every account has one.
pub(crate) fn open_device(account: &Account) -> Result<&(Device, DeviceState), Status> {
    let open = account.devices.iter().find(|(device, _)| device.closed.is_none());
    open.ok_or_else(|| Status::failed_precondition("the account has no open device; replace its card first"))
}

/// The device with this id, 0 for the open one.
pub(crate) fn device_by_id(account: &Account, id: i64) -> Result<&(Device, DeviceState), Status> {
    if id == 0 {
        return open_device(account);
    }
    account.devices.iter().find(|(device, _)| device.key.device == DeviceId(id)).ok_or_else(|| {
        let known: Vec<String> = account.devices.iter().map(|(device, _)| device.key.device.0.to_string()).collect();
        errors::invalid("device_id", id, &format!("0 (the open device) or one of {}", known.join(", ")))
    })
}
