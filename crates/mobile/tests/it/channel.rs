//! A card that speaks on IP itself: its frames over a channel of the phone, against a centre played here.

use std::{net::SocketAddr, time::Duration};

use link::ip::{Direction, Framer, NONCE_OCTETS, Nonce, decode_frame, encode_frame};
use mobile::{Bearer, BipConfig, Input, Output, Station, StationConfig};
use proptest::prelude::*;
use uicc::files::EF_ADN;

const KEY: &[u8] = b"a key of 16 octets";
/// X = 86: a few records are longer than one SEND DATA.
const RECORD_OCTETS: usize = 100;
const MSISDN: &str = "447700900123";
const NONCE: Nonce = [7; NONCE_OCTETS];

/// The station and what it has sent over the open connection.
struct Rig {
    station: Station,
    now: Duration,
    framer: Framer,
    opened: Vec<SocketAddr>,
    closed: u32,
    nonce: Nonce,
    /// Counter and payload of every frame.
    frames: Vec<(u32, Vec<u8>)>,
}

impl Rig {
    fn new() -> Self {
        let bip = BipConfig {
            msisdn: MSISDN.to_owned(),
            key: KEY.to_vec(),
            centre: ([127, 0, 0, 1], 7474).into(),
            network: "internet".to_owned(),
        };
        let config =
            StationConfig { bearer: Bearer::Ip, alpha_octets: 86, bip: Some(bip.into()), ..StationConfig::default() };
        Self {
            station: Station::new(config),
            now: Duration::ZERO,
            framer: Framer::new(),
            opened: Vec::new(),
            closed: 0,
            nonce: NONCE,
            frames: Vec::new(),
        }
    }

    fn input(&mut self, input: Input) {
        self.station.handle_input(input, self.now);
        while let Some(output) = self.station.poll_output() {
            match output {
                Output::ChannelOpen(to) => self.opened.push(to),
                Output::ChannelData(octets) => self.framer.push(&octets),
                Output::ChannelClose => self.closed += 1,
                Output::IpPayload(_) => panic!("the phone speaks for its card"),
                _ => {}
            }
        }
        while let Some(frame) = self.framer.next_frame().expect("frames") {
            let frame = decode_frame(frame).expect("a frame");
            assert_eq!(frame.msisdn, MSISDN);
            assert!(frame.verify(KEY, &self.nonce, Direction::Up));
            self.frames.push((frame.counter, frame.payload.to_vec()));
        }
    }

    fn poll(&mut self, times: u32) {
        for _ in 0..times {
            self.now += Duration::from_secs(5);
            self.input(Input::Tick);
        }
    }

    /// The connection is there, and the centre has greeted.
    fn connect(&mut self) {
        self.poll(2);
        self.input(Input::ChannelOpened(true));
        let (first, second) = self.nonce.split_at(5);
        for part in [first.to_vec(), second.to_vec()] {
            self.input(Input::ChannelData(part.into()));
        }
    }

    /// A frame of the centre, cut in two.
    fn down(&mut self, key: &[u8], counter: u32, payload: &[u8]) {
        let frame = encode_frame(key, &self.nonce, MSISDN, Direction::Down, counter, payload).expect("legal");
        let (first, second) = frame.split_at(3);
        for part in [first.to_vec(), second.to_vec()] {
            self.input(Input::ChannelData(part.into()));
        }
    }

    fn edit(&mut self, record_number: u8) {
        assert!(self.station.update_record(EF_ADN, record_number, &[0x41; RECORD_OCTETS]));
    }
}

#[test]
fn the_card_opens_a_channel_and_makes_itself_known() {
    let mut rig = Rig::new();
    rig.connect();
    assert_eq!(rig.opened, [([127, 0, 0, 1], 7474).into()]);
    assert_eq!(rig.frames, [(1, Vec::new())], "an empty frame makes it known");
    rig.poll(20);
    assert!(rig.frames.len() >= 2 && rig.frames.iter().all(|(_, payload)| payload.is_empty()), "keep-alives");
}

/// A backup of many records is longer than one SEND DATA, an acknowledgement reaches the applet.
#[test]
fn backups_and_their_acknowledgements_pass_through_the_channel() {
    let mut rig = Rig::new();
    rig.connect();
    for record_number in 1..=20 {
        rig.edit(record_number);
    }
    rig.poll(40);
    let backup = rig.frames.iter().find(|(_, payload)| payload.len() > 200).expect("a long backup");
    assert_eq!(backup.1[0] & 0xF8, 0x08, "type 1");
    let counters: Vec<u32> = rig.frames.iter().map(|(counter, _)| *counter).collect();
    assert!(counters.is_sorted_by(|a, b| a < b), "{counters:?}");
    assert!(rig.station.pending());
    let acknowledged: Vec<u8> = rig.frames.iter().flat_map(|(_, payload)| acknowledgement(payload)).collect();
    let message = [&[0x10][..], &acknowledged].concat();
    rig.down(KEY, 1, &message);
    rig.poll(10);
    assert!(!rig.station.pending(), "the acknowledgement of all records has settled them");
}

/// Index, record and result 0000 of each record in a backup.
fn acknowledgement(payload: &[u8]) -> Vec<u8> {
    let records = payload
        .get(1..)
        .unwrap_or_default()
        .chunks(RECORD_OCTETS + 2)
        .filter(|record| record.len() == RECORD_OCTETS + 2);
    records.flat_map(|record| [record[0], record[1], 0]).collect()
}

#[test]
fn a_frame_that_is_not_the_centres_closes_the_channel_and_an_old_one_is_passed_over() {
    let mut rig = Rig::new();
    rig.connect();
    rig.down(KEY, 5, b"");
    rig.down(KEY, 5, b"\x10\x00\x01\x00");
    assert_eq!(rig.closed, 0);
    rig.down(b"another key, 16 octets", 6, b"\x10\x00\x01\x00");
    assert_eq!(rig.closed, 1);
    rig.poll(8);
    assert_eq!(rig.opened.len(), 2, "a pause, then again");
}

#[test]
fn counters_go_on_when_the_channel_is_opened_again() {
    let mut rig = Rig::new();
    rig.connect();
    rig.input(Input::ChannelClosed);
    rig.nonce = [9; NONCE_OCTETS];
    rig.connect();
    assert_eq!(rig.frames.iter().map(|(counter, _)| *counter).collect::<Vec<_>>(), [1, 2]);
    rig.input(Input::PowerOff);
    assert_eq!(rig.closed, 1);
    rig.input(Input::PowerOn);
    rig.connect();
    assert_eq!(rig.frames.last().map(|(counter, _)| *counter), Some(3), "over power-off too");
}

#[test]
fn a_connection_that_cannot_be_had_is_asked_for_again_later() {
    let mut rig = Rig::new();
    rig.poll(2);
    rig.input(Input::ChannelOpened(false));
    rig.poll(3);
    assert_eq!(rig.opened.len(), 1, "not at once");
    rig.poll(5);
    assert_eq!(rig.opened.len(), 2);
    // Nobody answers at all: after a minute it counts as failed, and the card has other commands.
    rig.poll(13);
    rig.edit(1);
    rig.poll(10);
    assert_eq!(rig.opened.len(), 3);
}

proptest! {
    /// Whatever comes over the connection, and in whatever parts: the card takes it as not the centre's.
    #[test]
    fn any_octets_over_the_channel_do_no_harm(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20)) {
        let mut rig = Rig::new();
        rig.connect();
        for part in parts {
            rig.input(Input::ChannelData(part.into()));
        }
        rig.poll(3);
        prop_assert_eq!(&rig.frames[0], &(1, Vec::new()));
    }
}
