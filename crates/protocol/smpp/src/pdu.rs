//! The PDUs (SMPP 3.4 4): what a frame says. Fields carry the standard's names; numbers and bodies are masked in `Debug`.

use bytes::Bytes;

use crate::{
    CommandId, CommandStatus, ESM_CLASS_DELIVERY_RECEIPT, ESM_CLASS_TYPE_MASK, ESM_CLASS_UDHI, INTERFACE_VERSION_3_4,
    Text, TextTooLong, Tlvs, tlv,
};

/// Octets of the header of every PDU (SMPP 3.4 3.2).
pub const HEADER_OCTETS: usize = 16;
/// Longest body that travels in `short_message`; a longer one goes to `message_payload` (SMPP 3.4 5.2.22).
pub const SHORT_MESSAGE_OCTETS_MAX: usize = 254;

/// The header without its length (SMPP 3.4 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub command_id: CommandId,
    pub command_status: CommandStatus,
    /// Pairs a request with its response; 1 to 0x7FFFFFFF in requests.
    pub sequence_number: u32,
}

/// `source_addr` or `destination_addr` with type of number and numbering plan (SMPP 3.4 5.2.5 to 5.2.9).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Address {
    /// Type of number: 0 unknown, 1 international, 2 national, 5 alphanumeric.
    pub ton: u8,
    /// Numbering plan: 0 unknown, 1 ISDN (E.164).
    pub npi: u8,
    /// At most 20 octets (`data_sm` allows 64 on the wire; longer than 20 is refused).
    pub addr: Text<20>,
}

impl Address {
    /// # Errors
    /// [`TextTooLong`] beyond 20 octets.
    pub fn new(ton: u8, npi: u8, addr: impl AsRef<[u8]>) -> Result<Self, TextTooLong> {
        Ok(Self { ton, npi, addr: Text::new(addr)? })
    }

    /// An international E.164 number (ton 1, npi 1) from its digits without `+`.
    ///
    /// # Errors
    /// [`TextTooLong`] beyond 20 octets.
    pub fn international(digits: impl AsRef<[u8]>) -> Result<Self, TextTooLong> {
        Self::new(1, 1, digits)
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tail = self.addr.as_bytes().rchunks(2).next().unwrap_or_default();
        write!(f, "{}/{}/***{}", self.ton, self.npi, tail.escape_ascii())
    }
}

/// Direction of a bind (SMPP 3.4 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BindKind {
    Receiver,
    Transmitter,
    Transceiver,
}

impl BindKind {
    #[must_use]
    pub const fn command_id(self) -> CommandId {
        match self {
            Self::Receiver => CommandId::BIND_RECEIVER,
            Self::Transmitter => CommandId::BIND_TRANSMITTER,
            Self::Transceiver => CommandId::BIND_TRANSCEIVER,
        }
    }
    /// May the ESME submit?
    #[must_use]
    pub const fn transmits(self) -> bool {
        !matches!(self, Self::Receiver)
    }
    /// May the SMSC deliver?
    #[must_use]
    pub const fn receives(self) -> bool {
        !matches!(self, Self::Transmitter)
    }
}

/// Body of `bind_receiver`, `bind_transmitter`, `bind_transceiver` (SMPP 3.4 4.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Bind {
    pub system_id: Text<15>,
    pub password: Text<8>,
    pub system_type: Text<12>,
    pub interface_version: u8,
    pub addr_ton: u8,
    pub addr_npi: u8,
    pub address_range: Text<40>,
}

impl Default for Bind {
    fn default() -> Self {
        Self {
            system_id: Text::EMPTY,
            password: Text::EMPTY,
            system_type: Text::EMPTY,
            interface_version: INTERFACE_VERSION_3_4,
            addr_ton: 0,
            addr_npi: 0,
            address_range: Text::EMPTY,
        }
    }
}

impl std::fmt::Debug for Bind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bind {{ system_id: {:?}, interface_version: 0x{:02X}, .. }}", self.system_id, self.interface_version)
    }
}

/// Body of the bind responses (SMPP 3.4 4.1.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BindResp {
    pub system_id: Text<15>,
    pub tlvs: Tlvs,
}

/// Body of `outbind` (SMPP 3.4 4.1.7).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Outbind {
    pub system_id: Text<15>,
    pub password: Text<8>,
}

impl std::fmt::Debug for Outbind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outbind {{ system_id: {:?}, .. }}", self.system_id)
    }
}

/// Body of `submit_sm` and of `deliver_sm`: the two have the same fields (SMPP 3.4 4.4.1, 4.6.1).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ShortMessage {
    pub service_type: Text<5>,
    pub source_addr: Address,
    pub destination_addr: Address,
    /// Mode, type and UDHI bits (5.2.12).
    pub esm_class: u8,
    /// TP-PID of TS 23.040 9.2.3.9.
    pub protocol_id: u8,
    pub priority_flag: u8,
    /// Empty = now; formats in [`crate::time`].
    pub schedule_delivery_time: Text<16>,
    /// Empty = the SMSC's default; formats in [`crate::time`].
    pub validity_period: Text<16>,
    pub registered_delivery: u8,
    pub replace_if_present_flag: u8,
    /// TP-DCS of TS 23.038 in GSM networks (5.2.19).
    pub data_coding: u8,
    pub sm_default_msg_id: u8,
    /// At most 255 octets; empty when `message_payload` is used. Read it with [`Self::payload`].
    pub short_message: Bytes,
    pub tlvs: Tlvs,
}

/// A message from the ESME for a phone.
pub type SubmitSm = ShortMessage;
/// A message from a phone (or a delivery receipt) for the ESME.
pub type DeliverSm = ShortMessage;

impl ShortMessage {
    /// The body, wherever it is: `message_payload` supersedes `short_message` (SMPP 5.0 4.7.25).
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        self.tlvs.message_payload().unwrap_or(&self.short_message)
    }

    /// Puts the body into `short_message`, or into `message_payload` beyond 254 octets.
    pub fn set_payload(&mut self, payload: Bytes) {
        self.tlvs.0.retain(|tlv| tlv.tag != tlv::TAG_MESSAGE_PAYLOAD);
        if payload.len() <= SHORT_MESSAGE_OCTETS_MAX {
            self.short_message = payload;
        } else {
            self.short_message = Bytes::new();
            self.tlvs.set_message_payload(payload);
        }
    }

    /// True when the body starts with a user data header (UDHI).
    #[must_use]
    pub const fn has_user_data_header(&self) -> bool {
        self.esm_class & ESM_CLASS_UDHI != 0
    }

    /// True when the body is a delivery receipt; parse it with [`crate::Receipt`].
    #[must_use]
    pub const fn is_delivery_receipt(&self) -> bool {
        self.esm_class & ESM_CLASS_TYPE_MASK == ESM_CLASS_DELIVERY_RECEIPT
    }
}

impl std::fmt::Debug for ShortMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShortMessage")
            .field("source_addr", &self.source_addr)
            .field("destination_addr", &self.destination_addr)
            .field("esm_class", &self.esm_class)
            .field("protocol_id", &self.protocol_id)
            .field("data_coding", &self.data_coding)
            .field("registered_delivery", &self.registered_delivery)
            .field("short_message_octets", &self.short_message.len())
            .field("tlvs", &self.tlvs)
            .finish_non_exhaustive()
    }
}

/// Body of `data_sm` (SMPP 3.4 4.7.1); the message is in `message_payload`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DataSm {
    pub service_type: Text<5>,
    pub source_addr: Address,
    pub destination_addr: Address,
    pub esm_class: u8,
    pub registered_delivery: u8,
    pub data_coding: u8,
    pub tlvs: Tlvs,
}

impl From<DataSm> for ShortMessage {
    /// `data_sm` seen as the message it carries; the fields that it does not have are zero or empty.
    fn from(data: DataSm) -> Self {
        Self {
            service_type: data.service_type,
            source_addr: data.source_addr,
            destination_addr: data.destination_addr,
            esm_class: data.esm_class,
            registered_delivery: data.registered_delivery,
            data_coding: data.data_coding,
            tlvs: data.tlvs,
            ..Self::default()
        }
    }
}

/// Body of `submit_sm_resp`, `deliver_sm_resp` and `data_sm_resp` (SMPP 3.4 4.4.2, 4.6.2, 4.7.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SmResp {
    /// The SMSC's id of the message; empty in `deliver_sm_resp`.
    pub message_id: Text<64>,
    pub tlvs: Tlvs,
}

/// Body of `alert_notification` (SMPP 3.4 4.12): a phone can be reached again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlertNotification {
    pub source_addr: Address,
    pub esme_addr: Address,
    pub tlvs: Tlvs,
}

/// One PDU without its header. `query_sm`, `cancel_sm` and `replace_sm` are known by name only: the session refuses them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pdu {
    Bind(BindKind, Bind),
    BindResp(BindKind, BindResp),
    Outbind(Outbind),
    SubmitSm(SubmitSm),
    SubmitSmResp(SmResp),
    DeliverSm(DeliverSm),
    DeliverSmResp(SmResp),
    DataSm(DataSm),
    DataSmResp(SmResp),
    EnquireLink,
    EnquireLinkResp,
    Unbind,
    UnbindResp,
    GenericNack,
    AlertNotification(AlertNotification),
    QuerySm,
    /// Sent with an error status only, therefore without a body.
    QuerySmResp,
    CancelSm,
    CancelSmResp,
    ReplaceSm,
    ReplaceSmResp,
}

impl Pdu {
    #[must_use]
    pub const fn command_id(&self) -> CommandId {
        match self {
            Self::Bind(kind, _) => kind.command_id(),
            Self::BindResp(kind, _) => kind.command_id().response(),
            Self::Outbind(_) => CommandId::OUTBIND,
            Self::SubmitSm(_) => CommandId::SUBMIT_SM,
            Self::SubmitSmResp(_) => CommandId::SUBMIT_SM_RESP,
            Self::DeliverSm(_) => CommandId::DELIVER_SM,
            Self::DeliverSmResp(_) => CommandId::DELIVER_SM_RESP,
            Self::DataSm(_) => CommandId::DATA_SM,
            Self::DataSmResp(_) => CommandId::DATA_SM_RESP,
            Self::EnquireLink => CommandId::ENQUIRE_LINK,
            Self::EnquireLinkResp => CommandId::ENQUIRE_LINK_RESP,
            Self::Unbind => CommandId::UNBIND,
            Self::UnbindResp => CommandId::UNBIND_RESP,
            Self::GenericNack => CommandId::GENERIC_NACK,
            Self::AlertNotification(_) => CommandId::ALERT_NOTIFICATION,
            Self::QuerySm => CommandId::QUERY_SM,
            Self::QuerySmResp => CommandId::QUERY_SM_RESP,
            Self::CancelSm => CommandId::CANCEL_SM,
            Self::CancelSmResp => CommandId::CANCEL_SM_RESP,
            Self::ReplaceSm => CommandId::REPLACE_SM,
            Self::ReplaceSmResp => CommandId::REPLACE_SM_RESP,
        }
    }
}
