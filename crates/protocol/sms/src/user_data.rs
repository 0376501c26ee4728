//! TP-UDL and TP-UD (TS 23.040 9.2.3.16, 9.2.3.24).

use crate::alphabet::gsm7;
use crate::reader::Reader;
use crate::{Alphabet, DataCoding, Malformed, UserDataHeader};

/// Octets of TP-UD, the header included.
pub const USER_DATA_MAX: usize = 140;
const SEPTETS_MAX: usize = 160;

/// A header, if TP-UDHI is set, and the body. With a 7-bit data coding the body is unpacked septets (one per octet,
/// [`gsm7::decode`]), else octets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserData {
    header: Option<UserDataHeader>,
    body: Vec<u8>,
}

impl UserData {
    /// 8-bit or UCS-2 data without a header.
    ///
    /// # Errors
    /// [`Malformed::TooLong`] above 140 octets.
    pub fn from_octets(body: &[u8]) -> Result<Self, Malformed> {
        Self::new(None, body.to_vec(), Alphabet::Octets)
    }

    /// A header, if any, and a body in the form that `alphabet` asks for.
    ///
    /// # Errors
    /// [`Malformed::TooLong`] when they do not fit one message (140 octets, 160 septets).
    pub fn new(header: Option<UserDataHeader>, body: Vec<u8>, alphabet: Alphabet) -> Result<Self, Malformed> {
        let header_octets = header.as_ref().map_or(0, |header| 1 + header.encode().len());
        let (actual, max) = match alphabet {
            Alphabet::Gsm7 => (header_septets(header_octets) + body.len(), SEPTETS_MAX),
            _ => (header_octets + body.len(), USER_DATA_MAX),
        };
        if actual > max {
            return Err(Malformed::TooLong { field: "TP-UD", actual, max });
        }
        Ok(Self { header, body })
    }

    /// The header; `None` when TP-UDHI is not set.
    #[must_use]
    pub fn header(&self) -> Option<&UserDataHeader> {
        self.header.as_ref()
    }

    /// What follows the header: octets, or unpacked septets with a 7-bit coding.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// TP-UDHI.
    #[must_use]
    pub fn has_header(&self) -> bool {
        self.header.is_some()
    }

    pub(crate) fn encode_into(&self, data_coding: DataCoding, out: &mut Vec<u8>) {
        let mut header = Vec::new();
        if let Some(udh) = &self.header {
            let elements = udh.encode();
            header.push(u8::try_from(elements.len()).unwrap_or_default());
            header.extend(elements);
        }
        if data_coding.alphabet() == Alphabet::Gsm7 {
            let septets = header_septets(header.len()) + self.body.len();
            out.push(u8::try_from(septets).unwrap_or(u8::MAX));
            let fill = fill_bits(header.len());
            let end = out.len() + (septets * 7).div_ceil(8);
            out.extend(header);
            out.extend(gsm7::pack(&self.body, fill));
            // The fill bits of a header without a body.
            out.resize(end, 0);
        } else {
            out.push(u8::try_from(header.len() + self.body.len()).unwrap_or(u8::MAX));
            out.extend(header);
            out.extend_from_slice(&self.body);
        }
    }

    pub(crate) fn decode_from(
        reader: &mut Reader<'_>,
        has_header: bool,
        data_coding: DataCoding,
    ) -> Result<Self, Malformed> {
        let length = usize::from(reader.octet("TP-UDL")?);
        let septets = data_coding.alphabet() == Alphabet::Gsm7;
        let octets = if septets { (length * 7).div_ceil(8) } else { length };
        if octets > USER_DATA_MAX {
            return Err(Malformed::TooLong { field: "TP-UD", actual: octets, max: USER_DATA_MAX });
        }
        let user_data = reader.take(octets, "TP-UD")?;
        let (header, rest) = if has_header {
            let (header, rest) = UserDataHeader::cut(user_data)?;
            (Some(UserDataHeader::decode(header)?), rest)
        } else {
            (None, user_data)
        };
        let header_octets = user_data.len() - rest.len();
        let body = if septets {
            let count = length.saturating_sub(header_septets(header_octets));
            gsm7::unpack(rest, count, fill_bits(header_octets))
        } else {
            rest.to_vec()
        };
        Ok(Self { header, body })
    }
}

/// Septets that the header (UDHL included) and its fill bits take.
fn header_septets(header_octets: usize) -> usize {
    (header_octets * 8).div_ceil(7)
}

/// Zero bits between the header and the first septet.
fn fill_bits(header_octets: usize) -> u8 {
    u8::try_from(header_septets(header_octets) * 7 - header_octets * 8).unwrap_or_default()
}
