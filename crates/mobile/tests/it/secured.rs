//! A card whose messages are secured: packets in place of messages, whatever applet it has; nothing plain is taken.

use std::time::Duration;

use mobile::{CardSecurity, Input, Output, Profile, Station, StationConfig};
use secured::{
    Algorithm, CardKeys, Spi,
    command::{self, Command},
};
use sms::{
    Address, Alphabet, Deliver, MT_DATA_CODING, PID_SIM_DATA_DOWNLOAD, Submit, TimeStamp, UserData, UserDataHeader,
};
use uicc::files::EF_ADN;

use crate::{
    first_centre::{acknowledgement, entries},
    rig::{CENTRE, bob, deliver_from, deliver_to_store, home, office},
};

const TAR_UP: [u8; 3] = [1, 2, 3];
const TAR_DOWN: [u8; 3] = [4, 5, 6];

fn keys(version: u8) -> CardKeys {
    let octets: Vec<u8> = (0..64).map(|octet| octet ^ version << 6).collect();
    CardKeys::from_octets(version, Algorithm::Aes128, &octets).unwrap()
}

struct Card {
    station: Station,
    now: Duration,
    /// Packets that left, each with how many short messages it took.
    sent: Vec<(Vec<u8>, usize)>,
}

impl Card {
    fn new(profile: Profile, least: Spi) -> Self {
        let security = Some(CardSecurity { least, keys: vec![keys(1), keys(2)], tar_up: TAR_UP, tar_down: TAR_DOWN });
        let config = StationConfig { security, profile, adn_records: 10, ..StationConfig::default() };
        Self { station: Station::new(config), now: Duration::ZERO, sent: Vec::new() }
    }

    fn edit(&mut self, record: u8, octets: &[u8]) {
        assert!(self.station.update_record(EF_ADN, record, octets));
    }

    fn polls(&mut self, count: usize) {
        for _ in 0..count {
            self.now = self.station.next_timeout().unwrap().max(self.now);
            self.station.handle_input(Input::Tick, self.now);
            self.collect();
        }
    }

    /// The network takes what leaves; halves are joined.
    fn collect(&mut self) {
        while let Some(output) = self.station.poll_output() {
            let Output::SmsSubmit { reference, tpdu } = output else { continue };
            let submit = Submit::decode(&tpdu).unwrap();
            assert_eq!(submit.protocol_id, PID_SIM_DATA_DOWNLOAD);
            let header = submit.user_data.header().expect("a packet").encode();
            let body = submit.user_data.body();
            match header[..] {
                [0x70, 0] | [0, 3, _, 2, 1, 0x70, 0] => self.sent.push((body.to_vec(), 1)),
                [0, 3, _, 2, 2] => {
                    let (first, parts) = self.sent.last_mut().expect("the first half");
                    first.extend(body);
                    *parts += 1;
                }
                _ => panic!("{header:02X?}"),
            }
            self.station.handle_input(Input::SmsSubmitResult { reference, ok: true }, self.now);
        }
    }

    /// What left since the last look, opened: data, counter, short messages.
    fn opened(&mut self, version: u8) -> Vec<(Vec<u8>, u64, usize)> {
        let open = |(packet, parts): (Vec<u8>, usize)| {
            let command = command::open(&packet, &keys(version).up).expect("the card's packet");
            assert_eq!(command.tar, TAR_UP);
            (command.data, command.counter, parts)
        };
        std::mem::take(&mut self.sent).into_iter().map(open).collect()
    }

    fn receive(&mut self, version: u8, spi: Spi, counter: u64, data: &[u8]) {
        let command = Command { spi, tar: TAR_DOWN, counter, data: data.to_vec() };
        let packet = command::seal(&command, &keys(version).down).unwrap();
        let parts = secured::bearer::short_messages(secured::bearer::IEI_COMMAND, &packet, 9).unwrap();
        for part in parts {
            let header = UserDataHeader::decode(&part.user_data_header).unwrap();
            let deliver = Deliver {
                more_messages: false,
                loop_prevention: false,
                reply_path: false,
                status_report_indication: false,
                originator: Address::international(CENTRE).unwrap(),
                protocol_id: PID_SIM_DATA_DOWNLOAD,
                data_coding: MT_DATA_CODING,
                time_stamp: TimeStamp([0x62, 0x11, 0x12, 0x31, 0x82, 0x62, 0]),
                user_data: UserData::new(Some(header), part.body, Alphabet::Octets).unwrap(),
            };
            self.station.handle_input(Input::SmsDeliver(deliver.encode()), self.now);
        }
        self.collect();
    }

    fn refused(&self) -> u64 {
        self.station.statistics().insecure_refused
    }
}

/// Covers: S1-BK-05
#[test]
fn the_fixed_length_of_the_first_embodiment_takes_two_short_messages() {
    for least in [Spi::INTEGRITY, Spi::CIPHER] {
        let mut card = Card::new(Profile::First(Default::default()), least);
        for (record, octets) in (1..).zip([bob(), home(), office(), bob()]) {
            card.edit(record, &octets);
        }
        card.polls(20);
        let sent = card.opened(1);
        let (data, counter, parts) = sent.first().expect("a backup").clone();
        assert_eq!((data.len(), counter, parts), (117, 1, 2));
        assert_eq!(entries(&data).first().map(|(record, _)| *record), Some(1));
        // Its acknowledgement fits one; as a plain message it is nothing, wherever it goes.
        let answer_to = |data: &[u8]| {
            let results: Vec<(u8, u8)> = entries(data).into_iter().map(|(record, _)| (record, 0)).collect();
            acknowledgement(&results)
        };
        let answer = answer_to(&data);
        card.station.handle_input(Input::SmsDeliver(deliver_from(CENTRE, &answer)), card.now);
        card.station.handle_input(Input::SmsDeliver(deliver_to_store(&answer)), card.now);
        assert!(card.station.pending());
        assert_eq!(card.refused(), 1, "what is stored is a person's");
        card.receive(1, least, 5, &answer);
        for counter in 6..16 {
            card.polls(20);
            card.opened(1).iter().for_each(|(data, ..)| card.receive(1, least, counter, &answer_to(data)));
        }
        assert!(!card.station.pending());
        assert_eq!(card.refused(), 1);
    }
}

#[test]
fn the_card_is_strict_and_follows_the_centre_to_new_keys() {
    let mut card = Card::new(Profile::Second, Spi::INTEGRITY);
    (1..=6).for_each(|record| card.edit(record, &bob()));
    card.polls(30);
    let sent = card.opened(1);
    assert!(sent.iter().all(|(data, _, parts)| data.len() <= 113 && *parts == 1));
    assert!(sent.iter().zip(1..).all(|((_, counter, _), expected)| *counter == expected), "one higher each time");
    let restore = |record: u8| [&[0x18, 0, record][..], &home()].concat();
    let held = |card: &mut Card, record| card.station.read_record(EF_ADN, record).unwrap();
    card.receive(2, Spi::INTEGRITY, 40, &restore(1));
    card.polls(10);
    assert_eq!(held(&mut card, 1), home());
    assert!(card.opened(2).iter().all(|(data, ..)| data[0] == 0x20), "the answer is under the keys of the question");
    for (counter, spi) in [(40, Spi::INTEGRITY), (39, Spi::INTEGRITY), (41, Spi::default())] {
        card.receive(2, spi, counter, &restore(2));
    }
    card.receive(3, Spi::INTEGRITY, 50, &restore(2));
    assert_eq!(card.refused(), 4);
    card.polls(10);
    assert_eq!(held(&mut card, 2), bob());
    // The two versions count apart; a packet in two parts is one message.
    card.receive(
        1,
        Spi::INTEGRITY,
        7,
        &[restore(2), restore(3)[1..].to_vec(), restore(4)[1..].to_vec(), restore(5)[1..].to_vec()].concat(),
    );
    card.polls(20);
    assert_eq!([2, 3, 4, 5].map(|record| held(&mut card, record)), [home(), home(), home(), home()]);
    assert_eq!(card.refused(), 4);
}
