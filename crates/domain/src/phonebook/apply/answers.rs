//! The card's acknowledgements of restores and configurations (SC-ID-12 to SC-ID-14, SC-DB-07, D-111).

use bytes::Bytes;
use link::{
    configuration::{self, Item},
    message::FileResult,
    reason::{Outcome, Reason},
};

use super::Step;
use crate::{
    delivery::{Action, ConfigurationItem, Content, Progress, RestoreRecord, State},
    phonebook::{Card, FilePath, PageKey, Source},
};

/// Pages of the records that wait for an answer.
pub(super) fn pages_needed(card: &Card, keys: &mut Vec<PageKey>) {
    for action in &card.open {
        if let Content::Restore { records } | Content::AddressableRestore { records } = &action.content {
            let awaited = records.iter().filter(|record| is_awaited(record.progress, action));
            keys.extend(
                awaited.filter_map(|record| Some(PageKey::of(action.device, record.file, record.record_number)?.0)),
            );
        }
    }
}

/// In flight, or launched once and open again: a late answer still counts.
fn is_awaited(progress: Progress, action: &Action) -> bool {
    progress == Progress::InFlight || (progress == Progress::Open && action.attempts > 0)
}

/// What an acknowledgement did to an action.
#[derive(Default)]
struct Progressed {
    matched: bool,
    succeeded: bool,
    temporary: bool,
}

impl Step<'_, '_> {
    pub(super) fn restore_acknowledgement(&mut self, results: &[FileResult]) {
        self.source = Source::Restore;
        let at = self.card.open.iter().position(|action| {
            matches!(action.content, Content::Restore { .. } | Content::AddressableRestore { .. })
                && action.state.is_open()
        });
        let Some(mut action) = at.and_then(|at| self.card.open.get(at)).cloned() else {
            self.note("unmatched-acknowledgement", "a restore acknowledgement without a restore".to_owned());
            return;
        };
        let is_addressable = matches!(action.content, Content::AddressableRestore { .. });
        let mut progressed = Progressed::default();
        let mut written = Vec::new();
        let attempts = action.attempts;
        let (Content::Restore { records } | Content::AddressableRestore { records }) = &mut action.content else {
            return;
        };
        for result in results {
            answer_record(records, attempts, result, &mut progressed, &mut written);
        }
        if !progressed.matched {
            self.note("unmatched-acknowledgement", "a restore acknowledgement that fits no record".to_owned());
            return;
        }
        reopen(records.iter_mut().map(|record| &mut record.progress));
        for record in written {
            self.write_restored(&record, is_addressable);
        }
        // What the card has now is known; a mark from before says nothing (D-111).
        self.state().mismatch_since = None;
        self.settle(action, &progressed);
    }

    /// D-111: the record as sent is the card's now, so it is the book's.
    fn write_restored(&mut self, record: &RestoreRecord, is_addressable: bool) {
        let monitor = &self.card.view.state.monitor;
        let covering: Vec<_> = if is_addressable {
            let rows = monitor.covering(record.file.df, record.file.ef, record.record_number);
            rows.map(|(index, row)| (index, *row)).collect()
        } else {
            monitor.row(record.monitor_index).map(|row| (record.monitor_index, *row)).into_iter().collect()
        };
        for (index, row) in covering {
            if (record.file.df, record.file.ef) != (row.df, row.ef) || !row.covers(record.record_number) {
                continue;
            }
            let data = if is_addressable { self.overlaid(record, &row) } else { Some(record.data.clone()) };
            let Some(data) = data else { continue };
            if self.write(record.file, &row, record.record_number, &data).is_some() {
                self.set_checksum(index, record.record_number, &data);
            }
        }
    }

    /// What a row covers of a record after an addressed write into it. `None`: it does not touch the row's octets.
    fn overlaid(&self, record: &RestoreRecord, row: &link::monitor::MonitorRow) -> Option<Bytes> {
        let (key, slot) = PageKey::of(self.card.view.device.key, record.file, record.record_number)?;
        let present = self.pages.record(&key, slot);
        let covered = crate::phonebook::page::covered(present.as_ref(), row.data_offset, row.data_octets);
        let mut octets = covered.map_or_else(|| vec![0xFF; usize::from(row.data_octets)], |octets| octets.to_vec());
        let mut touched = false;
        for (at, octet) in (usize::from(record.data_offset)..).zip(&record.data) {
            if let Some(place) = at.checked_sub(usize::from(row.data_offset)).and_then(|at| octets.get_mut(at)) {
                *place = *octet;
                touched = true;
            }
        }
        touched.then(|| octets.into())
    }

    pub(super) fn configuration_acknowledgement(&mut self, results: &[(u8, u8)]) {
        let at = self
            .card
            .open
            .iter()
            .position(|action| matches!(action.content, Content::Configuration { .. }) && action.state.is_open());
        let Some(mut action) = at.and_then(|at| self.card.open.get(at)).cloned() else {
            self.note(
                "unmatched-acknowledgement",
                "a configuration acknowledgement without a configuration".to_owned(),
            );
            return;
        };
        let attempts = action.attempts;
        let mut progressed = Progressed::default();
        let Content::Configuration { items } = &mut action.content else { return };
        let mut accepted = Vec::new();
        for (cid, result) in results {
            answer_item(items, attempts, *cid, *result, &mut progressed, &mut accepted);
        }
        if !progressed.matched {
            self.note("unmatched-acknowledgement", "a configuration acknowledgement that fits no item".to_owned());
            return;
        }
        reopen(items.iter_mut().map(|item| &mut item.progress));
        for item in accepted {
            self.configured(&item);
        }
        self.settle(action, &progressed);
    }

    /// The card has it now: the setting (SC-DB-09), or the monitor table, which becomes current with this (D-57).
    fn configured(&mut self, item: &ConfigurationItem) {
        let state = self.state();
        let parsed = configuration::ConfigurationItem { cid: item.cid, data: item.data.clone() }.item();
        match parsed {
            Ok(Item::MonitorRow { index, row }) => {
                if state.monitor.row(index) != Some(&row) {
                    state.monitor.set(index, row);
                    state.checksums.clear(Some(index));
                }
            }
            Ok(Item::MonitorTableSize(rows)) => {
                let before = state.monitor.len();
                state.monitor.resize(rows);
                for index in usize::from(rows)..before {
                    state.checksums.clear(u8::try_from(index).ok());
                }
            }
            Ok(Item::ChecksumRow(row)) => {
                state.checksums.set(row.monitor_index, row.record_number, row.checksum);
            }
            // The card reports again what it has; until then the copy says what it had.
            Ok(Item::ClearChecksums { .. } | Item::Resynchronise { .. }) => {}
            Ok(_) => {
                state.settings.insert(item.cid, item.data.clone());
            }
            Err(_) => {}
        }
    }

    /// What the action is after an answer, and whose turn it is.
    fn settle(&mut self, mut action: Action, progressed: &Progressed) {
        let now = self.context.now;
        let progresses: Vec<Progress> = match &action.content {
            Content::Restore { records } | Content::AddressableRestore { records } => {
                records.iter().map(|record| record.progress).collect()
            }
            Content::Configuration { items } => items.iter().map(|item| item.progress).collect(),
            Content::BackupAcknowledgement { .. } => Vec::new(),
        };
        let failed = progresses.iter().filter(|progress| matches!(progress, Progress::Failed(_))).count();
        let is_open = progresses.iter().any(|progress| matches!(progress, Progress::Open | Progress::InFlight));
        if is_open {
            action.state = State::Queued;
            if progressed.temporary {
                // Decreasing frequency (SC-ID-13); only the failed records are still open.
                action.due = now.plus(self.context.policy.ladder.delay(action.attempts.max(1)));
                "the card refused for now".clone_into(&mut action.cause);
            } else {
                action.due = now;
                action.cause.clear();
                if progressed.succeeded {
                    action.attempts = 0;
                }
            }
        } else {
            action.state = if failed == progresses.len() { State::Failed } else { State::Done };
            action.due = now;
            action.cause =
                if failed == 0 { String::new() } else { format!("{failed} of {} refused", progresses.len()) };
            if failed > 0 {
                let (kind, cause) = (refusal_kind(&action.content), action.cause.clone());
                self.note(kind, format!("action {}: {cause}", action.id.0));
            }
        }
        let id = action.id;
        if let Some(place) = self.card.open.iter_mut().find(|open| open.id == id) {
            *place = action;
        }
        self.card.moved(id);
        if !is_open {
            self.resume_head();
        }
        self.queue_head();
    }

    /// The card is there: a waiting action that is next starts over (D-128).
    fn resume_head(&mut self) {
        let (now, ladder) = (self.context.now, self.context.policy.ladder);
        let Some(next) = self.card.open.iter_mut().find(|action| action.state.is_open()) else { return };
        let id = next.id;
        if ladder.resume(next, now) {
            self.card.moved(id);
        }
    }
}

fn refusal_kind(content: &Content) -> &'static str {
    if matches!(content, Content::Configuration { .. }) { "configuration-refused" } else { "restore-refused" }
}

/// A record that the answered message held but the answer does not name goes again.
fn reopen<'a>(progresses: impl Iterator<Item = &'a mut Progress>) {
    for progress in progresses.filter(|progress| **progress == Progress::InFlight) {
        *progress = Progress::Open;
    }
}

fn answer_record(
    records: &mut [RestoreRecord],
    attempts: u32,
    result: &FileResult,
    progressed: &mut Progressed,
    written: &mut Vec<RestoreRecord>,
) {
    let outcome = Outcome::from_octet(result.result);
    if (result.df, result.ef, result.record_number) == (0, 0, 0) && outcome == Outcome::PermanentFailure {
        // D-17: from a record with an unknown monitor index on, nothing of the message was read.
        for record in records.iter_mut().filter(|record| record.progress == Progress::InFlight) {
            record.progress = Progress::Failed(result.reason);
            progressed.matched = true;
        }
        return;
    }
    let file = FilePath { df: result.df, ef: result.ef };
    let is_meant = |record: &&mut RestoreRecord| record.file == file && record.record_number == result.record_number;
    let in_flight = records.iter_mut().find(|record| is_meant(record) && record.progress == Progress::InFlight);
    let found = match in_flight {
        Some(record) => Some(record),
        None if attempts > 0 => records.iter_mut().find(|record| is_meant(record) && record.progress == Progress::Open),
        None => None,
    };
    let Some(record) = found else { return };
    progressed.matched = true;
    match outcome {
        Outcome::Success => {
            record.progress = Progress::Done;
            progressed.succeeded = true;
            written.push(record.clone());
        }
        Outcome::TemporaryFailure => {
            record.progress = Progress::Open;
            progressed.temporary = true;
        }
        Outcome::PermanentFailure => record.progress = Progress::Failed(result.reason),
    }
}

fn answer_item(
    items: &mut [ConfigurationItem],
    attempts: u32,
    cid: u8,
    result: u8,
    progressed: &mut Progressed,
    accepted: &mut Vec<ConfigurationItem>,
) {
    let outcome = Outcome::from_octet(result);
    let found = match items.iter().position(|item| item.cid == cid && item.progress == Progress::InFlight) {
        Some(at) => Some(at),
        None if attempts > 0 => items.iter().position(|item| item.cid == cid && item.progress == Progress::Open),
        None => None,
    };
    let Some(item) = found.and_then(|at| items.get_mut(at)) else { return };
    progressed.matched = true;
    match outcome {
        Outcome::Success => {
            item.progress = Progress::Done;
            progressed.succeeded = true;
            accepted.push(item.clone());
        }
        Outcome::TemporaryFailure => {
            item.progress = Progress::Open;
            progressed.temporary = true;
        }
        // If the card stopped reading here (D-12), it names nothing after this: those items go again without it.
        Outcome::PermanentFailure => item.progress = Progress::Failed(Reason::Unsupported.code()),
    }
}
