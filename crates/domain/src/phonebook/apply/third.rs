//! Messages of the third embodiment: sets of fields as they come, and the check data over the whole file at the end of a
//! backup (S3-SV-02 to S3-SV-04, D-61).
//!
//! A Change is never answered; a Change Complete gets a Confirmation once the book is the card's file. Messages overtake
//! one another, so check data that differs is kept and compared again with whatever comes late; [`super::check_mismatch`]
//! asks for a resynchronisation when the grace is over.

use bytes::Bytes;
use link::{
    message::Record,
    monitor::{MonitorRow, MonitorTable},
    reason::{self, Reason},
    third::{Message, Request, Set},
};

use super::{
    Context, Effects, Parsed, Reply, Step, acknowledge, backup, book_pages, comparison, first::ADN_ROW, new_action,
    of_the_centre,
};
use crate::{
    delivery::{Acknowledgement, Content, QueueEntry},
    phonebook::{Card, DeviceView, EF_ADN, FilePath, PageKey, Pages, Profile, Resynchronisation, page},
};

pub(super) fn parse(octets: &[u8]) -> Parsed {
    match Message::decode(octets) {
        Ok(
            message @ (Message::Change { .. }
            | Message::ChangeComplete { .. }
            | Message::Control { request: Request::Restore }
            | Message::Error { .. }),
        ) => Parsed::Third(message),
        Ok(Message::Control { request: Request::Other(request) }) => {
            Parsed::Malformed { reason: Reason::Unsupported, what: format!("control request {request:02X}") }
        }
        Ok(_) => of_the_centre(format!("ID {:02X}", octets.first().copied().unwrap_or_default())),
        Err(malformed) => Parsed::Malformed { reason: malformed.reason(), what: malformed.to_string() },
    }
}

/// Check data is over the whole file, so all of it is read when there is any to compare.
pub(super) fn pages_needed(message: &Message, view: &DeviceView, keys: &mut Vec<PageKey>) {
    match message {
        Message::Change { sets } if view.state.awaited_check_data.is_none() => {
            let record =
                |set: &Set| Record { monitor_index: ADN_ROW, record_number: set.record_number, data: Bytes::new() };
            let records: Vec<Record> = sets.iter().map(record).collect();
            backup::pages_needed(&records, view, &view.state.monitor, keys);
        }
        Message::Change { .. } | Message::ChangeComplete { .. } | Message::Control { .. } => book_pages(view, keys),
        _ => {}
    }
}

/// A Confirmation, as an acknowledgement holds it: it is about no record.
pub(super) fn answer(result: u8) -> Bytes {
    Bytes::copy_from_slice(&[ADN_ROW, 0, result])
}

impl Step<'_, '_> {
    /// Returns the acknowledgement, if it gets one, and the error message.
    pub(super) fn third(&mut self, message: Message) -> (Bytes, Option<Reply>) {
        match message {
            Message::Change { sets } => {
                let refused = self.sets(&sets);
                let awaited = self.state().awaited_check_data;
                let is_whole = awaited.is_some_and(|check_data| self.is_equal(check_data));
                (if is_whole { self.confirm() } else { Bytes::new() }, refused)
            }
            Message::ChangeComplete { check_data, sets } => {
                let refused = self.sets(&sets);
                if self.is_equal(check_data) {
                    return (self.confirm(), refused);
                }
                let now = self.context.now;
                let state = self.state();
                let was_marked = state.mismatch_since.is_some();
                // Its own late messages have the whole grace; a resynchronisation's time runs on.
                if !was_marked || state.resynchronisation.is_none() {
                    state.mismatch_since = Some(now);
                }
                state.awaited_check_data = Some(check_data);
                self.effects.mismatches += u64::from(!was_marked);
                (Bytes::new(), refused)
            }
            Message::Control { .. } => (Bytes::new(), self.restore_request(&[])),
            Message::Error { reason } => {
                self.note("card-error", format!("reason {reason:02X}"));
                if Reason::from_code(reason) == Some(Reason::ChecksumMismatch) {
                    // After a restore its file is not what the centre said (D-62).
                    let now = self.context.now;
                    let state = self.state();
                    state.mismatch_since = state.mismatch_since.or(Some(now));
                }
                (Bytes::new(), None)
            }
            // `parse` lets nothing else through.
            _ => (Bytes::new(), None),
        }
    }

    /// Each set into its record. An error message when one of them has no place.
    fn sets(&mut self, sets: &[Set]) -> Option<Reply> {
        let mut refused = None;
        for set in sets {
            let octets = row(&self.card.view.state.monitor).map_or(0, |row| usize::from(row.data_octets));
            let Some(data) = set.to_record(octets) else {
                let text = format!("record {} not stored: it does not fit {octets} octets", set.record_number);
                self.note("incompatible-data", text);
                refused = Some(Reason::BadDataLengthOrOffset);
                continue;
            };
            if self.is_left_to_the_resynchronisation(set) {
                continue;
            }
            let record = Record { monitor_index: ADN_ROW, record_number: set.record_number, data: data.into() };
            if self.backup_record(&record) != reason::SUCCESS {
                refused = Some(Reason::NotInMonitorTable);
            }
        }
        Reply::to(self.incoming, self.card, reason::PERMANENT_FAILURE, refused?)
    }

    /// A card that tells all names its empty records too. What it has not is emptied together, or held, when it has told
    /// all (D-112); messages overtake one another, so a deletion that comes after that waits for the decision with the rest.
    fn is_left_to_the_resynchronisation(&mut self, set: &Set) -> bool {
        let running = self.state().resynchronisation.as_mut().filter(|_| set.is_deleted);
        running.map(|running| running.reported.remove(&(EF_ADN, set.record_number))).is_some()
    }

    fn is_equal(&mut self, check_data: u16) -> bool {
        is_equal(self.card, self.pages, check_data, self.context, self.effects)
    }

    fn confirm(&mut self) -> Bytes {
        let answer = answer(reason::SUCCESS);
        acknowledge(answer.clone(), self.incoming, self.card, self.context, self.effects);
        answer
    }

    /// Records are on the card and in the book: what was awaited may be there now (D-111).
    pub(super) fn compare_again(&mut self) {
        if self.card.view.device.profile == Profile::E3
            && !check_again(self.card, self.pages, self.context, self.effects)
        {
            let now = self.context.now;
            let state = self.state();
            state.mismatch_since = state.awaited_check_data.map(|_| now);
        }
    }
}

/// D-61: compares what is awaited once more. Whether the book is the card's file now; then the card is told.
pub(super) fn check_again(card: &mut Card, pages: &mut Pages, context: Context<'_>, effects: &mut Effects) -> bool {
    let Some(awaited) = card.view.state.awaited_check_data else { return false };
    if !is_equal(card, pages, awaited, context, effects) {
        return false;
    }
    let (profile, records) = (card.view.device.profile, answer(reason::SUCCESS));
    let content = Content::BackupAcknowledgement(Acknowledgement { profile, records });
    let action = new_action(card, content, card.view.channel(), &Bytes::new(), context);
    effects.to_queue.push(QueueEntry::of(&action));
    effects.new_actions.push(action);
    true
}

/// Whether the card's file is the book, or is what it reported since a resynchronisation began; then nothing is awaited any
/// more, and what it did not report is surplus (D-112). Reads the whole book.
fn is_equal(card: &mut Card, pages: &mut Pages, told: u16, context: Context<'_>, effects: &mut Effects) -> bool {
    let Some(row) = row(&card.view.state.monitor) else { return false };
    let check = context.policy.third_check;
    let resynchronisation = &mut card.view.state.resynchronisation;
    if told == check(&book_sets(&card.view.device.key, pages, &row)) {
        *resynchronisation = None;
    } else {
        let is_reported = |running: &mut Resynchronisation| told == check(&reported_sets(running, &row));
        match resynchronisation.take_if(is_reported) {
            None => return false,
            // A person decides about the rest.
            Some(held) if held.held => *resynchronisation = Some(held),
            Some(running) => comparison::conclude(card, pages, running, context, effects),
        }
    }
    card.view.state.mismatch_since = None;
    card.view.state.awaited_check_data = None;
    card.touched = true;
    true
}

/// The row over EF_ADN that stands for the file of a card without a monitor table.
fn row(monitor: &MonitorTable) -> Option<MonitorRow> {
    let is_file = |row: &&MonitorRow| (FilePath { df: row.df, ef: row.ef }) == EF_ADN && row.data_offset == 0;
    monitor.row(ADN_ROW).filter(is_file).copied()
}

fn book_sets(device: &crate::identity::DeviceKey, pages: &Pages, row: &MonitorRow) -> Vec<Set> {
    let first = row.record_offset.saturating_add(1);
    let last = row.record_offset.saturating_add(row.record_count);
    let set = |record_number: u8| {
        let (key, slot) = PageKey::of(*device, EF_ADN, record_number)?;
        let octets = page::covered(pages.record(&key, slot).as_ref(), 0, row.data_octets)?;
        Set::of_record(record_number, &octets)
    };
    (first..=last).filter_map(set).collect()
}

fn reported_sets(running: &Resynchronisation, row: &MonitorRow) -> Vec<Set> {
    let set = |((file, record_number), record): (&(FilePath, u8), &Option<Bytes>)| {
        let octets = page::covered(record.as_ref().filter(|_| *file == EF_ADN), 0, row.data_octets)?;
        Set::of_record(*record_number, &octets)
    };
    running.reported.iter().filter_map(set).collect()
}
