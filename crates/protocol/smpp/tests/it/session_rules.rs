//! What the session answers to each thing that is wrong (SMPP 3.4 2.3, 3.3, 5.1.3), and that it goes on.

use std::time::Duration;

use bytes::BytesMut;
use smpp::{
    BindKind, Command, CommandId, CommandStatus, Event, Header, Input, Output, Pdu, Role, Session, SessionConfig,
    ShortMessage, SmResp, Text, Unanswered, decode::split_header, encode, session::CommandError,
};

use crate::pair::{Pair, message};

fn octets(pdu: &Pdu, status: CommandStatus, sequence_number: u32) -> BytesMut {
    let mut out = BytesMut::new();
    encode(pdu, status, sequence_number, &mut out).unwrap();
    out
}

/// Feeds octets to a session of a bound pair and gives the headers of what it sends.
fn answers(session: &mut Session, now: std::time::Instant, input: &[u8]) -> Vec<Header> {
    session.handle_input(Input::Bytes(input), now).unwrap();
    let mut headers = Vec::new();
    while let Some(output) = session.poll_output() {
        match output {
            Output::Transmit(mut octets) => {
                while octets.len() >= 16 {
                    let length = usize::try_from(u32::from_be_bytes(octets[..4].try_into().unwrap())).unwrap();
                    headers.push(split_header(&octets.split_to(length)).unwrap().0);
                }
            }
            Output::Close(reason) => panic!("closed: {reason}"),
            Output::Event(_) => {}
        }
    }
    headers
}

fn check(role: Role, kind: BindKind, input: &[u8], expected: Option<(CommandId, CommandStatus)>) {
    let mut pair = Pair::bound(SessionConfig::default(), kind);
    let end = if role == Role::Esme { &mut pair.esme } else { &mut pair.smsc };
    let sent = answers(&mut end.session, pair.now, input);
    let expected: Vec<Header> = expected
        .into_iter()
        .map(|(command_id, command_status)| Header { command_id, command_status, sequence_number: 99 })
        .collect();
    assert_eq!(sent, expected, "{role:?} {input:02X?}");
    let alive = answers(&mut end.session, pair.now, &octets(&Pdu::EnquireLink, CommandStatus::ESME_ROK, 100));
    assert_eq!(alive.len(), 1, "the link stays up");
}

#[test]
fn each_fault_gets_its_own_answer_and_the_link_stays() {
    let ok = CommandStatus::ESME_ROK;
    let request = |pdu: &Pdu| octets(pdu, ok, 99).to_vec();
    let raw = |command_id: u32, body: &[u8]| {
        let mut frame = octets(&Pdu::EnquireLink, ok, 99).to_vec();
        frame[4..8].copy_from_slice(&command_id.to_be_bytes());
        frame.extend_from_slice(body);
        let length = u32::try_from(frame.len()).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame
    };
    let body = request(&Pdu::SubmitSm(message()))[16..].to_vec();
    let mut long_sm_length = body.clone();
    let sm_length_at = long_sm_length.len() - 21;
    long_sm_length[sm_length_at] = 200;
    let with_tlv = |tlv: &[u8]| [&body[..], tlv].concat();
    let long_address = [&[0, 1, 1][..], &[b'1'; 40][..], &[0; 20][..]].concat();
    let smsc: &[(Vec<u8>, CommandId, CommandStatus)] = &[
        (raw(0x0000_0666, b"?"), CommandId::GENERIC_NACK, CommandStatus::ESME_RINVCMDID),
        (raw(0x0000_0021, b"submit_multi"), CommandId::GENERIC_NACK, CommandStatus::ESME_RINVCMDID),
        (raw(4, &long_sm_length), CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RINVMSGLEN),
        (raw(4, &with_tlv(&[4])), CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RINVTLVSTREAM),
        (raw(4, &with_tlv(&[2, 4, 0, 1, 9])), CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RINVPARLEN),
        (raw(4, &[0, 1]), CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RINVPARLEN),
        (raw(4, &long_address), CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RINVSRCADR),
        (raw(9, &[b'a'; 16]), CommandId::BIND_TRANSCEIVER_RESP, CommandStatus::ESME_RINVSYSID),
        (
            request(&Pdu::Bind(BindKind::Receiver, smpp::Bind::default())),
            CommandId::BIND_RECEIVER_RESP,
            CommandStatus::ESME_RALYBND,
        ),
        (request(&Pdu::QuerySm), CommandId::QUERY_SM_RESP, CommandStatus::ESME_RQUERYFAIL),
        (request(&Pdu::CancelSm), CommandId::CANCEL_SM_RESP, CommandStatus::ESME_RCANCELFAIL),
        (request(&Pdu::ReplaceSm), CommandId::REPLACE_SM_RESP, CommandStatus::ESME_RREPLACEFAIL),
        (request(&Pdu::DeliverSm(message())), CommandId::DELIVER_SM_RESP, CommandStatus::ESME_RINVBNDSTS),
    ];
    for (input, command_id, status) in smsc {
        check(Role::Smsc, BindKind::Transceiver, input, Some((*command_id, *status)));
    }
    let refused = CommandStatus::ESME_RINVBNDSTS;
    check(
        Role::Smsc,
        BindKind::Receiver,
        &request(&Pdu::SubmitSm(message())),
        Some((CommandId::SUBMIT_SM_RESP, refused)),
    );
    check(
        Role::Esme,
        BindKind::Transmitter,
        &request(&Pdu::DeliverSm(message())),
        Some((CommandId::DELIVER_SM_RESP, refused)),
    );
    check(
        Role::Esme,
        BindKind::Transceiver,
        &request(&Pdu::SubmitSm(message())),
        Some((CommandId::SUBMIT_SM_RESP, refused)),
    );
    check(
        Role::Esme,
        BindKind::Receiver,
        &request(&Pdu::Outbind(smpp::Outbind::default())),
        Some((CommandId::GENERIC_NACK, refused)),
    );
    // Responses are never answered.
    check(Role::Esme, BindKind::Transceiver, &request(&Pdu::SubmitSmResp(SmResp::default())), None);
    check(Role::Esme, BindKind::Transceiver, &raw(0x8000_0666, b"?"), None);
    check(Role::Esme, BindKind::Transceiver, &raw(0x8000_0004, &[b'x'; 80]), None);
}

#[test]
fn a_nack_or_a_broken_response_ends_the_request_it_belongs_to() {
    let mut pair = Pair::bound(SessionConfig::default(), BindKind::Transceiver);
    for token in 0..2 {
        pair.esme.session.command(Command::Submit { token, message: message() }, pair.now).unwrap();
    }
    // The bind took sequence number 1.
    let nack = octets(&Pdu::GenericNack, CommandStatus::ESME_RINVCMDID, 2);
    let mut broken = octets(&Pdu::SubmitSmResp(SmResp::default()), CommandStatus::ESME_ROK, 3);
    broken[16] = b'x';
    for input in [&nack, &broken] {
        pair.esme.session.handle_input(Input::Bytes(input), pair.now).unwrap();
    }
    pair.exchange();
    let resp = SmResp::default();
    let refused = Event::Response { token: 0, status: CommandStatus::ESME_RINVCMDID, resp };
    assert_eq!(pair.esme.events.pop_front(), Some(refused));
    let malformed = Event::Unanswered { token: 1, reason: Unanswered::MalformedResponse };
    assert_eq!(pair.esme.events.pop_front(), Some(malformed));
    assert_eq!(pair.esme.session.outstanding(), 0);
}

#[test]
fn both_windows_hold() {
    let config = SessionConfig { window_max: 3, inbound_window_max: 2, ..SessionConfig::default() };
    let mut pair = Pair::bound(config, BindKind::Transceiver);
    for token in 0..3 {
        pair.esme.session.command(Command::Submit { token, message: message() }, pair.now).unwrap();
    }
    let full = pair.esme.session.command(Command::Submit { token: 3, message: message() }, pair.now);
    assert_eq!(full, Err(CommandError::WindowFull));
    pair.run(Duration::from_millis(50));
    assert_eq!(pair.smsc.session.inbound_unanswered(), 2);
    let throttled = Event::Response { token: 2, status: CommandStatus::ESME_RTHROTTLED, resp: SmResp::default() };
    assert_eq!(pair.esme.events.pop_front(), Some(throttled));
    assert_eq!(pair.esme.session.window_room(), 1);
}

#[test]
fn commands_in_the_wrong_state_send_nothing() {
    let mut pair = Pair::new(SessionConfig::default());
    let message = ShortMessage::default;
    for command in [
        Command::Submit { token: 0, message: message() },
        Command::Deliver { token: 0, message: message() },
        Command::Unbind,
        Command::AnswerBind { status: CommandStatus::ESME_ROK, system_id: Text::EMPTY },
    ] {
        let error = pair.esme.session.command(command, pair.now).unwrap_err();
        assert!(matches!(error, CommandError::WrongState { .. }));
    }
    assert_eq!(pair.esme.session.poll_output(), None);
}
