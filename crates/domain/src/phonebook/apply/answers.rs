//! The card's acknowledgements of restores and configurations (SC-ID-12 to SC-ID-14, SC-DB-07, D-111).

use bytes::Bytes;
use link::{
    configuration::{self, Item},
    message::FileResult,
    monitor::{MonitorRow, MonitorTable},
    reason::{Outcome, Reason},
};

use super::{Context, Step, hash};
use crate::{
    delivery::{Action, ConfigurationItem, Content, Progress, RestoreRecord, State},
    phonebook::{Card, FilePath, LateAnswers, PageKey, Resynchronisation, Source},
};

/// Pages of the records that wait for an answer.
pub(super) fn pages_needed(card: &Card, keys: &mut Vec<PageKey>) {
    for action in &card.open {
        if let Content::Restore { records, .. } | Content::AddressableRestore { records } = &action.content {
            let awaited = records.iter().filter(|record| is_awaited(record.progress));
            keys.extend(
                awaited.filter_map(|record| Some(PageKey::of(action.device, record.file, record.record_number)?.0)),
            );
        }
    }
}

/// In flight, or launched before and to be launched again: a late answer still counts.
fn is_awaited(progress: Progress) -> bool {
    matches!(progress, Progress::InFlight | Progress::Again)
}

/// Whether this is one more answer to a message that was answered already. It is counted.
pub(super) fn take_late(octets: &[u8], card: &mut Card, context: Context<'_>) -> bool {
    let late = card.view.state.late_answers.as_mut();
    let Some(expected) = late.filter(|late| late.hash == hash(octets, None)) else { return false };
    let is_late = expected.left > 0 && context.now <= expected.until;
    expected.left = expected.left.saturating_sub(1);
    card.touched |= is_late;
    is_late
}

/// What an acknowledgement did to an action.
#[derive(Default)]
pub(super) struct Progressed {
    matched: bool,
    succeeded: bool,
    temporary: bool,
}

impl Progressed {
    pub(super) fn success() -> Self {
        Self { matched: true, succeeded: true, temporary: false }
    }
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
        let monitor = &self.card.view.state.monitor;
        let (Content::Restore { records, .. } | Content::AddressableRestore { records }) = &mut action.content else {
            return;
        };
        for result in results {
            answer_record(records, result, &mut progressed, &mut written);
            if !is_addressable && is_tail(result) {
                refuse_tail(records, monitor, result, &mut progressed);
            }
        }
        if !progressed.matched {
            self.note("unmatched-acknowledgement", "a restore acknowledgement that fits no record".to_owned());
            return;
        }
        // A record that the answered message held but the answer does not name goes again.
        action.content.reopen();
        for record in written {
            self.write_restored(&record, is_addressable);
        }
        // What the card has now is known; a mark from before says nothing (D-111). A resynchronisation goes on.
        let now = self.context.now;
        let state = self.state();
        let is_waited_out = |running: &Resynchronisation| running.agreed && !running.held;
        state.mismatch_since = state.resynchronisation.as_ref().is_some_and(is_waited_out).then_some(now);
        self.expect_late(&action, &progressed);
        self.settle(action, &progressed);
    }

    /// D-111: the record as sent is the card's now, so it is the book's. Every row over the octets written gets its
    /// checksum, as on the card.
    pub(super) fn write_restored(&mut self, record: &RestoreRecord, is_addressable: bool) {
        let monitor = &self.card.view.state.monitor;
        let mut record = record.clone();
        if !is_addressable {
            // It went by its row, wherever that begins on the card now.
            let place = (record.file.df, record.file.ef);
            let own = monitor.row(record.monitor_index).filter(|row| (row.df, row.ef) == place);
            let Some(row) = own.filter(|row| row.covers(record.record_number)) else { return };
            record.data_offset = row.data_offset;
        }
        let rows = monitor.covering(record.file.df, record.file.ef, record.record_number);
        let covering: Vec<(u8, MonitorRow)> = rows.map(|(index, row)| (index, *row)).collect();
        for (index, row) in covering {
            let Some(data) = self.overlaid(&record, &row) else { continue };
            if let Some(stored) = self.write(record.file, &row, record.record_number, &data) {
                self.set_checksum(index, record.record_number, &data);
                self.reported(record.file, record.record_number, stored);
            }
        }
    }

    /// What a row covers of a record after a write into it. `None`: it does not touch the row's octets.
    fn overlaid(&self, record: &RestoreRecord, row: &MonitorRow) -> Option<Bytes> {
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
        let mut progressed = Progressed::default();
        let Content::Configuration { items } = &mut action.content else { return };
        let mut accepted = Vec::new();
        for (cid, result) in results {
            answer_item(items, *cid, *result, &mut progressed, &mut accepted);
        }
        if !progressed.matched {
            self.note("unmatched-acknowledgement", "a configuration acknowledgement that fits no item".to_owned());
            return;
        }
        action.content.reopen();
        for item in accepted {
            self.configured(&item);
        }
        self.expect_late(&action, &progressed);
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

    /// Every launch since the last answer may bring the same answer again: until the network has forgotten the last of
    /// them, and as long after that as a repeat is recognised.
    fn expect_late(&mut self, action: &Action, progressed: &Progressed) {
        // A success starts the count over, see `settle`.
        let attempts = if progressed.succeeded && !progressed.temporary { 0 } else { action.attempts };
        let until = action.due.max(self.context.now).plus(self.context.policy.duplicate_window);
        let hash = hash(&self.incoming.octets, None);
        let known = &mut self.state().late_answers;
        let answered = known.as_mut().filter(|late| late.action == action.id);
        let before = answered.map_or(0, |late| std::mem::replace(&mut late.attempts, attempts));
        let unanswered = action.attempts.saturating_sub(before);
        if unanswered > 1 || progressed.temporary {
            let left = u8::try_from(unanswered.saturating_sub(1)).unwrap_or(u8::MAX);
            *known = Some(LateAnswers { action: action.id, attempts, hash, left, until });
        }
    }

    /// What the action is after an answer, and whose turn it is.
    pub(super) fn settle(&mut self, mut action: Action, progressed: &Progressed) {
        let now = self.context.now;
        let ladder = self.context.policy.ladder;
        let progresses: Vec<Progress> = action.content.progresses().collect();
        let failed = progresses.iter().filter(|progress| matches!(progress, Progress::Failed(_))).count();
        let is_open = progresses.iter().any(|progress| progress.is_unsettled());
        if is_open {
            action.state = State::Queued;
            if progressed.temporary {
                // Decreasing frequency (SC-ID-13); only the failed records are still open.
                action.due = now.plus(ladder.delay(action.attempts.max(1)));
                "the card refused for now".clone_into(&mut action.cause);
                if action.attempts >= ladder.attempts_max && !progressed.succeeded {
                    // The end of the ladder (D-128), as it is for silence.
                    action.state = State::Waiting;
                    let text = format!("action {}: refused for now {} times", action.id.0, action.attempts);
                    self.note("refused-too-often", text);
                }
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
        let Some(next) = self.card.open.iter_mut().find(|action| action.state.is_open() && action.content.is_ordered())
        else {
            return;
        };
        let id = next.id;
        if ladder.resume(next, now) {
            self.card.moved(id);
        }
    }
}

fn refusal_kind(content: &Content) -> &'static str {
    if matches!(content, Content::Configuration { .. }) { "configuration-refused" } else { "restore-refused" }
}

/// D-17: a permanent failure without a file.
fn is_tail(result: &FileResult) -> bool {
    (result.df, result.ef) == (0, 0) && Outcome::from_octet(result.result) == Outcome::PermanentFailure
}

/// D-17: the card has no such monitor row, so from this record on it could read nothing of the message. The record, and
/// those of the same row that went with it, are refused for good; those of other rows behind it are launched again.
fn refuse_tail(
    records: &mut [RestoreRecord],
    monitor: &MonitorTable,
    result: &FileResult,
    progressed: &mut Progressed,
) {
    let in_flight = || records.iter().filter(|record| record.progress == Progress::InFlight);
    let first = in_flight()
        .find(|record| record.record_number == result.record_number)
        .or_else(|| in_flight().find(|record| monitor.row(record.monitor_index).is_none_or(|row| !row.is_enabled())))
        .or_else(|| in_flight().next());
    let Some(unknown) = first.map(|record| record.monitor_index) else { return };
    progressed.matched = true;
    let of_row = |record: &&mut RestoreRecord| record.monitor_index == unknown && record.progress == Progress::InFlight;
    for record in records.iter_mut().filter(of_row) {
        record.progress = Progress::Failed(result.reason);
    }
}

fn answer_record(
    records: &mut [RestoreRecord],
    result: &FileResult,
    progressed: &mut Progressed,
    written: &mut Vec<RestoreRecord>,
) {
    let outcome = Outcome::from_octet(result.result);
    let file = FilePath { df: result.df, ef: result.ef };
    let is_meant = |record: &RestoreRecord| record.file == file && record.record_number == result.record_number;
    let is_next = |wanted: Progress| records.iter().position(|record| is_meant(record) && record.progress == wanted);
    let found = is_next(Progress::InFlight).or_else(|| is_next(Progress::Again));
    let Some(record) = found.and_then(|at| records.get_mut(at)) else { return };
    progressed.matched = true;
    match outcome {
        Outcome::Success => {
            record.progress = Progress::Done;
            progressed.succeeded = true;
            written.push(record.clone());
        }
        Outcome::TemporaryFailure => {
            record.progress = Progress::Again;
            progressed.temporary = true;
        }
        Outcome::PermanentFailure => record.progress = Progress::Failed(result.reason),
    }
}

fn answer_item(
    items: &mut [ConfigurationItem],
    cid: u8,
    result: u8,
    progressed: &mut Progressed,
    accepted: &mut Vec<ConfigurationItem>,
) {
    let outcome = Outcome::from_octet(result);
    let is_next = |wanted: Progress| items.iter().position(|item| item.cid == cid && item.progress == wanted);
    let found = is_next(Progress::InFlight).or_else(|| is_next(Progress::Again));
    let Some(item) = found.and_then(|at| items.get_mut(at)) else { return };
    progressed.matched = true;
    match outcome {
        Outcome::Success => {
            item.progress = Progress::Done;
            progressed.succeeded = true;
            accepted.push(item.clone());
        }
        Outcome::TemporaryFailure => {
            item.progress = Progress::Again;
            progressed.temporary = true;
        }
        // If the card stopped reading here (D-12), it names nothing after this: those items go again without it.
        Outcome::PermanentFailure => item.progress = Progress::Failed(Reason::Unsupported.code()),
    }
}
