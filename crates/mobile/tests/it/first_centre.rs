//! A card of the first embodiment, and as much of its centre as it notices.

use std::collections::BTreeMap;

use link::first::{ENTRY_OCTETS, Entry, EntryResult, Message};
use mobile::{
    Bearer, Input, Profile, StationConfig,
    applet::first::{FirstApplet, Settings, Slot, memory::Eeprom},
};

use crate::rig::{Rig, bob};

pub type Data = [u8; ENTRY_OCTETS];

pub fn first(settings: Settings, config: StationConfig) -> Rig {
    Rig::with(StationConfig { profile: Profile::First(settings), ..config })
}

pub fn card(adn_records: u8) -> Rig {
    first(Settings::default(), StationConfig { adn_records, ..StationConfig::default() })
}

pub fn applet(rig: &Rig) -> &FirstApplet {
    rig.station.first().unwrap()
}

pub fn eeprom(rig: &Rig) -> &Eeprom {
    applet(rig).eeprom()
}

pub fn flags(rig: &Rig) -> Vec<u8> {
    let records = (1..=u8::MAX).zip(&eeprom(rig).backup_file);
    records.filter(|(_, record)| record.is_changed).map(|(number, _)| number).collect()
}

pub fn buffered(rig: &Rig) -> Vec<u8> {
    eeprom(rig).buffer.iter().map(|entry| entry.record_number).collect()
}

pub fn slot(rig: &Rig) -> Slot {
    applet(rig).last_slot()
}

/// BOB with other digits: no two versions or records are alike.
pub fn entry(record_number: u8, version: u8) -> Data {
    let mut data: Data = bob().try_into().unwrap();
    data[3] = b'0' + version;
    data[18] = record_number;
    data
}

pub const EMPTY: Data = [0xFF; ENTRY_OCTETS];

/// Entries of a backup message.
pub fn entries(payload: &[u8]) -> Vec<(u8, Data)> {
    match Message::decode(payload).unwrap() {
        Message::Backup { entries, .. } => entries.iter().map(|entry| (entry.record_number, entry.data)).collect(),
        other => panic!("{other:?}"),
    }
}

pub fn acknowledgement(results: &[(u8, u8)]) -> Vec<u8> {
    let results = results.iter().map(|&(record_number, result)| EntryResult { record_number, result }).collect();
    Message::Acknowledgement { results }.encode()
}

pub fn restore(entries: &[(u8, Data)]) -> Vec<u8> {
    let entries = entries.iter().map(|&(record_number, data)| Entry { record_number, data }).collect();
    Message::Restore { entries }.encode()
}

/// Stores and acknowledges what comes, on the bearer on which it came.
#[derive(Default)]
pub struct Centre {
    pub book: BTreeMap<u8, Data>,
    /// Entries of each message.
    pub messages: Vec<Vec<u8>>,
}

impl Centre {
    pub fn polls(&mut self, rig: &mut Rig, count: usize) {
        for _ in 0..count {
            rig.poll();
            self.take(rig);
        }
    }

    pub fn take(&mut self, rig: &mut Rig) {
        for payload in std::mem::take(&mut rig.sent) {
            let answer = self.store(&payload);
            rig.receive_stored(&answer);
        }
        for payload in std::mem::take(&mut rig.sent_on_ip) {
            let answer = self.store(&payload);
            rig.input(Input::IpPayload(answer.into()));
        }
    }

    fn store(&mut self, payload: &[u8]) -> Vec<u8> {
        let entries = entries(payload);
        self.messages.push(entries.iter().map(|(number, _)| *number).collect());
        for (number, data) in &entries {
            if *data == EMPTY {
                self.book.remove(number);
            } else {
                self.book.insert(*number, *data);
            }
        }
        acknowledgement(&entries.iter().map(|(number, _)| (*number, 0)).collect::<Vec<_>>())
    }
}

/// On both bearers a card with these records.
pub fn both(adn_records: u8) -> [Rig; 2] {
    [Bearer::Sms, Bearer::Ip]
        .map(|bearer| first(Settings::default(), StationConfig { bearer, adn_records, ..StationConfig::default() }))
}
