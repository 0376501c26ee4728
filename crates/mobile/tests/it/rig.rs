//! A station with a hand-driven clock, and the centre's side of the messages.

use std::time::Duration;

use mobile::{Input, Output, Station, StationConfig};
use sms::{
    Address, Deliver, MT_DATA_CODING, PID_SHORT_MESSAGE, PID_SIM_DATA_DOWNLOAD, ProtocolId, Submit, TimeStamp, UserData,
};
use uicc::files::EF_ADN;

pub const CENTRE: &str = "447700900000";

pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(octet).collect()
}

pub fn bob() -> Vec<u8> {
    hex("42 4F 42 FF FF FF FF FF FF FF FF FF FF FF 06 91 00 11 32 54 F6 FF FF FF FF FF FF FF")
}

pub fn home() -> Vec<u8> {
    hex("48 4F 4D 45 FF FF FF FF FF FF FF FF FF FF 05 81 20 80 91 99 FF FF FF FF FF FF FF FF")
}

pub fn office() -> Vec<u8> {
    hex("4F 46 46 49 43 45 FF FF FF FF FF FF FF FF 05 81 20 70 02 30 FF FF FF FF FF FF FF FF")
}

pub fn message(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub fn deliver_from(originator: &str, payload: &[u8]) -> Vec<u8> {
    deliver_as(Address::international(originator).unwrap(), payload)
}

pub fn deliver_as(originator: Address, payload: &[u8]) -> Vec<u8> {
    deliver_with(PID_SIM_DATA_DOWNLOAD, originator, payload)
}

/// As the centre speaks to cards of the first and third embodiment: stored in EF_SMS (D-59).
pub fn deliver_to_store(payload: &[u8]) -> Vec<u8> {
    deliver_with(PID_SHORT_MESSAGE, Address::international(CENTRE).unwrap(), payload)
}

fn deliver_with(protocol_id: ProtocolId, originator: Address, payload: &[u8]) -> Vec<u8> {
    let deliver = Deliver {
        more_messages: false,
        loop_prevention: false,
        reply_path: false,
        status_report_indication: false,
        originator,
        protocol_id,
        data_coding: MT_DATA_CODING,
        time_stamp: TimeStamp([0x62, 0x11, 0x12, 0x31, 0x82, 0x62, 0]),
        user_data: UserData::from_octets(payload).unwrap(),
    };
    deliver.encode()
}

pub struct Rig {
    pub station: Station,
    pub now: Duration,
    /// Whether the network takes short messages.
    pub network_ok: bool,
    /// Where short messages are expected to go.
    pub centre: String,
    /// Application data that left, in order.
    pub sent: Vec<Vec<u8>>,
    pub sent_on_ip: Vec<Vec<u8>>,
    pub displayed: Vec<String>,
}

impl Rig {
    pub fn new() -> Self {
        Self::with(StationConfig::default())
    }

    pub fn with(config: StationConfig) -> Self {
        let station = Station::new(config);
        let mut rig = Self {
            station,
            now: Duration::ZERO,
            network_ok: true,
            centre: CENTRE.to_owned(),
            sent: vec![],
            sent_on_ip: vec![],
            displayed: vec![],
        };
        rig.collect();
        rig
    }

    pub fn input(&mut self, input: Input) {
        self.station.handle_input(input, self.now);
        self.collect();
    }

    pub fn collect(&mut self) {
        while let Some(output) = self.station.poll_output() {
            match output {
                Output::SmsSubmit { reference, tpdu } => {
                    let submit = Submit::decode(&tpdu).unwrap();
                    assert_eq!(submit.message_reference, reference);
                    assert_eq!(submit.destination.digits(), self.centre);
                    assert!(submit.user_data.body().len() <= link::SMS_OCTETS);
                    if self.network_ok {
                        self.sent.push(submit.user_data.body().to_vec());
                    }
                    let ok = self.network_ok;
                    self.station.handle_input(Input::SmsSubmitResult { reference, ok }, self.now);
                }
                Output::IpPayload(payload) => self.sent_on_ip.push(payload.to_vec()),
                Output::Display(text) => self.displayed.push(text),
                // Only of cards that speak on IP themselves: `channel`.
                Output::ChannelOpen(_) | Output::ChannelData(_) | Output::ChannelClose => {}
            }
        }
    }

    /// The next poll; how long it was away.
    pub fn poll(&mut self) -> Duration {
        let due = self.station.next_timeout().unwrap();
        let waited = due - self.now;
        self.now = due;
        self.input(Input::Tick);
        waited
    }

    pub fn polls(&mut self, count: usize) {
        for _ in 0..count {
            self.poll();
        }
    }

    pub fn edit(&mut self, record_number: u8, octets: &[u8]) {
        assert!(self.station.update_record(EF_ADN, record_number, octets));
        self.collect();
    }

    pub fn receive(&mut self, payload: &[u8]) {
        self.input(Input::SmsDeliver(deliver_from(&self.centre.clone(), payload)));
    }

    /// As [`Self::receive`], for cards of the first and third embodiment.
    pub fn receive_stored(&mut self, payload: &[u8]) {
        self.input(Input::SmsDeliver(deliver_to_store(payload)));
    }

    pub fn power_cycle(&mut self) {
        self.input(Input::PowerOff);
        self.input(Input::PowerOn);
    }
}
