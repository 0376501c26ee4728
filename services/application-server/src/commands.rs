//! Commands to cards: restore, addressable restore, configuration, control; and what became of them.
//!
//! A command copies all that it needs into its action row (SC-DB-17), commits, and answers with the action's id.

use std::sync::Arc;

use bytes::Bytes;
use domain::{
    delivery::{Action, ActionId, Content, Progress, RestoreRecord, State},
    identity::{SubscriberId, Timestamp},
    phonebook::{
        AccountState, Device, DeviceState, FilePath, Profile, Subscriber,
        restore::{self, Book, Origin, REASON_BAD_LENGTH, REASON_NOT_IN_MONITOR_TABLE, Range, Selection},
    },
};
use link::third::FILE_CHECK;
use proto::centre::{self, commands_server::Commands, restore_request};
use store::{Account, Audit, Guard, InboundCommit};
use tonic::{Request, Response, Status};

use crate::{
    App,
    app::{CONFLICT_REPEATS, device_by_id, open_device},
    audit, configuration, errors, sessions,
    translate::{self, octet, two_octets},
};

/// Records of one addressable restore.
const ADDRESSED_RECORDS_MAX: usize = 1000;

/// `centre.v1.Commands`.
pub struct Service(pub Arc<App>);

#[tonic::async_trait]
impl Commands for Service {
    async fn restore(
        &self,
        request: Request<centre::RestoreRequest>,
    ) -> Result<Response<centre::ActionReference>, Status> {
        let who = audit::user(request.metadata());
        self.0.restore(&who, &request.into_inner()).await.map(Response::new)
    }

    async fn addressable_restore(
        &self,
        request: Request<centre::AddressableRestoreRequest>,
    ) -> Result<Response<centre::ActionReference>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        let records = addressed(&request.records)?;
        self.0.addressable_restore(&who, &request.msisdn, &records).await.map(Response::new)
    }

    async fn configure(
        &self,
        request: Request<centre::ConfigureRequest>,
    ) -> Result<Response<centre::ActionReference>, Status> {
        let who = audit::user(request.metadata());
        self.0.configure(&who, &request.into_inner()).await.map(Response::new)
    }

    async fn control(
        &self,
        request: Request<centre::ControlRequest>,
    ) -> Result<Response<centre::ActionReference>, Status> {
        let who = audit::user(request.metadata());
        self.0.control(&who, &request.into_inner()).await.map(Response::new)
    }

    async fn show_configuration(
        &self,
        request: Request<centre::ShowConfigurationRequest>,
    ) -> Result<Response<centre::CardConfiguration>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        let account = self.0.account(&request.msisdn).await?;
        let (device, state) = device_by_id(&account, request.device_id)?;
        let what = format!("looked at the configuration of device {}", device.key.device.0);
        self.0.record_look(&who, &account.subscriber, &what).await?;
        Ok(Response::new(translate::configuration(device, state)))
    }

    async fn list_sessions(
        &self,
        request: Request<centre::ListSessionsRequest>,
    ) -> Result<Response<centre::ListSessionsResponse>, Status> {
        let request = request.into_inner();
        let account = self.0.account(&request.msisdn).await?;
        let (device, state) = device_by_id(&account, request.device_id)?;
        let open = self.0.store.ordered_actions(&[device.key]).await.map_err(errors::store)?;
        let sessions = state.sessions.iter().rev().map(|session| sessions::shown(session, &open)).collect();
        Ok(Response::new(centre::ListSessionsResponse { sessions }))
    }

    async fn list_actions(
        &self,
        request: Request<centre::ListActionsRequest>,
    ) -> Result<Response<centre::ListActionsResponse>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        let of = match request.msisdn.as_str() {
            "" => None,
            digits => Some(self.0.account(digits).await?.subscriber),
        };
        self.0.record_listing(&who, of.as_ref(), "listed actions").await?;
        let subscriber = of.map(|subscriber| subscriber.id);
        let limit = self.0.listing_rows(request.limit);
        let actions = self.0.store.actions_of(subscriber, request.open_only, limit).await.map_err(errors::store)?;
        let actions = actions.iter().map(translate::action).collect();
        Ok(Response::new(centre::ListActionsResponse { actions }))
    }

    async fn cancel(&self, request: Request<centre::ActionReference>) -> Result<Response<centre::Action>, Status> {
        let who = audit::user(request.metadata());
        self.0.cancel(&who, &request.into_inner()).await.map(Response::new)
    }

    async fn retry(&self, request: Request<centre::ActionReference>) -> Result<Response<centre::Action>, Status> {
        let who = audit::user(request.metadata());
        self.0.retry(&who, &request.into_inner()).await.map(Response::new)
    }
}

impl App {
    /// The target is always the open device; the source may be a closed one, whose card was lost (D-112).
    async fn restore(&self, who: &str, request: &centre::RestoreRequest) -> Result<centre::ActionReference, Status> {
        let selection = selection(request.selection.as_ref())?;
        let as_of = self.as_of(request.as_of_micros).await?;
        for _ in 0..CONFLICT_REPEATS {
            let account = self.account(&request.msisdn).await?;
            let command = self.planned(&account, request.from_device_id, as_of, &selection).await?;
            if let Some(reference) = self.command(who, &account, command).await? {
                return Ok(reference);
            }
        }
        Err(errors::kept_changing())
    }

    async fn addressable_restore(
        &self,
        who: &str,
        digits: &str,
        records: &[RestoreRecord],
    ) -> Result<centre::ActionReference, Status> {
        for _ in 0..CONFLICT_REPEATS {
            let account = self.account(digits).await?;
            of_second(&account, "an addressable restore")?;
            let what = format!("addressable restore of {} records", records.len());
            let content = Content::AddressableRestore { records: records.to_vec() };
            if let Some(reference) = self.command(who, &account, Command { content, what }).await? {
                return Ok(reference);
            }
        }
        Err(errors::kept_changing())
    }

    /// What a restore would write, of the account as read.
    async fn planned(
        &self,
        account: &Account,
        from: i64,
        as_of: Option<Timestamp>,
        selection: &Selection,
    ) -> Result<Command, Status> {
        let (target, state) = open_device(account)?;
        let ((source, source_state), book) = self.source(account, from, as_of).await?;
        let present = self.book(target.key, None).await?;
        let open = self.open_actions(&[target.key]).await?;
        let monitor = configuration::expected_monitor(state, &open);
        // A card's own records are in the length that its table will have; a configuration on its way re-codes nothing.
        let own = if source.key == target.key { &monitor } else { &source_state.monitor };
        let records = restore::plan(Origin { book: &book, monitor: own }, &present, &monitor, selection)
            .map_err(|error| Status::invalid_argument(format!("selection: {error}")))?;
        let records = restore::for_profile(target.profile, records);
        check_plan(&records)?;
        let what = format!(
            "restore of {} records from device {} to device {}",
            records.len(),
            source.key.device.0,
            target.key.device.0
        );
        Ok(Command { content: restore::content(target.profile, &present, records, FILE_CHECK), what })
    }

    /// The device to restore from and its book.
    async fn source<'a>(
        &self,
        account: &'a Account,
        from: i64,
        as_of: Option<Timestamp>,
    ) -> Result<(&'a (Device, DeviceState), Book), Status> {
        self.newest_book(account, from, as_of).await?.ok_or_else(|| {
            Status::failed_precondition("no device of this subscriber has a book at that time: nothing to restore")
        })
    }

    /// The device named and its book, or, for 0, the newest with a book; `None`: no device has one.
    pub(crate) async fn newest_book<'a>(
        &self,
        account: &'a Account,
        from: i64,
        as_of: Option<Timestamp>,
    ) -> Result<Option<(&'a (Device, DeviceState), Book)>, Status> {
        if from != 0 {
            let device = device_by_id(account, from)?;
            return Ok(Some((device, self.book(device.0.key, as_of).await?)));
        }
        let mut devices: Vec<&(Device, DeviceState)> = account.devices.iter().collect();
        devices.sort_by_key(|(device, _)| std::cmp::Reverse((device.closed.is_none(), device.opened)));
        for device in devices {
            let book = self.book(device.0.key, as_of).await?;
            if !book.is_empty() {
                return Ok(Some((device, book)));
            }
        }
        Ok(None)
    }

    /// The wanted settings and the action that carries them to the card, in one transaction (SC-AP-05).
    async fn configure(
        &self,
        who: &str,
        request: &centre::ConfigureRequest,
    ) -> Result<centre::ActionReference, Status> {
        let items = configuration::checked(&request.items)?;
        for _ in 0..CONFLICT_REPEATS {
            let account = self.account(&request.msisdn).await?;
            of_second(&account, "a configuration")?;
            let (device, _) = open_device(&account)?;
            let cids: Vec<String> = items.iter().map(|item| format!("{:02X}", item.cid)).collect();
            let what = format!("configuration of device {}: CID {}", device.key.device.0, cids.join(", "));
            let content = Content::Configuration { items: items.clone() };
            if let Some(reference) = self.command(who, &account, Command { content, what }).await? {
                return Ok(reference);
            }
        }
        Err(errors::kept_changing())
    }

    async fn control(&self, who: &str, request: &centre::ControlRequest) -> Result<centre::ActionReference, Status> {
        let told = translate::request_from(&request.request)?;
        for _ in 0..CONFLICT_REPEATS {
            let account = self.account(&request.msisdn).await?;
            let (device, _) = open_device(&account)?;
            let content = configuration::control(device.profile, told).ok_or_else(|| {
                let profile = translate::profile(device.profile);
                Status::failed_precondition(format!("a card of {profile} has no message for {}", request.request))
            })?;
            let what = format!("{} of device {}", request.request, device.key.device.0);
            if let Some(reference) = self.command(who, &account, Command { content, what }).await? {
                return Ok(reference);
            }
        }
        Err(errors::kept_changing())
    }

    /// One action for the open device, with what the card is wanted to hold and the audit row, in one commit that the
    /// device's state as read guards: a card that was replaced or erased meanwhile gets nothing. `None`: it changed, read
    /// again.
    async fn command(
        &self,
        who: &str,
        account: &Account,
        Command { content, what }: Command,
    ) -> Result<Option<centre::ActionReference>, Status> {
        served(&account.subscriber)?;
        let (device, state) = open_device(account)?;
        let mut wanted = state.clone();
        configuration::overwrite_wanted_by(&mut wanted.wanted, &content);
        configuration::begin(&content, &mut wanted, self.now());
        let action = self.action(account.subscriber.msisdn, device, state, content);
        let reference = reference(&action);
        let row = audit::about(self.now(), who, &account.subscriber, &what);
        let states = vec![(device.key, wanted)];
        let batch = InboundCommit { states, new_actions: vec![action], ..InboundCommit::default() };
        Ok(errors::unless_changed(self.commit(batch, row).await)?.map(|()| reference))
    }

    async fn cancel(&self, who: &str, reference: &centre::ActionReference) -> Result<centre::Action, Status> {
        let mut action = self.find(reference).await?;
        let open = [State::Queued, State::Sent, State::Waiting];
        let before = action.state;
        action.state = State::Cancelled;
        // It ends now: housekeeping counts from here.
        action.due = self.now();
        action.cause = format!("cancelled by {who}");
        self.move_action(who, &action, (before, &open), None, "cancelled").await?;
        self.push_next(action.device).await;
        Ok(translate::action(&action))
    }

    /// From the start of the ladder, now. What was refused for good is tried again too, unless it cannot fit the card.
    async fn retry(&self, who: &str, reference: &centre::ActionReference) -> Result<centre::Action, Status> {
        let mut action = self.find(reference).await?;
        let before = action.state;
        let guard = self.still_served(&action).await?;
        if before == State::Sent {
            return Err(Status::failed_precondition(format!(
                "action {}: is under way and tried again by itself (D-117); cancel it to stop it",
                action.id.0
            )));
        }
        reopen(&mut action.content, before == State::Failed);
        if !has_open_records(&action.content) {
            return Err(Status::failed_precondition(format!(
                "action {}: none of its records can be sent",
                action.id.0
            )));
        }
        action.state = State::Queued;
        action.attempts = 0;
        action.due = self.now();
        action.cause = format!("tried again by {who}");
        let from = [State::Queued, State::Waiting, State::Failed];
        self.move_action(who, &action, (before, &from), Some(guard), "tried again").await?;
        self.push_next(action.device).await;
        Ok(translate::action(&action))
    }

    /// The open device, for which the action is; it goes to nobody else's card, and to none that is refused.
    async fn still_served(&self, action: &Action) -> Result<Guard, Status> {
        let account = self.store.account(action.msisdn).await.map_err(errors::store)?;
        let account = account.filter(|account| account.subscriber.id == action.device.subscriber);
        let open = account.as_ref().map(open_device).transpose()?;
        match (&account, open) {
            (Some(account), Some((device, state))) if device.key == action.device => {
                served(&account.subscriber)?;
                Ok((device.key, state.version))
            }
            _ => Err(Status::failed_precondition(format!(
                "action {}: its card was replaced or its number changed; command it again for the card of today",
                action.id.0
            ))),
        }
    }

    async fn find(&self, reference: &centre::ActionReference) -> Result<Action, Status> {
        let (subscriber, id) = (SubscriberId(reference.subscriber_id), ActionId(reference.action_id));
        let action = self.store.action(subscriber, id).await.map_err(errors::store)?;
        action
            .ok_or_else(|| Status::not_found(format!("action_id {}: subscriber {} has none such", id.0, subscriber.0)))
    }

    async fn move_action(
        &self,
        who: &str,
        action: &Action,
        (before, from): (State, &[State]),
        guard: Option<Guard>,
        what: &str,
    ) -> Result<(), Status> {
        let what = format!("subscriber {}: action {} {what}", action.device.subscriber.0, action.id.0);
        let row = Audit { at: self.now(), who: who.to_owned(), what };
        let from: Vec<State> = from.iter().copied().filter(|state| *state == before).collect();
        if !from.is_empty() && self.store.move_action(action, &from, guard, row).await.map_err(errors::store)? {
            return Ok(());
        }
        let state = translate::state(before);
        Err(Status::failed_precondition(format!("action {}: is {state}, or changed just now; look again", action.id.0)))
    }
}

/// What a card is to be sent, and the same for the audit log.
struct Command {
    content: Content,
    what: String,
}

/// Only a card of E2 has a message for everything (D-03); the others have those of D-04 and D-05.
fn of_second(account: &Account, what: &str) -> Result<(), Status> {
    let (device, _) = open_device(account)?;
    if device.profile == Profile::E2 {
        return Ok(());
    }
    let profile = translate::profile(device.profile);
    Err(Status::failed_precondition(format!("a card of {profile} has no message for {what}; see simvaultctl control")))
}

/// The answers of a card that is not served are refused (D-115): nothing is sent to it.
fn served(subscriber: &Subscriber) -> Result<(), Status> {
    let state = match subscriber.state {
        AccountState::Active => return Ok(()),
        AccountState::Suspended => "is suspended",
        AccountState::ServiceOff => "has its service off",
    };
    Err(Status::failed_precondition(format!(
        "the account {state}; make it active first: simvaultctl account state {} active",
        subscriber.msisdn.digits()
    )))
}

fn reference(action: &Action) -> centre::ActionReference {
    centre::ActionReference { subscriber_id: action.device.subscriber.0, action_id: action.id.0 }
}

fn selection(requested: Option<&restore_request::Selection>) -> Result<Selection, Status> {
    let what = "all, a range, records or rows";
    match requested {
        None | Some(restore_request::Selection::All(false)) => Err(errors::invalid("selection", "nothing", what)),
        Some(restore_request::Selection::All(true)) => Ok(Selection::All),
        Some(restore_request::Selection::Range(range)) => Ok(Selection::Ranges(vec![Range {
            monitor_index: octet("range.monitor_index", range.monitor_index)?,
            first: octet("range.first", range.first)?,
            last: octet("range.last", range.last)?,
        }])),
        Some(restore_request::Selection::Records(list)) => {
            let records: Result<Vec<u8>, Status> =
                list.records.iter().map(|record| octet("records.records", *record)).collect();
            let records = records?;
            if records.is_empty() {
                return Err(errors::invalid("records.records", "none", "at least one record number"));
            }
            let monitor_index = octet("records.monitor_index", list.monitor_index)?;
            Ok(Selection::Records { monitor_index, records })
        }
        Some(restore_request::Selection::Rows(rows)) => {
            let rows: Result<Vec<u8>, Status> =
                rows.indexes.iter().map(|index| octet("rows.indexes", *index)).collect();
            let rows = rows?;
            if rows.is_empty() {
                return Err(errors::invalid("rows.indexes", "none", "at least one monitor index"));
            }
            Ok(Selection::Rows(rows))
        }
    }
}

/// There must be something to send.
fn check_plan(records: &[RestoreRecord]) -> Result<(), Status> {
    if records.is_empty() {
        return Err(Status::failed_precondition("nothing to restore: what was selected is empty on both sides"));
    }
    if records.iter().any(|record| record.progress == Progress::Open) {
        return Ok(());
    }
    let count = |reason: u8| records.iter().filter(|record| record.progress == Progress::Failed(reason)).count();
    Err(Status::failed_precondition(format!(
        "no record can be restored: {} do not fit the card's record length, {} are not covered by its monitor table",
        count(REASON_BAD_LENGTH),
        count(REASON_NOT_IN_MONITOR_TABLE)
    )))
}

fn addressed(records: &[centre::AddressedRecord]) -> Result<Vec<RestoreRecord>, Status> {
    if records.is_empty() || records.len() > ADDRESSED_RECORDS_MAX {
        return Err(errors::invalid("records", records.len(), &format!("1 to {ADDRESSED_RECORDS_MAX}")));
    }
    let check = |(at, record): (usize, &centre::AddressedRecord)| {
        let field = |name: &str| format!("records[{at}].{name}");
        let data_offset = two_octets(&field("data_offset"), record.data_offset)?;
        if record.data.is_empty() || record.data.len() > 255 {
            return Err(errors::invalid(&field("data"), format!("{} octets", record.data.len()), "1 to 255 octets"));
        }
        let end = usize::from(data_offset) + record.data.len();
        let end_max = if record.record_number == 0 { 0x1_0000 } else { 255 };
        if end > end_max {
            return Err(errors::invalid(&field("data_offset + data"), end, &format!("at most {end_max} octets")));
        }
        Ok(RestoreRecord {
            monitor_index: 0,
            file: FilePath { df: two_octets(&field("df"), record.df)?, ef: two_octets(&field("ef"), record.ef)? },
            record_number: octet(&field("record_number"), record.record_number)?,
            data_offset,
            data: Bytes::copy_from_slice(&record.data),
            progress: Progress::Open,
        })
    };
    records.iter().enumerate().map(check).collect()
}

/// What was launched and not answered is launched again; with `failed`, what the card refused too.
fn reopen(content: &mut Content, failed: bool) {
    content.reopen();
    for progress in content.progresses_mut() {
        if matches!(*progress, Progress::Failed(reason)
            if failed && ![REASON_BAD_LENGTH, REASON_NOT_IN_MONITOR_TABLE].contains(&reason))
        {
            *progress = Progress::Again;
        }
    }
}

fn has_open_records(content: &Content) -> bool {
    !content.is_ordered() || content.progresses().any(Progress::is_to_launch)
}
