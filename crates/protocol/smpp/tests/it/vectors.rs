//! Every operation has a vector in `vectors/pdus.toml`; it is decoded, compared and encoded again.

use bytes::{Bytes, BytesMut};
use smpp::{
    Address, AlertNotification, Bind, BindKind, BindResp, DataSm, Outbind, Pdu, ShortMessage, SmResp, Text, Tlvs,
    command_id, decode, decode::split_header, encode,
};

#[derive(serde::Deserialize)]
struct Vectors {
    pdu: Vec<Vector>,
}

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    hex: String,
}

fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).unwrap()
}

fn bind(system_type: &str, interface_version: u8, ton_npi: (u8, u8), address_range: &str) -> Bind {
    Bind {
        system_id: text("vault"),
        password: text("secret"),
        system_type: text(system_type),
        interface_version,
        addr_ton: ton_npi.0,
        addr_npi: ton_npi.1,
        address_range: text(address_range),
    }
}

fn bind_resp(system_id: &str, version: Option<u8>) -> BindResp {
    let mut tlvs = Tlvs::default();
    if let Some(version) = version {
        tlvs.set_sc_interface_version(version);
    }
    BindResp { system_id: text(system_id), tlvs }
}

fn sm_resp(message_id: &str) -> SmResp {
    SmResp { message_id: text(message_id), tlvs: Tlvs::default() }
}

fn addresses() -> (Address, Address) {
    (Address::international("447700900123").unwrap(), Address::new(0, 1, "2001").unwrap())
}

fn expected(name: &str) -> Pdu {
    let (source_addr, destination_addr) = addresses();
    let message = ShortMessage { source_addr, destination_addr, data_coding: 0xF6, ..ShortMessage::default() };
    match name {
        "bind_transmitter" => {
            let example =
                Bind { system_id: text("SMPP3TEST"), password: text("secret08"), ..bind("SUBMIT1", 0x50, (1, 1), "") };
            Pdu::Bind(BindKind::Transmitter, example)
        }
        "bind_receiver" => Pdu::Bind(BindKind::Receiver, bind("", 0x34, (0, 0), "2001")),
        "bind_transceiver" => Pdu::Bind(BindKind::Transceiver, bind("VMS", 0x34, (5, 0), "")),
        "bind_transmitter_resp" => Pdu::BindResp(BindKind::Transmitter, bind_resp("smsc", Some(0x34))),
        "bind_receiver_resp" => Pdu::BindResp(BindKind::Receiver, bind_resp("smsc", None)),
        "bind_transceiver_resp" => Pdu::BindResp(BindKind::Transceiver, bind_resp("", Some(0x50))),
        "outbind" => Pdu::Outbind(Outbind { system_id: text("smsc"), password: text("secret") }),
        "submit_sm" => Pdu::SubmitSm(ShortMessage {
            protocol_id: 0x7F,
            validity_period: text("000001000000000R"),
            registered_delivery: 1,
            short_message: Bytes::from_static(&[0, 1, 0xFE, 0xFF]),
            ..message
        }),
        "deliver_sm" => {
            let mut deliver = ShortMessage { esm_class: 0x40, protocol_id: 8, ..message };
            deliver.short_message = Bytes::from_static(&[5, 0, 3, 1, 2, 1, 0xAA]);
            deliver.tlvs.set_user_message_reference(7);
            Pdu::DeliverSm(deliver)
        }
        "data_sm" => {
            let mut data = DataSm { source_addr, destination_addr, data_coding: 0xF6, ..DataSm::default() };
            data.tlvs.set_message_payload(Bytes::from_static(&[1, 2]));
            Pdu::DataSm(data)
        }
        "submit_sm_resp" => Pdu::SubmitSmResp(sm_resp("0000000A")),
        "deliver_sm_resp" => Pdu::DeliverSmResp(sm_resp("")),
        "data_sm_resp" => Pdu::DataSmResp(sm_resp("B")),
        "alert_notification" => {
            let mut tlvs = Tlvs::default();
            tlvs.set(smpp::tlv::TAG_MS_AVAILABILITY_STATUS, vec![0]);
            Pdu::AlertNotification(AlertNotification { source_addr, esme_addr: destination_addr, tlvs })
        }
        "enquire_link" => Pdu::EnquireLink,
        "enquire_link_resp" => Pdu::EnquireLinkResp,
        "unbind" => Pdu::Unbind,
        "unbind_resp" => Pdu::UnbindResp,
        "generic_nack" => Pdu::GenericNack,
        "query_sm" => Pdu::QuerySm,
        "query_sm_resp" => Pdu::QuerySmResp,
        "cancel_sm" => Pdu::CancelSm,
        "cancel_sm_resp" => Pdu::CancelSmResp,
        "replace_sm" => Pdu::ReplaceSm,
        "replace_sm_resp" => Pdu::ReplaceSmResp,
        other => panic!("{other} has no value in this test"),
    }
}

#[test]
fn every_operation_decodes_and_encodes_its_vector() {
    let vectors: Vectors = toml::from_str(include_str!("../../vectors/pdus.toml")).unwrap();
    for (id, name) in command_id::NAMES {
        let vector =
            vectors.pdu.iter().find(|vector| vector.name == *name).unwrap_or_else(|| panic!("{name} has no vector"));
        let frame = octets(&vector.hex);
        let (header, body) = split_header(&frame).unwrap();
        assert_eq!(header.command_id, *id, "{name}");
        let pdu = decode(&header, body).unwrap();
        assert_eq!(pdu, expected(name), "{name}");
        assert_eq!(pdu.command_id(), *id, "{name}");
        let mut out = BytesMut::new();
        encode(&pdu, header.command_status, header.sequence_number, &mut out).unwrap();
        assert_eq!(&out[..], &frame[..], "{name}");
    }
}

#[test]
fn a_body_beyond_254_octets_travels_as_message_payload() {
    for length in [0, 1, 254, 255, 3000] {
        let payload: Vec<u8> = (0..length).map(|index| u8::try_from(index % 256).unwrap()).collect();
        let mut message = ShortMessage::default();
        message.set_payload(Bytes::from(payload.clone()));
        assert_eq!(message.tlvs.message_payload().is_some(), length > 254);
        let mut out = BytesMut::new();
        encode(&Pdu::SubmitSm(message), smpp::CommandStatus::ESME_ROK, 1, &mut out).unwrap();
        let (header, body) = split_header(&out).unwrap();
        let Pdu::SubmitSm(message) = decode(&header, body).unwrap() else { panic!() };
        assert_eq!(message.payload(), &payload);
    }
    let too_long = ShortMessage { short_message: vec![0; 256].into(), ..ShortMessage::default() };
    let mut out = BytesMut::from(&b"kept"[..]);
    encode(&Pdu::SubmitSm(too_long), smpp::CommandStatus::ESME_ROK, 1, &mut out).unwrap_err();
    assert_eq!(&out[..], b"kept");
}

#[test]
fn debug_shows_no_number_no_body_and_no_password() {
    let (source_addr, destination_addr) = addresses();
    let short_message = Bytes::from_static(b"private words");
    let message = ShortMessage { source_addr, destination_addr, short_message, ..ShortMessage::default() };
    let shown = format!("{message:?} {:?}", bind("", 0x34, (0, 0), ""));
    for hidden in ["4477009001", "private", "secret"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}
