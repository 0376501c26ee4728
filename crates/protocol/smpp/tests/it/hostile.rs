//! Any octets: no panic, bounded memory, one answer for each fault, the session goes on.

use std::time::Duration;

use bytes::BytesMut;
use proptest::prelude::*;
use smpp::{
    Command, CommandId, CommandStatus, Header, Input, Output, Pdu, Receipt, Role, Session, SessionConfig, Text, decode,
    encode, framer::Framer, time,
};

fn drain(session: &mut Session) -> (Vec<u8>, bool) {
    let (mut sent, mut closed) = (Vec::new(), false);
    while let Some(output) = session.poll_output() {
        match output {
            Output::Transmit(octets) => sent.extend_from_slice(&octets),
            Output::Close(_) => closed = true,
            Output::Event(smpp::Event::BindRequested { .. }) => {
                let command = Command::AnswerBind { status: CommandStatus::ESME_ROK, system_id: Text::EMPTY };
                session.handle_input(Input::Command(command), crate::origin()).unwrap();
            }
            Output::Event(_) => {}
        }
    }
    (sent, closed)
}

fn frame(command_id: u32, status: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(16 + body.len()).unwrap().to_be_bytes().to_vec();
    for word in [command_id, status, sequence] {
        frame.extend_from_slice(&word.to_be_bytes());
    }
    frame.extend_from_slice(body);
    frame
}

fn known_command() -> impl Strategy<Value = u32> {
    prop_oneof![prop::sample::select(smpp::command_id::NAMES).prop_map(|(id, _)| id.0), any::<u32>(),]
}

proptest! {
    #[test]
    fn any_body_decodes_or_is_refused(id in known_command(), status in 0_u32..3, body in prop::collection::vec(any::<u8>(), 0..300)) {
        let header = Header { command_id: CommandId(id), command_status: CommandStatus(status), sequence_number: 1 };
        match decode(&header, &body) {
            Ok(pdu) => {
                // What was decoded has a wire form, and that decodes to the same.
                let mut out = BytesMut::new();
                encode(&pdu, header.command_status, 1, &mut out).unwrap();
                prop_assert_eq!(decode(&header, &out[16..]).unwrap(), pdu);
            }
            Err(error) => prop_assert!(!error.command_status().is_ok()),
        }
    }

    #[test]
    fn any_stream_leaves_the_session_bounded(
        role in prop_oneof![Just(Role::Esme), Just(Role::Smsc)],
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
    ) {
        let mut now = crate::origin();
        let config = SessionConfig { command_length_max: 256, ..SessionConfig::default() };
        let mut session = Session::new(role, config, now);
        for chunk in chunks {
            session.handle_input(Input::Bytes(&chunk), now).unwrap();
            drain(&mut session);
            now += Duration::from_secs(1);
            session.handle_input(Input::Tick, now).unwrap();
            drain(&mut session);
        }
    }

    #[test]
    fn any_frames_get_at_most_one_answer_each(
        frames in prop::collection::vec((known_command(), 0_u32..2, 0_u32..5, prop::collection::vec(any::<u8>(), 0..80)), 1..40),
        cut in 1_usize..50,
    ) {
        let now = crate::origin();
        let mut session = Session::new(Role::Smsc, SessionConfig::default(), now);
        let bind = frame(9, 0, 1, b"a\0b\0\0\x34\0\0\0");
        let stream: Vec<u8> =
            bind.into_iter().chain(frames.iter().flat_map(|(id, status, sequence, body)| frame(*id, *status, *sequence, body))).collect();
        let (mut answers, mut ended) = (Vec::new(), false);
        for chunk in stream.chunks(cut) {
            session.handle_input(Input::Bytes(chunk), now).unwrap();
            let (sent, closed) = drain(&mut session);
            answers.extend(sent);
            ended |= closed;
        }
        let mut count = 0;
        let mut rest = &answers[..];
        let mut framer = Framer::new(usize::MAX);
        while let Some(answer) = framer.next_frame(&mut rest).unwrap() {
            prop_assert!(answer[4] & 0x80 != 0, "only responses");
            count += 1;
        }
        prop_assert!(count <= frames.len() + 1);
        // Only an unbind ends a session whose lengths are true.
        prop_assert!(!ended || frames.iter().any(|(id, ..)| *id == CommandId::UNBIND.0));
    }

    #[test]
    fn the_framer_gives_the_same_frames_however_the_stream_is_cut(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..20),
        cut in 1_usize..70,
    ) {
        let frames: Vec<Vec<u8>> = bodies.iter().map(|body| frame(4, 0, 1, body)).collect();
        let mut framer = Framer::new(256);
        let mut seen = Vec::new();
        for mut chunk in frames.concat().chunks(cut) {
            while let Some(frame) = framer.next_frame(&mut chunk).unwrap() {
                seen.push(frame.to_vec());
            }
            prop_assert!(framer.buffered_octets() < 256);
        }
        prop_assert_eq!(seen, frames);
    }

    #[test]
    fn texts_of_receipts_and_times_never_panic(octets in prop::collection::vec(any::<u8>(), 0..200), text in "id:.*stat:.*") {
        for body in [&octets[..], text.as_bytes()] {
            let receipt = Receipt::parse(body);
            prop_assert!(receipt.is_none_or(|receipt| !receipt.id.is_empty()));
        }
        prop_assert!(octets.len() == 16 || time::parse(&octets).is_none());
        prop_assert!(time::parse_receipt_date(&text).is_none());
    }
}

#[test]
fn a_lying_length_is_refused_at_once() {
    for length in [0_u32, 15, 257, u32::MAX] {
        let now = crate::origin();
        let mut session =
            Session::new(Role::Smsc, SessionConfig { command_length_max: 256, ..SessionConfig::default() }, now);
        let mut octets = length.to_be_bytes().to_vec();
        octets.extend_from_slice(&[0; 8]);
        octets.extend_from_slice(&77_u32.to_be_bytes());
        session.handle_input(Input::Bytes(&octets), now).unwrap();
        let (sent, closed) = drain(&mut session);
        let mut expected = BytesMut::new();
        encode(&Pdu::GenericNack, CommandStatus::ESME_RINVCMDLEN, 77, &mut expected).unwrap();
        assert_eq!((&sent[..], closed), (&expected[..], true));
    }
}
