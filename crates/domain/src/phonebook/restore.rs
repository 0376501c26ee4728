//! The plan of a restore: which records go to the card, from which state of which book (SC-RS-02, D-111).
//!
//! Start at [`plan`]. A book as of an earlier time is the present one undone backwards ([`undo`], D-118).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use link::{
    first::ENTRY_OCTETS,
    monitor::{MonitorRow, MonitorTable},
    third::{FileCheck, Set},
};

use super::{Change, EF_ADN, EF_EXT1, FilePath, PHONE_MEMORY, Page, PageKey, Profile, SLOTS, page};
use crate::{
    delivery::{Content, Progress, RestoreRecord},
    identity::Timestamp,
};

/// The non-empty records of a device, by file and record number.
pub type Book = BTreeMap<(FilePath, u8), Bytes>;

/// Most octets of one record in a restore message (Table 10: a record is 2 to 139 octets).
pub const RECORD_OCTETS_MAX: usize = 137;

/// D-11 reason: the record does not fit the target's record length.
pub const REASON_BAD_LENGTH: u8 = 0x03;
/// D-11 reason: the target card's monitor table does not cover the record.
pub const REASON_NOT_IN_MONITOR_TABLE: u8 = 0x04;

/// Octets of EF_ADN after the alpha identifier: length, TON/NPI, number 10, capability, extension (TS 31.102 4.4.2.3).
const ADN_TAIL_OCTETS: usize = 14;

/// What to restore (SC-RS-02). Monitor indexes are those of the target card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The card becomes equal to the book.
    All,
    /// Ranges of rows, as an operator or a restore request (D-15) names them.
    Ranges(Vec<Range>),
    /// Chosen records of one row.
    Records { monitor_index: u8, records: Vec<u8> },
    /// Everything that these rows cover.
    Rows(Vec<u8>),
}

/// Records `first..=last` of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub monitor_index: u8,
    pub first: u8,
    pub last: u8,
}

/// Why no plan can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("monitor_index {index}: the card's monitor table has rows {}", rows(.known))]
    UnknownRow { index: u8, known: Vec<u8> },
    #[error("record {record}: row {index} covers records {first} to {last}")]
    OutsideRow { index: u8, record: u8, first: u8, last: u8 },
    #[error("range {first} to {last}: expected the first not to exceed the last, and at least 1")]
    EmptyRange { first: u8, last: u8 },
    #[error("the card's monitor table is not known: nothing can be addressed on it")]
    NoMonitorTable,
}

fn rows(known: &[u8]) -> String {
    let list: Vec<String> = known.iter().map(ToString::to_string).collect();
    if list.is_empty() { "none".to_owned() } else { list.join(", ") }
}

/// The records that stored pages hold.
#[must_use]
pub fn book(pages: &[(PageKey, Page)]) -> Book {
    let slots = pages.iter().flat_map(|(key, page)| {
        page.slots.iter().enumerate().filter_map(move |(slot, octets)| {
            let number = u8::try_from(usize::from(key.page) * SLOTS + slot + 1).ok()?;
            Some(((key.file, number), octets.clone()?))
        })
    });
    slots.collect()
}

/// Undoes every change after `as_of`. `journal` holds all of them, newest first.
pub fn undo(book: &mut Book, journal: &[Change], as_of: Timestamp) {
    for change in journal.iter().filter(|change| change.at > as_of) {
        for record in change.records.iter().rev() {
            let key = (record.file, record.record_number);
            match &record.old {
                Some(old) => book.insert(key, old.clone()),
                None => book.remove(&key),
            };
        }
    }
}

/// A record in the length that the *own* card's monitor table reaches now: FF added at the end, or taken. It is stored
/// shorter when its row grew since and longer when its row shrank (D-57); without this it would look like a record of a
/// card with another length, and be re-coded.
fn in_own_length(octets: &Bytes, own_octets: usize) -> Bytes {
    if octets.len() < own_octets {
        let mut longer = octets.to_vec();
        longer.resize(own_octets, 0xFF);
        return longer.into();
    }
    let is_free = own_octets > 0 && octets.get(own_octets..).is_some_and(page::is_empty);
    if is_free { octets.slice(..own_octets) } else { octets.clone() }
}

/// The book to restore from, and the card whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub book: &'a Book,
    /// Monitor table of the card that the records were backed up from, as it is now.
    pub monitor: &'a MonitorTable,
}

/// The records to write, in the order in which they go: EF_EXT1 before EF_ADN (D-111).
///
/// Each selected record becomes what it is in `source`; empty there and occupied in `target` becomes FF, empty in both
/// needs nothing. A record that does not fit the target carries [`Progress::Failed`] with its D-11 reason and is never
/// sent (D-111); one whose length differs is re-coded where nothing is lost.
///
/// # Errors
/// [`PlanError`] when the selection names what the target card does not have.
pub fn plan(
    source: Origin<'_>,
    target: &Book,
    monitor: &MonitorTable,
    selection: &Selection,
) -> Result<Vec<RestoreRecord>, PlanError> {
    if !monitor.rows().any(|(_, row)| row.is_enabled()) {
        return Err(PlanError::NoMonitorTable);
    }
    let mut planned = Vec::new();
    for (index, record_number) in selected(monitor, selection)? {
        if let Some(row) = monitor.row(index) {
            planned.extend(planned_record(source, target, index, row, record_number, monitor));
        }
    }
    if *selection == Selection::All {
        planned.extend(uncovered(source.book, monitor));
    }
    planned.sort_by_key(|record| (file_order(record.file), record.file, record.record_number, record.monitor_index));
    Ok(planned)
}

/// A plan as a card of this profile can be sent it: E1 takes entries of 28 octets, E3 the fields of an entry, so that what a
/// record holds besides them is FF afterwards. Any other record carries [`Progress::Failed`].
#[must_use]
pub fn for_profile(profile: Profile, mut planned: Vec<RestoreRecord>) -> Vec<RestoreRecord> {
    for record in planned.iter_mut().filter(|record| record.progress == Progress::Open) {
        let is_entry = record.file == EF_ADN && record.data_offset == 0;
        let sent = match profile {
            Profile::E2 => Some(record.data.clone()),
            Profile::E1 => (is_entry && record.data.len() == ENTRY_OCTETS).then(|| record.data.clone()),
            Profile::E3 => {
                let set = Set::of_record(record.record_number, &record.data).filter(|_| is_entry);
                set.and_then(|set| set.to_record(record.data.len())).map(Bytes::from)
            }
        };
        match sent {
            Some(data) => record.data = data,
            None => record.progress = Progress::Failed(REASON_BAD_LENGTH),
        }
    }
    planned
}

/// The action of a plan ([`for_profile`]) for a card whose book is `target`. E3 is told the check data over its whole file as
/// it is to be afterwards (D-05), by `check`.
#[must_use]
pub fn content(profile: Profile, target: &Book, records: Vec<RestoreRecord>, check: FileCheck) -> Content {
    let check_data = (profile == Profile::E3).then(|| {
        let mut file = target.clone();
        for record in records.iter().filter(|record| !matches!(record.progress, Progress::Failed(_))) {
            file.insert((record.file, record.record_number), record.data.clone());
        }
        let entries = file.iter().filter(|((file, _), octets)| *file == EF_ADN && !page::is_empty(octets));
        let sets: Vec<Set> =
            entries.filter_map(|((_, record_number), octets)| Set::of_record(*record_number, octets)).collect();
        check(&sets)
    });
    Content::Restore { records, check_data }
}

/// Row index and record number of everything selected, each once.
fn selected(monitor: &MonitorTable, selection: &Selection) -> Result<BTreeSet<(u8, u8)>, PlanError> {
    let whole = |index: u8, row: &MonitorRow| {
        let (first, last) = bounds(row);
        (first..=last).map(move |record| (index, record)).collect::<Vec<_>>()
    };
    let enabled = |index: u8| {
        monitor.row(index).filter(|row| row.is_enabled()).ok_or_else(|| PlanError::UnknownRow {
            index,
            known: monitor.rows().filter(|(_, row)| row.is_enabled()).map(|(index, _)| index).collect(),
        })
    };
    let inside = |index: u8, row: &MonitorRow, record: u8| {
        let (first, last) = bounds(row);
        if row.covers(record) { Ok((index, record)) } else { Err(PlanError::OutsideRow { index, record, first, last }) }
    };
    let mut chosen = BTreeSet::new();
    match selection {
        Selection::All => {
            chosen
                .extend(monitor.rows().filter(|(_, row)| row.is_enabled()).flat_map(|(index, row)| whole(index, row)));
        }
        Selection::Rows(indexes) => {
            for index in indexes {
                chosen.extend(whole(*index, enabled(*index)?));
            }
        }
        Selection::Records { monitor_index, records } => {
            let row = enabled(*monitor_index)?;
            for record in records {
                chosen.insert(inside(*monitor_index, row, *record)?);
            }
        }
        Selection::Ranges(ranges) => {
            for range in ranges {
                let row = enabled(range.monitor_index)?;
                if range.first == 0 || range.first > range.last {
                    return Err(PlanError::EmptyRange { first: range.first, last: range.last });
                }
                for record in range.first..=range.last {
                    chosen.insert(inside(range.monitor_index, row, record)?);
                }
            }
        }
    }
    Ok(chosen)
}

/// First and last record that an enabled row covers.
fn bounds(row: &MonitorRow) -> (u8, u8) {
    (row.record_offset.saturating_add(1), row.record_offset.saturating_add(row.record_count))
}

fn planned_record(
    source: Origin<'_>,
    target: &Book,
    monitor_index: u8,
    row: &MonitorRow,
    record_number: u8,
    monitor: &MonitorTable,
) -> Option<RestoreRecord> {
    let file = FilePath { df: row.df, ef: row.ef };
    let (wanted, present) = (source.book.get(&(file, record_number)), target.get(&(file, record_number)));
    let data_octets = usize::from(row.data_octets);
    let (data, progress) = match (wanted, present) {
        (None, None) => return None,
        (None, Some(_)) => (Bytes::from(vec![0xFF; data_octets]), Progress::Open),
        (Some(octets), _) => match fit(file, octets, record_octets(source.monitor, file), record_octets(monitor, file))
        {
            Some(fitted) => {
                let start = usize::from(row.data_offset).min(fitted.len());
                let mut data: Vec<u8> = fitted.get(start..).unwrap_or_default().to_vec();
                data.resize(data_octets, 0xFF);
                (Bytes::from(data), Progress::Open)
            }
            None => (octets.clone(), Progress::Failed(REASON_BAD_LENGTH)),
        },
    };
    let progress = if data_octets > RECORD_OCTETS_MAX { Progress::Failed(REASON_BAD_LENGTH) } else { progress };
    Some(RestoreRecord { monitor_index, file, record_number, data_offset: row.data_offset, data, progress })
}

/// Octets of a record of this file, as far as the target's monitor table tells.
fn record_octets(monitor: &MonitorTable, file: FilePath) -> usize {
    let rows = monitor.rows().filter(|(_, row)| row.is_enabled() && row.df == file.df && row.ef == file.ef);
    rows.map(|(_, row)| usize::from(row.data_offset) + usize::from(row.data_octets)).max().unwrap_or(0)
}

/// The record in the target's length, if nothing is lost. EF_ADN changes in its alpha identifier, every other file at
/// its end; in both only FF octets are added or taken. Between cards of one length nothing moves.
fn fit(file: FilePath, octets: &Bytes, own_octets: usize, target_octets: usize) -> Option<Vec<u8>> {
    let octets = in_own_length(octets, own_octets);
    if octets.len() == target_octets || own_octets == target_octets {
        return Some(octets.to_vec());
    }
    let tail = if file == EF_ADN { ADN_TAIL_OCTETS } else { 0 };
    let (head, tail) = octets.split_at_checked(octets.len().checked_sub(tail)?)?;
    let head_octets = target_octets.checked_sub(tail.len())?;
    if head.get(head_octets..).is_some_and(|cut| cut.iter().any(|octet| *octet != 0xFF)) {
        return None;
    }
    let mut fitted = head.to_vec();
    fitted.resize(head_octets, 0xFF);
    fitted.extend_from_slice(tail);
    Some(fitted)
}

/// Records of the book that no row of the target covers: refused one by one, so that a person sees them. What a device
/// itself holds is no card's (AS-GN-03), so nobody expects it there.
fn uncovered(source: &Book, monitor: &MonitorTable) -> Vec<RestoreRecord> {
    let of_cards = source.iter().filter(|((file, _), _)| *file != PHONE_MEMORY);
    let outside = of_cards.filter(|((file, record), _)| monitor.covering(file.df, file.ef, *record).next().is_none());
    let refused = outside.map(|((file, record_number), octets)| RestoreRecord {
        monitor_index: 0,
        file: *file,
        record_number: *record_number,
        data_offset: 0,
        data: octets.clone(),
        progress: Progress::Failed(REASON_NOT_IN_MONITOR_TABLE),
    });
    refused.collect()
}

/// EF_EXT1 holds what EF_ADN points to, so it comes first (D-111).
fn file_order(file: FilePath) -> u8 {
    match file {
        EF_EXT1 => 0,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        identity::{DeviceId, DeviceKey, SubscriberId},
        phonebook::{RecordChange, Source},
    };

    const DEVICE: DeviceKey = DeviceKey { subscriber: SubscriberId(1), device: DeviceId(2) };

    fn row(file: FilePath, record_count: u8, data_octets: u8) -> MonitorRow {
        MonitorRow { df: file.df, ef: file.ef, record_offset: 0, record_count, data_offset: 0, data_octets }
    }

    fn adn(name: &str, octets: usize) -> Bytes {
        let mut record = name.as_bytes().to_vec();
        record.resize(octets - ADN_TAIL_OCTETS, 0xFF);
        record.extend([6, 0x91, 0x00, 0x11, 0x32, 0x54, 0xF6, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
        record.into()
    }

    /// Of a card with records as long as the target's.
    fn plan(
        book: &Book,
        target: &Book,
        monitor: &MonitorTable,
        selection: &Selection,
    ) -> Result<Vec<RestoreRecord>, PlanError> {
        super::plan(Origin { book, monitor }, target, monitor, selection)
    }

    fn numbers(plan: &[RestoreRecord]) -> Vec<u8> {
        plan.iter().map(|record| record.record_number).collect()
    }

    fn adn_book(records: &[u8]) -> Book {
        records.iter().map(|number| ((EF_ADN, *number), adn(&format!("N{number}"), 28))).collect()
    }

    #[test]
    fn what_a_device_itself_holds_is_not_restored_to_its_card() {
        let mut source = adn_book(&[1, 3]);
        source.insert((PHONE_MEMORY, 1), adn("Somebody", 44));
        let monitor = MonitorTable::new(vec![row(EF_ADN, 100, 28)]);
        let planned = plan(&source, &adn_book(&[]), &monitor, &Selection::All).unwrap();
        assert_eq!(
            planned.iter().map(|record| (record.file, record.progress)).collect::<Vec<_>>(),
            [(EF_ADN, Progress::Open); 2]
        );
    }

    #[test]
    fn all_makes_the_card_equal_and_a_range_touches_only_what_was_asked() {
        let (source, target) = (adn_book(&[1, 3, 9]), adn_book(&[3, 7]));
        let monitor = MonitorTable::new(vec![row(EF_ADN, 100, 28)]);
        let all = plan(&source, &target, &monitor, &Selection::All).unwrap();
        assert_eq!(numbers(&all), [1, 3, 7, 9]);
        assert_eq!(all[2].data, vec![0xFF; 28]);
        let range = Selection::Ranges(vec![Range { monitor_index: 0, first: 2, last: 8 }]);
        assert_eq!(numbers(&plan(&source, &target, &monitor, &range).unwrap()), [3, 7]);
        let records = Selection::Records { monitor_index: 0, records: vec![9, 1] };
        assert_eq!(numbers(&plan(&source, &target, &monitor, &records).unwrap()), [1, 9]);
        assert_eq!(numbers(&plan(&source, &target, &monitor, &Selection::Rows(vec![0])).unwrap()), [1, 3, 7, 9]);
    }

    #[test]
    fn ext1_goes_before_adn() {
        let mut source = adn_book(&[1, 2]);
        source.insert((EF_EXT1, 1), vec![2; 13].into());
        let monitor = MonitorTable::new(vec![row(EF_ADN, 100, 28), row(EF_EXT1, 10, 13)]);
        let files: Vec<u16> =
            plan(&source, &Book::new(), &monitor, &Selection::All).unwrap().iter().map(|r| r.file.ef).collect();
        assert_eq!(files, [EF_EXT1.ef, EF_ADN.ef, EF_ADN.ef]);
    }

    #[test]
    fn another_record_length_is_recoded_where_nothing_is_lost_and_refused_otherwise() {
        let source = Book::from([((EF_ADN, 1), adn("BOB", 28)), ((EF_ADN, 2), adn("LONGNAMEHERE", 28))]);
        let own = MonitorTable::new(vec![row(EF_ADN, 100, 28)]);
        let source = Origin { book: &source, monitor: &own };
        let shorter = MonitorTable::new(vec![row(EF_ADN, 100, 24)]);
        let planned = super::plan(source, &Book::new(), &shorter, &Selection::All).unwrap();
        assert_eq!((planned[0].progress, &planned[0].data), (Progress::Open, &adn("BOB", 24)));
        assert_eq!(planned[1].progress, Progress::Failed(REASON_BAD_LENGTH));
        let longer = MonitorTable::new(vec![row(EF_ADN, 100, 34)]);
        let planned = super::plan(source, &Book::new(), &longer, &Selection::All).unwrap();
        assert_eq!(planned[1].data, adn("LONGNAMEHERE", 34));
        let elsewhere = MonitorTable::new(vec![row(EF_ADN, 1, 28)]);
        let planned = super::plan(source, &Book::new(), &elsewhere, &Selection::All).unwrap();
        assert_eq!(planned[1].progress, Progress::Failed(REASON_NOT_IN_MONITOR_TABLE));
    }

    /// Records of the card itself: its row was longer or shorter when they were backed up (D-57).
    #[test]
    fn a_record_from_before_a_row_changed_goes_back_octet_by_octet() {
        let padded: Bytes = [adn("BOB", 28).as_ref(), &[0xFF; 6]].concat().into();
        for (stored, now, expected) in [
            (adn("BOB", 28), 30, [adn("BOB", 28).as_ref(), &[0xFF; 2]].concat()),
            (padded.clone(), 28, adn("BOB", 28).to_vec()),
            (adn("BOB", 28), 20, adn("BOB", 28)[..20].to_vec()),
        ] {
            let monitor = MonitorTable::new(vec![row(EF_ADN, 100, now)]);
            let book = Book::from([((EF_ADN, 1), stored)]);
            let planned = plan(&book, &Book::new(), &monitor, &Selection::All).unwrap();
            assert_eq!((planned[0].progress, planned[0].data.to_vec()), (Progress::Open, expected));
        }
        // Another card gets it re-coded from the length that it has on its own card.
        let (own, longer) = (MonitorTable::new(vec![row(EF_ADN, 1, 28)]), MonitorTable::new(vec![row(EF_ADN, 1, 32)]));
        let source = Origin { book: &Book::from([((EF_ADN, 1), padded)]), monitor: &own };
        let planned = super::plan(source, &Book::new(), &longer, &Selection::All).unwrap();
        assert_eq!(planned[0].data, adn("BOB", 32));
    }

    #[test]
    fn undoing_the_journal_gives_the_book_as_it_was() {
        let change = |at: i64, old: Option<&'static [u8]>, new: Option<&'static [u8]>| Change {
            device: DEVICE,
            id: at,
            at: Timestamp(at),
            source: Source::Backup,
            dedup: 0,
            records: vec![RecordChange {
                file: EF_ADN,
                record_number: 1,
                old: old.map(Bytes::from_static),
                new: new.map(Bytes::from_static),
            }],
        };
        let journal = [change(30, Some(b"b"), None), change(20, Some(b"a"), Some(b"b")), change(10, None, Some(b"a"))];
        let at = |as_of: i64| {
            let mut book = Book::new();
            undo(&mut book, &journal, Timestamp(as_of));
            book.get(&(EF_ADN, 1)).cloned()
        };
        assert_eq!(at(30), None);
        assert_eq!(at(20).as_deref(), Some(b"b".as_slice()));
        assert_eq!(at(19).as_deref(), Some(b"a".as_slice()));
        assert_eq!(at(9), None);
    }

    #[test]
    fn what_the_card_does_not_have_is_named() {
        let monitor = MonitorTable::new(vec![row(EF_ADN, 10, 28)]);
        let refuse =
            |selection: Selection| plan(&Book::new(), &Book::new(), &monitor, &selection).unwrap_err().to_string();
        assert_eq!(refuse(Selection::Rows(vec![3])), "monitor_index 3: the card's monitor table has rows 0");
        assert_eq!(
            refuse(Selection::Ranges(vec![Range { monitor_index: 0, first: 5, last: 11 }])),
            "record 11: row 0 covers records 1 to 10"
        );
        assert!(plan(&Book::new(), &Book::new(), &MonitorTable::default(), &Selection::All).is_err());
    }
}
