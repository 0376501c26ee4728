//! Addresses of TPDUs (TS 23.040 9.1.2.5): length in semi-octets, type of number and plan, digits or text.

use crate::reader::Reader;
use crate::{Malformed, alphabet::gsm7};
use std::fmt;

/// TP-Type-of-number (TS 23.040 9.1.2.5).
pub mod type_of_number {
    pub const UNKNOWN: u8 = 0;
    pub const INTERNATIONAL: u8 = 1;
    pub const NATIONAL: u8 = 2;
    /// The digits are text of the GSM 7-bit default alphabet.
    pub const ALPHANUMERIC: u8 = 5;
}

/// TP-Numbering-plan-identification (TS 23.040 9.1.2.5).
pub mod numbering_plan {
    pub const UNKNOWN: u8 = 0;
    pub const ISDN: u8 = 1;
}

/// TP-DA, TP-OA or TP-RA. Up to 20 semi-octets of `0-9 * # a b c`, or up to 11 characters of text with TON 5.
/// `Debug` masks the digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    ton: u8,
    npi: u8,
    digits: String,
}

const SEMI_OCTETS_MAX: usize = 20;
/// Semi-octet values 0 to 14 (TS 23.040 9.1.2.3); 15 is the filler.
const SEMI_OCTETS: &str = "0123456789*#abc";

impl Address {
    /// `ton` 0 to 7, `npi` 0 to 15.
    ///
    /// # Errors
    /// [`Malformed`] when a number is out of range, too long, or holds a character without a semi-octet.
    pub fn new(ton: u8, npi: u8, digits: &str) -> Result<Self, Malformed> {
        if ton > 7 {
            return Err(Malformed::Value { field: "type of number", actual: ton.into(), expected: "0 to 7" });
        }
        if npi > 15 {
            return Err(Malformed::Value { field: "numbering plan", actual: npi.into(), expected: "0 to 15" });
        }
        let semi_octets = if ton == type_of_number::ALPHANUMERIC {
            (gsm7::encode(digits)?.len() * 7).div_ceil(4)
        } else {
            if let Some(index) = digits.chars().position(|c| !SEMI_OCTETS.contains(c)) {
                return Err(Malformed::Value { field: "address digit", actual: index, expected: "0-9 * # a b c" });
            }
            digits.len()
        };
        if semi_octets > SEMI_OCTETS_MAX {
            return Err(Malformed::TooLong { field: "address", actual: semi_octets, max: SEMI_OCTETS_MAX });
        }
        Ok(Self { ton, npi, digits: digits.to_owned() })
    }

    /// An E.164 number: TON 1, NPI 1.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn international(digits: &str) -> Result<Self, Malformed> {
        Self::new(type_of_number::INTERNATIONAL, numbering_plan::ISDN, digits)
    }

    /// Type of number, 0 to 7.
    #[must_use]
    pub fn ton(&self) -> u8 {
        self.ton
    }

    /// Numbering plan, 0 to 15.
    #[must_use]
    pub fn npi(&self) -> u8 {
        self.npi
    }

    /// The digits in full, or the text with TON 5. Showing them to a person is the caller's decision.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.digits
    }

    /// Length in semi-octets, TON/NPI, digits.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        let ton_npi = 0x80 | (self.ton << 4) | self.npi;
        if self.ton == type_of_number::ALPHANUMERIC {
            let septets = gsm7::encode(&self.digits).unwrap_or_default();
            // At most 20, checked by `new`.
            out.push(u8::try_from((septets.len() * 7).div_ceil(4)).unwrap_or_default());
            out.push(ton_npi);
            out.extend(gsm7::pack(&septets, 0));
            return;
        }
        out.push(u8::try_from(self.digits.len()).unwrap_or_default());
        out.push(ton_npi);
        let value = |c: &u8| {
            let place = SEMI_OCTETS.bytes().position(|known| known == *c).unwrap_or_default();
            u8::try_from(place).unwrap_or_default()
        };
        for pair in self.digits.as_bytes().chunks(2) {
            let low = pair.first().map_or(0xF, value);
            let high = pair.get(1).map_or(0xF, value);
            out.push((high << 4) | low);
        }
    }

    pub(crate) fn decode_from(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, Malformed> {
        let semi_octets = usize::from(reader.octet(field)?);
        if semi_octets > SEMI_OCTETS_MAX {
            return Err(Malformed::TooLong { field, actual: semi_octets, max: SEMI_OCTETS_MAX });
        }
        let ton_npi = reader.octet(field)?;
        let (ton, npi) = ((ton_npi >> 4) & 7, ton_npi & 0xF);
        let octets = reader.take(semi_octets.div_ceil(2), field)?;
        let digits = if ton == type_of_number::ALPHANUMERIC {
            gsm7::decode(&gsm7::unpack(octets, semi_octets * 4 / 7, 0))
        } else {
            let mut digits = String::with_capacity(semi_octets);
            for nibble in octets.iter().flat_map(|octet| [octet & 0xF, octet >> 4]).take(semi_octets) {
                let digit = SEMI_OCTETS.chars().nth(nibble.into()).ok_or(Malformed::Value {
                    field,
                    actual: nibble.into(),
                    expected: "semi-octets 0 to 14 before the filler",
                })?;
                digits.push(digit);
            }
            digits
        };
        Ok(Self { ton, npi, digits })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.digits.chars().count();
        write!(f, "Address {{ ton: {}, npi: {}, digits: ", self.ton, self.npi)?;
        self.digits.chars().take(2).try_for_each(|c| write!(f, "{c}"))?;
        write!(f, "…({length}) }}")
    }
}
