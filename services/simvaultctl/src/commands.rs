//! Each command as a call and its answer as a table.

use anyhow::Context;
use proto::centre::{
    self, accounts_client::AccountsClient, commands_client::CommandsClient, phonebooks_client::PhonebooksClient,
    queues_client::QueuesClient, restore_request::Selection,
};
use tonic::{
    Code, Request, Response, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{
    arguments::{
        self, Account, AccountState, Actions, Arguments, Bearer, Book, Card, Command, Create, Decision, Profile,
        Restore,
    },
    output::{Cell, Output, Table},
    security, sessions, settings, time, transfers,
};

/// A book with history may take a while; nothing takes longer.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);
const CONNECT_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

pub(crate) type Connection = InterceptedService<Channel, Who>;

/// Names the operator in every call.
#[derive(Clone)]
pub(crate) struct Who(MetadataValue<tonic::metadata::Ascii>);

impl Interceptor for Who {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("simvault-user", self.0.clone());
        request.set_timeout(DEADLINE);
        Ok(request)
    }
}

/// # Errors
/// What the server refused, or why it is not reached.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let output = Output { json: arguments.json };
    let connection = connect(&arguments.server, &arguments.user).await?;
    let answered = match arguments.command {
        Command::Account(command) => account(connection, &output, command).await,
        Command::Security(command) => security::run(connection, &output, command).await,
        Command::Book(command) => book(connection, &output, command).await,
        Command::History { msisdn, device, limit } => history(connection, &output, msisdn, device, limit).await,
        Command::Restore(request) => restore(connection, &output, request).await,
        Command::Addressable { msisdn, records } => {
            let see = list_command(&msisdn);
            let request = centre::AddressableRestoreRequest { msisdn, records };
            let reference = CommandsClient::new(connection).addressable_restore(request).await;
            reference.map_err(Failure::from).and_then(|answer| show_reference(&output, &answer.into_inner(), see))
        }
        Command::Configure { msisdn, items } => {
            let see = list_command(&msisdn);
            let reference = CommandsClient::new(connection).configure(centre::ConfigureRequest { msisdn, items }).await;
            reference.map_err(Failure::from).and_then(|answer| show_reference(&output, &answer.into_inner(), see))
        }
        Command::Control { msisdn, request } => {
            let see = list_command(&msisdn);
            let request = centre::ControlRequest { msisdn, request: request_name(request).to_owned() };
            let reference = CommandsClient::new(connection).control(request).await;
            reference.map_err(Failure::from).and_then(|answer| show_reference(&output, &answer.into_inner(), see))
        }
        Command::Settings { msisdn, device } => {
            let request = centre::ShowConfigurationRequest { msisdn, device_id: device };
            let known = CommandsClient::new(connection).show_configuration(request).await.map(Response::into_inner);
            known.map_err(Failure::from).and_then(|known| {
                let (settings, monitor) = (settings::table(&known.settings), settings::monitor(&known.monitor));
                Ok(output.lists(&[("settings", &settings), ("monitor table", &monitor)])?)
            })
        }
        Command::Sessions { msisdn, device } => {
            let request = centre::ListSessionsRequest { msisdn, device_id: device };
            let answer = CommandsClient::new(connection).list_sessions(request).await.map(Response::into_inner);
            answer.map_err(Failure::from).and_then(|answer| Ok(output.table(&sessions::table(&answer.sessions))?))
        }
        Command::Transfer(command) => transfers::run(connection, &output, command).await,
        Command::Actions(command) => actions(connection, &output, command).await,
        Command::Audit { msisdn, limit } => audit(connection, &output, msisdn, limit).await,
        Command::Queues => queues(connection, &output).await,
        Command::Notices { limit } => notices(connection, &output, limit).await,
    };
    match answered {
        Ok(()) => Ok(()),
        Err(Failure::Refused(status))
            if status.code() == Code::Unavailable && status.message() == "transport error" =>
        {
            Err(anyhow::anyhow!("{}: connection lost", arguments.server))
        }
        Err(Failure::Refused(status)) => Err(explained(&status)),
        Err(Failure::Output(error)) => Err(error.into()),
        Err(Failure::File(mistake)) => Err(anyhow::anyhow!(mistake)),
    }
}

/// What can go wrong once connected.
pub(crate) enum Failure {
    Refused(Box<Status>),
    Output(std::io::Error),
    /// A file that was named on the command line, and what is wrong with it.
    File(String),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

fn explained(status: &Status) -> anyhow::Error {
    let kind = match status.code() {
        Code::Unavailable => "the centre cannot do it now, try again",
        Code::DeadlineExceeded => "no answer in time",
        Code::Unimplemented => "the server does not know this command; are you asking the application server?",
        Code::Internal | Code::DataLoss | Code::Unknown => "the centre has a problem",
        _ => return anyhow::anyhow!("{}", status.message()),
    };
    anyhow::anyhow!("{kind}: {}", status.message())
}

async fn connect(server: &str, user: &str) -> anyhow::Result<Connection> {
    let address = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    let endpoint = Endpoint::from_shared(address)
        .with_context(|| format!("--server: {server:?} is no address, expected http://HOST:PORT"))?;
    let channel = endpoint.connect_timeout(CONNECT_WITHIN).connect().await;
    let channel = channel.map_err(|error| {
        anyhow::anyhow!("no application server answers at {server}: {} (see --server)", root_cause(&error))
    })?;
    let user = user.parse().map_err(|_| anyhow::anyhow!("--user: {user:?} has characters that are not ASCII"))?;
    Ok(InterceptedService::new(channel, Who(user)))
}

/// The innermost cause alone; those around it repeat it.
fn root_cause(error: &tonic::transport::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match cause.downcast_ref::<std::io::Error>() {
        Some(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => cause.to_string(),
    }
}

async fn account(connection: Connection, output: &Output, command: Account) -> Result<(), Failure> {
    let mut client = AccountsClient::new(connection);
    let account = match command {
        Account::Create(request) => {
            let request = centre::CreateAccountRequest { account: Some(new_account(request)) };
            client.create_account(request).await?.into_inner()
        }
        Account::Show { msisdn } => client.get_account(centre::GetAccountRequest { msisdn }).await?.into_inner(),
        Account::State { msisdn, state } => {
            let state = match state {
                AccountState::Active => "active",
                AccountState::Suspended => "suspended",
                AccountState::ServiceOff => "service_off",
            };
            client.set_state(centre::SetStateRequest { msisdn, state: state.to_owned() }).await?.into_inner()
        }
        Account::ReplaceCard { msisdn, iccid, card: Card { bearer, ip_key, personalised, profile, rows } } => {
            let (bearer, profile) = (bearer_name(bearer), profile_name(profile));
            let request =
                centre::ReplaceCardRequest { msisdn, iccid, ip_key, bearer, personalised, profile, monitor: rows };
            client.replace_card(request).await?.into_inner()
        }
        Account::ChangeNumber { msisdn, new_msisdn } => {
            client.change_number(centre::ChangeNumberRequest { msisdn, new_msisdn }).await?.into_inner()
        }
        Account::User { msisdn, name, address, login, password } => {
            let password = if password { Some(read_password()?) } else { None };
            let request = centre::ChangeUserRequest { msisdn, name, address, login, password };
            client.change_user(request).await?.into_inner()
        }
        Account::List { limit, after } => {
            let request = centre::ListAccountsRequest { limit, after_msisdn: after };
            let accounts = client.list_accounts(request).await?.into_inner().accounts;
            return Ok(output.table(&account_list(&accounts))?);
        }
        Account::Erase { msisdn, .. } => {
            let erased = client.erase_account(centre::EraseAccountRequest { msisdn }).await?.into_inner();
            let mut table = Table::new(&["rows erased", "unfinished"], "");
            let rest = if erased.unfinished { "billing events and notices go within the hour" } else { "" };
            table.row(vec![count(erased.rows), Cell::text(rest)]);
            return Ok(output.single(&table)?);
        }
    };
    show_account(output, &account)
}

/// A line of standard input: what stands on a command line is seen by others and kept in histories.
fn read_password() -> std::io::Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn new_account(request: Create) -> centre::NewAccount {
    let Create { msisdn, iccid, name, tenant, card: Card { bearer, ip_key, personalised, profile, rows } } = request;
    centre::NewAccount {
        tenant,
        msisdn,
        name,
        iccid,
        profile: profile_name(profile),
        bearer: bearer_name(bearer),
        ip_key,
        monitor: rows,
        personalised,
    }
}

fn profile_name(profile: Option<Profile>) -> String {
    match profile {
        None => "",
        Some(Profile::E1) => "E1",
        Some(Profile::E2) => "E2",
        Some(Profile::E3) => "E3",
    }
    .to_owned()
}

fn request_name(request: arguments::Request) -> &'static str {
    match request {
        arguments::Request::ServiceOn => "service_on",
        arguments::Request::ServiceOff => "service_off",
        arguments::Request::Resynchronise => "resynchronise",
        arguments::Request::Poll => "poll",
    }
}

fn bearer_name(bearer: Option<Bearer>) -> String {
    match bearer {
        None => "",
        Some(Bearer::Sms) => "sms",
        Some(Bearer::Ip) => "ip",
    }
    .to_owned()
}

fn account_list(accounts: &[centre::Account]) -> Table {
    let mut table =
        Table::new(&["msisdn", "name", "state", "bearer", "records", "last contact", "note"], "no accounts");
    for account in accounts {
        let open = account.devices.iter().find(|device| device.closed_micros == 0);
        table.row(vec![
            Cell::text(&account.msisdn),
            Cell::text(&account.name),
            Cell::text(&account.state),
            Cell::text(open.map_or("", |device| &device.bearer)),
            Cell::Number(open.map_or(0, |device| device.records.into())),
            Cell::Time(open.map_or(0, |device| device.last_contact_micros)),
            Cell::text(open.map(device_note).unwrap_or_default()),
        ]);
    }
    table
}

fn show_account(output: &Output, account: &centre::Account) -> Result<(), Failure> {
    let columns = ["msisdn", "name", "address", "login", "password", "state", "tenant", "subscriber"];
    let mut table = Table::new(&columns, "");
    table.row(vec![
        Cell::text(&account.msisdn),
        Cell::text(&account.name),
        Cell::text(&account.address),
        Cell::text(&account.login),
        Cell::Flag(account.has_password),
        Cell::text(&account.state),
        Cell::text(&account.tenant),
        Cell::Number(account.subscriber_id),
    ]);
    let columns = [
        "device",
        "iccid",
        "profile",
        "bearer",
        "records",
        "opened",
        "closed",
        "last contact",
        "note",
        "monitor table",
    ];
    let mut devices = Table::new(&columns, "no cards");
    for device in &account.devices {
        devices.row(vec![
            Cell::Number(device.device_id),
            Cell::text(&device.iccid),
            Cell::text(&device.profile),
            Cell::text(&device.bearer),
            Cell::Number(device.records.into()),
            Cell::Time(device.opened_micros),
            Cell::Time(device.closed_micros),
            Cell::Time(device.last_contact_micros),
            Cell::text(device_note(device)),
            Cell::text(monitor(&device.monitor)),
        ]);
    }
    Ok(output.single_with(&table, "devices", &devices)?)
}

fn device_note(device: &centre::Device) -> String {
    let notes = [
        (device.held, "held: decide with `book decide`"),
        (device.resynchronising && !device.held, "resynchronising"),
        (device.restoring, "restoring"),
    ];
    let notes: Vec<&str> = notes.into_iter().filter(|(holds, _)| *holds).map(|(_, note)| note).collect();
    notes.join(", ")
}

fn monitor(rows: &[centre::MonitorRow]) -> String {
    let enabled = rows.iter().filter(|row| row.record_count > 0 && row.data_octets > 0);
    let shown = enabled.map(|row| {
        let (first, last) = (row.record_offset + 1, row.record_offset + row.record_count);
        let file = format!("{:04X}/{:04X}", row.df, row.ef);
        format!("{}:{file}:{first}-{last}@{}+{}", row.index, row.data_offset, row.data_octets)
    });
    shown.collect::<Vec<_>>().join(" ")
}

async fn book(connection: Connection, output: &Output, command: Book) -> Result<(), Failure> {
    let mut client = PhonebooksClient::new(connection);
    match command {
        Book::Show { msisdn, device, as_of } => {
            let request =
                centre::ShowBookRequest { msisdn, device_id: device, as_of_micros: as_of.unwrap_or_default() };
            let book = client.show_book(request).await?.into_inner();
            let mut table = Table::new(&["file", "record", "name", "number", "octets"], nothing_there(&book));
            let head = book_head(&book);
            for record in book.records {
                // What is readable as name and number is not repeated in hexadecimal, except for scripts.
                let readable = !(output.json || record.name.is_empty() && record.number.is_empty());
                table.row(vec![
                    Cell::text(file(record.df, record.ef)),
                    Cell::Number(record.record_number.into()),
                    Cell::text(record.name),
                    Cell::text(record.number),
                    if readable { Cell::text("") } else { Cell::Octets(record.octets) },
                ]);
            }
            Ok(output.headed(&head, &table)?)
        }
        Book::Decide { msisdn, decision } => {
            let apply = matches!(decision, Decision::Apply);
            let decided = client.decide_held(centre::DecideHeldRequest { msisdn, apply }).await?.into_inner();
            let mut table = Table::new(&[if apply { "records emptied" } else { "records kept" }], "");
            table.row(vec![Cell::Number(decided.records.into())]);
            Ok(output.single(&table)?)
        }
    }
}

/// Which card and which moment is shown.
fn book_head(book: &centre::Book) -> String {
    let closed = match book.closed_micros {
        0 => String::new(),
        closed => format!(", replaced {}", time::show(closed)),
    };
    format!("device {} (ICCID {}{closed}) as of {}", book.device_id, book.iccid, time::show(book.shown_micros))
}

/// Why there are no records.
fn nothing_there(book: &centre::Book) -> &'static str {
    if book.shown_micros < book.opened_micros {
        "this card was not in use yet"
    } else if book.last_contact_micros == 0 {
        "this card has not backed anything up yet"
    } else {
        "the book is empty"
    }
}

async fn history(
    connection: Connection,
    output: &Output,
    msisdn: String,
    device_id: i64,
    limit: u32,
) -> Result<(), Failure> {
    let request = centre::HistoryRequest { msisdn, device_id, limit };
    let history = PhonebooksClient::new(connection).history(request).await?.into_inner();
    let mut table = Table::new(
        &["at", "source", "change", "file", "record", "name", "number", "was", "was number", "old", "new"],
        "no changes",
    );
    for entry in history.entries {
        // What is readable is not repeated in hexadecimal, except for scripts.
        let readable = |name: &str, number: &str| !(output.json || name.is_empty() && number.is_empty());
        let new_is_readable = readable(&entry.new_name, &entry.new_number);
        let old_is_readable = readable(&entry.old_name, &entry.old_number);
        table.row(vec![
            Cell::Time(entry.at_micros),
            Cell::text(entry.source),
            Cell::text(entry.kind),
            Cell::text(file(entry.df, entry.ef)),
            Cell::Number(entry.record_number.into()),
            Cell::text(entry.new_name),
            Cell::text(entry.new_number),
            Cell::text(entry.old_name),
            Cell::text(entry.old_number),
            if old_is_readable { Cell::text("") } else { Cell::Octets(entry.old) },
            if new_is_readable { Cell::text("") } else { Cell::Octets(entry.new) },
        ]);
    }
    Ok(output.table(&table)?)
}

pub(crate) fn file(df: u32, ef: u32) -> String {
    match (df, ef) {
        (0x7F10, 0x6F3A) => "ADN".to_owned(),
        (0x7F10, 0x6F4A) => "EXT1".to_owned(),
        _ => format!("{df:04X}/{ef:04X}"),
    }
}

async fn restore(connection: Connection, output: &Output, request: Restore) -> Result<(), Failure> {
    let Restore { msisdn, all, range, records, rows, as_of, from_device } = request;
    let selection = range
        .map(Selection::Range)
        .or(records.map(Selection::Records))
        .or(rows.map(Selection::Rows))
        .unwrap_or(Selection::All(all));
    let see = list_command(&msisdn);
    let request = centre::RestoreRequest {
        msisdn,
        from_device_id: from_device,
        as_of_micros: as_of.unwrap_or_default(),
        selection: Some(selection),
    };
    show_reference(output, &CommandsClient::new(connection).restore(request).await?.into_inner(), see)
}

/// How to look at what becomes of a command.
fn list_command(msisdn: &str) -> String {
    format!("simvaultctl actions list {msisdn}")
}

fn show_reference(output: &Output, reference: &centre::ActionReference, see: String) -> Result<(), Failure> {
    let mut table = Table::new(&["action", "see"], "");
    table.row(vec![Cell::text(format!("{}/{}", reference.subscriber_id, reference.action_id)), Cell::text(see)]);
    Ok(output.single(&table)?)
}

async fn actions(connection: Connection, output: &Output, command: Actions) -> Result<(), Failure> {
    let mut client = CommandsClient::new(connection);
    let actions = match command {
        Actions::List { msisdn, open, limit } => {
            let request = centre::ListActionsRequest { msisdn, limit, open_only: open };
            client.list_actions(request).await?.into_inner().actions
        }
        Actions::Cancel { action } => vec![client.cancel(action).await?.into_inner()],
        Actions::Retry { action } => vec![client.retry(action).await?.into_inner()],
    };
    Ok(output.table(&if output.json { actions_for_scripts(actions) } else { actions_for_people(actions) })?)
}

fn actions_for_people(actions: Vec<centre::Action>) -> Table {
    let columns =
        ["action", "type", "channel", "state", "records", "attempts", "created", "next", "delivered", "cause"];
    let mut table = Table::new(&columns, "no actions");
    for action in actions {
        let unfinished = action.records_open.saturating_add(action.records_failed);
        let done = action.records_total.saturating_sub(unfinished);
        let failed = match action.records_failed {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        let over = ["done", "failed", "cancelled", "waiting"].contains(&action.state.as_str());
        table.row(vec![
            Cell::text(format!("{}/{}", action.subscriber_id, action.action_id)),
            Cell::text(action.r#type.replace('_', " ")),
            Cell::text(action.channel),
            Cell::text(action.state),
            Cell::text(format!("{done} of {}{failed}", action.records_total)),
            Cell::Number(action.attempts.into()),
            Cell::Time(action.created_micros),
            Cell::Time(if over { 0 } else { action.due_micros }),
            Cell::Time(action.receipt_micros),
            Cell::text(action.cause),
        ]);
    }
    table
}

fn actions_for_scripts(actions: Vec<centre::Action>) -> Table {
    let columns = [
        "action",
        "device",
        "type",
        "subtype",
        "channel",
        "state",
        "acknowledgement pending",
        "records total",
        "records open",
        "records failed",
        "attempts",
        "created",
        "due",
        "delivered",
        "cause",
    ];
    let mut table = Table::new(&columns, "");
    for action in actions {
        table.row(vec![
            Cell::text(format!("{}/{}", action.subscriber_id, action.action_id)),
            Cell::Number(action.device_id),
            Cell::text(action.r#type),
            Cell::Number(action.subtype.into()),
            Cell::text(action.channel),
            Cell::text(action.state),
            Cell::Flag(action.acknowledgement_pending),
            Cell::Number(action.records_total.into()),
            Cell::Number(action.records_open.into()),
            Cell::Number(action.records_failed.into()),
            Cell::Number(action.attempts.into()),
            Cell::Time(action.created_micros),
            Cell::Time(action.due_micros),
            Cell::Time(action.receipt_micros),
            Cell::text(action.cause),
        ]);
    }
    table
}

async fn queues(connection: Connection, output: &Output) -> Result<(), Failure> {
    let status = QueuesClient::new(connection).get_queues(centre::GetQueuesRequest {}).await?.into_inner();
    let mut table = Table::new(&["queued", "sent", "waiting", "failed", "oldest due", "dead letters"], "");
    table.row(vec![
        count(status.queued),
        count(status.sent),
        count(status.waiting),
        count(status.failed),
        Cell::Time(status.oldest_due_micros),
        status.dead_letters.map_or_else(|| Cell::text("unknown"), count),
    ]);
    Ok(output.single(&table)?)
}

async fn notices(connection: Connection, output: &Output, limit: u32) -> Result<(), Failure> {
    let request = centre::ListNoticesRequest { limit };
    let notices = QueuesClient::new(connection).list_notices(request).await?.into_inner().notices;
    let mut table = Table::new(&["at", "msisdn", "kind", "text"], "no notices");
    for notice in notices {
        table.row(vec![
            Cell::Time(notice.at_micros),
            Cell::text(notice.msisdn),
            Cell::text(notice.kind),
            Cell::text(notice.text),
        ]);
    }
    Ok(output.table(&table)?)
}

async fn audit(connection: Connection, output: &Output, msisdn: String, limit: u32) -> Result<(), Failure> {
    let request = centre::ListAuditRequest { msisdn, limit };
    let entries = AccountsClient::new(connection).list_audit(request).await?.into_inner().entries;
    let mut table = Table::new(&["at", "who", "what"], "nothing was done");
    for entry in entries {
        table.row(vec![Cell::Time(entry.at_micros), Cell::text(entry.who), Cell::text(entry.what)]);
    }
    Ok(output.table(&table)?)
}

fn count(number: u64) -> Cell {
    Cell::Number(i64::try_from(number).unwrap_or(i64::MAX))
}
