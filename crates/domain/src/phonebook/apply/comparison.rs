//! The card's database checksum against the centre's (SC-ID-10), the grace of a mismatch, and resynchronisation (D-62,
//! D-112, D-124).
//!
//! A message only marks; [`check_mismatch`] acts when the grace is over, called by a sweep over marked devices. A
//! resynchronising card has cleared its checksum rows, so it reports what it has and says nothing of what it has not:
//! when its checksum is that of the reported set and it has been quiet for the grace, what its scan has passed without a
//! report is surplus. What the scan has not come to may be lost with a phone that is off: that waits for a message and
//! another quiet time.
//! That holds with equal tables too: a record whose row got lost shows in no checksum, and only here is it found.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use link::{
    checksum::crc16, checksum_table::ChecksumTable, configuration::cid, message::PartialChecksum, monitor::MonitorTable,
};

use super::{Context, Effects, Note, Policy, Step, new_action, order, third};
use crate::{
    delivery::{ConfigurationItem, Content, Progress, Request},
    identity::Timestamp,
    phonebook::{
        Card, Change, Device, DeviceState, FilePath, PageKey, Pages, Profile, RecordChange, Resynchronisation, SLOTS,
        Source, page,
    },
};

impl Step<'_, '_> {
    /// Compares what there is of the card's checksum (D-21) and marks or clears.
    pub(super) fn compare(&mut self, checksum: PartialChecksum) {
        let now = self.context.now;
        let was_marked = self.state().mismatch_since.is_some();
        let state = self.state();
        let is_equal = checksum.compare(state.checksums.database_checksum());
        match is_equal {
            None => {}
            Some(true) if has_reported_all(state) => {
                if let Some(resynchronisation) = &mut state.resynchronisation {
                    resynchronisation.agreed = true;
                }
                // Not over before the card is quiet.
                state.mismatch_since = Some(now);
            }
            Some(true) => {
                state.mismatch_since = None;
                state.resynchronisation = None;
            }
            Some(false) => {
                let agreed = agrees(state, checksum);
                let mut held = false;
                if let Some(resynchronisation) = &mut state.resynchronisation {
                    resynchronisation.agreed = agreed;
                    held = resynchronisation.held;
                }
                match (agreed, held) {
                    // What a person has to decide is known; nothing else is wrong.
                    (true, true) => state.mismatch_since = None,
                    // Not over before the card is quiet.
                    (true, false) => state.mismatch_since = Some(now),
                    (false, _) => state.mismatch_since = state.mismatch_since.or(Some(now)),
                }
            }
        }
        let is_marked = state.mismatch_since.is_some();
        self.effects.mismatches += u64::from(is_equal == Some(false) && is_marked && !was_marked);
    }

    /// The card has this record, and that is no news: a running resynchronisation has come to it.
    pub(super) fn scanned(&mut self, monitor_index: u8, record_number: u8) {
        if let Some(resynchronisation) = &mut self.state().resynchronisation {
            let last = resynchronisation.scanned.entry(monitor_index).or_default();
            *last = record_number.max(*last);
            resynchronisation.was_quiet = false;
        }
    }

    /// The card has this record; a running resynchronisation counts it.
    pub(super) fn reported(&mut self, file: FilePath, record_number: u8, record: Option<Bytes>) {
        if let Some(resynchronisation) = &mut self.state().resynchronisation {
            resynchronisation.reported.insert((file, record_number), record);
        }
    }
}

/// Whether the card has exactly what it reported since the resynchronisation began.
fn agrees(state: &DeviceState, checksum: PartialChecksum) -> bool {
    state.resynchronisation.as_ref().is_some_and(|resynchronisation| {
        let reported = reported_table(&resynchronisation.reported, &state.monitor);
        checksum.compare(reported.database_checksum()) == Some(true)
    })
}

/// Whether a resynchronisation runs that no person has to decide, and every row of the centre's table was reported in it.
fn has_reported_all(state: &DeviceState) -> bool {
    state.resynchronisation.as_ref().is_some_and(|resynchronisation| {
        !resynchronisation.held && reported_table(&resynchronisation.reported, &state.monitor) == state.checksums
    })
}

fn reported_table(reported: &BTreeMap<(FilePath, u8), Option<Bytes>>, monitor: &MonitorTable) -> ChecksumTable {
    let mut table = ChecksumTable::default();
    for ((file, record_number), record) in reported {
        for (index, row) in monitor.covering(file.df, file.ef, *record_number) {
            if let Some(octets) = page::covered(record.as_ref(), row.data_offset, row.data_octets) {
                table.set(index, *record_number, crc16(&octets));
            }
        }
    }
    table
}

/// When the grace of a marked device is over: not before is [`check_mismatch`] of any use. `None`: not marked.
#[must_use]
pub fn mismatch_due(device: &Device, state: &DeviceState, policy: &Policy) -> Option<Timestamp> {
    Some(state.mismatch_since?.plus(grace(device, state, policy)))
}

/// How long a mark stands before anything is done about it.
fn grace(device: &Device, state: &DeviceState, policy: &Policy) -> Duration {
    let resynchronises = state.resynchronisation.as_ref().is_some_and(|running| !running.held);
    match device.profile {
        Profile::E1 if resynchronises => policy.first_quiet,
        Profile::E1 => policy.first_interval.unwrap_or(Duration::MAX).saturating_add(spread(device)),
        Profile::E3 if !resynchronises => policy.third_grace,
        Profile::E2 | Profile::E3 => quiet(state, policy),
    }
}

/// D-129: cards that were marked together are not asked together. Less than a day.
fn spread(device: &Device) -> Duration {
    let mixed = device.key.device.0.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    Duration::from_secs(mixed % (24 * 3600))
}

/// 72 status events at the device's poll interval (CID 0x0B, else D-34's 5 s).
fn quiet(state: &DeviceState, policy: &Policy) -> Duration {
    let interval = state.settings.get(&cid::POLL_INTERVALS).and_then(|data| data.first().copied()).unwrap_or(5);
    Duration::from_secs(u64::from(interval.max(1))) * policy.grace_status_events
}

/// Looks at a marked device with its open actions and all its pages ([`super::book_pages`]): when the grace is over,
/// asks for a resynchronisation, or ends the running one. Whether anything is to be committed.
pub fn check_mismatch(card: &mut Card, pages: &mut Pages, context: Context<'_>, effects: &mut Effects) -> bool {
    if mismatch_due(&card.view.device, &card.view.state, context.policy).is_none_or(|due| context.now < due) {
        return false;
    }
    card.touched = true;
    let profile = card.view.device.profile;
    if profile == Profile::E3 && card.restore_runs() {
        // The receipts of the restore compare again what is awaited.
        card.view.state.mismatch_since = None;
        return true;
    }
    if card.restore_runs() || resynchronisation_asked(card) {
        // The comparison pauses (D-111); a question that the card has not answered is not asked twice.
        card.view.state.mismatch_since = Some(context.now);
        return true;
    }
    if profile == Profile::E3 && third::check_again(card, pages, context, effects) {
        return true;
    }
    let is_over = |running: &Resynchronisation| (running.agreed || profile == Profile::E1) && !running.held;
    if card.view.state.resynchronisation.as_ref().is_some_and(is_over) {
        end(card, pages, context, effects);
        return true;
    }
    ask(card, context, effects)
}

fn resynchronisation_asked(card: &Card) -> bool {
    card.open.iter().filter(|action| action.state.is_open()).any(|action| match &action.content {
        Content::Configuration { items } => {
            items.iter().any(|item| item.cid == cid::RESYNCHRONISE && item.progress != Progress::Done)
        }
        Content::Control { request, .. } => *request == Request::Resynchronise,
        _ => false,
    })
}

/// CID 0x09 FF and 0x0A FF, or the control message of the card's profile (D-62), within the limits per 10 min and per day.
fn ask(card: &mut Card, context: Context<'_>, effects: &mut Effects) -> bool {
    let policy = context.policy;
    let state = &mut card.view.state;
    state.resynchronised.retain(|at| context.now.since(*at) < Duration::from_secs(24 * 3600));
    if let Some(last) = state.resynchronised.last()
        && context.now.since(*last) < policy.resynchronisation_spacing
    {
        // Due when the spacing is over, and not before: a sweep that finds it sooner could not do anything.
        let micros = |length: Duration| i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        let due = last.0.saturating_add(micros(policy.resynchronisation_spacing));
        state.mismatch_since = Some(Timestamp(due.saturating_sub(micros(grace(&card.view.device, state, policy)))));
        return true;
    }
    if state.resynchronised.len() >= policy.resynchronisations_per_day {
        state.mismatch_since = None;
        state.awaited_check_data = None;
        return true;
    }
    begin_resynchronisation(state, context.now);
    if state.resynchronised.len() == policy.resynchronisations_per_day {
        let text = format!("{} resynchronisations in 24 h: no more until a day has passed", state.resynchronised.len());
        effects.notes.push(Note { msisdn: card.view.subscriber.msisdn, kind: "resynchronisation-limit", text });
    }
    let item = |cid| ConfigurationItem { cid, data: Bytes::from_static(&[0xFF]), progress: Progress::Open };
    let content = match card.view.device.profile {
        Profile::E2 => Content::Configuration { items: vec![item(cid::CLEAR_CHECKSUMS), item(cid::RESYNCHRONISE)] },
        Profile::E1 | Profile::E3 => Content::Control { request: Request::Resynchronise, progress: Progress::Open },
    };
    let action = new_action(card, content, card.view.channel(), &Bytes::new(), context);
    order(action, card, effects);
    true
}

/// The card is asked for all that it has; from now on what it reports is counted.
pub fn begin_resynchronisation(state: &mut DeviceState, now: Timestamp) {
    state.resynchronised.push(now);
    state.mismatch_since = Some(now);
    state.resynchronisation = Some(Resynchronisation {
        started: now,
        held: false,
        agreed: false,
        was_quiet: false,
        scanned: BTreeMap::new(),
        reported: BTreeMap::new(),
    });
}

/// The card is quiet: what it did not report is emptied, unless its phone may be off in the middle of the scan, or that is
/// too much to believe (D-112).
fn end(card: &mut Card, pages: &mut Pages, context: Context<'_>, effects: &mut Effects) {
    let Some(running) = card.view.state.resynchronisation.take() else { return };
    card.view.state.mismatch_since = None;
    // The scan of E1 begins anywhere in the file: what it has passed is not known.
    let is_scanned = card.view.device.profile != Profile::E1;
    let (surplus, _) = surplus(card, pages, &running);
    let is_passed = |(key, slot): &(PageKey, usize)| is_scanned && is_passed(card, pages, &running, key, *slot);
    if !running.was_quiet && !surplus.iter().all(is_passed) {
        card.view.state.resynchronisation = Some(Resynchronisation { was_quiet: true, ..running });
        return;
    }
    conclude(card, pages, running, context, effects);
    if card.view.device.profile == Profile::E1 {
        // The next interval (D-129).
        card.view.state.mismatch_since = context.policy.first_interval.map(|_| context.now);
    }
}

/// The card has told all: what it did not report is emptied, or held.
pub(super) fn conclude(
    card: &mut Card,
    pages: &mut Pages,
    running: Resynchronisation,
    context: Context<'_>,
    effects: &mut Effects,
) {
    let (surplus, occupied) = surplus(card, pages, &running);
    let policy = context.policy;
    if surplus.len() > policy.hold_records && surplus.len() * 100 > occupied * policy.hold_percent {
        let text = format!("{} of {occupied} records would be emptied: waiting for a decision", surplus.len());
        effects.notes.push(Note { msisdn: card.view.subscriber.msisdn, kind: "resynchronisation-held", text });
        card.view.state.resynchronisation = Some(Resynchronisation { held: true, ..running });
        return;
    }
    if !surplus.is_empty() || reported_table(&running.reported, &card.view.state.monitor) != card.view.state.checksums {
        empty(card, pages, &running, surplus, Source::Backup, context, effects);
    }
}

/// Whether the card's scan, which goes up the records of a row, has come past this record.
fn is_passed(card: &Card, pages: &Pages, running: &Resynchronisation, key: &PageKey, slot: usize) -> bool {
    let number = key.record_number(slot);
    let record = pages.record(key, slot);
    card.view.state.monitor.covering(key.file.df, key.file.ef, number).all(|(index, row)| {
        page::covered(record.as_ref(), row.data_offset, row.data_octets).is_none()
            || running.scanned.get(&index).is_some_and(|last| *last > number)
    })
}

/// A person's decision about a held resynchronisation (D-112): what the card did not report is emptied, or the book
/// stays. Reads all pages of the book ([`super::book_pages`]). How many records that concerns; `None`: nothing is held.
pub fn decide_held(
    card: &mut Card,
    pages: &mut Pages,
    apply: bool,
    context: Context<'_>,
    effects: &mut Effects,
) -> Option<usize> {
    let running = card.view.state.resynchronisation.take_if(|running| running.held)?;
    card.touched = true;
    card.view.state.mismatch_since = None;
    let (surplus, _) = surplus(card, pages, &running);
    let records = surplus.len();
    if apply {
        empty(card, pages, &running, surplus, Source::Operator, context, effects);
    }
    Some(records)
}

/// Empties the surplus; what the card reported is what is left.
fn empty(
    card: &mut Card,
    pages: &mut Pages,
    running: &Resynchronisation,
    surplus: Vec<(PageKey, usize)>,
    source: Source,
    context: Context<'_>,
    effects: &mut Effects,
) {
    let mut records = Vec::with_capacity(surplus.len());
    for (key, slot) in surplus {
        let page = pages.open(key, 0);
        let old = page.slots.get_mut(slot).and_then(Option::take);
        pages.changed(&key);
        records.push(RecordChange { file: key.file, record_number: key.record_number(slot), old, new: None });
    }
    card.view.state.checksums = reported_table(&running.reported, &card.view.state.monitor);
    let id = context.ids.next(context.now);
    let device = card.view.device.key;
    effects.changes.push(Change { device, id, at: context.now, source, dedup: 0, records });
}

/// Occupied monitored records that the card did not report, and how many are occupied.
fn surplus(card: &Card, pages: &Pages, running: &Resynchronisation) -> (Vec<(PageKey, usize)>, usize) {
    let mut keys = Vec::new();
    super::book_pages(&card.view, &mut keys);
    keys.sort_unstable();
    keys.dedup();
    let mut surplus = Vec::new();
    let mut occupied = 0;
    for key in keys {
        for slot in 0..SLOTS {
            let record_number = key.record_number(slot);
            let monitored = card.view.state.monitor.covering(key.file.df, key.file.ef, record_number).next().is_some();
            if !monitored || pages.record(&key, slot).is_none() {
                continue;
            }
            occupied += 1;
            if !running.reported.contains_key(&(key.file, record_number)) {
                surplus.push((key, slot));
            }
        }
    }
    (surplus, occupied)
}
