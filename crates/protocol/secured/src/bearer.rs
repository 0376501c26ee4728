//! A packet on its way (TS 31.115 4, D-120): short messages with IEI 70 or 71 in the user data header, or the payload of an
//! IP frame behind F0 or F1. A packet is made first and cut after.

use crate::{KeySet, Spi, command};

/// User data of a short message, with its header and UDHL.
const SMS_OCTETS: usize = 140;
/// UDHL and the element of a packet that fits one message.
const SINGLE_OCTETS: usize = 3;
/// UDHL, the concatenation element and, in the first of two, the element of the packet.
const FIRST_OCTETS: usize = 8;
const SECOND_OCTETS: usize = 6;
/// Payload of an IP frame.
const IP_OCTETS: usize = 4096;

/// First octet of an IP payload with a command packet.
pub const IP_COMMAND: u8 = 0xF0;
/// First octet of an IP payload with a response packet.
pub const IP_RESPONSE: u8 = 0xF1;
/// Information element of a command packet.
pub const IEI_COMMAND: u8 = 0x70;
/// Information element of a response packet.
pub const IEI_RESPONSE: u8 = 0x71;

/// What a short message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Without UDHL.
    pub user_data_header: Vec<u8>,
    pub body: Vec<u8>,
}

/// The packet as one short message, or two concatenated ones under this reference; `None` when it needs more.
#[must_use]
pub fn short_messages(iei: u8, packet: &[u8], reference: u8) -> Option<Vec<Part>> {
    if packet.len() <= SMS_OCTETS - SINGLE_OCTETS {
        return Some(vec![Part { user_data_header: vec![iei, 0], body: packet.to_vec() }]);
    }
    let (first, second) = packet.split_at_checked(SMS_OCTETS - FIRST_OCTETS)?;
    if second.len() > SMS_OCTETS - SECOND_OCTETS {
        return None;
    }
    let part = |number, element: &[u8], body: &[u8]| Part {
        user_data_header: [&[0, 3, reference, 2, number], element].concat(),
        body: body.to_vec(),
    };
    Some(vec![part(1, &[iei, 0], first), part(2, &[], second)])
}

/// Application data that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// In the usual message: one short message, or one IP payload.
    pub single: usize,
    /// With all that a packet may take: two short messages.
    pub most: usize,
}

impl Capacity {
    /// On short messages: 113 or, ciphered with AES, 98 octets in one, 242 in two (D-120).
    #[must_use]
    pub fn of_short_messages(spi: Spi, keys: &KeySet) -> Self {
        let two = (SMS_OCTETS - FIRST_OCTETS) + (SMS_OCTETS - SECOND_OCTETS);
        Self {
            single: command::data_octets(spi, keys, SMS_OCTETS - SINGLE_OCTETS),
            most: command::data_octets(spi, keys, two),
        }
    }

    #[must_use]
    pub fn of_ip(spi: Spi, keys: &KeySet) -> Self {
        let octets = command::data_octets(spi, keys, IP_OCTETS - 1);
        Self { single: octets, most: octets }
    }
}
