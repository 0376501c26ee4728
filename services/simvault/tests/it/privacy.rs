//! What is in an address book is nobody's business but its owner's: none of it is in a line of the log, at DEBUG, and
//! none of it stays when the owner is erased.

use bytes::Bytes;
use link::message::{Message, PartialChecksum, Record};
use loadtest::smsc::{MobileOriginated, Number};
use mobile::{Bearer, Contact};
use proto::centre::{self, restore_request::Selection};
use uicc::files::EF_ADN;

use crate::{
    logs,
    rig::{CENTRE, Rig, delete, held, msisdn, until},
};

/// No other test of this program has them.
const NAMES: [&str; 3] = ["Xanthippe", "Zebulon", "Quintessa"];
/// The last digit is the record's number.
const NUMBER: &str = "+498977665544330";

fn contact(record: u8, name: &str) -> Contact {
    Contact { name: name.to_owned(), number: NUMBER.replace("330", &format!("33{record}")) }
}

/// A message of the second embodiment, from this number and not from its card.
fn originated(number: &str, payload: Vec<u8>) -> MobileOriginated {
    MobileOriginated {
        msisdn: Number::new(number.as_bytes()).expect("number"),
        destination: Number::new(CENTRE.as_bytes()).expect("number"),
        protocol_id: 0,
        data_coding: 0xF6,
        user_data_header: false,
        payload: payload.into(),
        message_reference: None,
    }
}

/// Every way in which octets are usually written.
fn writings(octets: &[u8]) -> [String; 4] {
    let hex: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let decimal: Vec<String> = octets.iter().map(u8::to_string).collect();
    [hex.concat(), hex.join(" "), hex.join(", "), decimal.join(", ")]
}

/// Backup, deletion, restore, addressable restore and configuration of one card.
async fn full_use(rig: &Rig, number: u32, bearer: Bearer) -> Vec<Vec<u8>> {
    let phone = rig.phone(number, bearer).await;
    let mut records = Vec::new();
    for (record, name) in (1..).zip(NAMES) {
        phone.with(|station| station.write_contact(record, &contact(record, name))).expect("written");
    }
    rig.settled(&phone).await;
    records.extend(held(&phone).into_values());
    let moment = runtime::clock::now();
    delete(&phone, 2);
    rig.settled(&phone).await;
    assert_eq!(rig.restore(&phone, moment, Selection::All(true)).await.state, "done");
    let record = centre::AddressedRecord {
        df: EF_ADN.df.into(),
        ef: EF_ADN.ef.into(),
        record_number: 1,
        data_offset: 0,
        data: Bytes::from_static(NAMES[1].as_bytes()),
    };
    let request = centre::AddressableRestoreRequest { msisdn: msisdn(number), records: vec![record] };
    let reference = rig.commands.clone().addressable_restore(request).await.expect("ordered").into_inner();
    assert_eq!(rig.ended(&phone, reference.action_id).await.state, "done");
    let item = link::configuration::Item::Resynchronise { index: None };
    assert_eq!(rig.configure(&phone, &[item]).await.state, "done");
    rig.settled(&phone).await;
    // Suspended, with a change that is refused; and a change that the store refuses.
    rig.set_state(&phone, "suspended").await;
    phone.with(|station| station.write_contact(4, &contact(4, NAMES[0]))).expect("written");
    until("an error message", async || phone.with(|station| station.statistics()).errors_received >= 1).await;
    rig.set_state(&phone, "active").await;
    rig.settled(&phone).await;
    let refused = format!("{}{:02}", NAMES[2], number % 100);
    rig.refuse_pages_with(&refused, true);
    phone.with(|station| station.write_contact(5, &contact(5, &refused))).expect("written");
    until("it is set aside", async || !rig.notices(&msisdn(number), "dead-letter").await.is_empty()).await;
    rig.refuse_pages_with(&refused, false);
    rig.settled(&phone).await;
    records
}

/// Values of the whole database in which `octets` are, as `TABLE.COLUMN`.
fn stored(database: &rusqlite::Connection, octets: &[u8]) -> Vec<String> {
    let columns = "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'";
    let mut statement = database.prepare(columns).expect("columns");
    let columns = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
    let columns: Vec<_> = columns.expect("columns").collect::<Result<_, _>>().expect("columns");
    let holds = |(table, column): &(String, String)| {
        let sql = format!("SELECT count(*) FROM {table} WHERE instr(CAST({column} AS BLOB), ?1) > 0");
        database.query_one(&sql, [octets], |row| row.get::<_, i64>(0)).expect("count") > 0
    };
    columns.iter().filter(|column| holds(column)).map(|(table, column)| format!("{table}.{column}")).collect()
}

/// Erases these subscribers; nothing of them is left in any table.
async fn erased(rig: &Rig, numbers: &[u32], octets: &[&[u8]]) {
    let database = rig.database();
    for text in octets {
        assert!(!stored(&database, text).is_empty(), "{text:02X?} is found while it is there");
    }
    for number in numbers {
        let digits = msisdn(*number);
        assert!(stored(&database, digits.as_bytes()).contains(&"subscriber.msisdn".to_owned()));
        let request = centre::EraseAccountRequest { msisdn: digits.clone() };
        rig.accounts.clone().erase_account(request).await.expect("erased");
        assert_eq!(stored(&database, digits.as_bytes()), Vec::<String>::new(), "{digits}");
    }
    for text in octets {
        assert_eq!(stored(&database, text), Vec::<String>::new(), "{text:02X?}");
    }
}

/// Covers: PF-20
#[tokio::test]
async fn nothing_of_a_book_is_in_the_log_at_debug_nor_anywhere_when_its_owner_is_erased() {
    let mut rig = Rig::start().await;
    let (by_sms, _) = tokio::join!(full_use(&rig, 7_654_301, Bearer::Sms), full_use(&rig, 7_654_302, Bearer::Ip));
    // What cannot be read, what is outside the monitor table, and what comes from a stranger.
    let [first, ..] = by_sms.as_slice() else { panic!("no record") };
    let record = Record { monitor_index: 0, record_number: 200, data: Bytes::from(first.clone()) };
    let outside = Message::Backup { records: vec![record], checksum: PartialChecksum::Absent, refused: None }.encode();
    let unreadable = [[0x48].as_slice(), first].concat();
    for (number, payload) in [
        (msisdn(7_654_301), outside.clone()),
        (msisdn(7_654_301), unreadable),
        (msisdn(7_654_301), [[0xC9].as_slice(), first].concat()),
        (msisdn(7_654_303), outside),
    ] {
        rig.smsc.mobile_originated(originated(&number, payload)).await;
    }
    rig.restart_centre().await;
    assert!(!logs::lines(&["cannot be stored"]).is_empty());
    let mut texts: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    texts.extend(NAMES.iter().flat_map(|name| writings(name.as_bytes())));
    // The number as digits, and as the card keeps it (swapped BCD): 49 89 77 66 55 44 33.
    texts.push("4989776655443".to_owned());
    texts.extend(writings(&[0x94, 0x98, 0x77, 0x66, 0x55, 0x44]));
    texts.extend(by_sms.iter().flat_map(|record| writings(record)));
    texts.extend([7_654_301, 7_654_302, 7_654_303].map(msisdn));
    for text in texts {
        let found = logs::mention(&text);
        assert!(found.is_empty(), "{text:?} is in the log: {found:#?}");
    }
    let [_, zebulon, quintessa] = NAMES;
    let bcd: &[u8] = &[0x94, 0x98, 0x77, 0x66, 0x55, 0x44];
    rig.fleet.stop().await;
    erased(&rig, &[7_654_301, 7_654_302], &[zebulon.as_bytes(), quintessa.as_bytes(), bcd]).await;
    rig.stop().await;
}
