//! One phone: a station behind a lock, and the task that drives it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use mobile::{Input, Output, Station};
use sms::{Address, Deliver, ProtocolId, Submit, TimeStamp, UserData, UserDataHeader};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Shared, Subscription, channel::Channel, ip::IpLink};
use crate::{
    ip_phone::{Counters, LinkAddress},
    smsc::{MobileOriginated, MobileTerminated, Number},
};

/// A phone with its card.
pub struct Phone {
    pub subscription: Subscription,
    station: Mutex<Station>,
    /// Time on the fleet's clock when the station was made.
    made: Duration,
    changed: Notify,
    lost: CancellationToken,
}

impl Phone {
    pub(super) fn new(subscription: Subscription, station: Station, made: Duration, lost: CancellationToken) -> Self {
        Self { subscription, station: Mutex::new(station), made, changed: Notify::new(), lost }
    }

    /// Does something with the station (edits, reads), then lets its task look what follows from it.
    pub fn with<T>(&self, action: impl FnOnce(&mut Station) -> T) -> T {
        let result = action(&mut self.station());
        self.changed.notify_one();
        result
    }

    /// Off for good.
    pub fn lose(&self) {
        self.lost.cancel();
    }

    /// A message from the SMSC, as an SMS-DELIVER.
    pub(super) fn deliver(&self, message: &MobileTerminated, now: Duration) {
        if let Some(tpdu) = deliver_tpdu(message) {
            self.station().handle_input(Input::SmsDeliver(tpdu), now.saturating_sub(self.made));
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
    loop {
        let now = shared.now().saturating_sub(phone.made);
        let Turn { outputs, timeout, ip } = turn(&phone, now);
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
                    if let Some(message) = originated(number, &tpdu) {
                        shared.config.smsc.offer(message, u64::from(reference), &shared.delivered).await;
                    }
                    // The network has the message: it stores and forwards.
                    let sent = Input::SmsSubmitResult { reference, ok: true };
                    phone.station().handle_input(sent, shared.now().saturating_sub(phone.made));
                    phone.changed.notify_one();
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
                        let now = shared.now().saturating_sub(phone.made);
                        phone.station().handle_input(Input::ChannelClosed, now);
                    }
                }
                Output::ChannelClose => channel = None,
                Output::Display(_) => {}
            }
        }
        // Behind the outputs: an acknowledgement goes where the message came from (S2-CG-06).
        if let (Some(address), Some(link)) = (address, &link) {
            link.move_to(address);
        }
        let wake = timeout.map(|at| tokio::time::Instant::from_std(shared.instant(at + phone.made)));
        tokio::select! {
            () = sleep_until(wake) => phone.station().handle_input(Input::Tick, shared.now().saturating_sub(phone.made)),
            () = phone.changed.notified() => {}
            Some(payload) = received(&mut link) => {
                let now = shared.now().saturating_sub(phone.made);
                phone.station().handle_input(Input::IpPayload(payload), now);
            }
            Some(happened) = happened(&mut channel) => {
                phone.station().handle_input(happened, shared.now().saturating_sub(phone.made));
            }
            () = phone.lost.cancelled() => return,
        }
    }
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
}

fn turn(phone: &Phone, now: Duration) -> Turn {
    let mut station = phone.station();
    if station.next_timeout().is_some_and(|at| at <= now) {
        station.handle_input(Input::Tick, now);
    }
    let outputs = std::iter::from_fn(|| station.poll_output()).collect();
    let listens = station.bearer() == mobile::Bearer::Ip && !station.speaks_ip_itself();
    Turn { outputs, timeout: station.next_timeout(), ip: listens.then(|| station.centre_ip()) }
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
