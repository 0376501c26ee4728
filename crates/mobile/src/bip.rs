//! The card speaks on IP itself: its end of the link of D-58 and D-114 (nonce, counters, tags), over a channel that the phone
//! opens for it (the bearer independent protocol, TS 102 223 6.4.27 to 6.4.31).
//!
//! [`OverBip`] stands between the card and any applet: what the applet wants sent over IP becomes frames and SEND DATA, what
//! RECEIVE DATA brings is cut into frames, verified and given to the applet. Without a [`BipConfig`] it only stands there: then
//! the phone speaks for its card.

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
};

use bytes::Bytes;
use link::{
    configuration::Bearer,
    ip::{Direction, Framer, NONCE_OCTETS, Nonce, ReceiveCounter, decode_frame, encode_frame},
};
use uicc::{
    applet::Applet,
    channel::{DATA_OCTETS_MAX, OpenChannel},
    files::{FileSystem, Path},
    proactive::{Event, ProactiveCommand, TerminalResponse},
};

/// What a card needs to speak on IP itself.
#[derive(Clone, PartialEq, Eq)]
pub struct BipConfig {
    /// E.164 digits.
    pub msisdn: String,
    /// Device key.
    pub key: Vec<u8>,
    /// Where the centre listens for cards, until the applet has an address of its own (CID 0x03).
    pub centre: SocketAddr,
    /// Network access name; empty: the phone's own.
    pub network: String,
}

/// The key is a secret, the number personal.
impl std::fmt::Debug for BipConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BipConfig {{ centre: {} }}", self.centre)
    }
}

/// An applet and, if it speaks on IP itself, its link.
#[derive(Debug)]
pub struct OverBip<A> {
    inner: A,
    // Most cards have none, and there are tens of thousands of stations: it takes its room only where it is.
    link: Option<Box<Link>>,
}

#[derive(Debug)]
struct Link {
    config: Box<BipConfig>,
    /// Last counter sent, highest accepted: in EEPROM (D-114).
    up: u32,
    down: ReceiveCounter,
    /// Messages go over IP.
    is_wanted: bool,
    /// What follows is volatile.
    channel: Option<Channel>,
    asked: Option<Asked>,
    /// The phone tells of data and of the end of a channel.
    is_told_of_events: bool,
    /// Status events until the next attempt.
    pause: u8,
    /// Status events since something was sent.
    idle: u8,
}

/// An open channel.
#[derive(Debug, Default)]
struct Channel {
    number: u8,
    /// What came of the nonce; 16 octets when it is whole.
    nonce: Vec<u8>,
    framer: Framer,
    /// Octets of frames for the phone.
    out: Vec<u8>,
    has_data: bool,
    /// Of no use any more: to be closed.
    is_broken: bool,
}

/// The command of the link that the phone has, and what it carries.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Events,
    Open,
    Send { octets: usize },
    Receive,
    Close,
}

/// After a failure: half a minute at the usual interval.
const PAUSE: u8 = 6;
/// A keep-alive after a minute without anything else.
const IDLE: u8 = 12;
const BUFFER_OCTETS: u16 = 1400;

impl<A> OverBip<A> {
    /// `config`: `None` leaves IP to the phone.
    pub fn new(inner: A, config: Option<Box<BipConfig>>) -> Self {
        let link = config.map(|config| Link {
            config,
            up: 0,
            down: ReceiveCounter { highest: 0 },
            is_wanted: false,
            channel: None,
            asked: None,
            is_told_of_events: false,
            pause: 0,
            idle: 0,
        });
        Self { inner, link: link.map(Box::new) }
    }

    /// What the applet's configuration wants: a channel is opened on IP only, and one to another address is closed. `None`: the
    /// address of [`BipConfig`] holds.
    pub fn steer(&mut self, bearer: Bearer, centre: Option<SocketAddr>) {
        let Some(link) = &mut self.link else { return };
        link.is_wanted = bearer == Bearer::Ip;
        let Some(centre) = centre.filter(|centre| *centre != link.config.centre) else { return };
        link.config.centre = centre;
        if let Some(channel) = &mut link.channel {
            channel.is_broken = true;
        }
    }
}

impl<A> Deref for OverBip<A> {
    type Target = A;
    fn deref(&self) -> &A {
        &self.inner
    }
}

impl<A> DerefMut for OverBip<A> {
    fn deref_mut(&mut self) -> &mut A {
        &mut self.inner
    }
}

impl<A: Applet> Applet for OverBip<A> {
    fn file_updated(&mut self, files: &mut FileSystem, path: Path, record_number: u8) {
        self.inner.file_updated(files, path, record_number);
    }

    fn status(&mut self, files: &mut FileSystem) {
        if let Some(link) = &mut self.link {
            link.pause = link.pause.saturating_sub(1);
            link.idle = link.idle.saturating_add(1);
        }
        self.inner.status(files);
    }

    fn sms_pp_download(&mut self, files: &mut FileSystem, tpdu: &[u8]) {
        self.inner.sms_pp_download(files, tpdu);
    }

    fn timer_expired(&mut self, files: &mut FileSystem, timer_id: u8) {
        self.inner.timer_expired(files, timer_id);
    }

    fn menu_selected(&mut self, files: &mut FileSystem, item_id: u8) {
        self.inner.menu_selected(files, item_id);
    }

    fn event(&mut self, files: &mut FileSystem, event: Event) {
        match (event, self.link.as_mut()) {
            (Event::DataAvailable { status, .. }, Some(link)) => {
                if let Some(channel) = link.channel.as_mut().filter(|channel| channel.number == status.channel) {
                    channel.has_data = true;
                }
            }
            (Event::ChannelStatus(status), Some(link)) => {
                let own = link.channel.as_ref().is_some_and(|channel| channel.number == status.channel);
                if own && !status.is_up {
                    link.channel = None;
                    link.pause = 1;
                }
            }
            (event, None) => self.inner.event(files, event),
        }
    }

    fn next_command(&mut self, files: &mut FileSystem) -> Option<ProactiveCommand> {
        if let Some(command) = self.inner.next_command(files) {
            return Some(command);
        }
        let link = self.link.as_mut()?;
        let (asked, command) = link.next(&mut self.inner)?;
        link.asked = Some(asked);
        Some(command)
    }

    fn terminal_response(&mut self, files: &mut FileSystem, response: &TerminalResponse) {
        match self.link.as_mut().and_then(|link| Some((link.asked.take()?, link))) {
            Some((asked, link)) => {
                for payload in link.answered(asked, response) {
                    self.inner.ip_received(files, &payload);
                }
            }
            None => self.inner.terminal_response(files, response),
        }
    }

    fn ip_received(&mut self, files: &mut FileSystem, payload: &[u8]) {
        self.inner.ip_received(files, payload);
    }

    fn next_ip_payload(&mut self) -> Option<Bytes> {
        if self.link.is_some() { None } else { self.inner.next_ip_payload() }
    }

    fn reset(&mut self, files: &mut FileSystem) {
        if let Some(link) = &mut self.link {
            link.channel = None;
            link.asked = None;
            link.is_told_of_events = false;
            link.pause = 0;
        }
        self.inner.reset(files);
    }
}

impl Link {
    /// What the phone is to do now for the link.
    fn next(&mut self, applet: &mut impl Applet) -> Option<(Asked, ProactiveCommand)> {
        let Some(channel) = &mut self.channel else {
            if self.pause > 0 || !self.is_wanted {
                return None;
            }
            if !self.is_told_of_events {
                let events = vec![Event::DATA_AVAILABLE, Event::CHANNEL_STATUS];
                return Some((Asked::Events, ProactiveCommand::SetUpEventList { events }));
            }
            let BipConfig { network, centre, .. } = &*self.config;
            let open = OpenChannel { buffer_octets: BUFFER_OCTETS, network: network.clone(), to: *centre };
            return Some((Asked::Open, ProactiveCommand::OpenChannel(open)));
        };
        let number = channel.number;
        if channel.is_broken {
            return Some((Asked::Close, ProactiveCommand::CloseChannel { channel: number }));
        }
        if channel.has_data {
            let octets = u8::try_from(DATA_OCTETS_MAX).unwrap_or(u8::MAX);
            return Some((Asked::Receive, ProactiveCommand::ReceiveData { channel: number, octets }));
        }
        if channel.out.is_empty() && channel.nonce().is_some() {
            let keep_alive = (self.idle >= IDLE).then(Bytes::new);
            let payload = applet.next_ip_payload().or(keep_alive);
            if let Some(payload) = payload {
                self.send(&payload);
            }
        }
        let channel = self.channel.as_ref()?;
        let data: Vec<u8> = channel.out.iter().copied().take(DATA_OCTETS_MAX).collect();
        if data.is_empty() {
            return None;
        }
        Some((Asked::Send { octets: data.len() }, ProactiveCommand::SendData { channel: number, data }))
    }

    /// What the phone has done; payloads for the applet.
    fn answered(&mut self, asked: Asked, response: &TerminalResponse) -> Vec<Bytes> {
        let ok = response.is_success();
        if !ok {
            self.pause = PAUSE;
        }
        match (asked, self.channel.as_mut()) {
            (Asked::Events, _) => self.is_told_of_events = ok,
            (Asked::Open, _) => {
                let status = response.channel_status.filter(|status| ok && status.is_up);
                self.channel = status.map(|status| Channel { number: status.channel, ..Channel::default() });
                if self.channel.is_none() {
                    self.pause = PAUSE;
                }
            }
            (Asked::Close, _) => {
                self.channel = None;
                self.pause = PAUSE;
            }
            (Asked::Send { octets }, Some(channel)) if ok => {
                channel.out.drain(..octets.min(channel.out.len()));
                self.idle = 0;
            }
            (Asked::Receive, Some(channel)) if ok => {
                channel.has_data = response.data_length.is_some_and(|left| left > 0);
                return self.received(response.data.as_deref().unwrap_or_default());
            }
            (Asked::Send { .. } | Asked::Receive, Some(channel)) => channel.is_broken = true,
            // The channel's end was told of meanwhile.
            (Asked::Send { .. } | Asked::Receive, None) => {}
        }
        Vec::new()
    }

    /// Octets from the centre: the nonce, then frames. The first frame of the card makes it known.
    fn received(&mut self, mut octets: &[u8]) -> Vec<Bytes> {
        let Some(channel) = &mut self.channel else { return Vec::new() };
        if channel.nonce().is_none() {
            let missing = (NONCE_OCTETS - channel.nonce.len()).min(octets.len());
            let (nonce, rest) = octets.split_at(missing);
            channel.nonce.extend(nonce);
            octets = rest;
            if channel.nonce().is_some() {
                self.send(&[]);
            }
        }
        let mut payloads = Vec::new();
        let Some(channel) = &mut self.channel else { return payloads };
        let Some(nonce) = channel.nonce() else { return payloads };
        channel.framer.push(octets);
        loop {
            let frame = match channel.framer.next_frame() {
                Ok(Some(frame)) => decode_frame(frame),
                Ok(None) => return payloads,
                Err(error) => Err(error),
            };
            let own = frame.ok().filter(|frame| {
                frame.msisdn == self.config.msisdn && frame.verify(&self.config.key, &nonce, Direction::Down)
            });
            let Some(frame) = own else {
                channel.is_broken = true;
                return payloads;
            };
            if self.down.accept(frame.counter) && !frame.payload.is_empty() {
                payloads.push(frame.payload);
            }
        }
    }

    /// Puts a frame behind what waits for the phone. A counter that is used up ends the link for good (D-114).
    fn send(&mut self, payload: &[u8]) {
        let Some(channel) = &mut self.channel else { return };
        let Some((nonce, counter)) = channel.nonce().zip(self.up.checked_add(1)) else { return };
        self.up = counter;
        let BipConfig { msisdn, key, .. } = &*self.config;
        match encode_frame(key, &nonce, msisdn, Direction::Up, counter, payload) {
            Ok(frame) => channel.out.extend(frame),
            Err(_) => channel.is_broken = true,
        }
    }
}

impl Channel {
    fn nonce(&self) -> Option<Nonce> {
        self.nonce.as_slice().try_into().ok()
    }
}
