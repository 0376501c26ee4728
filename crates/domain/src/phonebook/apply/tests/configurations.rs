//! Configurations: the monitor table changes with their acknowledgement.

use super::*;

/// Covers: SC-ID-14, SC-DB-07, SC-DB-09
#[test]
fn the_monitor_table_changes_with_the_acknowledgement_and_loses_nothing() {
    let mut centre = Centre::new(vec![row(0, 10, 0, 14)]);
    let mut card = ModelCard::new(vec![row(0, 10, 0, 14)]);
    centre.receive(&card.backup(1, &adn("ANNA")));
    assert_eq!(centre.record(1), Some(adn("ANNA").slice(..14)));
    let item = |cid, data: Vec<u8>| ConfigurationItem { cid, data: data.into(), progress: Progress::Open };
    let wider = row(0, 10, 0, 28);
    let items = vec![item(6, [vec![0], wider.to_octets().to_vec()].concat()), item(4, vec![1])];
    let context = Context { now: centre.now, ids: &centre.ids, policy: &centre.policy };
    let action = new_action(&centre.card, Content::Configuration { items }, Bearer::Sms, &Bytes::new(), context);
    centre.card.open.push(action);
    centre.launch();
    // In flight during the change: parsed with the old table.
    centre.receive(&card.backup(2, &adn("BEN")));
    assert_eq!(centre.record(2), Some(adn("BEN").slice(..14)));
    centre.receive(&[0x38, 0x06, 0, 0x04, 0]);
    assert_eq!(centre.card.view.state.monitor.row(0), Some(&wider));
    assert_eq!(centre.card.view.state.settings.get(&4).map(|data| data.to_vec()), Some(vec![1]));
    assert_eq!(centre.card.view.channel(), Bearer::Ip);
    assert!(centre.card.view.state.checksums.is_empty());
    // The longer records go on where the shorter ones were.
    card = ModelCard { rows: vec![wider], records: card.records, table: ChecksumTable::default() };
    for message in card.resynchronise() {
        assert_eq!(centre.receive(&message).outcome, Outcome::Stored);
    }
    assert_eq!((centre.record(1), centre.record(2)), (Some(adn("ANNA")), Some(adn("BEN"))));
    assert_eq!(centre.card.view.state.checksums, card.table);
}

/// Sends a configuration with these monitor rows to the card.
pub(super) fn configure(centre: &mut Centre, rows: &[(u8, MonitorRow)]) {
    let items = rows.iter().map(|(index, row)| ConfigurationItem {
        cid: 6,
        data: [vec![*index], row.to_octets().to_vec()].concat().into(),
        progress: Progress::Open,
    });
    let content = Content::Configuration { items: items.collect() };
    let context = Context { now: centre.now, ids: &centre.ids, policy: &centre.policy };
    let action = new_action(&centre.card, content, Bearer::Sms, &Bytes::new(), context);
    centre.card.open.push(action);
    centre.launch();
}

#[test]
fn backups_in_the_new_form_may_come_before_the_acknowledgement() {
    // A new card: nothing of it is known, its first backups are more urgent to it than the acknowledgement.
    let mut centre = Centre::new(Vec::new());
    configure(&mut centre, &[(0, row(0, 100, 0, 28))]);
    let mut card = ModelCard::adn();
    for number in 1..=5 {
        assert_eq!(centre.receive(&card.backup(number, &adn("NEW"))).outcome, Outcome::Stored);
    }
    assert_eq!((centre.book().len(), &centre.card.view.state.checksums), (5, &card.table));
    centre.receive(&[0x38, 6, 0]);
    assert_eq!((&centre.card.view.state.checksums, centre.card.open.len()), (&card.table, 0));
    // A row gets longer: in flight is the old form, then the new one; both are read as what they are.
    let wide = row(0, 100, 0, 30);
    configure(&mut centre, &[(0, wide)]);
    centre.receive(&card.backup(6, &adn("OLD")));
    assert_eq!(centre.record(6), Some(adn("OLD")));
    let mut card = ModelCard { rows: vec![wide], ..ModelCard::default() };
    let wider: Bytes = [adn("WIDE").as_ref(), &[1, 2]].concat().into();
    centre.receive(&card.backup(7, &wider));
    assert_eq!((centre.record(7), centre.record(6).map(|record| record.slice(..28))), (Some(wider), Some(adn("OLD"))));
    assert_eq!((&centre.card.view.state.checksums, centre.card.view.state.mismatch_since), (&card.table, None));
    assert!(centre.acknowledgements.iter().all(|records| records[2] == 0));
}
