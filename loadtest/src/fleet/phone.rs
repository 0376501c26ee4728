//! One phone: a station behind a lock, and the task that drives it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use mobile::{
    Bearer, Input, Output, Station,
    transfer::{TransferApp, TransferOutput},
};
use sms::{Address, Deliver, ProtocolId, Submit, TimeStamp, UserData, UserDataHeader};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Clock, Shared, Subscription, channel::Channel, ip::IpLink};
use crate::{
    ip_phone::{Counters, LinkAddress},
    smsc::{MobileOriginated, MobileTerminated, Number},
};

/// A phone with its card.
pub struct Phone {
    pub subscription: Subscription,
    station: Mutex<Station>,
    /// Software of the phone that transfers collections; its lock is taken behind the station's.
    transfer: Mutex<Option<Transfer>>,
    clock: Clock,
    /// Time on that clock when the station was made.
    made: Duration,
    changed: Notify,
    lost: CancellationToken,
}

/// The software, and what its user has read.
struct Transfer {
    app: TransferApp,
    texts: Vec<String>,
    /// To be sent, whatever its bearer.
    short_messages: Vec<Bytes>,
}

impl Phone {
    pub(super) fn new(subscription: Subscription, station: Station, clock: Clock, lost: CancellationToken) -> Self {
        let (station, transfer) = (Mutex::new(station), Mutex::default());
        Self { subscription, station, transfer, clock, made: clock.now(), changed: Notify::new(), lost }
    }

    /// Installs the software that transfers collections.
    pub fn install(&self, app: TransferApp) {
        *self.transfer() = Some(Transfer { app, texts: Vec::new(), short_messages: Vec::new() });
        self.changed.notify_one();
    }

    /// Does something with that software, given the time on the station's clock; `None`: there is none.
    pub fn with_transfer<T>(&self, action: impl FnOnce(&mut Station, &mut TransferApp, Duration) -> T) -> Option<T> {
        let mut station = self.station();
        let result = self.transfer().as_mut().map(|it| action(&mut station, &mut it.app, self.now()));
        self.changed.notify_one();
        result
    }

    /// Sends something that the software said by SMS, whatever bearer it has.
    pub fn send_short_message(&self, octets: Bytes) {
        self.transfer().iter_mut().for_each(|it| it.short_messages.push(octets.clone()));
        self.changed.notify_one();
    }

    /// What it has shown to its user.
    #[must_use]
    pub fn transfer_texts(&self) -> Vec<String> {
        self.transfer().as_ref().map(|it| it.texts.clone()).unwrap_or_default()
    }

    /// Whether the octets are a transfer's, which the phone's software takes.
    fn takes_transfer(&self, octets: &[u8]) -> bool {
        let is_of_transfer = matches!(octets.first(), Some(0xC0..=0xC7));
        let mut station = self.station();
        match self.transfer().as_mut().filter(|_| is_of_transfer) {
            Some(it) => it.app.receive(&mut station, octets, self.now()),
            None => return false,
        }
        self.changed.notify_one();
        true
    }

    fn transfer(&self) -> MutexGuard<'_, Option<Transfer>> {
        self.transfer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the station (edits, reads), then lets its task look what follows from it.
    pub fn with<T>(&self, action: impl FnOnce(&mut Station) -> T) -> T {
        let mut station = self.station();
        // It happens now, not when the station was last told the time.
        station.handle_input(Input::Tick, self.now());
        let result = action(&mut station);
        drop(station);
        self.changed.notify_one();
        result
    }

    /// The user picks an item of the card's menu.
    pub fn select(&self, item: u8) {
        let now = self.now();
        self.with(|station| station.handle_input(Input::MenuSelection(item), now));
    }

    /// The user picks an item of the device's own menu.
    pub fn select_own(&self, item: u8) {
        let now = self.now();
        self.with(|station| station.handle_input(Input::OwnMenuSelection(item), now));
    }

    /// On the station's clock.
    fn now(&self) -> Duration {
        self.clock.now().saturating_sub(self.made)
    }

    /// Off for good.
    pub fn lose(&self) {
        self.lost.cancel();
    }

    /// A message from the SMSC, as an SMS-DELIVER.
    pub(super) fn deliver(&self, message: &MobileTerminated) {
        // Class 1: for the phone itself.
        let is_for_phone = message.data_coding == sms::MT_DATA_CODING_CLASS_1.0 && !message.user_data_header;
        if is_for_phone && self.takes_transfer(&message.payload) {
            return;
        }
        if let Some(tpdu) = deliver_tpdu(message) {
            self.station().handle_input(Input::SmsDeliver(tpdu), self.now());
            self.changed.notify_one();
        }
    }

    fn station(&self) -> MutexGuard<'_, Station> {
        self.station.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the station its time and carries its outputs until the phone is lost or switched off.
pub(super) async fn drive(phone: Arc<Phone>, number: Number, shared: Arc<Shared>) {
    let mut link: Option<IpLink> = None;
    let mut channel: Option<Channel> = None;
    let mut leaving: Option<Leaving> = None;
    loop {
        let now = phone.now();
        if let Some(Leaving { reference, message, .. }) = leaving.take_if(|leaving| leaving.at <= now) {
            if let Some(message) = message {
                shared.config.smsc.offer(message, u64::from(reference), &shared.delivered).await;
            }
            // The network has the message: it stores and forwards.
            phone.station().handle_input(Input::SmsSubmitResult { reference, ok: true }, phone.now());
        }
        let Turn { outputs, timeout, ip, transfers } = turn(&phone, now);
        let own = own_link(&shared.config.cards, &phone.subscription);
        let address = ip.and_then(|to| to.or(own.map(|own| own.address)));
        if let (Some(address), None, Some(own)) = (address, &link, own) {
            let at = LinkAddress { address, ..own.clone() };
            let stop = phone.lost.child_token();
            link = Some(IpLink::start(at, &phone.subscription, Counters::default(), stop));
        }
        for output in outputs {
            match output {
                Output::SmsSubmit { reference, tpdu } => {
                    let at = phone.now() + shared.config.sms_takes;
                    leaving = Some(Leaving { at, reference, message: originated(number, &tpdu) });
                }
                Output::IpPayload(payload) => {
                    if let Some(link) = &link {
                        link.send(payload);
                    }
                }
                Output::ChannelOpen(to) => channel = Some(Channel::open(to, phone.lost.child_token())),
                Output::ChannelData(octets) => {
                    if channel.as_ref().is_some_and(|channel| !channel.send(octets)) {
                        channel = None;
                        let now = phone.now();
                        phone.station().handle_input(Input::ChannelClosed, now);
                    }
                }
                Output::ChannelClose => channel = None,
                Output::Display(_) => {}
            }
        }
        for (bearer, payload) in transfers {
            match (bearer, &link) {
                (Bearer::Sms, _) => {
                    if let Some(message) = transferred(number, &shared.config.centre_number, payload) {
                        shared.config.smsc.offer(message, 0, &shared.delivered).await;
                    }
                }
                (Bearer::Ip, Some(link)) => link.send(payload),
                (Bearer::Ip, None) => {}
            }
        }
        // Behind the outputs: an acknowledgement goes where the message came from (S2-CG-06).
        if let (Some(address), Some(link)) = (address, &link) {
            link.move_to(address);
        }
        let wake = timeout.into_iter().chain(leaving.as_ref().map(|leaving| leaving.at)).min();
        let wake = wake.map(|at| tokio::time::Instant::from_std(phone.clock.instant(at + phone.made)));
        tokio::select! {
            () = sleep_until(wake) => phone.station().handle_input(Input::Tick, phone.now()),
            () = phone.changed.notified() => {}
            Some(payload) = received(&mut link) => {
                if !phone.takes_transfer(&payload) {
                    let now = phone.now();
                    phone.station().handle_input(Input::IpPayload(payload), now);
                }
            }
            Some(happened) = happened(&mut channel) => {
                phone.station().handle_input(happened, phone.now());
            }
            () = phone.lost.cancelled() => return,
        }
    }
}

/// The short message that the phone is busy with.
struct Leaving {
    /// When the network has all of it, on the phone's clock.
    at: Duration,
    reference: u8,
    /// `None`: no network takes such octets.
    message: Option<MobileOriginated>,
}

/// Of the edge's replicas always the same one for a number.
fn own_link<'a>(links: &'a [LinkAddress], subscription: &Subscription) -> Option<&'a LinkAddress> {
    let sum: usize = subscription.msisdn.bytes().map(usize::from).sum();
    links.get((sum / 2).checked_rem(links.len())?)
}

/// What the station wants done now.
struct Turn {
    outputs: Vec<Output>,
    /// When it wants to be called again.
    timeout: Option<Duration>,
    /// Whether it listens on IP, and the centre's address when the card has one (CID 0x03).
    ip: Option<Option<SocketAddr>>,
    /// What the transfer software has to send.
    transfers: Vec<(Bearer, Bytes)>,
}

fn turn(phone: &Phone, now: Duration) -> Turn {
    let mut station = phone.station();
    if station.next_timeout().is_some_and(|at| at <= now) {
        station.handle_input(Input::Tick, now);
    }
    let outputs = std::iter::from_fn(|| station.poll_output()).collect();
    let mut listens = station.bearer() == Bearer::Ip && !station.speaks_ip_itself();
    let mut timeout = station.next_timeout();
    let mut transfers = Vec::new();
    if let Some(it) = phone.transfer().as_mut() {
        if it.app.next_call().is_some_and(|at| at <= now) {
            it.app.tick(&mut station, now);
        }
        transfers.extend(it.short_messages.drain(..).map(|octets| (Bearer::Sms, octets)));
        while let Some(output) = it.app.poll_output() {
            match output {
                TransferOutput::Send(octets) => transfers.push((it.app.bearer, octets.into())),
                TransferOutput::Display(text) => it.texts.push(text),
            }
        }
        listens |= it.app.bearer == Bearer::Ip;
        timeout = timeout.into_iter().chain(it.app.next_call()).min();
    }
    Turn { outputs, timeout, ip: listens.then(|| station.centre_ip()), transfers }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn happened(channel: &mut Option<Channel>) -> Option<Input> {
    let happened = match channel {
        Some(open) => open.happened().await,
        None => std::future::pending().await,
    };
    if happened.is_none() {
        *channel = None;
    }
    happened
}

async fn received(link: &mut Option<IpLink>) -> Option<Bytes> {
    match link {
        Some(link) => link.receive().await,
        None => std::future::pending().await,
    }
}

/// What the SMSC takes from an SMS-SUBMIT; `None`: the octets are none.
fn originated(msisdn: Number, tpdu: &[u8]) -> Option<MobileOriginated> {
    let submit = Submit::decode(tpdu).ok()?;
    let header = submit.user_data.header().map(UserDataHeader::encode);
    Some(MobileOriginated {
        msisdn,
        destination: Number::new(submit.destination.digits().as_bytes()).ok()?,
        protocol_id: submit.protocol_id.0,
        data_coding: submit.data_coding.0,
        user_data_header: header.is_some(),
        payload: joined(header, submit.user_data.body()),
        message_reference: None,
    })
}

/// A short message of the phone's own software.
fn transferred(msisdn: Number, centre: &str, payload: Bytes) -> Option<MobileOriginated> {
    Some(MobileOriginated {
        msisdn,
        destination: Number::new(centre.as_bytes()).ok()?,
        protocol_id: sms::PID_SHORT_MESSAGE.0,
        data_coding: sms::MT_DATA_CODING_CLASS_1.0,
        user_data_header: false,
        payload,
        message_reference: None,
    })
}

/// User data with its header and UDHL before it.
fn joined(header: Option<Vec<u8>>, body: &[u8]) -> Bytes {
    let mut octets = Vec::with_capacity(140);
    if let Some(header) = header {
        octets.push(u8::try_from(header.len()).unwrap_or(u8::MAX));
        octets.extend(header);
    }
    octets.extend(body);
    octets.into()
}

/// `None`: more than one message holds, or no address.
fn deliver_tpdu(message: &MobileTerminated) -> Option<Vec<u8>> {
    let data_coding = sms::DataCoding(message.data_coding);
    let (header, body) = if message.user_data_header {
        let (&length, rest) = message.payload.split_first()?;
        let (header, body) = rest.split_at_checked(usize::from(length))?;
        (Some(UserDataHeader::decode(header).ok()?), body)
    } else {
        (None, &message.payload[..])
    };
    let deliver = Deliver {
        more_messages: false,
        loop_prevention: false,
        reply_path: false,
        status_report_indication: false,
        originator: Address::international(&message.originator.to_string()).ok()?,
        protocol_id: ProtocolId(message.protocol_id),
        data_coding,
        time_stamp: TimeStamp([0x62, 0x11, 0x12, 0, 0, 0, 0]),
        user_data: UserData::new(header, body.to_vec(), data_coding.alphabet()).ok()?,
    };
    Some(deliver.encode())
}
