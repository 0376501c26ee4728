//! How ranges, records, rows and octets are written on the command line. Errors say what was expected.

use bytes::Bytes;
use proto::centre;

/// A number as it stands on paper: the server wants the digits alone, and checks them.
pub fn msisdn(text: &str) -> Result<String, String> {
    Ok(text.strip_prefix('+').unwrap_or(text).to_owned())
}

/// Hexadecimal, with or without spaces.
pub fn octets(text: &str) -> Result<Bytes, String> {
    let digits: Vec<u8> = text.bytes().filter(|octet| !octet.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok().filter(|text| text.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    };
    let octets: Option<Vec<u8>> = digits.chunks(2).map(pair).collect();
    octets.map(Bytes::from).ok_or_else(|| format!("{text:?} is not hexadecimal, expected two digits for each octet"))
}

/// `ROW:FIRST-LAST`.
pub fn range(text: &str) -> Result<centre::RecordRange, String> {
    let parsed = || {
        let (row, records) = text.split_once(':')?;
        let (first, last) = records.split_once('-')?;
        Some(centre::RecordRange { monitor_index: number(row)?, first: number(first)?, last: number(last)? })
    };
    parsed().ok_or_else(|| format!("{text:?}: expected ROW:FIRST-LAST, such as 0:5-9"))
}

/// `ROW:RECORD,RECORD`.
pub fn records(text: &str) -> Result<centre::RecordList, String> {
    let parsed = || {
        let (row, records) = text.split_once(':')?;
        let records: Option<Vec<u32>> = records.split(',').map(number).collect();
        Some(centre::RecordList { monitor_index: number(row)?, records: records? })
    };
    parsed().ok_or_else(|| format!("{text:?}: expected ROW:RECORD,RECORD, such as 0:3,7,12"))
}

/// `ROW,ROW`.
pub fn rows(text: &str) -> Result<centre::MonitorRows, String> {
    let indexes: Option<Vec<u32>> = text.split(',').map(number).collect();
    let rows = indexes.map(|indexes| centre::MonitorRows { indexes });
    rows.ok_or_else(|| format!("{text:?}: expected monitor indexes, such as 0,1"))
}

/// `INDEX:DF/EF:FIRST-LAST@OFFSET+OCTETS`.
pub fn monitor_row(text: &str) -> Result<centre::MonitorRow, String> {
    let parsed = || {
        let (index, rest) = text.split_once(':')?;
        let (file, rest) = rest.split_once(':')?;
        let (df, ef) = file.split_once('/')?;
        let (records, data) = rest.split_once('@')?;
        let (first, last) = records.split_once('-')?;
        let (offset, octets) = data.split_once('+')?;
        let (first, last) = (number(first)?, number(last)?);
        Some(centre::MonitorRow {
            index: number(index)?,
            df: file_identifier(df)?,
            ef: file_identifier(ef)?,
            record_offset: first.checked_sub(1)?,
            record_count: last.checked_add(1)?.checked_sub(first)?,
            data_offset: number(offset)?,
            data_octets: number(octets)?,
        })
    };
    parsed().ok_or_else(|| {
        format!("{text:?}: expected INDEX:DF/EF:FIRST-LAST@OFFSET+OCTETS, such as 0:7F10/6F3A:1-254@0+28")
    })
}

/// `DF/EF/RECORD[+OFFSET]=HEX`.
pub fn addressed_record(text: &str) -> Result<centre::AddressedRecord, String> {
    let expected = || format!("{text:?}: expected DF/EF/RECORD[+OFFSET]=HEX, such as 7F10/6F3A/5=424F42FF");
    let (place, data) = text.split_once('=').ok_or_else(expected)?;
    let data = octets(data)?;
    let parsed = || {
        let (df, rest) = place.split_once('/')?;
        let (ef, record) = rest.split_once('/')?;
        let (record, offset) = record.split_once('+').unwrap_or((record, "0"));
        Some((file_identifier(df)?, file_identifier(ef)?, number(record)?, number(offset)?))
    };
    let (df, ef, record_number, data_offset) = parsed().ok_or_else(expected)?;
    Ok(centre::AddressedRecord { df, ef, record_number, data_offset, data })
}

/// `SUBSCRIBER/ACTION`.
pub fn action(text: &str) -> Result<centre::ActionReference, String> {
    let parsed = || {
        let (subscriber, action) = text.split_once('/')?;
        Some(centre::ActionReference { subscriber_id: subscriber.parse().ok()?, action_id: action.parse().ok()? })
    };
    parsed().ok_or_else(|| format!("{text:?}: expected SUBSCRIBER/ACTION as `actions list` shows it"))
}

fn number(text: &str) -> Option<u32> {
    text.trim().parse().ok()
}

fn file_identifier(text: &str) -> Option<u32> {
    (text.len() == 4).then(|| u32::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_operators_write_is_read() {
        assert_eq!((msisdn("+44123"), msisdn("44123")), (Ok("44123".to_owned()), Ok("44123".to_owned())));
        let range = range("0:5-9").unwrap();
        assert_eq!((range.monitor_index, range.first, range.last), (0, 5, 9));
        assert_eq!(records("1:3,7,12").unwrap().records, [3, 7, 12]);
        assert_eq!(rows("0,1").unwrap().indexes, [0, 1]);
        let row = monitor_row("0:7F10/6F3A:1-100@0+28").unwrap();
        assert_eq!(
            (row.df, row.ef, row.record_offset, row.record_count, row.data_octets),
            (0x7F10, 0x6F3A, 0, 100, 28)
        );
        let record = addressed_record("7F10/6F3A/5+14=FF 01").unwrap();
        assert_eq!((record.record_number, record.data_offset, record.data.as_ref()), (5, 14, [0xFF, 1].as_slice()));
        let action = action("12/34").unwrap();
        assert_eq!((action.subscriber_id, action.action_id), (12, 34));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_expected() {
        assert_eq!(range("5-9").unwrap_err(), "\"5-9\": expected ROW:FIRST-LAST, such as 0:5-9");
        assert!(octets("4G").unwrap_err().contains("not hexadecimal"));
        assert!(octets("424").is_err());
        assert!(monitor_row("0:7F10/6F3A:9-1@0+28").is_err());
        assert!(addressed_record("7F10/6F3A=42").is_err());
        assert!(action("12").is_err());
    }
}
