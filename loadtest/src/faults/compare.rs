//! The comparison at the end: what each card holds and sent, against what the centre stored.

use std::sync::Arc;

use anyhow::{Context, Result};
use domain::{
    identity::{DeviceKey, Msisdn, Timestamp},
    phonebook::{Change, EF_ADN, PageKey, Source},
};
use store::{ApplicationStore, StoreConfig};

use crate::{
    load::{Worked, records_of},
    load_card::contents,
    topology::Topology,
};

/// Differences that are told one by one; the others are counted.
const TOLD_MAX: usize = 50;
/// Journal rows of one card that are read at most.
const JOURNAL_MAX: u32 = 1_000_000;

/// What was compared, and what differs.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    pub cards: u64,
    /// Messages that the cards sent.
    pub messages: u64,
    pub journal_rows: u64,
    /// Billing events that are not marked as a repeat.
    pub billing_events: u64,
    pub billing_repeats: u64,
    /// Records that were compared.
    pub records: u64,
    pub differences: Vec<String>,
    /// Cards that differ, each once.
    pub different: Vec<u64>,
    /// Those beyond the ones that are told.
    pub untold: u64,
}

impl Comparison {
    fn differs(&mut self, text: String) {
        if self.differences.len() < TOLD_MAX {
            self.differences.push(text);
        } else {
            self.untold += 1;
        }
    }

    /// Differences so far.
    fn found(&self) -> u64 {
        self.untold + u64::try_from(self.differences.len()).unwrap_or(u64::MAX)
    }
}

/// Compares every card with the store, straight from the database.
///
/// # Errors
/// The database does not answer.
pub async fn compare(topology: &Topology, cards: &[Worked]) -> Result<Comparison> {
    let store = store::open(&StoreConfig::at(topology.store_url())).await?.application;
    let mut comparison = Comparison::default();
    for worked in cards {
        comparison.cards += 1;
        comparison.messages += u64::from(worked.sent);
        let before = comparison.found();
        compare_card(&store, worked, &mut comparison).await?;
        if comparison.found() > before {
            comparison.different.push(worked.card.msisdn);
        }
    }
    let sql = "SELECT count(*) FILTER (WHERE NOT duplicate), count(*) FILTER (WHERE duplicate) FROM billing_event";
    let counts = topology.sql(sql).await?;
    let mut numbers = counts.split('|').map(|number| number.parse::<u64>());
    let mut next = || numbers.next().and_then(Result::ok).with_context(|| format!("two counts: {counts:?}"));
    (comparison.billing_events, comparison.billing_repeats) = (next()?, next()?);
    if comparison.billing_events != comparison.messages {
        let text = format!(
            "{} billing events that are no repeats, {} messages",
            comparison.billing_events, comparison.messages
        );
        comparison.differs(text);
    }
    Ok(comparison)
}

async fn compare_card(store: &Arc<dyn ApplicationStore>, worked: &Worked, comparison: &mut Comparison) -> Result<()> {
    let number = worked.card.msisdn;
    let account = store.account(Msisdn::parse(&number.to_string())?).await?;
    let Some(device) = account.and_then(|account| account.devices.first().map(|(device, _)| device.key)) else {
        comparison.differs(format!("card {number}: the account is gone"));
        return Ok(());
    };
    if worked.unanswered {
        comparison.differs(format!("card {number}: message {} was never answered", worked.sent));
    }
    if worked.unacknowledged {
        comparison.differs(format!("card {number}: message {} was answered and never acknowledged", worked.sent));
    }
    compare_book(store, device, worked, comparison).await?;
    let mut journal = store.journal(device, Timestamp(0), JOURNAL_MAX).await?;
    journal.reverse();
    journal.retain(|change| change.source == Source::Backup);
    comparison.journal_rows += u64::try_from(journal.len()).unwrap_or(u64::MAX);
    compare_journal(&journal, worked, comparison);
    Ok(())
}

/// Record by record: the card's octets are the store's.
async fn compare_book(
    store: &Arc<dyn ApplicationStore>,
    device: DeviceKey,
    worked: &Worked,
    comparison: &mut Comparison,
) -> Result<()> {
    let pages: std::collections::HashMap<_, _> = store.book(device).await?.into_iter().collect();
    for (record, held) in worked.card.book() {
        comparison.records += 1;
        let place = PageKey::of(device, EF_ADN, record);
        let stored = place.and_then(|(key, slot)| pages.get(&key)?.slots.get(slot)?.as_ref());
        if stored.map(|octets| octets.as_ref()) != held.as_ref().map(|octets| octets.as_slice()) {
            let number = worked.card.msisdn;
            let text = format!(
                "card {number}: record {record} is {} on the card and {} in the centre",
                name_of(held.as_ref().map(|octets| octets.as_slice())),
                name_of(stored.map(|octets| octets.as_ref()))
            );
            comparison.differs(text);
        }
    }
    Ok(())
}

/// Message by message: each stands in the journal once, in the order in which the card sent them.
fn compare_journal(journal: &[Change], worked: &Worked, comparison: &mut Comparison) {
    let (number, records) = (worked.card.msisdn, worked.card.records());
    let mut versions = vec![0_u32; usize::from(records)];
    let mut rows = journal.iter();
    let mut row = rows.next();
    for message in 0..worked.sent {
        let expected = records_of(message, records);
        for record in expected {
            if let Some(version) = usize::from(record).checked_sub(1).and_then(|at| versions.get_mut(at)) {
                *version += 1;
            }
        }
        let version =
            |record: u8| usize::from(record).checked_sub(1).and_then(|at| versions.get(at)).copied().unwrap_or(0);
        let is_this = |change: &Change| {
            change.records.len() == expected.len()
                && change.records.iter().zip(expected).all(|(changed, record)| {
                    let octets = contents(number, record, version(record));
                    changed.record_number == record && changed.new.as_deref() == Some(octets.as_slice())
                })
        };
        if row.is_some_and(is_this) {
            row = rows.next();
        } else {
            comparison.differs(format!(
                "card {number}: message {} of {} is not in the journal",
                message + 1,
                worked.sent
            ));
        }
        // The same message again, right behind.
        while let Some(change) = row.filter(|change| change.records.is_empty() || is_this(change)) {
            comparison.differs(format!(
                "card {number}: message {} is in the journal twice (row {})",
                message + 1,
                change.id
            ));
            row = rows.next();
        }
    }
    for change in row.into_iter().chain(rows) {
        comparison.differs(format!("card {number}: the journal has a row {} that no message made", change.id));
    }
}

/// `r3 v7`: what a load card's record is called.
fn name_of(octets: Option<&[u8]>) -> String {
    let Some(octets) = octets else { return "empty".to_owned() };
    let name = octets.iter().take(14).take_while(|octet| octet.is_ascii_graphic() || **octet == b' ');
    name.map(|octet| char::from(*octet)).collect()
}
