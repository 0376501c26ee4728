//! TP-UDH (TS 23.040 9.2.3.24): a list of information elements.

use crate::concatenation::PartInfo;
use crate::{Malformed, reader::Reader};

/// Element identifiers that the centre knows.
pub mod element_id {
    /// Concatenation with an 8-bit reference.
    pub const CONCATENATION_8: u8 = 0x00;
    /// Application ports, 8 bits each.
    pub const PORTS_8: u8 = 0x04;
    /// Application ports, 16 bits each.
    pub const PORTS_16: u8 = 0x05;
    /// Concatenation with a 16-bit reference.
    pub const CONCATENATION_16: u8 = 0x08;
    /// A command packet follows (TS 31.115; D-120).
    pub const COMMAND_PACKET: u8 = 0x70;
    /// A response packet follows (TS 31.115; D-120).
    pub const RESPONSE_PACKET: u8 = 0x71;
}

/// One information element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InformationElement {
    pub id: u8,
    pub data: Vec<u8>,
}

/// Elements in their order; at most 139 octets coded (UDHL itself not counted).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserDataHeader {
    elements: Vec<InformationElement>,
}

/// Octets that follow UDHL, at most.
pub const HEADER_OCTETS_MAX: usize = 139;

impl UserDataHeader {
    /// # Errors
    /// [`Malformed::TooLong`] when the elements do not fit one message.
    pub fn from_elements(elements: Vec<InformationElement>) -> Result<Self, Malformed> {
        let actual = elements.iter().map(|element| 2 + element.data.len()).sum();
        if actual > HEADER_OCTETS_MAX {
            return Err(Malformed::TooLong { field: "TP-UDH", actual, max: HEADER_OCTETS_MAX });
        }
        Ok(Self { elements })
    }

    /// `70 00`: a command packet follows.
    #[must_use]
    pub fn command_packet() -> Self {
        Self { elements: vec![InformationElement { id: element_id::COMMAND_PACKET, data: Vec::new() }] }
    }

    /// `71 00`: a response packet follows.
    #[must_use]
    pub fn response_packet() -> Self {
        Self { elements: vec![InformationElement { id: element_id::RESPONSE_PACKET, data: Vec::new() }] }
    }

    /// The elements in their order.
    #[must_use]
    pub fn elements(&self) -> &[InformationElement] {
        &self.elements
    }

    /// The first element of this id.
    #[must_use]
    pub fn find(&self, id: u8) -> Option<&InformationElement> {
        self.elements.iter().find(|element| element.id == id)
    }

    /// No element at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The last legal concatenation element: when several are there the last counts (TS 23.040 9.2.3.24).
    #[must_use]
    pub fn concatenation(&self) -> Option<PartInfo> {
        self.elements.iter().rev().find_map(PartInfo::from_element)
    }

    /// The other elements.
    #[must_use]
    pub fn without_concatenation(&self) -> Self {
        let others = self.elements.iter().filter(|element| PartInfo::from_element(element).is_none()).cloned();
        Self { elements: others.collect() }
    }

    /// The elements' octets, UDHL left out, as the contracts between the services carry them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for element in &self.elements {
            out.push(element.id);
            // `from_elements` bounds the whole header.
            out.push(u8::try_from(element.data.len()).unwrap_or_default());
            out.extend_from_slice(&element.data);
        }
        out
    }

    /// Reads the octets that follow UDHL.
    ///
    /// # Errors
    /// [`Malformed`] when an element runs over the end, or the header is too long.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        if octets.len() > HEADER_OCTETS_MAX {
            return Err(Malformed::TooLong { field: "TP-UDH", actual: octets.len(), max: HEADER_OCTETS_MAX });
        }
        let mut reader = Reader::new(octets);
        let mut elements = Vec::new();
        while !reader.is_empty() {
            let id = reader.octet("information element")?;
            let length = reader.octet("information element")?;
            let data = reader.take(length.into(), "information element")?.to_vec();
            elements.push(InformationElement { id, data });
        }
        Ok(Self { elements })
    }

    /// Cuts user data that starts with UDHL into the header's octets (UDHL left out) and what follows.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] when UDHL says more than is there.
    pub fn cut(user_data: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
        let mut reader = Reader::new(user_data);
        let length = usize::from(reader.octet("UDHL")?);
        let header = reader.take(length, "TP-UDH")?;
        Ok((header, user_data.get(1 + length..).unwrap_or_default()))
    }
}
