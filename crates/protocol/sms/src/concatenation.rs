//! Concatenated messages (TS 23.040 9.2.3.24.1, 9.2.3.24.8): splitting, and a bounded reassembler.
//!
//! The reassembler keeps no clock: `now` is a time since any moment of the caller's choice.

mod reassembler;

pub use reassembler::{Insertion, Outcome, Reassembled, Reassembler, ReassemblerLimits};

use crate::user_data_header::element_id;
use crate::{InformationElement, Malformed, USER_DATA_MAX, UserDataHeader};

/// A reference of 8 or of 16 bits; the two never name the same message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    Eight(u8),
    Sixteen(u16),
}

/// What a concatenation element says: part `sequence` (from 1) of `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartInfo {
    pub reference: Reference,
    pub total: u8,
    pub sequence: u8,
}

impl PartInfo {
    /// `None` for other elements, and for illegal values, which the receiver ignores (TS 23.040 9.2.3.24.1).
    #[must_use]
    pub fn from_element(element: &InformationElement) -> Option<Self> {
        let (reference, total, sequence) = match (element.id, element.data.as_slice()) {
            (element_id::CONCATENATION_8, &[reference, total, sequence]) => {
                (Reference::Eight(reference), total, sequence)
            }
            (element_id::CONCATENATION_16, &[high, low, total, sequence]) => {
                (Reference::Sixteen(u16::from_be_bytes([high, low])), total, sequence)
            }
            _ => return None,
        };
        (sequence >= 1 && sequence <= total).then_some(Self { reference, total, sequence })
    }

    /// The element that says it.
    #[must_use]
    pub fn to_element(self) -> InformationElement {
        match self.reference {
            Reference::Eight(reference) => {
                InformationElement { id: element_id::CONCATENATION_8, data: vec![reference, self.total, self.sequence] }
            }
            Reference::Sixteen(reference) => {
                let [high, low] = reference.to_be_bytes();
                let data = vec![high, low, self.total, self.sequence];
                InformationElement { id: element_id::CONCATENATION_16, data }
            }
        }
    }
}

/// Splits 8-bit `payload` into (header, octets) per message, so that each fits 140 octets. `header` goes into the
/// first message only, behind the concatenation element (`70 00`: 132 octets, later parts 134; TS 31.115). What
/// fits one message gets no concatenation element.
///
/// # Errors
/// [`Malformed::TooLong`] when more than 255 parts would be needed, or `header` leaves no room.
pub fn split(
    payload: &[u8],
    header: &UserDataHeader,
    reference: Reference,
) -> Result<Vec<(UserDataHeader, Vec<u8>)>, Malformed> {
    let header_octets = if header.is_empty() { 0 } else { 1 + header.encode().len() };
    if header_octets + payload.len() <= USER_DATA_MAX {
        return Ok(vec![(header.clone(), payload.to_vec())]);
    }
    let concatenation_octets = match reference {
        Reference::Eight(_) => 5,
        Reference::Sixteen(_) => 6,
    };
    let later = USER_DATA_MAX - 1 - concatenation_octets;
    let first = later.checked_sub(header.encode().len()).filter(|room| *room > 0).ok_or(Malformed::TooLong {
        field: "TP-UDH",
        actual: header_octets,
        max: later,
    })?;
    let (head, tail) = payload.split_at(first.min(payload.len()));
    let bodies: Vec<&[u8]> = std::iter::once(head).chain(tail.chunks(later)).collect();
    let total = u8::try_from(bodies.len()).map_err(|_| Malformed::TooLong {
        field: "concatenated message",
        actual: bodies.len(),
        max: 255,
    })?;
    let mut parts = Vec::with_capacity(bodies.len());
    for (sequence, body) in (1..=total).zip(bodies) {
        let mut elements = vec![PartInfo { reference, total, sequence }.to_element()];
        if sequence == 1 {
            elements.extend_from_slice(header.elements());
        }
        parts.push((UserDataHeader::from_elements(elements)?, body.to_vec()));
    }
    Ok(parts)
}
