//! A station, the model centre, and a network between them that loses, repeats, delays and is cut off.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use mobile::{Bearer, Input, Output, Station, StationConfig};
use sms::Submit;
use uicc::files::{EF_ADN, EF_EXT1};

use crate::{
    centre::{Centre, table},
    rig::{CENTRE, deliver_from},
};

/// Records that the users of these tests write; one more is for the last edit.
pub const RECORDS: u8 = 8;

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    Arrives,
    Lost,
    Twice,
    /// Arrives after what comes later.
    Late,
}

/// Where the power goes.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// Before the network has the message that the card gave to the phone.
    BeforeSending,
    /// The network has it, the card is not told.
    BeforeResult,
}

#[derive(Clone, Debug)]
pub enum Act {
    Edit {
        record: u8,
        content: u8,
    },
    Polls(u8),
    PowerCycle,
    /// At the next output.
    Cut(Cut),
    Restore {
        record: u8,
    },
    RestoreAll,
    Coverage(bool),
    Bearer(u8),
    Service(u8),
}

pub struct World {
    pub station: Station,
    pub centre: Centre,
    now: Duration,
    fates: VecDeque<Fate>,
    late_up: Vec<Vec<u8>>,
    late_down: Vec<Vec<u8>>,
    pub coverage: bool,
    cut: Option<Cut>,
    /// Power cycles before this many polls and outputs have passed, for the tests that cut everywhere.
    pub steps_to_cut: Option<u32>,
}

impl World {
    pub fn new(bearer: Bearer, fates: Vec<Fate>) -> Self {
        Self::made(bearer, fates, 12)
    }

    pub fn with_records(bearer: Bearer, adn_records: u8) -> Self {
        Self::made(bearer, vec![], adn_records)
    }

    pub fn now(&self) -> Duration {
        self.now
    }

    fn made(bearer: Bearer, fates: Vec<Fate>, adn_records: u8) -> Self {
        let station = Station::new(StationConfig { bearer, adn_records, ..StationConfig::default() });
        let centre = Centre::new(station.eeprom().monitor.clone());
        let mut world = Self {
            station,
            centre,
            now: Duration::ZERO,
            fates: fates.into(),
            late_up: vec![],
            late_down: vec![],
            coverage: true,
            cut: None,
            steps_to_cut: None,
        };
        world.exchange();
        world
    }

    /// The centre has other records than the card.
    pub fn with_book(mut self, records: impl IntoIterator<Item = (u8, [u8; 28])>) -> Self {
        self.centre.book = records.into_iter().map(|(number, record)| ((0, number), record.to_vec())).collect();
        self
    }

    pub fn act(&mut self, act: &Act) {
        match *act {
            Act::Edit { record, content } => self.edit(record, content),
            Act::Polls(count) => (0..count).for_each(|_| self.poll()),
            Act::PowerCycle => self.power_cycle(),
            Act::Cut(cut) => self.cut = Some(cut),
            Act::Restore { record } => self.centre.restore([(0, record)]),
            Act::RestoreAll => self.centre.restore((1..=RECORDS).map(|record| (0, record))),
            Act::Coverage(is_there) => self.coverage = is_there,
            Act::Bearer(bearer) => self.centre.out.push(vec![0x30, 0x04, bearer]),
            Act::Service(on) => self.centre.out.push(vec![0x30, 0x01, on]),
        }
        self.exchange();
    }

    /// Content 0 empties the record. No two records are alike: the database checksum does not tell which is which (D-20).
    pub fn edit(&mut self, record: u8, content: u8) {
        let mut octets = [if content == 0 { 0xFF } else { content }; 28];
        if content > 0 {
            octets[0] = b'A' + record;
        }
        assert!(self.station.update_record(EF_ADN, record, &octets));
        self.exchange();
    }

    pub fn poll(&mut self) {
        self.may_be_cut();
        self.now = self.station.next_timeout().unwrap();
        self.station.handle_input(Input::Tick, self.now);
        self.centre.step();
        self.exchange();
    }

    pub fn power_cycle(&mut self) {
        self.station.handle_input(Input::PowerOff, self.now);
        self.station.handle_input(Input::PowerOn, self.now);
    }

    fn may_be_cut(&mut self) {
        match &mut self.steps_to_cut {
            Some(0) => {
                self.steps_to_cut = None;
                self.power_cycle();
            }
            Some(left) => *left -= 1,
            None => {}
        }
    }

    /// Carries messages until none is under way.
    fn exchange(&mut self) {
        loop {
            while let Some(output) = self.station.poll_output() {
                self.carry(output);
            }
            if self.centre.out.is_empty() {
                return;
            }
            for payload in std::mem::take(&mut self.centre.out) {
                match self.fate() {
                    Fate::Arrives => self.deliver(&payload),
                    Fate::Twice => (0..2).for_each(|_| self.deliver(&payload)),
                    Fate::Late => self.late_down.push(payload),
                    Fate::Lost => {}
                }
            }
        }
    }

    fn carry(&mut self, output: Output) {
        if let Some(Cut::BeforeSending) = self.cut {
            self.cut = None;
            return self.power_cycle();
        }
        self.may_be_cut();
        match output {
            Output::SmsSubmit { reference, tpdu } => {
                if self.coverage {
                    self.up(Submit::decode(&tpdu).unwrap().user_data.body().to_vec());
                }
                if let Some(Cut::BeforeResult) = self.cut {
                    self.cut = None;
                    return self.power_cycle();
                }
                let ok = self.coverage;
                self.station.handle_input(Input::SmsSubmitResult { reference, ok }, self.now);
            }
            Output::IpPayload(payload) if self.coverage => self.up(payload.to_vec()),
            _ => {}
        }
    }

    fn up(&mut self, payload: Vec<u8>) {
        match self.fate() {
            Fate::Arrives => self.centre.receive(&payload),
            Fate::Twice => (0..2).for_each(|_| self.centre.receive(&payload)),
            Fate::Late => self.late_up.push(payload),
            Fate::Lost => {}
        }
    }

    fn deliver(&mut self, payload: &[u8]) {
        let input = match self.station.bearer() {
            Bearer::Sms => Input::SmsDeliver(deliver_from(CENTRE, payload)),
            Bearer::Ip => Input::IpPayload(Bytes::copy_from_slice(payload)),
        };
        self.station.handle_input(input, self.now);
    }

    fn fate(&mut self) -> Fate {
        self.fates.pop_front().unwrap_or(Fate::Arrives)
    }

    /// From now on nothing goes wrong and the service is on; until nothing is left to do. `compares`: the centre insists on
    /// an equal checksum; an empty card that is resynchronised reports nothing and thus no checksum.
    pub fn come_to_rest(&mut self, compares: bool) {
        self.fates.clear();
        self.coverage = true;
        self.cut = None;
        for payload in std::mem::take(&mut self.late_up) {
            self.centre.receive(&payload);
        }
        for payload in std::mem::take(&mut self.late_down) {
            self.deliver(&payload);
        }
        self.exchange();
        for turn in 0..6000 {
            if turn % 200 == 0 && !self.station.eeprom().configuration.service_on {
                self.act(&Act::Service(1));
            }
            let is_at_rest = !self.station.pending() && self.station.eeprom().configuration.service_on;
            if is_at_rest && self.centre.is_content(compares) && self.steps_to_cut.is_none() {
                return;
            }
            self.poll();
        }
        panic!("no rest: {:?} {:?}", self.station.eeprom(), self.centre.book);
    }

    pub fn card(&mut self) -> Vec<((u8, u8), Vec<u8>)> {
        let mut card = vec![];
        for (index, path, records) in [(0, EF_ADN, 254), (1, EF_EXT1, 20)] {
            for number in 1..=records {
                let Some(record) = self.station.read_record(path, number) else { break };
                if record.iter().any(|octet| *octet != 0xFF) {
                    card.push(((index, number), record));
                }
            }
        }
        card
    }

    pub fn assert_equal(&mut self) {
        let book: Vec<_> = self.centre.book.clone().into_iter().collect();
        assert_eq!(self.card(), book);
        assert_eq!(self.station.eeprom().checksums, table(&self.centre.book));
    }
}
