use bytes::Bytes;
use proptest::prelude::*;
use uicc::{
    apdu::{StatusWord, command, split},
    applet::Applet,
    card::{Card, Kind, Personalisation},
    files::{EF_ADN, EF_ICCID, EF_IMSI, EF_PHASE, EF_SMS, FileError, FileSystem, Path},
    proactive::{ProactiveCommand, TerminalResponse},
    profile::Profile,
};

use super::hex;

const CHV: [u8; 8] = [0x31, 0x32, 0x33, 0x34, 0xFF, 0xFF, 0xFF, 0xFF];

/// An applet that writes down what it sees and has one command to give.
#[derive(Default)]
pub struct Witness {
    pub updates: Vec<(Path, u8)>,
    pub polls: u32,
    command: Option<ProactiveCommand>,
    answers: Vec<TerminalResponse>,
}

impl Applet for Witness {
    fn file_updated(&mut self, _: &mut FileSystem, path: Path, record_number: u8) {
        self.updates.push((path, record_number));
    }
    fn status(&mut self, _: &mut FileSystem) {
        self.polls += 1;
    }
    fn sms_pp_download(&mut self, _: &mut FileSystem, _: &[u8]) {}
    fn timer_expired(&mut self, _: &mut FileSystem, _: u8) {}
    fn menu_selected(&mut self, _: &mut FileSystem, _: u8) {}
    fn next_command(&mut self, _: &mut FileSystem) -> Option<ProactiveCommand> {
        self.command.take()
    }
    fn terminal_response(&mut self, _: &mut FileSystem, response: &TerminalResponse) {
        self.answers.push(response.clone());
    }
    fn ip_received(&mut self, _: &mut FileSystem, _: &[u8]) {}
    fn next_ip_payload(&mut self) -> Option<Bytes> {
        None
    }
    fn reset(&mut self, _: &mut FileSystem) {}
}

fn card() -> Card<Witness> {
    let mut files = FileSystem::new();
    files.add_linear(EF_ADN, 28, 250);
    files.add_transparent(EF_ICCID, hex("98 10 32 54 76 98 10 32 54 F6"));
    files.add_transparent(EF_IMSI, hex("08 09 10 10 10 32 54 76 98"));
    files.add_transparent(EF_PHASE, hex("03"));
    files.add_linear(EF_SMS, 176, 20);
    Card::new(files, CHV, Witness::default())
}

pub fn word(card: &mut Card<Witness>, command: &[u8]) -> u16 {
    let response = card.transmit(command);
    split(&response).expect("a status word").1.0
}

#[test]
fn the_published_exchange() {
    let mut card = card();
    assert_eq!(card.transmit(&hex("A0A40000023F00")), hex("9F16"));
    assert_eq!(card.transmit(&hex("A0A40000027F10")), hex("9F16"));
    assert_eq!(card.transmit(&hex("A0A40000026F3A")), hex("9F0F"));
    assert_eq!(card.transmit(&hex("A0C000000F")), hex("0000 1B58 6F3A 04 00 11F022 01 02 01 1C 9000"));
    assert_eq!(word(&mut card, &command::verify_chv1(&CHV)), 0x9000);
    let record = hex("416C696365FFFFFFFFFFFFFFFFFF0791947112122721FFFFFFFFFFFF");
    assert_eq!(word(&mut card, &command::update_record(9, &record)), 0x9000);
    assert_eq!(card.transmit(&command::read_record(9, 28)), [record, hex("9000")].concat());
    assert_eq!(card.applet.updates, [(EF_ADN, 9)]);
}

#[test]
fn without_the_pin_no_entry_is_read_and_three_mistakes_block_it() {
    let mut card = card();
    card.transmit(&command::select(0x7F10));
    card.transmit(&command::select(0x6F3A));
    assert_eq!(word(&mut card, &command::read_record(1, 28)), 0x9804);
    let wrong = [0x39; 8];
    assert_eq!(word(&mut card, &command::verify_chv1(&wrong)), 0x9804);
    assert_eq!(word(&mut card, &command::verify_chv1(&wrong)), 0x9804);
    assert_eq!(word(&mut card, &command::verify_chv1(&wrong)), 0x9840);
    assert_eq!(word(&mut card, &command::verify_chv1(&CHV)), 0x9840);
    card.transmit(&command::select(0x3F00));
    card.transmit(&command::select(0x2FE2));
    assert_eq!(card.transmit(&command::read_binary(0, 10)), hex("98103254769810 3254F6 9000"));
}

#[test]
fn a_waiting_command_is_announced_until_it_is_fetched_and_answered() {
    let mut card = card();
    let command_waiting = ProactiveCommand::PollingOff;
    card.applet.command = Some(command_waiting.clone());
    assert_eq!(word(&mut card, &command::status(22)), 0x9000, "a reader that has not shown that it is a phone");
    assert_eq!(word(&mut card, &command::terminal_profile(&[0xFF; 5])), 0x910B);
    assert_eq!(word(&mut card, &command::status(22)), 0x910B);
    let fetched = card.transmit(&command::fetch(11));
    let (octets, status) = split(&fetched).expect("a status word");
    assert_eq!(status, StatusWord::DONE);
    let (number, fetched) = ProactiveCommand::decode(octets).expect("a command");
    assert_eq!(fetched, command_waiting);
    let answer = TerminalResponse::to(number, &fetched, 0);
    assert_eq!(word(&mut card, &command::terminal_response(&answer.encode())), 0x9000);
    assert_eq!(card.applet.answers, [answer]);
    assert_eq!(card.applet.polls, 2);
    card.reset();
    card.applet.command = Some(command_waiting);
    assert_eq!(word(&mut card, &command::status(22)), 0x9000, "after a reset the phone shows itself anew");
}

#[test]
fn mistakes_have_their_status_words() {
    let mut card = card();
    assert_eq!(word(&mut card, &hex("00A40000023F00")), 0x6E00);
    assert_eq!(word(&mut card, &hex("A0FF000000")), 0x6D00);
    assert_eq!(word(&mut card, &command::select(0x6F3A)), 0x9404);
    assert_eq!(word(&mut card, &command::read_record(1, 28)), 0x9400);
    card.transmit(&command::verify_chv1(&CHV));
    card.transmit(&command::select(0x7F10));
    card.transmit(&command::select(0x6F3A));
    assert_eq!(word(&mut card, &command::read_record(251, 28)), 0x9402);
    assert_eq!(word(&mut card, &command::read_record(1, 27)), 0x671C);
    assert_eq!(word(&mut card, &command::read_binary(0, 1)), 0x9408);
    assert_eq!(word(&mut card, &command::update_record(1, &[0; 27])), 0x671C);
    assert_eq!(word(&mut card, &hex("A0B2010500")), 0x6B00, "no such mode");
    assert_eq!(word(&mut card, &hex("A0B2000400")), 0x9402, "no record is current");
    assert_eq!(word(&mut card, &command::status(21)), 0x6716);
    assert_eq!(word(&mut card, &command::fetch(9)), 0x6F00, "no command waits");
    assert_eq!(word(&mut card, &command::terminal_response(&hex("8103010300 82028281 830100"))), 0x6F00);
    assert_eq!(word(&mut card, &command::envelope(&hex("D6 00"))), 0x6F00);
    card.transmit(&command::select(0x3F00));
    card.transmit(&command::select(0x2FE2));
    assert_eq!(word(&mut card, &command::read_binary(5, 6)), 0x9402);
    assert_eq!(word(&mut card, &command::read_record(1, 28)), 0x9408);
    assert_eq!(word(&mut card, &hex("A0A4")), 0x6700);
}

#[test]
fn each_file_has_its_access_conditions() {
    let mut card = card();
    // Path, read before and after CHV1, update after CHV1, access octet.
    for (path, before, after, update, access) in [
        (EF_ICCID, 0x9000, 0x9000, 0x9804, 0x0F),
        (EF_PHASE, 0x9000, 0x9000, 0x9804, 0x04),
        (EF_IMSI, 0x9804, 0x9000, 0x9804, 0x14),
    ] {
        card.reset();
        for file in [0x3F00, path.df, path.ef] {
            card.transmit(&command::select(file));
        }
        assert_eq!(card.transmit(&command::get_response(15))[8], access);
        assert_eq!(word(&mut card, &command::read_binary(0, 1)), before, "{path:02X?}");
        assert_eq!(word(&mut card, &command::verify_chv1(&CHV)), 0x9000);
        assert_eq!(word(&mut card, &command::read_binary(0, 1)), after);
        assert_eq!(word(&mut card, &command::update_binary(0, &[0])), update);
    }
    assert!(card.applet.updates.is_empty());
}

#[test]
fn selection_reaches_parents_children_and_siblings() {
    let mut card = card();
    for (file, expected) in
        [(0x7F10, 0x9F16), (0x6F3C, 0x9F0F), (0x7F20, 0x9F16), (0x6F3C, 0x9404), (0x6F07, 0x9F0F), (0x3F00, 0x9F16)]
    {
        assert_eq!(word(&mut card, &command::select(file)), expected, "{file:04X}");
    }
    assert_eq!(word(&mut card, &command::select(0x7F66)), 0x9404);
    assert_eq!(word(&mut card, &command::get_response(9)), 0x6700, "nothing waits any more");
}

#[test]
fn empty_records_are_ff_and_take_no_memory_of_their_own() {
    let mut files = FileSystem::new();
    files.add_linear(EF_ADN, 28, 250);
    assert_eq!(files.record(EF_ADN, 250), Ok(&[0xFF; 28][..]));
    assert_eq!(files.record(EF_ADN, 251), Err(FileError::OutOfRange));
    files.write(EF_ADN, 3, 27, &[1]).expect("within the record");
    assert_eq!(files.record(EF_ADN, 2), Ok(&[0xFF; 28][..]));
    assert_eq!(files.record(EF_ADN, 3).expect("a record")[26..], [0xFF, 1]);
    assert_eq!(files.record(EF_ADN, 4), Ok(&[0xFF; 28][..]));
    assert_eq!(files.write(EF_ADN, 3, 27, &[1, 2]), Err(FileError::OutOfRange));
    assert_eq!(files.write(EF_ADN, 251, 0, &[1]), Err(FileError::OutOfRange));
    assert_eq!((files.records(EF_ADN), files.record_octets(EF_ADN)), (Some(250), Some(28)));
}

proptest! {
    #[test]
    fn whatever_comes_gets_a_status_word(
        commands in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..30),
        known in proptest::collection::vec((0_usize..3, 0_usize..23, 0_usize..6, any::<[u8; 3]>(), proptest::collection::vec(any::<u8>(), 0..30)), 0..60),
    ) {
        const INSTRUCTIONS: [u8; 23] = [
            0x04, 0x10, 0x12, 0x14, 0x20, 0x24, 0x26, 0x28, 0x2C, 0x44, 0x70, 0x88, 0xA2, 0xA4, 0xAA, 0xB0, 0xB2, 0xC0, 0xC2, 0xD6,
            0xDC, 0xF2, 0xA4,
        ];
        const FILES: [u16; 6] = [0x3F00, 0x7F10, 0x6F3A, 0x5F3A, 0x7FFF, 0x4F30];
        for kind in [Kind::Sim, Kind::Uicc] {
            let files = Profile { adn_records: 5, ..Profile::default() }.files(kind);
            let with = Personalisation { kind, is_chv1_enabled: false, ..Personalisation::default() };
            let mut card = Card::personalised(files, &with, Witness::default());
            for octets in &commands {
                prop_assert!(card.transmit(octets).len() >= 2);
            }
            for (class, instruction, file, [p1, p2, p3], data) in &known {
                let class = [0xA0, 0x00, 0x80][*class];
                let [high, low] = FILES[*file].to_be_bytes();
                card.transmit(&[class & 0xA0, 0xA4, 0, 0, 2, high, low]);
                let header = [class, INSTRUCTIONS[*instruction], *p1, *p2];
                let length = u8::try_from(data.len()).expect("short");
                let with_data = [&header[..], &[length], data].concat();
                prop_assert!(card.transmit(&with_data).len() >= 2);
                prop_assert!(card.transmit(&[&header[..], &[*p3]].concat()).len() >= 2);
                prop_assert!(card.transmit(&header).len() >= 2);
            }
        }
    }
}
