//! SIM Application Toolkit: proactive commands, terminal responses and envelopes (TS 51.014, TS 102 223).

use std::time::Duration;

use crate::{
    channel::{self, ChannelStatus, OpenChannel},
    files::Path,
    tlv::{self, MalformedTlv, Objects},
};

/// What the card asks of the phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProactiveCommand {
    MoreTime,
    /// At most 255 s is said in seconds, above in whole minutes (D-82).
    PollInterval(Duration),
    PollingOff,
    /// `tpdu`: a complete SMS-SUBMIT; the phone sets TP-MR.
    SendShortMessage {
        alpha: Option<Vec<u8>>,
        tpdu: Vec<u8>,
    },
    Refresh {
        qualifier: u8,
        files: Vec<Path>,
    },
    /// Shown in the 8-bit form of the GSM alphabet where it fits, else UCS-2.
    DisplayText {
        text: String,
    },
    SetUpMenu {
        title: String,
        items: Vec<(u8, String)>,
    },
    SetUpEventList {
        events: Vec<u8>,
    },
    TimerManagement {
        timer_id: u8,
        action: TimerAction,
    },
    /// The link is set up at once.
    OpenChannel(OpenChannel),
    CloseChannel {
        channel: u8,
    },
    /// `octets`: as many as are wanted at most.
    ReceiveData {
        channel: u8,
        octets: u8,
    },
    /// Sent at once. `data`: at most [`channel::DATA_OCTETS_MAX`].
    SendData {
        channel: u8,
        data: Vec<u8>,
    },
    GetChannelStatus,
}

/// Qualifier of TIMER MANAGEMENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerAction {
    /// 1 s to 24 h.
    Start(Duration),
    Deactivate,
    GetValue,
}

/// REFRESH qualifier: the named files have changed.
pub const REFRESH_FILE_CHANGE: u8 = 0x01;

/// General result (TS 102 223 8.12).
const TYPE_NOT_UNDERSTOOD: u8 = 0x31;

mod kind {
    pub const REFRESH: u8 = 0x01;
    pub const MORE_TIME: u8 = 0x02;
    pub const POLL_INTERVAL: u8 = 0x03;
    pub const POLLING_OFF: u8 = 0x04;
    pub const SET_UP_EVENT_LIST: u8 = 0x05;
    pub const SEND_SHORT_MESSAGE: u8 = 0x13;
    pub const DISPLAY_TEXT: u8 = 0x21;
    pub const SET_UP_MENU: u8 = 0x25;
    pub const TIMER_MANAGEMENT: u8 = 0x27;
    pub const OPEN_CHANNEL: u8 = 0x40;
    pub const CLOSE_CHANNEL: u8 = 0x41;
    pub const RECEIVE_DATA: u8 = 0x42;
    pub const SEND_DATA: u8 = 0x43;
    pub const GET_CHANNEL_STATUS: u8 = 0x44;
}

mod device {
    /// Channel 0; 21 to 27 are channels 1 to 7.
    pub const CHANNEL: u8 = 0x20;
    pub const DISPLAY: u8 = 0x02;
    pub const CARD: u8 = 0x81;
    pub const PHONE: u8 = 0x82;
    pub const NETWORK: u8 = 0x83;
}

impl ProactiveCommand {
    /// Type octet and qualifier of the command details.
    #[must_use]
    pub fn kind(&self) -> (u8, u8) {
        match self {
            Self::MoreTime => (kind::MORE_TIME, 0),
            Self::PollInterval(_) => (kind::POLL_INTERVAL, 0),
            Self::PollingOff => (kind::POLLING_OFF, 0),
            Self::SendShortMessage { .. } => (kind::SEND_SHORT_MESSAGE, 0),
            Self::Refresh { qualifier, .. } => (kind::REFRESH, *qualifier),
            // High priority, cleared by the user.
            Self::DisplayText { .. } => (kind::DISPLAY_TEXT, 0x81),
            Self::SetUpMenu { .. } => (kind::SET_UP_MENU, 0),
            Self::SetUpEventList { .. } => (kind::SET_UP_EVENT_LIST, 0),
            Self::OpenChannel(_) => (kind::OPEN_CHANNEL, 0x01),
            Self::CloseChannel { .. } => (kind::CLOSE_CHANNEL, 0),
            Self::ReceiveData { .. } => (kind::RECEIVE_DATA, 0),
            Self::SendData { .. } => (kind::SEND_DATA, 0x01),
            Self::GetChannelStatus => (kind::GET_CHANNEL_STATUS, 0),
            Self::TimerManagement { action, .. } => (
                kind::TIMER_MANAGEMENT,
                match action {
                    TimerAction::Start(_) => 0,
                    TimerAction::Deactivate => 1,
                    TimerAction::GetValue => 2,
                },
            ),
        }
    }

    /// The BER-TLV object `D0`, as FETCH returns it. `number`: command number, 1 to 254.
    #[must_use]
    pub fn encode(&self, number: u8) -> Vec<u8> {
        let (kind, qualifier) = self.kind();
        let destination = match self {
            Self::SendShortMessage { .. } => device::NETWORK,
            Self::DisplayText { .. } => device::DISPLAY,
            Self::CloseChannel { channel } | Self::ReceiveData { channel, .. } | Self::SendData { channel, .. } => {
                device::CHANNEL | (channel & 0x07)
            }
            _ => device::PHONE,
        };
        let mut body = vec![0x81, 3, number, kind, qualifier, 0x82, 2, device::CARD, destination];
        match self {
            Self::MoreTime | Self::PollingOff | Self::CloseChannel { .. } | Self::GetChannelStatus => {}
            Self::OpenChannel(open) => open.push(&mut body),
            Self::ReceiveData { octets, .. } => tlv::push(&mut body, channel::tag::DATA_LENGTH, &[*octets]),
            Self::SendData { data, .. } => tlv::push(&mut body, channel::tag::DATA, data),
            Self::PollInterval(interval) => tlv::push(&mut body, 0x84, &duration(*interval)),
            Self::SendShortMessage { alpha, tpdu } => {
                if let Some(alpha) = alpha {
                    tlv::push(&mut body, 0x85, alpha);
                }
                tlv::push(&mut body, 0x8B, tpdu);
            }
            Self::Refresh { files, .. } => {
                if !files.is_empty() {
                    tlv::push(&mut body, 0x92, &file_list(files));
                }
            }
            Self::DisplayText { text } => tlv::push(&mut body, 0x8D, &text_string(text)),
            Self::SetUpMenu { title, items } => {
                tlv::push(&mut body, 0x85, &crate::phonebook::alpha_octets_of(title));
                for (item, text) in items {
                    let mut value = vec![*item];
                    value.extend(crate::phonebook::alpha_octets_of(text));
                    tlv::push(&mut body, 0x8F, &value);
                }
            }
            Self::SetUpEventList { events } => tlv::push(&mut body, 0x99, events),
            Self::TimerManagement { timer_id, action } => {
                tlv::push(&mut body, 0xA4, &[*timer_id]);
                if let TimerAction::Start(value) = action {
                    tlv::push(&mut body, 0xA5, &timer_value(*value));
                }
            }
        }
        let mut octets = Vec::with_capacity(body.len() + 3);
        tlv::push(&mut octets, 0xD0, &body);
        octets
    }

    /// Number and command of a fetched object.
    ///
    /// # Errors
    /// A length that lies, a mandatory object that is missing, a type that this phone does not know.
    pub fn decode(octets: &[u8]) -> Result<(u8, Self), MalformedTlv> {
        let objects = Objects::inside(octets, 0xD0)?;
        let details = objects.get(0x81)?;
        let &[number, kind, qualifier] = details else { return Err(MalformedTlv::Value { tag: 0x81 }) };
        let command = match kind {
            kind::MORE_TIME => Self::MoreTime,
            kind::POLLING_OFF => Self::PollingOff,
            kind::POLL_INTERVAL => Self::PollInterval(read_duration(objects.get(0x84)?)?),
            kind::SEND_SHORT_MESSAGE => Self::SendShortMessage {
                alpha: objects.find(0x85).map(<[u8]>::to_vec),
                tpdu: objects.get(0x8B)?.to_vec(),
            },
            kind::REFRESH => {
                Self::Refresh { qualifier, files: objects.find(0x92).map(read_file_list).unwrap_or_default() }
            }
            kind::DISPLAY_TEXT => Self::DisplayText { text: read_text_string(objects.get(0x8D)?) },
            kind::SET_UP_MENU => Self::SetUpMenu {
                title: crate::phonebook::decode_alpha(objects.get(0x85)?),
                items: objects.all(0x8F).filter_map(read_item).collect(),
            },
            kind::SET_UP_EVENT_LIST => Self::SetUpEventList { events: objects.get(0x99)?.to_vec() },
            kind::TIMER_MANAGEMENT => {
                let &[timer_id] = objects.get(0xA4)? else { return Err(MalformedTlv::Value { tag: 0xA4 }) };
                let action = match qualifier & 0x03 {
                    0 => TimerAction::Start(read_timer_value(objects.get(0xA5)?)?),
                    1 => TimerAction::Deactivate,
                    _ => TimerAction::GetValue,
                };
                Self::TimerManagement { timer_id, action }
            }
            kind::OPEN_CHANNEL => Self::OpenChannel(OpenChannel::read(&objects)?),
            kind::CLOSE_CHANNEL => Self::CloseChannel { channel: addressed_channel(&objects)? },
            kind::RECEIVE_DATA => {
                let &[octets] = objects.get(channel::tag::DATA_LENGTH)? else {
                    return Err(MalformedTlv::Value { tag: channel::tag::DATA_LENGTH });
                };
                Self::ReceiveData { channel: addressed_channel(&objects)?, octets }
            }
            kind::SEND_DATA => {
                let data = objects.get(channel::tag::DATA)?.to_vec();
                Self::SendData { channel: addressed_channel(&objects)?, data }
            }
            kind::GET_CHANNEL_STATUS => Self::GetChannelStatus,
            other => return Err(MalformedTlv::UnknownCommand { kind: other }),
        };
        Ok((number, command))
    }
}

/// The channel that a command's device identities name.
fn addressed_channel(objects: &Objects) -> Result<u8, MalformedTlv> {
    match objects.get(0x82)? {
        &[_, destination @ 0x21..=0x27] => Ok(destination & 0x07),
        _ => Err(MalformedTlv::Value { tag: 0x82 }),
    }
}

/// What the phone answers to a proactive command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalResponse {
    pub number: u8,
    pub command_type: u8,
    pub qualifier: u8,
    /// 0x and 1x performed, 2x try later, 3x never.
    pub general_result: u8,
    pub additional: Vec<u8>,
    /// POLL INTERVAL: what the phone grants (D-34).
    pub duration: Option<Duration>,
    /// OPEN CHANNEL and GET CHANNEL STATUS.
    pub channel_status: Option<ChannelStatus>,
    /// OPEN CHANNEL: the buffer that the phone gives.
    pub buffer_octets: Option<u16>,
    /// RECEIVE DATA.
    pub data: Option<Vec<u8>>,
    /// SEND DATA: free octets of the buffer; RECEIVE DATA: octets that are left in it. FF: that many or more.
    pub data_length: Option<u8>,
}

impl TerminalResponse {
    /// The answer to `command`, fetched as `number`.
    #[must_use]
    pub fn to(number: u8, command: &ProactiveCommand, general_result: u8) -> Self {
        let (command_type, qualifier) = command.kind();
        Self::plain([number, command_type, qualifier], general_result)
    }

    /// Without any of the objects that single commands have.
    fn plain([number, command_type, qualifier]: [u8; 3], general_result: u8) -> Self {
        Self {
            number,
            command_type,
            qualifier,
            general_result,
            additional: Vec::new(),
            duration: None,
            channel_status: None,
            buffer_octets: None,
            data: None,
            data_length: None,
        }
    }

    /// The answer "command type not understood" to a fetched object that [`ProactiveCommand::decode`] refuses; `None`: it
    /// does not even say what it is. Without an answer the card would wait for ever.
    #[must_use]
    pub fn to_unknown(octets: &[u8]) -> Option<Self> {
        let objects = Objects::inside(octets, 0xD0).ok()?;
        let details = objects.find(0x81)?.try_into().ok()?;
        Some(Self::plain(details, TYPE_NOT_UNDERSTOOD))
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = vec![0x81, 3, self.number, self.command_type, self.qualifier];
        octets.extend([0x82, 2, device::PHONE, device::CARD]);
        let mut result = vec![self.general_result];
        result.extend(&self.additional);
        tlv::push(&mut octets, 0x83, &result);
        if let Some(granted) = self.duration {
            tlv::push(&mut octets, 0x84, &duration(granted));
        }
        if let Some(status) = self.channel_status {
            tlv::push(&mut octets, channel::tag::STATUS, &status.octets());
        }
        if let Some(buffer) = self.buffer_octets {
            tlv::push(&mut octets, channel::tag::BEARER, &[0x03]);
            tlv::push(&mut octets, channel::tag::BUFFER, &buffer.to_be_bytes());
        }
        if let Some(data) = &self.data {
            tlv::push(&mut octets, channel::tag::DATA, data);
        }
        if let Some(length) = self.data_length {
            tlv::push(&mut octets, channel::tag::DATA_LENGTH, &[length]);
        }
        octets
    }

    /// # Errors
    /// A length that lies, or command details or result missing.
    pub fn decode(octets: &[u8]) -> Result<Self, MalformedTlv> {
        let objects = Objects::of(octets)?;
        let details = objects.get(0x81)?.try_into().map_err(|_| MalformedTlv::Value { tag: 0x81 })?;
        let (&general_result, additional) =
            objects.get(0x83)?.split_first().ok_or(MalformedTlv::Value { tag: 0x83 })?;
        let octet = |value: &[u8]| match value {
            &[octet] => Ok(octet),
            _ => Err(MalformedTlv::Value { tag: channel::tag::DATA_LENGTH }),
        };
        let pair = |value: &[u8]| value.try_into().map_err(|_| MalformedTlv::Value { tag: channel::tag::BUFFER });
        Ok(Self {
            additional: additional.to_vec(),
            duration: objects.find(0x84).map(read_duration).transpose()?,
            channel_status: objects.find(channel::tag::STATUS).map(ChannelStatus::read).transpose()?,
            buffer_octets: objects.find(channel::tag::BUFFER).map(pair).transpose()?.map(u16::from_be_bytes),
            data: objects.find(channel::tag::DATA).map(<[u8]>::to_vec),
            data_length: objects.find(channel::tag::DATA_LENGTH).map(octet).transpose()?,
            ..Self::plain(details, general_result)
        })
    }

    /// Whether the phone has done it.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.general_result < 0x20
    }
}

/// What the phone tells the card unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// A complete SMS-DELIVER.
    SmsPpDownload {
        tpdu: Vec<u8>,
    },
    TimerExpiration {
        timer_id: u8,
    },
    MenuSelection {
        item: u8,
    },
    Event(Event),
}

/// What happened to the phone, for a card that has asked to be told (SET UP EVENT LIST).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// So many octets wait for RECEIVE DATA (FF: that many or more).
    DataAvailable {
        status: ChannelStatus,
        octets: u8,
    },
    ChannelStatus(ChannelStatus),
}

impl Event {
    /// Its code in an event list.
    pub const DATA_AVAILABLE: u8 = 0x09;
    pub const CHANNEL_STATUS: u8 = 0x0A;
}

/// ENVELOPE data (TS 51.014 clause 11).
pub mod envelope {
    use super::{ChannelStatus, Duration, Envelope, Event, MalformedTlv, Objects, channel, device, timer_value, tlv};

    /// `D1`. `service_centre`: TON/NPI and BCD octets of the address, empty: not said.
    #[must_use]
    pub fn sms_pp_download(service_centre: &[u8], tpdu: &[u8]) -> Vec<u8> {
        let mut body = vec![0x82, 2, device::NETWORK, device::CARD];
        if !service_centre.is_empty() {
            tlv::push(&mut body, 0x86, service_centre);
        }
        tlv::push(&mut body, 0x8B, tpdu);
        outer(0xD1, &body)
    }

    /// `D7`.
    #[must_use]
    pub fn timer_expiration(timer_id: u8, elapsed: Duration) -> Vec<u8> {
        let mut body = vec![0x82, 2, device::PHONE, device::CARD];
        tlv::push(&mut body, 0xA4, &[timer_id]);
        tlv::push(&mut body, 0xA5, &timer_value(elapsed));
        outer(0xD7, &body)
    }

    /// `D3`.
    #[must_use]
    pub fn menu_selection(item: u8) -> Vec<u8> {
        outer(0xD3, &[0x82, 2, 0x01, device::CARD, 0x90, 1, item])
    }

    /// `D6`.
    #[must_use]
    pub fn event_download(event: Event) -> Vec<u8> {
        let code = match event {
            Event::DataAvailable { .. } => Event::DATA_AVAILABLE,
            Event::ChannelStatus(_) => Event::CHANNEL_STATUS,
        };
        let mut body = vec![0x99, 1, code, 0x82, 2, device::PHONE, device::CARD];
        let (Event::DataAvailable { status, .. } | Event::ChannelStatus(status)) = event;
        tlv::push(&mut body, channel::tag::STATUS | 0x80, &status.octets());
        if let Event::DataAvailable { octets, .. } = event {
            tlv::push(&mut body, channel::tag::DATA_LENGTH, &[octets]);
        }
        outer(0xD6, &body)
    }

    fn read_event(octets: &[u8]) -> Result<Event, MalformedTlv> {
        let objects = Objects::inside(octets, 0xD6)?;
        let status = || ChannelStatus::read(objects.get(channel::tag::STATUS)?);
        match objects.get(0x99)? {
            &[Event::DATA_AVAILABLE] => match objects.get(channel::tag::DATA_LENGTH)? {
                &[octets] => Ok(Event::DataAvailable { status: status()?, octets }),
                _ => Err(MalformedTlv::Value { tag: channel::tag::DATA_LENGTH }),
            },
            &[Event::CHANNEL_STATUS] => Ok(Event::ChannelStatus(status()?)),
            other => Err(MalformedTlv::UnknownCommand { kind: other.first().copied().unwrap_or(0) }),
        }
    }

    /// # Errors
    /// A length that lies, a mandatory object missing, or a kind that this card does not know.
    pub fn decode(octets: &[u8]) -> Result<Envelope, MalformedTlv> {
        match octets.first() {
            Some(0xD1) => {
                let tpdu = Objects::inside(octets, 0xD1)?.get(0x8B)?.to_vec();
                Ok(Envelope::SmsPpDownload { tpdu })
            }
            Some(0xD3) => match Objects::inside(octets, 0xD3)?.get(0x90)? {
                &[item] => Ok(Envelope::MenuSelection { item }),
                _ => Err(MalformedTlv::Value { tag: 0x90 }),
            },
            Some(0xD7) => match Objects::inside(octets, 0xD7)?.get(0xA4)? {
                &[timer_id] => Ok(Envelope::TimerExpiration { timer_id }),
                _ => Err(MalformedTlv::Value { tag: 0xA4 }),
            },
            Some(0xD6) => Ok(Envelope::Event(read_event(octets)?)),
            other => Err(MalformedTlv::UnknownCommand { kind: other.copied().unwrap_or(0) }),
        }
    }

    fn outer(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut octets = Vec::new();
        tlv::push(&mut octets, tag, body);
        octets
    }
}

/// Unit and value: seconds to 255, then whole minutes.
fn duration(span: Duration) -> [u8; 2] {
    match u8::try_from(span.as_secs()) {
        Ok(seconds) => [0x01, seconds.max(1)],
        Err(_) => [0x00, u8::try_from(span.as_secs() / 60).unwrap_or(u8::MAX)],
    }
}

fn read_duration(value: &[u8]) -> Result<Duration, MalformedTlv> {
    match value {
        [0x00, minutes] => Ok(Duration::from_secs(u64::from(*minutes) * 60)),
        [0x01, seconds] => Ok(Duration::from_secs(u64::from(*seconds))),
        [0x02, tenths] => Ok(Duration::from_millis(u64::from(*tenths) * 100)),
        _ => Err(MalformedTlv::Value { tag: 0x84 }),
    }
}

/// Hours, minutes, seconds in swapped BCD.
fn timer_value(span: Duration) -> [u8; 3] {
    let seconds = span.as_secs().min(24 * 3600);
    [seconds / 3600, seconds / 60 % 60, seconds % 60].map(|part| {
        let part = u8::try_from(part).unwrap_or(0);
        ((part % 10) << 4) | (part / 10)
    })
}

fn read_timer_value(value: &[u8]) -> Result<Duration, MalformedTlv> {
    let &[hours, minutes, seconds] = value else { return Err(MalformedTlv::Value { tag: 0xA5 }) };
    let number = |octet: u8| u64::from(octet & 0x0F) * 10 + u64::from(octet >> 4);
    Ok(Duration::from_secs(number(hours) * 3600 + number(minutes) * 60 + number(seconds)))
}

/// Number of files, then full paths from the MF.
fn file_list(files: &[Path]) -> Vec<u8> {
    let mut value = vec![u8::try_from(files.len()).unwrap_or(u8::MAX)];
    for path in files {
        value.extend(crate::files::MF.to_be_bytes());
        if path.df != crate::files::MF {
            value.extend(path.df.to_be_bytes());
        }
        value.extend(path.ef.to_be_bytes());
    }
    value
}

/// Paths of one DF level; a phone needs no deeper ones here.
fn read_file_list(value: &[u8]) -> Vec<Path> {
    let (identifiers, _) = value.get(1..).unwrap_or_default().as_chunks::<2>();
    let identifiers: Vec<u16> = identifiers.iter().map(|octets| u16::from_be_bytes(*octets)).collect();
    identifiers
        .split(|identifier| *identifier == crate::files::MF)
        .filter_map(|path| match path {
            [ef] => Some(Path { df: crate::files::MF, ef: *ef }),
            [.., df, ef] => Some(Path { df: *df, ef: *ef }),
            [] => None,
        })
        .collect()
}

/// DCS 04 (8-bit GSM) where the text fits the alphabet, else 08 (UCS-2); at most 240 octets.
fn text_string(text: &str) -> Vec<u8> {
    let mut value = match sms::alphabet::gsm7::encode(text) {
        Ok(septets) => [vec![0x04], septets].concat(),
        Err(_) => std::iter::once(0x08).chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect(),
    };
    value.truncate(241);
    value
}

fn read_text_string(value: &[u8]) -> String {
    match value.split_first() {
        Some((0x08, text)) => {
            let (units, _) = text.as_chunks::<2>();
            String::from_utf16_lossy(&units.iter().map(|unit| u16::from_be_bytes(*unit)).collect::<Vec<_>>())
        }
        Some((0x00, text)) => sms::alphabet::gsm7::decode(&sms::alphabet::gsm7::unpack(text, text.len() * 8 / 7, 0)),
        Some((_, text)) => sms::alphabet::gsm7::decode(text),
        None => String::new(),
    }
}

fn read_item(value: &[u8]) -> Option<(u8, String)> {
    let (item, text) = value.split_first()?;
    Some((*item, crate::phonebook::decode_alpha(text)))
}
