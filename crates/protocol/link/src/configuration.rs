//! Configuration (Table 12): records of CID and data of a fixed length, one typed [`Item`] per CID (D-12).

use std::net::{IpAddr, SocketAddr};

use bytes::{Buf, BufMut, Bytes};

use crate::{checksum_table::ChecksumRow, message::MalformedMessage, monitor::MonitorRow, reason::Reason};

/// A configuration record as it is on the wire. [`Item`] is its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationItem {
    pub cid: u8,
    /// [`data_octets`] of the CID: 1 to 19.
    pub data: Bytes,
}

impl ConfigurationItem {
    /// What the record says.
    ///
    /// # Errors
    /// [`InvalidItem`]: permanent failure for this record only (S2-CG-05).
    pub fn item(&self) -> Result<Item, InvalidItem> {
        Item::decode(self.cid, &self.data)
    }

    /// Octets on the wire.
    #[must_use]
    pub fn encoded_octets(&self) -> usize {
        1 + self.data.len()
    }

    pub(crate) fn append_to(&self, octets: &mut Vec<u8>) {
        octets.put_u8(self.cid);
        octets.put_slice(&self.data);
    }
}

/// Configuration identifiers (D-12).
pub mod cid {
    pub const SERVICE_STATE: u8 = 0x01;
    pub const CENTRE_ISDN: u8 = 0x02;
    pub const CENTRE_IP: u8 = 0x03;
    pub const BEARER: u8 = 0x04;
    pub const MONITOR_TABLE_SIZE: u8 = 0x05;
    pub const MONITOR_ROW: u8 = 0x06;
    pub const CHECKSUM_TABLE_SIZE: u8 = 0x07;
    pub const CHECKSUM_ROW: u8 = 0x08;
    pub const CLEAR_CHECKSUMS: u8 = 0x09;
    pub const RESYNCHRONISE: u8 = 0x0A;
    pub const POLL_INTERVALS: u8 = 0x0B;
    pub const RETRY_PRESET: u8 = 0x0C;
    pub const ASYNCHRONOUS: u8 = 0x0D;
    /// The project's own (D-08).
    pub const COMPACT: u8 = 0x0E;
}

/// Octets of a CID's data; `None` for an unknown CID.
#[must_use]
pub fn data_octets(cid: u8) -> Option<usize> {
    Some(match cid {
        cid::SERVICE_STATE | cid::BEARER | cid::MONITOR_TABLE_SIZE | cid::COMPACT => 1,
        cid::CLEAR_CHECKSUMS | cid::RESYNCHRONISE | cid::RETRY_PRESET => 1,
        cid::CHECKSUM_TABLE_SIZE | cid::POLL_INTERVALS => 2,
        cid::CHECKSUM_ROW | cid::ASYNCHRONOUS => 4,
        cid::MONITOR_ROW => 1 + MonitorRow::OCTETS,
        cid::CENTRE_ISDN => IsdnAddress::OCTETS,
        cid::CENTRE_IP => CENTRE_IP_OCTETS,
        _ => return None,
    })
}

/// What one configuration record sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    ServiceState {
        on: bool,
    },
    CentreIsdn(IsdnAddress),
    CentreIp(SocketAddr),
    Bearer(Bearer),
    /// Rows of the monitor table.
    MonitorTableSize(u8),
    MonitorRow {
        index: u8,
        row: MonitorRow,
    },
    /// Rows of the checksum table.
    ChecksumTableSize(u16),
    /// Inserted, or replaced by its key.
    ChecksumRow(ChecksumRow),
    /// Removes the checksum rows of a monitor index; `None` (FF on the wire): all.
    ClearChecksums {
        index: Option<u8>,
    },
    /// Backs up again what a monitor index covers; `None` (FF on the wire): all (D-40).
    Resynchronise {
        index: Option<u8>,
    },
    /// Seconds between polls, normally and during a restore (D-34).
    PollIntervals {
        normal_seconds: u8,
        fast_seconds: u8,
    },
    /// Status events from the first record in the outbound buffer to sending (D-35).
    RetryPreset(u8),
    /// Mode: bits 2 and 1 the variant, bits 8 to 5 hours from one backup to the next; delay in seconds.
    Asynchronous {
        mode: u8,
        blocks_per_message: u8,
        delay: u16,
    },
    /// Whether card and centre use the compact message types for each other where these are shorter (D-08).
    Compact {
        on: bool,
    },
}

/// Preferred channel (CID 0x04). USSD (2) and CSD (3) are reserved and refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bearer {
    Sms = 0,
    Ip = 1,
}

/// A value that its CID does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidItem {
    #[error("CID {cid:02X} is unknown")]
    UnknownCid { cid: u8 },
    #[error("CID {cid:02X} has {actual} octets of data, expected {expected}")]
    DataLength { cid: u8, expected: usize, actual: usize },
    #[error("CID {cid:02X}: octet {offset} is {actual:02X}, expected {expected}")]
    Value { cid: u8, offset: usize, actual: u8, expected: &'static str },
}

impl InvalidItem {
    /// What an error message says of it (D-11).
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::UnknownCid { .. } | Self::Value { .. } => Reason::Unsupported,
            Self::DataLength { .. } => Reason::BadDataLengthOrOffset,
        }
    }
}

impl Item {
    #[must_use]
    pub fn cid(&self) -> u8 {
        match self {
            Self::ServiceState { .. } => cid::SERVICE_STATE,
            Self::CentreIsdn(_) => cid::CENTRE_ISDN,
            Self::CentreIp(_) => cid::CENTRE_IP,
            Self::Bearer(_) => cid::BEARER,
            Self::MonitorTableSize(_) => cid::MONITOR_TABLE_SIZE,
            Self::MonitorRow { .. } => cid::MONITOR_ROW,
            Self::ChecksumTableSize(_) => cid::CHECKSUM_TABLE_SIZE,
            Self::ChecksumRow(_) => cid::CHECKSUM_ROW,
            Self::ClearChecksums { .. } => cid::CLEAR_CHECKSUMS,
            Self::Resynchronise { .. } => cid::RESYNCHRONISE,
            Self::PollIntervals { .. } => cid::POLL_INTERVALS,
            Self::RetryPreset(_) => cid::RETRY_PRESET,
            Self::Asynchronous { .. } => cid::ASYNCHRONOUS,
            Self::Compact { .. } => cid::COMPACT,
        }
    }

    /// The record on the wire.
    #[must_use]
    pub fn encode(&self) -> ConfigurationItem {
        let mut data = Vec::with_capacity(CENTRE_IP_OCTETS);
        match self {
            Self::ServiceState { on } => data.put_u8(u8::from(*on)),
            Self::CentreIsdn(address) => data.put_slice(&address.to_octets()),
            Self::CentreIp(address) => put_centre_ip(&mut data, address),
            Self::Bearer(bearer) => data.put_u8(*bearer as u8),
            Self::MonitorTableSize(rows) => data.put_u8(*rows),
            Self::MonitorRow { index, row } => {
                data.put_u8(*index);
                data.put_slice(&row.to_octets());
            }
            Self::ChecksumTableSize(rows) => data.put_u16(*rows),
            Self::ChecksumRow(row) => {
                data.put_slice(&[row.monitor_index, row.record_number]);
                data.put_u16(row.checksum);
            }
            Self::ClearChecksums { index } | Self::Resynchronise { index } => data.put_u8(index.unwrap_or(ALL_ROWS)),
            Self::PollIntervals { normal_seconds, fast_seconds } => data.put_slice(&[*normal_seconds, *fast_seconds]),
            Self::RetryPreset(status_events) => data.put_u8(*status_events),
            Self::Asynchronous { mode, blocks_per_message, delay } => {
                data.put_slice(&[*mode, *blocks_per_message]);
                data.put_u16(*delay);
            }
            Self::Compact { on } => data.put_u8(u8::from(*on)),
        }
        ConfigurationItem { cid: self.cid(), data: data.into() }
    }

    /// Reads the data of a CID.
    ///
    /// # Errors
    /// [`InvalidItem`] for an unknown CID, a wrong length or a value that the CID does not allow.
    pub fn decode(cid: u8, data: &[u8]) -> Result<Self, InvalidItem> {
        let expected = data_octets(cid).ok_or(InvalidItem::UnknownCid { cid })?;
        let wrong_length = InvalidItem::DataLength { cid, expected, actual: data.len() };
        if data.len() != expected {
            return Err(wrong_length);
        }
        let all_or = |index: u8| (index != ALL_ROWS).then_some(index);
        Ok(match (cid, data) {
            (cid::SERVICE_STATE, &[state]) => Self::ServiceState { on: service_state(state)? },
            (cid::CENTRE_ISDN, data) => Self::CentreIsdn(IsdnAddress::decode(data)?),
            (cid::CENTRE_IP, data) => Self::CentreIp(centre_ip(data)?),
            (cid::BEARER, &[bearer]) => Self::Bearer(bearer_from(bearer)?),
            (cid::MONITOR_TABLE_SIZE, &[rows]) => Self::MonitorTableSize(rows),
            (cid::MONITOR_ROW, &[index, ref row @ ..]) => {
                let row = MonitorRow::from_octets(row.try_into().map_err(|_| wrong_length)?);
                Self::MonitorRow { index, row }
            }
            (cid::CHECKSUM_TABLE_SIZE, &[high, low]) => Self::ChecksumTableSize(u16::from_be_bytes([high, low])),
            (cid::CHECKSUM_ROW, &[monitor_index, record_number, high, low]) => {
                let checksum = u16::from_be_bytes([high, low]);
                Self::ChecksumRow(ChecksumRow { monitor_index, record_number, checksum })
            }
            (cid::CLEAR_CHECKSUMS, &[index]) => Self::ClearChecksums { index: all_or(index) },
            (cid::RESYNCHRONISE, &[index]) => Self::Resynchronise { index: all_or(index) },
            (cid::POLL_INTERVALS, &[normal_seconds, fast_seconds]) => poll_intervals(normal_seconds, fast_seconds)?,
            (cid::RETRY_PRESET, &[status_events]) => Self::RetryPreset(status_events),
            (cid::ASYNCHRONOUS, &[mode, blocks_per_message, high, low]) => {
                Self::Asynchronous { mode, blocks_per_message, delay: u16::from_be_bytes([high, low]) }
            }
            (cid::COMPACT, &[0]) => Self::Compact { on: false },
            (cid::COMPACT, &[1]) => Self::Compact { on: true },
            (cid::COMPACT, &[actual]) => {
                return Err(InvalidItem::Value { cid, offset: 0, actual, expected: "0 or 1" });
            }
            _ => return Err(wrong_length),
        })
    }
}

/// Cuts the octets after the PID into records, and says which CID ended the cutting (D-12): an unknown one, or one whose
/// data is cut off. That one and all after it are refused; what came before it stands.
pub(crate) fn decode(mut octets: Bytes) -> Result<(Vec<ConfigurationItem>, Option<u8>), MalformedMessage> {
    if octets.is_empty() {
        return Err(MalformedMessage::NoRecords);
    }
    let mut items = Vec::new();
    while octets.has_remaining() {
        let cid = octets.get_u8();
        match data_octets(cid) {
            Some(length) if length <= octets.len() => {
                items.push(ConfigurationItem { cid, data: octets.split_to(length) });
            }
            _ => return Ok((items, Some(cid))),
        }
    }
    Ok((items, None))
}

fn service_state(state: u8) -> Result<bool, InvalidItem> {
    match state {
        0 => Ok(false),
        1 => Ok(true),
        actual => Err(InvalidItem::Value { cid: cid::SERVICE_STATE, offset: 0, actual, expected: "0 or 1" }),
    }
}

fn bearer_from(bearer: u8) -> Result<Bearer, InvalidItem> {
    match bearer {
        0 => Ok(Bearer::Sms),
        1 => Ok(Bearer::Ip),
        actual => Err(InvalidItem::Value { cid: cid::BEARER, offset: 0, actual, expected: "0 (SMS) or 1 (IP)" }),
    }
}

fn poll_intervals(normal_seconds: u8, fast_seconds: u8) -> Result<Item, InvalidItem> {
    for (offset, seconds) in [normal_seconds, fast_seconds].into_iter().enumerate() {
        if seconds == 0 {
            return Err(InvalidItem::Value { cid: cid::POLL_INTERVALS, offset, actual: 0, expected: "1 to 255 s" });
        }
    }
    Ok(Item::PollIntervals { normal_seconds, fast_seconds })
}

fn put_centre_ip(data: &mut Vec<u8>, address: &SocketAddr) {
    match address.ip() {
        IpAddr::V4(v4) => {
            data.put_u8(4);
            data.put_slice(&v4.octets());
            data.put_bytes(0, 12);
        }
        IpAddr::V6(v6) => {
            data.put_u8(6);
            data.put_slice(&v6.octets());
        }
    }
    data.put_u16(address.port());
}

fn centre_ip(data: &[u8]) -> Result<SocketAddr, InvalidItem> {
    let wrong_length = InvalidItem::DataLength { cid: cid::CENTRE_IP, expected: CENTRE_IP_OCTETS, actual: data.len() };
    let octets: [u8; CENTRE_IP_OCTETS] = data.try_into().map_err(|_| wrong_length)?;
    let [family, address @ .., port_high, port_low] = octets;
    let ip = match family {
        4 => {
            let [a, b, c, d, ..] = address;
            IpAddr::from([a, b, c, d])
        }
        6 => IpAddr::from(address),
        actual => return Err(InvalidItem::Value { cid: cid::CENTRE_IP, offset: 0, actual, expected: "4 or 6" }),
    };
    Ok(SocketAddr::new(ip, u16::from_be_bytes([port_high, port_low])))
}

/// An ISDN address in EF_ADN form (TS 31.102 4.4.2.3): length 1 (of TON/NPI and number), TON/NPI 1, ten octets of
/// swapped BCD filled with F.
#[derive(Clone, PartialEq, Eq)]
pub struct IsdnAddress {
    pub ton_npi: u8,
    /// BCD nibbles in order, at most 20, each 0 to 9.
    digits: Vec<u8>,
}

impl IsdnAddress {
    pub const OCTETS: usize = 12;
    const NUMBER_OCTETS: usize = 10;

    /// `digits`: 1 to 20 decimal digits. `None` for anything else. TON/NPI is 0x91 for an international number.
    #[must_use]
    pub fn new(ton_npi: u8, digits: &str) -> Option<Self> {
        let legal = (1..=2 * Self::NUMBER_OCTETS).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        legal.then(|| Self { ton_npi, digits: digits.bytes().map(|b| b - b'0').collect() })
    }

    /// The digits in full; `Debug` masks them.
    #[must_use]
    pub fn digits(&self) -> String {
        self.digits.iter().map(|digit| char::from(b'0' + digit)).collect()
    }

    #[must_use]
    pub fn to_octets(&self) -> [u8; Self::OCTETS] {
        let mut octets = [0xFF; Self::OCTETS];
        let number_octets = self.digits.len().div_ceil(2);
        let [length, ton_npi, number @ ..] = &mut octets;
        *length = u8::try_from(1 + number_octets).unwrap_or(u8::MAX);
        *ton_npi = self.ton_npi;
        for (slot, pair) in number.iter_mut().zip(self.digits.chunks(2)) {
            *slot = match *pair {
                [low, high] => high << 4 | low,
                [low] => 0xF0 | low,
                _ => 0xFF,
            };
        }
        octets
    }

    fn decode(data: &[u8]) -> Result<Self, InvalidItem> {
        let value = |offset, actual, expected| InvalidItem::Value { cid: cid::CENTRE_ISDN, offset, actual, expected };
        let wrong_length =
            InvalidItem::DataLength { cid: cid::CENTRE_ISDN, expected: Self::OCTETS, actual: data.len() };
        let &[length, ton_npi, ref number @ ..] = data else { return Err(wrong_length) };
        let number_octets = usize::from(length).checked_sub(1).filter(|octets| *octets > 0);
        let number = number_octets
            .and_then(|octets| number.get(..octets))
            .ok_or_else(|| value(0, length, "2 to 11 octets of TON/NPI and number"))?;
        let mut digits = Vec::with_capacity(2 * number.len());
        for (at, &octet) in number.iter().enumerate() {
            let last = at + 1 == number.len();
            match (octet & 0x0F, octet >> 4) {
                (low @ 0..=9, high @ 0..=9) => digits.extend([low, high]),
                (low @ 0..=9, 0x0F) if last => digits.push(low),
                _ => return Err(value(2 + at, octet, "decimal digits in swapped BCD, F only at the end")),
            }
        }
        Ok(Self { ton_npi, digits })
    }
}

impl std::fmt::Debug for IsdnAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IsdnAddress({:02X}, {} digits)", self.ton_npi, self.digits.len())
    }
}

/// "All rows" in CIDs 0x09 and 0x0A.
const ALL_ROWS: u8 = 0xFF;
/// Family 1, address 16, port 2.
const CENTRE_IP_OCTETS: usize = 19;
