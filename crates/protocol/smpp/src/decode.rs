//! One whole frame to a PDU. Bodies are copied out, so that a kept message never pins a read buffer.

use bytes::Bytes;

use crate::{
    Address, AlertNotification, Bind, BindKind, BindResp, CommandId, CommandStatus, DataSm, Header, Outbind, Pdu,
    ShortMessage, SmResp, Text, Tlv, Tlvs, pdu, tlv,
};

/// A frame that is not what its header promises. The link survives: the session answers with [`Self::command_status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    #[error("{command:?} is not a known command_id")]
    UnknownCommand { command: CommandId },
    #[error("the frame ends inside {field}")]
    Truncated { field: &'static str, status: CommandStatus },
    #[error("{field} has no terminator within {max} octets")]
    TextTooLong { field: &'static str, max: usize, status: CommandStatus },
    #[error("sm_length is {sm_length}, {left} octets are left")]
    MessageLength { sm_length: u8, left: usize },
    #[error("the optional parameters end inside one")]
    TlvStream,
    #[error("optional parameter 0x{tag:04X} has {actual} octets")]
    TlvLength { tag: u16, actual: usize },
}

impl DecodeError {
    /// The status that tells the sender what is wrong.
    #[must_use]
    pub const fn command_status(&self) -> CommandStatus {
        match self {
            Self::UnknownCommand { .. } => CommandStatus::ESME_RINVCMDID,
            Self::Truncated { status, .. } | Self::TextTooLong { status, .. } => *status,
            Self::MessageLength { .. } => CommandStatus::ESME_RINVMSGLEN,
            Self::TlvStream => CommandStatus::ESME_RINVTLVSTREAM,
            Self::TlvLength { .. } => CommandStatus::ESME_RINVPARLEN,
        }
    }
}

/// Decodes the body of one frame, `body` being the octets after the 16 of `header`. Bodies of `query_sm`, `cancel_sm`
/// and `replace_sm`, and octets after a body that has none, are not looked at.
///
/// # Errors
/// [`DecodeError`]; nothing is partly decoded.
pub fn decode(header: &Header, body: &[u8]) -> Result<Pdu, DecodeError> {
    let mut cursor = Cursor { rest: body };
    // A refused request has a response without a body (SMPP 3.4 4.4.2); many peers do so for every response.
    let bodiless = body.is_empty() && !header.command_status.is_ok();
    Ok(match header.command_id {
        CommandId::SUBMIT_SM => Pdu::SubmitSm(short_message(&mut cursor)?),
        CommandId::DELIVER_SM => Pdu::DeliverSm(short_message(&mut cursor)?),
        CommandId::SUBMIT_SM_RESP => Pdu::SubmitSmResp(sm_resp(&mut cursor, bodiless)?),
        // The message_id of deliver_sm_resp is unused, and several SMSCs leave out even its terminator.
        CommandId::DELIVER_SM_RESP => Pdu::DeliverSmResp(sm_resp(&mut cursor, body.is_empty())?),
        CommandId::DATA_SM_RESP => Pdu::DataSmResp(sm_resp(&mut cursor, bodiless)?),
        CommandId::DATA_SM => Pdu::DataSm(data_sm(&mut cursor)?),
        CommandId::ENQUIRE_LINK => Pdu::EnquireLink,
        CommandId::ENQUIRE_LINK_RESP => Pdu::EnquireLinkResp,
        CommandId::GENERIC_NACK => Pdu::GenericNack,
        CommandId::UNBIND => Pdu::Unbind,
        CommandId::UNBIND_RESP => Pdu::UnbindResp,
        CommandId::BIND_RECEIVER => Pdu::Bind(BindKind::Receiver, bind(&mut cursor)?),
        CommandId::BIND_TRANSMITTER => Pdu::Bind(BindKind::Transmitter, bind(&mut cursor)?),
        CommandId::BIND_TRANSCEIVER => Pdu::Bind(BindKind::Transceiver, bind(&mut cursor)?),
        CommandId::BIND_RECEIVER_RESP => Pdu::BindResp(BindKind::Receiver, bind_resp(&mut cursor, bodiless)?),
        CommandId::BIND_TRANSMITTER_RESP => Pdu::BindResp(BindKind::Transmitter, bind_resp(&mut cursor, bodiless)?),
        CommandId::BIND_TRANSCEIVER_RESP => Pdu::BindResp(BindKind::Transceiver, bind_resp(&mut cursor, bodiless)?),
        CommandId::OUTBIND => Pdu::Outbind(Outbind {
            system_id: cursor.text("system_id", CommandStatus::ESME_RINVSYSID)?,
            password: cursor.text("password", CommandStatus::ESME_RINVPASWD)?,
        }),
        CommandId::ALERT_NOTIFICATION => Pdu::AlertNotification(AlertNotification {
            source_addr: cursor.address("source_addr", CommandStatus::ESME_RINVSRCADR)?,
            esme_addr: cursor.address("esme_addr", CommandStatus::ESME_RINVDSTADR)?,
            tlvs: cursor.tlvs()?,
        }),
        CommandId::QUERY_SM => Pdu::QuerySm,
        CommandId::QUERY_SM_RESP => Pdu::QuerySmResp,
        CommandId::CANCEL_SM => Pdu::CancelSm,
        CommandId::CANCEL_SM_RESP => Pdu::CancelSmResp,
        CommandId::REPLACE_SM => Pdu::ReplaceSm,
        CommandId::REPLACE_SM_RESP => Pdu::ReplaceSmResp,
        command => return Err(DecodeError::UnknownCommand { command }),
    })
}

fn bind(cursor: &mut Cursor<'_>) -> Result<Bind, DecodeError> {
    Ok(Bind {
        system_id: cursor.text("system_id", CommandStatus::ESME_RINVSYSID)?,
        password: cursor.text("password", CommandStatus::ESME_RINVPASWD)?,
        system_type: cursor.text("system_type", CommandStatus::ESME_RINVSYSTYP)?,
        interface_version: cursor.octet("interface_version")?,
        addr_ton: cursor.octet("addr_ton")?,
        addr_npi: cursor.octet("addr_npi")?,
        address_range: cursor.text("address_range", CommandStatus::ESME_RINVPARLEN)?,
    })
}

fn bind_resp(cursor: &mut Cursor<'_>, bodiless: bool) -> Result<BindResp, DecodeError> {
    if bodiless {
        return Ok(BindResp::default());
    }
    Ok(BindResp { system_id: cursor.text("system_id", CommandStatus::ESME_RINVSYSID)?, tlvs: cursor.tlvs()? })
}

fn sm_resp(cursor: &mut Cursor<'_>, bodiless: bool) -> Result<SmResp, DecodeError> {
    if bodiless {
        return Ok(SmResp::default());
    }
    Ok(SmResp { message_id: cursor.text("message_id", CommandStatus::ESME_RINVMSGID)?, tlvs: cursor.tlvs()? })
}

fn short_message(cursor: &mut Cursor<'_>) -> Result<ShortMessage, DecodeError> {
    let mut message = ShortMessage {
        service_type: cursor.text("service_type", CommandStatus::ESME_RINVSERTYP)?,
        source_addr: cursor.address("source_addr", CommandStatus::ESME_RINVSRCADR)?,
        destination_addr: cursor.address("destination_addr", CommandStatus::ESME_RINVDSTADR)?,
        esm_class: cursor.octet("esm_class")?,
        protocol_id: cursor.octet("protocol_id")?,
        priority_flag: cursor.octet("priority_flag")?,
        schedule_delivery_time: cursor.text("schedule_delivery_time", CommandStatus::ESME_RINVSCHED)?,
        validity_period: cursor.text("validity_period", CommandStatus::ESME_RINVEXPIRY)?,
        registered_delivery: cursor.octet("registered_delivery")?,
        replace_if_present_flag: cursor.octet("replace_if_present_flag")?,
        data_coding: cursor.octet("data_coding")?,
        sm_default_msg_id: cursor.octet("sm_default_msg_id")?,
        ..ShortMessage::default()
    };
    let sm_length = cursor.octet("sm_length")?;
    let (short_message, rest) = cursor
        .rest
        .split_at_checked(usize::from(sm_length))
        .ok_or(DecodeError::MessageLength { sm_length, left: cursor.rest.len() })?;
    cursor.rest = rest;
    message.short_message = Bytes::copy_from_slice(short_message);
    message.tlvs = cursor.tlvs()?;
    Ok(message)
}

fn data_sm(cursor: &mut Cursor<'_>) -> Result<DataSm, DecodeError> {
    Ok(DataSm {
        service_type: cursor.text("service_type", CommandStatus::ESME_RINVSERTYP)?,
        source_addr: cursor.address("source_addr", CommandStatus::ESME_RINVSRCADR)?,
        destination_addr: cursor.address("destination_addr", CommandStatus::ESME_RINVDSTADR)?,
        esm_class: cursor.octet("esm_class")?,
        registered_delivery: cursor.octet("registered_delivery")?,
        data_coding: cursor.octet("data_coding")?,
        tlvs: cursor.tlvs()?,
    })
}

/// Cuts the header off a whole frame; `None` below 16 octets.
#[must_use]
pub fn split_header(frame: &[u8]) -> Option<(Header, &[u8])> {
    let (head, body) = frame.split_at_checked(pdu::HEADER_OCTETS)?;
    let word = |at: usize| head.get(at..at + 4).and_then(|octets| octets.try_into().ok()).map(u32::from_be_bytes);
    Some((
        Header { command_id: CommandId(word(4)?), command_status: CommandStatus(word(8)?), sequence_number: word(12)? },
        body,
    ))
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn octet(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        let (first, rest) =
            self.rest.split_first().ok_or(DecodeError::Truncated { field, status: CommandStatus::ESME_RINVPARLEN })?;
        self.rest = rest;
        Ok(*first)
    }

    fn text<const MAX: usize>(&mut self, field: &'static str, status: CommandStatus) -> Result<Text<MAX>, DecodeError> {
        let window = self.rest.get(..=MAX).unwrap_or(self.rest);
        let Some(length) = window.iter().position(|octet| *octet == 0) else {
            return Err(if self.rest.len() <= MAX {
                DecodeError::Truncated { field, status }
            } else {
                DecodeError::TextTooLong { field, max: MAX, status }
            });
        };
        let text = Text::new(self.rest.get(..length).unwrap_or_default()).map_err(|_| DecodeError::TextTooLong {
            field,
            max: MAX,
            status,
        })?;
        self.rest = self.rest.get(length + 1..).unwrap_or_default();
        Ok(text)
    }

    fn address(&mut self, field: &'static str, status: CommandStatus) -> Result<Address, DecodeError> {
        Ok(Address { ton: self.octet(field)?, npi: self.octet(field)?, addr: self.text(field, status)? })
    }

    fn tlvs(&mut self) -> Result<Tlvs, DecodeError> {
        let mut tlvs = Tlvs::default();
        while !self.rest.is_empty() {
            let (&[tag_high, tag_low, length_high, length_low], rest) =
                self.rest.split_first_chunk::<4>().ok_or(DecodeError::TlvStream)?;
            let tag = u16::from_be_bytes([tag_high, tag_low]);
            let length = usize::from(u16::from_be_bytes([length_high, length_low]));
            let (value, rest) = rest.split_at_checked(length).ok_or(DecodeError::TlvStream)?;
            let (min, max) = tlv::length_range(tag);
            if !(min..=max).contains(&length) {
                return Err(DecodeError::TlvLength { tag, actual: length });
            }
            tlvs.0.push(Tlv { tag, value: Bytes::copy_from_slice(value) });
            self.rest = rest;
        }
        Ok(tlvs)
    }
}
