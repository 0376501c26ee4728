//! A card cut down to what load needs: it knows which version of each record it holds and makes real backup messages.
//!
//! A record's octets follow from card, record and version, so ten thousand cards fit in a few megabytes and the ledger
//! can say of any stored record which version it is. The whole card, with files and applet, is `mobile::Station`.

use bytes::Bytes;
use link::{
    backup,
    checksum::crc16,
    checksum_table::ChecksumTable,
    monitor::{MonitorRow, MonitorTable},
    record::Record,
};

/// Octets of a record: X = 14.
pub const RECORD_OCTETS: u8 = 28;

/// Row 0 over EF_ADN, the row that a load card's account is created with.
#[must_use]
pub fn monitor_row(records: u8) -> MonitorRow {
    MonitorRow {
        df: 0x7F10,
        ef: 0x6F3A,
        record_offset: 0,
        record_count: records,
        data_offset: 0,
        data_octets: RECORD_OCTETS,
    }
}

/// The monitor table of a load card.
#[must_use]
pub fn monitor_table(records: u8) -> MonitorTable {
    MonitorTable::new(vec![monitor_row(records)])
}

/// One card of the load.
pub struct LoadCard {
    pub msisdn: u64,
    /// Version of each record, record 1 first; 0: never written.
    versions: Vec<u32>,
    checksums: ChecksumTable,
}

impl LoadCard {
    #[must_use]
    pub fn new(msisdn: u64, records: u8) -> Self {
        Self { msisdn, versions: vec![0; usize::from(records)], checksums: ChecksumTable::default() }
    }

    /// Writes the next version of each record named (from 1) and makes the backup message of it: PID, records,
    /// checksum. Records that do not fit the message are left alone; at least one always fits.
    pub fn back_up(&mut self, records: &[u8]) -> Bytes {
        let mut message = backup::Builder::new(link::SMS_OCTETS);
        for &record_number in records {
            let Some(version) = self.version_mut(record_number) else { continue };
            let next = *version + 1;
            let data = Bytes::copy_from_slice(&contents(self.msisdn, record_number, next));
            let checksum = crc16(&data);
            if message.push(&Record { monitor_index: 0, record_number, data }).is_err() {
                break;
            }
            if let Some(version) = self.version_mut(record_number) {
                *version = next;
            }
            self.checksums.set(0, record_number, checksum);
        }
        message.finish(self.checksums.database_checksum()).into()
    }

    /// Records of this card, 1 first, with the octets they hold; `None`: never written.
    pub fn book(&self) -> impl Iterator<Item = (u8, Option<[u8; RECORD_OCTETS as usize]>)> {
        (1..=u8::MAX).zip(&self.versions).map(|(record_number, &version)| {
            (record_number, (version > 0).then(|| contents(self.msisdn, record_number, version)))
        })
    }

    /// How many records the card has.
    #[must_use]
    pub fn records(&self) -> u8 {
        u8::try_from(self.versions.len()).unwrap_or(u8::MAX)
    }

    fn version_mut(&mut self, record_number: u8) -> Option<&mut u32> {
        self.versions.get_mut(usize::from(record_number).checked_sub(1)?)
    }
}

/// The octets of one version of a record: an EF_ADN record whose name tells record and version.
#[must_use]
pub fn contents(msisdn: u64, record_number: u8, version: u32) -> [u8; RECORD_OCTETS as usize] {
    let mut octets = [0xFF; RECORD_OCTETS as usize];
    let name = format!("r{record_number} v{version}");
    for (octet, character) in octets.iter_mut().zip(name.bytes().take(14)) {
        *octet = character;
    }
    // Length, TON/NPI, then ten BCD octets that depend on everything.
    octets[14] = 0x0B;
    octets[15] = 0x91;
    let seed = msisdn ^ (u64::from(record_number) << 40) ^ (u64::from(version) << 48);
    let mut mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for octet in &mut octets[16..26] {
        let high = u8::try_from((mixed >> 32) % 10).unwrap_or(0);
        let low = u8::try_from((mixed >> 40) % 10).unwrap_or(0);
        *octet = (high << 4) | low;
        mixed = mixed.rotate_left(13).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    }
    octets
}

#[cfg(test)]
mod tests {
    use link::message::Message;

    use super::{LoadCard, contents, monitor_table};

    #[test]
    fn its_messages_decode_to_what_its_book_says() {
        let mut card = LoadCard::new(491_700_000_001, 50);
        card.back_up(&[3]);
        let message = card.back_up(&[3, 7, 9, 11]);
        assert!(message.len() <= 140);
        let Ok(Message::Backup { records, .. }) = Message::decode(&message, &monitor_table(50)) else {
            panic!("not a backup")
        };
        assert_eq!(records.len(), 4);
        for record in records {
            let (_, held) =
                card.book().find(|(number, _)| *number == record.record_number).expect("a record of the card");
            assert_eq!(held.expect("written").as_slice(), record.data);
        }
        assert_ne!(contents(1, 3, 1), contents(1, 3, 2));
    }
}
