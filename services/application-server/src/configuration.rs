//! What a card is told: the first configuration of a new one (SC-AC-03), and the check of what an operator wants.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::{
    delivery::{Action, ConfigurationItem, Content, Progress, Request},
    identity::Timestamp,
    phonebook::{Bearer, DeviceState, EF_ADN, Profile, apply, restore::RECORD_OCTETS_MAX},
};
use link::{
    configuration::{self as wire, IsdnAddress, Item, cid},
    monitor::{MonitorRow, MonitorTable},
};
use proto::centre;
use tonic::Status;

use crate::{Config, errors};

/// Items of one Configure call; a card's largest table (255 rows) and every setting fit.
const ITEMS_MAX: usize = 300;
/// TON/NPI of an international E.164 number (TS 24.008 10.5.4.7).
const INTERNATIONAL: u8 = 0x91;
/// Octets of an entry of E1 (D-25), and of any card of which nothing else is known.
const ENTRY_OCTETS: u8 = 28;

/// The first configuration: addresses, bearer, monitor table, poll intervals, and the service last, so that the card
/// starts with everything in place.
pub fn first(config: &Config, bearer: Bearer, monitor: &MonitorTable) -> Content {
    let mut items = Vec::new();
    if let Some(address) = IsdnAddress::new(INTERNATIONAL, &config.centre_number) {
        items.push(Item::CentreIsdn(address));
    }
    items.extend(config.centre_ip.map(Item::CentreIp));
    items.push(Item::Bearer(match bearer {
        Bearer::Sms => wire::Bearer::Sms,
        Bearer::Ip => wire::Bearer::Ip,
    }));
    items.push(Item::MonitorTableSize(u8::try_from(monitor.len()).unwrap_or(u8::MAX)));
    items.extend(monitor.rows().map(|(index, row)| Item::MonitorRow { index, row: *row }));
    if config.poll_normal_seconds > 0 {
        let (normal_seconds, fast_seconds) = (config.poll_normal_seconds, config.poll_fast_seconds);
        items.push(Item::PollIntervals { normal_seconds, fast_seconds });
    }
    items.push(Item::ServiceState { on: true });
    content(&items)
}

/// What tells a card of this profile so; `None`: it has no message for that.
pub fn control(profile: Profile, request: Request) -> Option<Content> {
    let control = Content::Control { request, progress: Progress::Open };
    match (profile, request) {
        (Profile::E1, Request::Poll) | (Profile::E3, Request::ServiceOn | Request::ServiceOff) => None,
        (Profile::E1 | Profile::E3, _) => Some(control),
        (Profile::E2, Request::ServiceOn) => Some(content(&[Item::ServiceState { on: true }])),
        (Profile::E2, Request::ServiceOff) => Some(content(&[Item::ServiceState { on: false }])),
        (Profile::E2, Request::Resynchronise) => Some(content(&[Item::Resynchronise { index: None }])),
        (Profile::E2, Request::Poll) => None,
    }
}

/// What a command makes a card be wanted to hold (SC-AP-05).
pub fn overwrite_wanted_by(wanted: &mut BTreeMap<u8, Bytes>, content: &Content) {
    match content {
        Content::Configuration { items } => overwrite_wanted(wanted, items),
        Content::Control { request: request @ (Request::ServiceOn | Request::ServiceOff), .. } => {
            wanted.insert(cid::SERVICE_STATE, Bytes::from(vec![u8::from(*request == Request::ServiceOn)]));
        }
        _ => {}
    }
}

/// A card of E1 or E3 that is told to tell all is counted from then on; of one of E2 its checksum says what is wrong.
pub fn begin(content: &Content, state: &mut DeviceState, now: Timestamp) {
    if matches!(content, Content::Control { request: Request::Resynchronise, .. }) {
        apply::begin_resynchronisation(state, now);
    }
}

/// The table for a card that has none of its own out of another card's: its row over EF_ADN, as long as the profile has
/// it.
pub fn of_entries(profile: Profile, table: &MonitorTable) -> MonitorTable {
    let is_entries = |row: &&MonitorRow| (row.df, row.ef) == (EF_ADN.df, EF_ADN.ef) && row.is_enabled();
    let row = table.rows().map(|(_, row)| row).find(is_entries);
    let default = MonitorRow {
        df: EF_ADN.df,
        ef: EF_ADN.ef,
        record_offset: 0,
        record_count: 254,
        data_offset: 0,
        data_octets: ENTRY_OCTETS,
    };
    let mut row = MonitorRow { data_offset: 0, ..row.copied().unwrap_or(default) };
    if profile == Profile::E1 {
        row.data_octets = ENTRY_OCTETS;
    }
    MonitorTable::new(vec![row])
}

fn content(items: &[Item]) -> Content {
    let open = |item: &Item| {
        let encoded = item.encode();
        ConfigurationItem { cid: encoded.cid, data: encoded.data, progress: Progress::Open }
    };
    Content::Configuration { items: items.iter().map(open).collect() }
}

/// An operator's items, each with a meaning that the card would accept.
pub fn checked(items: &[centre::ConfigurationItem]) -> Result<Vec<ConfigurationItem>, Status> {
    if items.is_empty() || items.len() > ITEMS_MAX {
        return Err(errors::invalid("items", items.len(), &format!("1 to {ITEMS_MAX} items")));
    }
    let check = |(at, item): (usize, &centre::ConfigurationItem)| {
        let field = format!("items[{at}]");
        let cid = u8::try_from(item.cid).map_err(|_| errors::invalid(&format!("{field}.cid"), item.cid, "1 to 13"))?;
        let meaning =
            Item::decode(cid, &item.data).map_err(|error| Status::invalid_argument(format!("{field}: {error}")))?;
        if let Item::MonitorRow { index, row } = &meaning {
            check_row(&format!("{field} (monitor row {index})"), row)?;
        }
        Ok(ConfigurationItem { cid, data: Bytes::copy_from_slice(&item.data), progress: Progress::Open })
    };
    items.iter().enumerate().map(check).collect()
}

/// Limits of a monitor row: records 1 to 254, at most 137 octets of each in one row (D-26).
pub fn check_row(field: &str, row: &MonitorRow) -> Result<(), Status> {
    if usize::from(row.data_octets) > RECORD_OCTETS_MAX {
        return Err(errors::invalid(
            &format!("{field}.data_octets"),
            row.data_octets,
            "at most 137; a longer record takes several rows (D-26)",
        ));
    }
    let last = u16::from(row.record_offset) + u16::from(row.record_count);
    if last > 254 {
        let field = format!("{field}.record_offset + record_count");
        return Err(errors::invalid(&field, last, "at most 254, the highest record number"));
    }
    let end = usize::from(row.data_offset) + usize::from(row.data_octets);
    if end > 255 {
        return Err(errors::invalid(&format!("{field}.data_offset + data_octets"), end, "at most 255"));
    }
    Ok(())
}

/// Overwrites what the card is wanted to hold (SC-AP-05). The monitor table keeps its own copy (D-57), and commands
/// (clear, resynchronise, checksum rows) are no state.
fn overwrite_wanted(wanted: &mut BTreeMap<u8, Bytes>, items: &[ConfigurationItem]) {
    let state = |cid: u8| {
        matches!(
            cid,
            cid::SERVICE_STATE
                | cid::CENTRE_ISDN
                | cid::CENTRE_IP
                | cid::BEARER
                | cid::POLL_INTERVALS
                | cid::RETRY_PRESET
                | cid::ASYNCHRONOUS
                | cid::COMPACT
        )
    };
    wanted.extend(items.iter().filter(|item| state(item.cid)).map(|item| (item.cid, item.data.clone())));
}

/// The monitor table that the card will have when its turn comes: the known one, changed by the open configurations
/// before (SC-OD-10 keeps the order).
pub fn expected_monitor(state: &DeviceState, open_actions: &[Action]) -> MonitorTable {
    let mut monitor = state.monitor.clone();
    let mut ordered: Vec<&Action> = open_actions.iter().collect();
    ordered.sort_by_key(|action| action.id);
    for action in ordered {
        let Content::Configuration { items } = &action.content else { continue };
        for item in items.iter().filter(|item| item.progress.is_unsettled()) {
            match Item::decode(item.cid, &item.data) {
                Ok(Item::MonitorTableSize(rows)) => monitor.resize(rows),
                Ok(Item::MonitorRow { index, row }) => monitor.set(index, row),
                _ => {}
            }
        }
    }
    monitor
}
