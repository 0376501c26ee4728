//! The frame of the IP link (D-58, D-114, D-130).

use bytes::Bytes;
use link::ip::{
    Direction, FRAME_OCTETS_MAX, Framer, MalformedFrame, Nonce, PAYLOAD_OCTETS_MAX, ReceiveCounter, decode_frame,
    encode_frame,
};

use crate::hex;

const KEY: &[u8] = b"0123456789abcdef";
const NONCE: Nonce = *b"nonce of sixteen";
const MSISDN: &str = "447700900123";

fn frame(counter: u32, payload: &[u8]) -> Vec<u8> {
    encode_frame(KEY, &NONCE, MSISDN, Direction::Up, counter, payload).expect("legal")
}

#[test]
fn a_frame_has_the_layout_and_the_tag_of_the_decision() {
    // The tag was computed with another implementation (Python's hmac) over the input that D-130 lists.
    let expected =
        hex("00 21 01 0C 34 34 37 37 30 30 39 30 30 31 32 33 00 00 00 07 D5 E8 80 7B C5 39 AF 82 10 00 01 00 00 02 01");
    let octets = frame(7, &hex("10 00 01 00 00 02 01"));
    assert_eq!(octets, expected);
    let read = decode_frame(Bytes::copy_from_slice(&octets[2..])).expect("legal");
    assert_eq!((read.msisdn.as_str(), read.counter), (MSISDN, 7));
    assert_eq!(read.payload, hex("10 00 01 00 00 02 01"));
    assert!(read.verify(KEY, &NONCE, Direction::Up));
}

#[test]
fn the_tag_binds_every_part_of_the_frame_and_its_way() {
    let octets = frame(7, b"payload");
    let read = decode_frame(Bytes::copy_from_slice(&octets[2..])).expect("legal");
    assert!(!read.verify(KEY, &NONCE, Direction::Down), "reflected");
    assert!(!read.verify(b"another key", &NONCE, Direction::Up));
    assert!(!read.verify(KEY, b"another nonce 16", Direction::Up), "another connection");
    for at in 2..octets.len() {
        let mut changed = octets.clone();
        changed[at] ^= 0x01;
        let verified = decode_frame(Bytes::copy_from_slice(&changed[2..]))
            .is_ok_and(|frame| frame.verify(KEY, &NONCE, Direction::Up));
        assert!(!verified, "octet {at} may be changed");
    }
}

#[test]
fn split_and_joined_octets_give_the_same_frames() {
    let payloads: [&[u8]; 4] = [b"", b"one", &[0xA5; PAYLOAD_OCTETS_MAX], b"four"];
    let stream: Vec<u8> = (1..).zip(payloads).flat_map(|(counter, payload)| frame(counter, payload)).collect();
    for piece_octets in [1, 2, 3, 7, 1000, stream.len()] {
        let mut framer = Framer::new();
        let mut found = Vec::new();
        for piece in stream.chunks(piece_octets) {
            framer.push(piece);
            while let Some(octets) = framer.next_frame().expect("legal") {
                found.push(decode_frame(octets).expect("legal"));
            }
        }
        assert_eq!(framer.buffered_octets(), 0);
        let expected: Vec<&[u8]> = payloads.to_vec();
        assert_eq!(found.iter().map(|frame| frame.payload.as_ref()).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|frame| frame.verify(KEY, &NONCE, Direction::Up)));
    }
}

#[test]
fn a_length_out_of_range_breaks_the_stream_at_once() {
    for length in [0, 14, u16::try_from(FRAME_OCTETS_MAX).expect("fits") + 1, u16::MAX] {
        let mut framer = Framer::new();
        framer.push(&length.to_be_bytes());
        let broken = Err(MalformedFrame::Length { actual: usize::from(length) });
        assert_eq!(framer.next_frame(), broken);
        framer.push(&frame(1, b"too late"));
        assert_eq!(framer.next_frame(), broken);
        assert_eq!(framer.buffered_octets(), 0);
    }
}

#[test]
fn what_is_no_frame_is_refused_with_the_place() {
    let read = |text: &str| decode_frame(hex(text).into()).expect_err(text);
    assert_eq!(read("02 01 31 00000001 0000000000000000"), MalformedFrame::Version { actual: 2 });
    assert_eq!(read("01 00 00000001 0000000000000000 00"), MalformedFrame::MsisdnLength { actual: 0 });
    assert_eq!(read("01 10 00000001 0000000000000000 00"), MalformedFrame::MsisdnLength { actual: 16 });
    assert_eq!(read("01 05 31 00000001 0000000000000000"), MalformedFrame::Truncated { actual: 8 });
    assert_eq!(read("01 02 31 41 00000001 0000000000000000"), MalformedFrame::MsisdnDigit { offset: 1 });
    assert_eq!(read("01"), MalformedFrame::Length { actual: 1 });
    let long = vec![0; PAYLOAD_OCTETS_MAX + 1];
    let refused = encode_frame(KEY, &NONCE, "1", Direction::Up, 1, &long);
    assert_eq!(refused, Err(MalformedFrame::PayloadTooLong { actual: PAYLOAD_OCTETS_MAX + 1 }));
    for (msisdn, error) in [
        ("", MalformedFrame::MsisdnLength { actual: 0 }),
        ("1234567890123456", MalformedFrame::MsisdnLength { actual: 16 }),
        ("12+4", MalformedFrame::MsisdnDigit { offset: 2 }),
    ] {
        assert_eq!(encode_frame(KEY, &NONCE, msisdn, Direction::Up, 1, b""), Err(error));
    }
}

#[test]
fn a_counter_only_grows() {
    let mut counter = ReceiveCounter { highest: 5 };
    let accepted: Vec<u32> = [5, 6, 6, 4, 0, 9, u32::MAX, 0].into_iter().filter(|c| counter.accept(*c)).collect();
    assert_eq!(accepted, [6, 9, u32::MAX]);
}

#[test]
fn number_and_payload_are_not_shown() {
    let read = decode_frame(Bytes::copy_from_slice(&frame(7, b"BOB")[2..])).expect("legal");
    let shown = format!("{read:?}");
    assert_eq!(shown, "Frame { msisdn: 12 digits, counter: 7, payload: 3 octets }");
}
