//! Values of the domain as the contract has them, and back.

use domain::{
    delivery::{Acknowledgement, Action, Content, Progress, Request, State},
    identity::Timestamp,
    phonebook::{AccountState, Bearer, Device, DeviceState, EF_ADN, Profile, Source},
};
use link::{
    first::ENTRY_OCTETS,
    monitor::{MonitorRow, MonitorTable},
    third::ADN_TAIL_OCTETS,
};
use proto::centre;
use tonic::Status;

use crate::errors;

/// Most rows of a monitor table that CID 0x05 can announce.
const MONITOR_ROWS_MAX: usize = 255;

pub fn account_state(state: AccountState) -> &'static str {
    match state {
        AccountState::Active => "active",
        AccountState::Suspended => "suspended",
        AccountState::ServiceOff => "service_off",
    }
}

pub fn account_state_from(text: &str) -> Result<AccountState, Status> {
    match text {
        "active" => Ok(AccountState::Active),
        "suspended" => Ok(AccountState::Suspended),
        "service_off" => Ok(AccountState::ServiceOff),
        other => Err(errors::invalid("state", format!("{other:?}"), "active, suspended or service_off")),
    }
}

pub fn bearer(bearer: Bearer) -> &'static str {
    match bearer {
        Bearer::Sms => "sms",
        Bearer::Ip => "ip",
    }
}

/// Empty is SMS, which every card can do.
pub fn bearer_from(text: &str) -> Result<Bearer, Status> {
    match text {
        "" | "sms" => Ok(Bearer::Sms),
        "ip" => Ok(Bearer::Ip),
        other => Err(errors::invalid("bearer", format!("{other:?}"), "sms or ip")),
    }
}

/// Empty is E2.
pub fn profile_from(text: &str) -> Result<Profile, Status> {
    match text {
        "E1" => Ok(Profile::E1),
        "" | "E2" => Ok(Profile::E2),
        "E3" => Ok(Profile::E3),
        other => Err(errors::invalid("profile", format!("{other:?}"), "E1, E2 or E3")),
    }
}

pub fn profile(profile: Profile) -> &'static str {
    match profile {
        Profile::E1 => "E1",
        Profile::E2 => "E2",
        Profile::E3 => "E3",
    }
}

pub fn state(state: State) -> &'static str {
    match state {
        State::Queued => "queued",
        State::Sent => "sent",
        State::Waiting => "waiting",
        State::Done => "done",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
    }
}

pub fn source(source: Source) -> &'static str {
    match source {
        Source::Backup => "backup",
        Source::Restore => "restore",
        Source::Operator => "operator",
        Source::Sync => "sync",
    }
}

/// The rows of a request; none is EF_ADN, records 1 to 254, octets 0 to 27.
pub fn monitor_from(rows: &[centre::MonitorRow]) -> Result<MonitorTable, Status> {
    if rows.is_empty() {
        let row = MonitorRow {
            df: EF_ADN.df,
            ef: EF_ADN.ef,
            record_offset: 0,
            record_count: 254,
            data_offset: 0,
            data_octets: 28,
        };
        return Ok(MonitorTable::new(vec![row]));
    }
    let mut table = MonitorTable::default();
    for (at, row) in rows.iter().enumerate() {
        let field = |name: &str| format!("monitor[{at}].{name}");
        let index = octet(&field("index"), row.index)?;
        if usize::from(index) >= MONITOR_ROWS_MAX {
            return Err(errors::invalid(&field("index"), index, "0 to 254"));
        }
        let row = MonitorRow {
            df: two_octets(&field("df"), row.df)?,
            ef: two_octets(&field("ef"), row.ef)?,
            record_offset: octet(&field("record_offset"), row.record_offset)?,
            record_count: octet(&field("record_count"), row.record_count)?,
            data_offset: two_octets(&field("data_offset"), row.data_offset)?,
            data_octets: octet(&field("data_octets"), row.data_octets)?,
        };
        crate::configuration::check_row(&format!("monitor[{at}]"), &row)?;
        table.set(index, row);
    }
    Ok(table)
}

/// A card without configuration messages has one row, over EF_ADN: of E1 with entries of 28 octets (D-25), of E3 with any
/// that hold an entry.
pub fn check_monitor(profile: Profile, table: &MonitorTable) -> Result<(), Status> {
    let octets = match profile {
        Profile::E2 => return Ok(()),
        Profile::E1 => ENTRY_OCTETS..=ENTRY_OCTETS,
        Profile::E3 => ADN_TAIL_OCTETS..=usize::from(u8::MAX),
    };
    let fits = |row: &MonitorRow| {
        (row.df, row.ef, row.data_offset) == (EF_ADN.df, EF_ADN.ef, 0)
            && row.record_count > 0
            && octets.contains(&usize::from(row.data_octets))
    };
    if table.len() == 1 && table.row(0).is_some_and(fits) {
        return Ok(());
    }
    let expected = match profile {
        Profile::E1 => "row 0 alone, over EF_ADN (7F10/6F3A), octets 0 to 27",
        _ => "row 0 alone, over EF_ADN (7F10/6F3A), at least 14 octets from the first on",
    };
    Err(errors::invalid("monitor", format!("{} rows", table.len()), expected))
}

/// What an operator wants a card to do.
pub fn request_from(text: &str) -> Result<Request, Status> {
    match text {
        "service_on" => Ok(Request::ServiceOn),
        "service_off" => Ok(Request::ServiceOff),
        "resynchronise" => Ok(Request::Resynchronise),
        "poll" => Ok(Request::Poll),
        other => {
            Err(errors::invalid("request", format!("{other:?}"), "service_on, service_off, resynchronise or poll"))
        }
    }
}

fn monitor(table: &MonitorTable) -> Vec<centre::MonitorRow> {
    let row = |(index, row): (u8, &MonitorRow)| centre::MonitorRow {
        index: index.into(),
        df: row.df.into(),
        ef: row.ef.into(),
        record_offset: row.record_offset.into(),
        record_count: row.record_count.into(),
        data_offset: row.data_offset.into(),
        data_octets: row.data_octets.into(),
    };
    table.rows().map(row).collect()
}

/// A device with how full its book is: the checksum table has one row per non-empty monitored record (D-20).
pub fn device(device: &Device, state: &DeviceState, restoring: bool) -> centre::Device {
    let records: std::collections::BTreeSet<_> = state
        .checksums
        .rows()
        .filter_map(|row| state.monitor.row(row.monitor_index).map(|m| (m.df, m.ef, row.record_number)))
        .collect();
    centre::Device {
        device_id: device.key.device.0,
        iccid: device.iccid.clone(),
        profile: profile(device.profile).to_owned(),
        bearer: bearer(state.channel(device.bearer)).to_owned(),
        monitor: monitor(&state.monitor),
        opened_micros: device.opened.0,
        closed_micros: micros(device.closed),
        records: u32::try_from(records.len()).unwrap_or(u32::MAX),
        last_contact_micros: micros(state.last_contact),
        resynchronising: state.resynchronisation.is_some(),
        restoring,
        held: state.resynchronisation.as_ref().is_some_and(|resynchronisation| resynchronisation.held),
    }
}

/// What a card acknowledged and what it was told, one entry for each CID of either.
pub fn configuration(device: &Device, state: &DeviceState) -> centre::CardConfiguration {
    let cids: std::collections::BTreeSet<u8> = state.settings.keys().chain(state.wanted.keys()).copied().collect();
    let setting = |cid: u8| centre::CardSetting {
        cid: cid.into(),
        acknowledged: state.settings.get(&cid).cloned().unwrap_or_default(),
        wanted: state.wanted.get(&cid).cloned().unwrap_or_default(),
    };
    centre::CardConfiguration {
        device_id: device.key.device.0,
        monitor: monitor(&state.monitor),
        settings: cids.into_iter().map(setting).collect(),
    }
}

pub fn action(action: &Action) -> centre::Action {
    let (kind, subtype, progress): (_, _, Vec<Progress>) = match &action.content {
        // One record is three octets, the last of them the result (Table 9).
        Content::BackupAcknowledgement(Acknowledgement { records, .. }) => {
            let worst = records.chunks(3).filter_map(|record| record.get(2)).max().copied().unwrap_or(0);
            let done = if action.state == State::Done { Progress::Done } else { Progress::Open };
            ("backup_acknowledgement", worst, vec![done; records.len() / 3])
        }
        Content::Restore { records, .. } => ("restore", 0, records.iter().map(|record| record.progress).collect()),
        Content::AddressableRestore { records } => {
            ("addressable_restore", 0, records.iter().map(|record| record.progress).collect())
        }
        Content::Configuration { items } => {
            let first = items.first().map_or(0, |item| item.cid);
            ("configuration", first, items.iter().map(|item| item.progress).collect())
        }
        Content::Asynchronous { message } => asynchronous(message),
        Content::Transfer(words) => {
            let said = words.messages.last().and_then(|message| message.first()).copied();
            ("transfer", said.unwrap_or(0), Vec::new())
        }
        Content::Control { request, progress } => ("control", request.code(), vec![*progress]),
    };
    let count = |wanted: fn(&Progress) -> bool| {
        u32::try_from(progress.iter().filter(|progress| wanted(progress)).count()).unwrap_or(u32::MAX)
    };
    centre::Action {
        subscriber_id: action.device.subscriber.0,
        action_id: action.id.0,
        device_id: action.device.device.0,
        r#type: kind.to_owned(),
        subtype: subtype.into(),
        channel: bearer(action.channel).to_owned(),
        state: state(action.state).to_owned(),
        acknowledgement_pending: action.state == State::Sent && !action.content.ends_by_leaving(),
        attempts: action.attempts,
        created_micros: action.created.0,
        due_micros: action.due.0,
        receipt_micros: micros(action.receipt),
        cause: action.cause.clone(),
        records_total: count(|_| true),
        records_open: count(|progress| progress.is_unsettled()),
        records_failed: count(|progress| matches!(progress, Progress::Failed(_))),
    }
}

/// Blocks in place of records: stored, and missing.
fn asynchronous(message: &[u8]) -> (&'static str, u8, Vec<Progress>) {
    use link::asynchronous::Message;
    let subtype = message.first().copied().unwrap_or(0);
    let (total, missing) = match Message::decode(message) {
        Ok(Message::Resume { total, missing, .. }) => {
            (total, missing.iter().map(|range| usize::from(range.last - range.first) + 1).sum())
        }
        Ok(Message::Final { total, .. }) => (total, 0),
        _ => (0, 0),
    };
    let progress = |block| if block < missing { Progress::Open } else { Progress::Done };
    ("asynchronous", subtype, (0..usize::from(total)).map(progress).collect())
}

pub fn micros(at: Option<Timestamp>) -> i64 {
    at.map_or(0, |at| at.0)
}

pub fn octet(field: &str, value: u32) -> Result<u8, Status> {
    u8::try_from(value).map_err(|_| errors::invalid(field, value, "0 to 255"))
}

pub fn two_octets(field: &str, value: u32) -> Result<u16, Status> {
    u16::try_from(value).map_err(|_| errors::invalid(field, value, "0 to 65535"))
}
