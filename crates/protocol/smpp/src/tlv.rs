//! Optional parameters (SMPP 3.4 5.3): tag, length, value after the mandatory fields. Unknown ones are kept.

use bytes::Bytes;

pub const TAG_PAYLOAD_TYPE: u16 = 0x0019;
pub const TAG_RECEIPTED_MESSAGE_ID: u16 = 0x001E;
pub const TAG_USER_MESSAGE_REFERENCE: u16 = 0x0204;
pub const TAG_SC_INTERFACE_VERSION: u16 = 0x0210;
pub const TAG_MS_AVAILABILITY_STATUS: u16 = 0x0422;
pub const TAG_NETWORK_ERROR_CODE: u16 = 0x0423;
pub const TAG_MESSAGE_PAYLOAD: u16 = 0x0424;
pub const TAG_DELIVERY_FAILURE_REASON: u16 = 0x0425;
pub const TAG_MESSAGE_STATE: u16 = 0x0427;
pub const TAG_CONGESTION_STATE: u16 = 0x0428;

/// Lengths in octets that a known tag may have; others may have any.
pub(crate) fn length_range(tag: u16) -> (usize, usize) {
    match tag {
        TAG_RECEIPTED_MESSAGE_ID => (1, 65),
        TAG_USER_MESSAGE_REFERENCE => (2, 2),
        TAG_NETWORK_ERROR_CODE => (3, 3),
        TAG_PAYLOAD_TYPE
        | TAG_SC_INTERFACE_VERSION
        | TAG_MS_AVAILABILITY_STATUS
        | TAG_DELIVERY_FAILURE_REASON
        | TAG_MESSAGE_STATE
        | TAG_CONGESTION_STATE => (1, 1),
        _ => (0, usize::from(u16::MAX)),
    }
}

/// One optional parameter; the value is at most 65,535 octets.
#[derive(Clone, PartialEq, Eq)]
pub struct Tlv {
    pub tag: u16,
    pub value: Bytes,
}

impl std::fmt::Debug for Tlv {
    // The value may be a message body: only its size is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tlv(0x{:04X}, {} octets)", self.tag, self.value.len())
    }
}

/// The optional parameters of one PDU in their order. Empty costs no allocation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tlvs(pub Vec<Tlv>);

impl Tlvs {
    /// The first parameter with this tag.
    #[must_use]
    pub fn get(&self, tag: u16) -> Option<&Bytes> {
        self.0.iter().find(|tlv| tlv.tag == tag).map(|tlv| &tlv.value)
    }

    /// Sets a parameter, replacing one with the same tag.
    pub fn set(&mut self, tag: u16, value: impl Into<Bytes>) {
        self.0.retain(|tlv| tlv.tag != tag);
        self.0.push(Tlv { tag, value: value.into() });
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `message_payload` (5.3.2.32): the body when it is not in `short_message`.
    #[must_use]
    pub fn message_payload(&self) -> Option<&Bytes> {
        self.get(TAG_MESSAGE_PAYLOAD)
    }

    /// `receipted_message_id` (5.3.2.12) without its terminator: the `submit_sm_resp` id that a receipt speaks of.
    #[must_use]
    pub fn receipted_message_id(&self) -> Option<&[u8]> {
        self.get(TAG_RECEIPTED_MESSAGE_ID).map(|value| value.split(|octet| *octet == 0).next().unwrap_or_default())
    }

    /// `message_state` (5.3.2.35; values in 5.2.28, 2 = delivered).
    #[must_use]
    pub fn message_state(&self) -> Option<u8> {
        self.get(TAG_MESSAGE_STATE).and_then(|value| value.first().copied())
    }

    /// `sc_interface_version` (5.3.2.25) of a bind response.
    #[must_use]
    pub fn sc_interface_version(&self) -> Option<u8> {
        self.get(TAG_SC_INTERFACE_VERSION).and_then(|value| value.first().copied())
    }

    /// `user_message_reference` (5.3.2.17).
    #[must_use]
    pub fn user_message_reference(&self) -> Option<u16> {
        self.get(TAG_USER_MESSAGE_REFERENCE)
            .and_then(|value| Some(u16::from_be_bytes(value.get(..2)?.try_into().ok()?)))
    }

    pub fn set_message_payload(&mut self, payload: Bytes) {
        self.set(TAG_MESSAGE_PAYLOAD, payload);
    }

    pub fn set_receipted_message_id(&mut self, message_id: &[u8]) {
        let mut value = message_id.to_vec();
        value.push(0);
        self.set(TAG_RECEIPTED_MESSAGE_ID, value);
    }

    pub fn set_message_state(&mut self, state: u8) {
        self.set(TAG_MESSAGE_STATE, vec![state]);
    }

    pub fn set_sc_interface_version(&mut self, version: u8) {
        self.set(TAG_SC_INTERFACE_VERSION, vec![version]);
    }

    pub fn set_user_message_reference(&mut self, reference: u16) {
        self.set(TAG_USER_MESSAGE_REFERENCE, reference.to_be_bytes().to_vec());
    }
}
