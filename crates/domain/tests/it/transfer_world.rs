//! Phones and the centre, and between them a network that loses, repeats, delays and reorders. Time moves from one event
//! to the next; everything follows from a seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use domain::{
    identity::{DeviceId, DeviceKey, Msisdn, SubscriberId, Timestamp},
    phonebook::Bearer,
    transfer::{Desk, Session, book::BookRecord, desk::Caller},
};
use link::{
    configuration,
    transfer::{Message, Wish, parts::SMS_ROOM_OCTETS},
};
use mobile::{
    Contact, Station, StationConfig,
    transfer::{Phone, TransferApp, TransferOutput},
};

pub const ANNA: SubscriberId = SubscriberId(1);
pub const BOB: SubscriberId = SubscriberId(2);
/// Anna's.
pub const ANNA_NUMBER: &str = "31612345678";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the network does to a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network {
    pub lost_percent: u64,
    pub repeated_percent: u64,
    pub delay_max: Duration,
}

pub struct Device {
    pub key: DeviceKey,
    pub station: Station,
    pub app: TransferApp,
    /// What the user has read.
    pub texts: Vec<String>,
    /// Off: what comes is lost.
    pub is_on: bool,
}

#[derive(Clone)]
enum Arrival {
    AtCentre(usize, Bearer, Vec<u8>),
    AtDevice(usize, Vec<u8>),
}

pub struct World {
    pub now: Duration,
    pub network: Network,
    pub desk: Desk,
    pub devices: Vec<Device>,
    /// What the centre would write into the books.
    pub book: Vec<BookRecord>,
    /// Everything that arrived at the centre (true) or at a device, decoded.
    pub trace: Vec<(bool, Message)>,
    /// Cut: the devices hear nothing and are not heard.
    pub is_cut: bool,
    /// Store every session as a value and read it again after each event: the centre may be restarted at any time.
    pub restarts: bool,
    wire: BTreeMap<(Duration, u64), Arrival>,
    arrivals: u64,
    random: u64,
}

pub fn contact(name: &str, number: &str) -> Contact {
    Contact { name: name.to_owned(), number: number.to_owned() }
}

/// A phone whose model has these settings.
pub fn phone(settings: &[&str]) -> Phone {
    let settings = settings.iter().map(|key| ((*key).to_owned(), Bytes::from_static(b"new"))).collect();
    Phone::new(settings, 20)
}

impl World {
    pub fn new(network: Network, seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            network,
            desk: Desk::default(),
            devices: Vec::new(),
            book: Vec::new(),
            trace: Vec::new(),
            is_cut: false,
            restarts: false,
            wire: BTreeMap::new(),
            arrivals: 0,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        }
    }

    pub fn add(
        &mut self,
        subscriber: SubscriberId,
        phone: Phone,
        alpha_octets: u8,
        bearer: configuration::Bearer,
    ) -> usize {
        let at = self.devices.len();
        let device = DeviceId(i64::try_from(at).unwrap() + 1);
        let config = StationConfig { alpha_octets, service_on: false, ..StationConfig::default() };
        let key = DeviceKey { subscriber, device };
        let (station, app) = (Station::new(config), TransferApp::new(phone, bearer));
        self.devices.push(Device { key, station, app, texts: Vec::new(), is_on: true });
        at
    }

    /// The user's menu action.
    pub fn select(&mut self, device: usize, wish: Wish, name: &str) {
        let Device { station, app, .. } = &mut self.devices[device];
        app.select(station, wish, name, self.now).expect("no other transfer runs");
        self.collect(device);
    }

    pub fn contacts(&mut self, device: usize) -> BTreeSet<(String, String)> {
        let contacts = self.devices[device].station.contacts();
        contacts.into_iter().map(|(_, contact)| (contact.name, contact.number)).collect()
    }

    /// Until no transfer is under way, or two days are over; gives the last text of the device.
    pub fn run(&mut self, device: usize) -> String {
        let end = self.now + DAY * 2;
        while self.devices[device].app.next_call().is_some() && self.now < end {
            self.step();
        }
        self.devices[device].texts.last().cloned().unwrap_or_default()
    }

    /// As many events.
    pub fn steps(&mut self, events: usize) {
        (0..events).for_each(|_| self.step());
    }

    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.next().is_some_and(|next| next <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Power gone, and back at once.
    pub fn power_cycle(&mut self, device: usize) {
        self.devices[device].app.power_on(self.now);
        self.collect(device);
    }

    fn next(&self) -> Option<Duration> {
        let arrival = self.wire.keys().next().map(|(at, _)| *at);
        let desk = self.desk.next_call().map(|at| Duration::from_micros(u64::try_from(at.0).unwrap()));
        let apps = self.devices.iter().filter(|device| device.is_on).filter_map(|device| device.app.next_call());
        apps.chain(arrival).chain(desk).min()
    }

    fn step(&mut self) {
        let Some(next) = self.next() else { return };
        self.now = self.now.max(next);
        if let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
            match entry.remove() {
                Arrival::AtCentre(device, bearer, octets) => self.at_centre(device, bearer, &octets),
                Arrival::AtDevice(device, octets) => self.at_device(device, &octets),
            }
        }
        for (to, message) in self.desk.tick(self.wall()) {
            let device = self.devices.iter().position(|device| device.key == to.device).expect("known");
            self.send_to_device(device, to.bearer, &message);
        }
        for device in 0..self.devices.len() {
            let Device { station, app, is_on, .. } = &mut self.devices[device];
            if *is_on {
                app.tick(station, self.now);
                self.collect(device);
            }
        }
        if self.restarts {
            let stored: Vec<Vec<u8>> = self.desk.sessions().map(Session::to_octets).collect();
            for octets in stored {
                self.desk.restore_session(Session::from_octets(octets).expect("own octets"));
            }
        }
    }

    fn wall(&self) -> Timestamp {
        Timestamp::default().plus(self.now)
    }

    fn at_centre(&mut self, device: usize, bearer: Bearer, octets: &[u8]) {
        let message = Message::decode(octets).expect("well-formed");
        self.trace.push((true, message.clone()));
        let from = Caller { device: self.devices[device].key, bearer };
        let id = self.roll() as u32;
        let subscriber_of = |number: Msisdn| (number.digits() == ANNA_NUMBER).then_some(ANNA);
        let answer = self.desk.receive(from, message, id, subscriber_of, self.wall());
        self.book.extend(answer.book.iter().cloned());
        for message in &answer.into_messages(bearer) {
            self.send_to_device(device, bearer, message);
        }
    }

    fn at_device(&mut self, device: usize, octets: &[u8]) {
        self.trace.push((false, Message::decode(octets).expect("well-formed")));
        let Device { station, app, is_on, .. } = &mut self.devices[device];
        if *is_on {
            app.receive(station, octets, self.now);
            self.collect(device);
        }
    }

    /// What the app has to say and to show.
    fn collect(&mut self, device: usize) {
        while let Some(output) = self.devices[device].app.poll_output() {
            match output {
                TransferOutput::Display(text) => self.devices[device].texts.push(text),
                TransferOutput::Send(octets) => {
                    let bearer = match self.devices[device].app.bearer {
                        configuration::Bearer::Sms => Bearer::Sms,
                        configuration::Bearer::Ip => Bearer::Ip,
                    };
                    assert!(bearer == Bearer::Ip || octets.len() <= SMS_ROOM_OCTETS);
                    self.carry(Arrival::AtCentre(device, bearer, octets));
                }
            }
        }
    }

    fn send_to_device(&mut self, device: usize, bearer: Bearer, message: &Message) {
        let octets = message.encode();
        assert!(bearer == Bearer::Ip || octets.len() <= SMS_ROOM_OCTETS);
        self.carry(Arrival::AtDevice(device, octets));
    }

    fn carry(&mut self, arrival: Arrival) {
        let copies = if self.roll() % 100 < self.network.repeated_percent { 2 } else { 1 };
        for _ in 0..copies {
            let is_lost = self.roll() % 100 < self.network.lost_percent;
            let delay_max = u64::try_from(self.network.delay_max.as_millis()).unwrap();
            let delay = Duration::from_millis(10 + self.roll() % (delay_max + 1));
            if !is_lost && !self.is_cut {
                self.arrivals += 1;
                self.wire.insert((self.now + delay, self.arrivals), arrival.clone());
            }
        }
    }

    /// xorshift64*.
    fn roll(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }
}
