//! PDU to octets.

use bytes::{BufMut, BytesMut};

use crate::{Address, CommandStatus, Pdu, ShortMessage, SmResp, Text, Tlvs, pdu};

/// The caller made a PDU that has no wire form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Bodies beyond 255 octets belong in `message_payload` ([`ShortMessage::set_payload`]).
    #[error("short_message has {actual} octets, at most 255 fit")]
    ShortMessageTooLong { actual: usize },
    #[error("optional parameter 0x{tag:04X} has {actual} octets, at most 65535 fit")]
    TlvTooLong { tag: u16, actual: usize },
}

/// Appends the whole frame, header included. On an error `out` is as before.
///
/// # Errors
/// [`EncodeError`] when a body or an optional parameter is too long for its length field.
pub fn encode(
    pdu: &Pdu,
    command_status: CommandStatus,
    sequence_number: u32,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.put_u32(0);
    out.put_u32(pdu.command_id().0);
    out.put_u32(command_status.0);
    out.put_u32(sequence_number);
    if let Err(error) = body(pdu, command_status, out) {
        out.truncate(start);
        return Err(error);
    }
    // A frame cannot reach 4 GiB: every field is bounded by 65,535 octets and memory ends first.
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn body(pdu: &Pdu, status: CommandStatus, out: &mut BytesMut) -> Result<(), EncodeError> {
    match pdu {
        Pdu::Bind(_, bind) => {
            text(&bind.system_id, out);
            text(&bind.password, out);
            text(&bind.system_type, out);
            out.put_slice(&[bind.interface_version, bind.addr_ton, bind.addr_npi]);
            text(&bind.address_range, out);
            Ok(())
        }
        Pdu::BindResp(_, resp) => {
            text(&resp.system_id, out);
            tlvs(&resp.tlvs, out)
        }
        Pdu::Outbind(outbind) => {
            text(&outbind.system_id, out);
            text(&outbind.password, out);
            Ok(())
        }
        Pdu::SubmitSm(message) | Pdu::DeliverSm(message) => short_message(message, out),
        // The body of a refused submit_sm is not returned (SMPP 3.4 4.4.2); deliver_sm_resp keeps its empty message_id.
        Pdu::SubmitSmResp(resp) | Pdu::DataSmResp(resp) if !status.is_ok() && *resp == SmResp::default() => Ok(()),
        Pdu::SubmitSmResp(resp) | Pdu::DeliverSmResp(resp) | Pdu::DataSmResp(resp) => {
            text(&resp.message_id, out);
            tlvs(&resp.tlvs, out)
        }
        Pdu::DataSm(data) => {
            text(&data.service_type, out);
            address(&data.source_addr, out);
            address(&data.destination_addr, out);
            out.put_slice(&[data.esm_class, data.registered_delivery, data.data_coding]);
            tlvs(&data.tlvs, out)
        }
        Pdu::AlertNotification(alert) => {
            address(&alert.source_addr, out);
            address(&alert.esme_addr, out);
            tlvs(&alert.tlvs, out)
        }
        Pdu::EnquireLink
        | Pdu::EnquireLinkResp
        | Pdu::Unbind
        | Pdu::UnbindResp
        | Pdu::GenericNack
        | Pdu::QuerySm
        | Pdu::QuerySmResp
        | Pdu::CancelSm
        | Pdu::CancelSmResp
        | Pdu::ReplaceSm
        | Pdu::ReplaceSmResp => Ok(()),
    }
}

fn short_message(message: &ShortMessage, out: &mut BytesMut) -> Result<(), EncodeError> {
    let sm_length = u8::try_from(message.short_message.len())
        .map_err(|_| EncodeError::ShortMessageTooLong { actual: message.short_message.len() })?;
    out.reserve(pdu::HEADER_OCTETS + 96 + message.short_message.len());
    text(&message.service_type, out);
    address(&message.source_addr, out);
    address(&message.destination_addr, out);
    out.put_slice(&[message.esm_class, message.protocol_id, message.priority_flag]);
    text(&message.schedule_delivery_time, out);
    text(&message.validity_period, out);
    out.put_slice(&[
        message.registered_delivery,
        message.replace_if_present_flag,
        message.data_coding,
        message.sm_default_msg_id,
        sm_length,
    ]);
    out.put_slice(&message.short_message);
    tlvs(&message.tlvs, out)
}

fn text<const MAX: usize>(value: &Text<MAX>, out: &mut BytesMut) {
    out.put_slice(value.as_bytes());
    out.put_u8(0);
}

fn address(value: &Address, out: &mut BytesMut) {
    out.put_slice(&[value.ton, value.npi]);
    text(&value.addr, out);
}

fn tlvs(values: &Tlvs, out: &mut BytesMut) -> Result<(), EncodeError> {
    for tlv in &values.0 {
        let length = u16::try_from(tlv.value.len())
            .map_err(|_| EncodeError::TlvTooLong { tag: tlv.tag, actual: tlv.value.len() })?;
        out.put_u16(tlv.tag);
        out.put_u16(length);
        out.put_slice(&tlv.value);
    }
    Ok(())
}
