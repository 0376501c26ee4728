//! What a card is configured with, as tables: its settings and its monitor table.

use proto::centre;

use crate::{
    commands::file,
    configuration,
    output::{Cell, Table},
};

/// Each setting as the card acknowledged it and, where that differs, as it was told.
pub fn table(settings: &[centre::CardSetting]) -> Table {
    let columns = ["setting", "cid", "acknowledged", "wanted", "note"];
    let mut table = Table::new(&columns, "no settings: none was acknowledged, and none asked for");
    for setting in settings {
        let known = if setting.acknowledged.is_empty() { &setting.wanted } else { &setting.acknowledged };
        let (name, _) = configuration::shown(setting.cid, known);
        let value =
            |data: &[u8]| if data.is_empty() { String::new() } else { configuration::shown(setting.cid, data).1 };
        let is_open = !setting.wanted.is_empty() && setting.wanted != setting.acknowledged;
        table.row(vec![
            Cell::text(name),
            Cell::text(format!("{:02X}", setting.cid)),
            Cell::text(value(&setting.acknowledged)),
            Cell::text(value(&setting.wanted)),
            Cell::text(if is_open { "not acknowledged" } else { "" }),
        ]);
    }
    table
}

/// Every row of the card's monitor table.
pub fn monitor(rows: &[centre::MonitorRow]) -> Table {
    let mut table = Table::new(&["row", "file", "records", "octets", "note"], "no monitor table is known of this card");
    for row in rows {
        let is_enabled = row.record_count > 0 && row.data_octets > 0;
        let span = |offset: u32, count: u32| match count {
            0 => String::new(),
            count => format!("{}-{}", offset, offset.saturating_add(count - 1)),
        };
        table.row(vec![
            Cell::Number(row.index.into()),
            Cell::text(file(row.df, row.ef)),
            Cell::text(span(row.record_offset.saturating_add(1), row.record_count)),
            Cell::text(span(row.data_offset, row.data_octets)),
            Cell::text(if is_enabled { "" } else { "off" }),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_acknowledged_is_said() {
        let setting = |cid, acknowledged: &'static [u8], wanted: &'static [u8]| centre::CardSetting {
            cid,
            acknowledged: acknowledged.into(),
            wanted: wanted.into(),
        };
        let settings = [setting(1, &[1], &[1]), setting(4, &[0], &[1]), setting(0x0B, &[], &[5, 1])];
        let expected = "SETTING  CID  ACKNOWLEDGED  WANTED  NOTE\n\
                        service  01   on            on\n\
                        bearer   04   sms           ip      not acknowledged\n\
                        poll     0B                 5,1     not acknowledged\n";
        assert_eq!(table(&settings).render(), expected);
    }

    #[test]
    fn every_row_of_the_monitor_table_is_shown() {
        let row = |index, record_count| centre::MonitorRow {
            index,
            df: 0x7F10,
            ef: 0x6F3A,
            record_offset: 4,
            record_count,
            data_offset: 0,
            data_octets: 28,
        };
        let expected = "ROW  FILE  RECORDS  OCTETS  NOTE\n  0  ADN   5-104    0-27\n  1  ADN            0-27    off\n";
        assert_eq!(monitor(&[row(0, 100), row(1, 0)]).render(), expected);
    }
}
