//! What is kept of a card that differs: the way of each of its messages, at the SMSC and in every table of the centre.

use std::{fmt::Write, path::Path};

use anyhow::{Context, Result};

use crate::{smsc::SmscHandle, topology::Topology};

/// Cards that are written down; the first ones tell enough.
const KEPT_MAX: usize = 10;
/// What the centre holds of a number, in the order of time. `{}` is the number.
const TABLES: [(&str, &str); 4] = [
    (
        "journal",
        "SELECT at, id, dedup, source, length(data) FROM book_change \
         WHERE subscriber_id = (SELECT id FROM subscriber WHERE msisdn = {}) ORDER BY at, id",
    ),
    ("billing events", "SELECT at, channel, octets, duplicate FROM billing_event WHERE msisdn = {} ORDER BY at"),
    ("actions", "SELECT id, created, due, state, attempts, cause FROM outbound_action WHERE msisdn = {} ORDER BY id"),
    ("notices", "SELECT at, kind, text FROM notice WHERE msisdn = {} ORDER BY at"),
];

/// Writes `way-NUMBER.txt` for each of the cards into the folder of the logs.
///
/// # Errors
/// The database does not answer, or the folder takes no file.
pub async fn keep(topology: &Topology, smsc: &SmscHandle, cards: &[u64], folder: &Path) -> Result<()> {
    if cards.is_empty() {
        return Ok(());
    }
    let entries = smsc.ledger().entries();
    for card in cards.iter().take(KEPT_MAX) {
        let number = card.to_string();
        let mut text =
            format!("card {number}\n\nat the SMSC: number, direction, outcome, attempts, taken, ended after\n");
        let own = entries.iter().enumerate().filter(|(_, entry)| entry.msisdn.as_str() == Some(&number));
        for (at, entry) in own {
            let ended = entry.ended_at.map(|ended| ended.saturating_duration_since(entry.taken_at));
            let (direction, outcome, attempts) = (entry.direction, entry.outcome, entry.attempts);
            let taken = entry.taken_at.elapsed();
            writeln!(text, "{at} {direction:?} {outcome:?} {attempts} {taken:.3?} ago, {ended:.3?}")?;
        }
        for (name, sql) in TABLES {
            let rows = topology.sql(sql.replace("{}", &number)).await?;
            writeln!(text, "\n{name}\n{rows}")?;
        }
        let path = folder.join(format!("way-{number}.txt"));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
