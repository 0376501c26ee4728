//! Objects of the bearer independent protocol: where a channel leads and how it does (TS 102 223 8.52 to 8.60).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::tlv::{self, MalformedTlv, Objects};

/// Tags with comprehension not required, as published examples have them.
pub(crate) mod tag {
    pub const BEARER: u8 = 0x35;
    pub const DATA: u8 = 0xB6;
    pub const DATA_LENGTH: u8 = 0xB7;
    pub const STATUS: u8 = 0x38;
    pub const BUFFER: u8 = 0x39;
    pub const TRANSPORT: u8 = 0x3C;
    pub const ADDRESS: u8 = 0x3E;
    pub const NETWORK: u8 = 0x47;
}

/// What OPEN CHANNEL asks for: a TCP connection to an address, on the phone's default bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenChannel {
    /// The most octets of one SEND DATA or RECEIVE DATA.
    pub buffer_octets: u16,
    /// Network access name, in its text form `label.label`; empty: the phone's own.
    pub network: String,
    pub to: SocketAddr,
}

/// Channel and whether its link is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelStatus {
    /// 1 to 7; 0: none is open.
    pub channel: u8,
    pub is_up: bool,
    /// Further information: 05 the link was dropped.
    pub information: u8,
}

/// The link was dropped, by the other end or the network.
pub const LINK_DROPPED: u8 = 0x05;
/// Octets of channel data in one command at most: with all objects around it stays below 255.
pub const DATA_OCTETS_MAX: usize = 200;
const DEFAULT_BEARER: u8 = 0x03;
const TCP_CLIENT: u8 = 0x02;

impl ChannelStatus {
    pub(crate) fn octets(self) -> [u8; 2] {
        [(u8::from(self.is_up) << 7) | (self.channel & 0x07), self.information]
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, MalformedTlv> {
        let &[first, information] = value else { return Err(MalformedTlv::Value { tag: tag::STATUS }) };
        Ok(Self { channel: first & 0x07, is_up: first & 0x80 != 0, information })
    }
}

impl OpenChannel {
    pub(crate) fn push(&self, body: &mut Vec<u8>) {
        tlv::push(body, tag::BEARER, &[DEFAULT_BEARER]);
        tlv::push(body, tag::BUFFER, &self.buffer_octets.to_be_bytes());
        if !self.network.is_empty() {
            tlv::push(body, tag::NETWORK, &labels(&self.network));
        }
        let [high, low] = self.to.port().to_be_bytes();
        tlv::push(body, tag::TRANSPORT, &[TCP_CLIENT, high, low]);
        let address = match self.to.ip() {
            IpAddr::V4(address) => [&[0x21][..], &address.octets()].concat(),
            IpAddr::V6(address) => [&[0x57][..], &address.octets()].concat(),
        };
        tlv::push(body, tag::ADDRESS, &address);
    }

    pub(crate) fn read(objects: &Objects) -> Result<Self, MalformedTlv> {
        let buffer = objects.get(tag::BUFFER)?;
        let &[TCP_CLIENT, high, low] = objects.get(tag::TRANSPORT)? else {
            return Err(MalformedTlv::Value { tag: tag::TRANSPORT });
        };
        let address: IpAddr = match objects.get(tag::ADDRESS)? {
            &[0x21, a, b, c, d] => Ipv4Addr::new(a, b, c, d).into(),
            [0x57, octets @ ..] => {
                let octets: [u8; 16] = octets.try_into().map_err(|_| MalformedTlv::Value { tag: tag::ADDRESS })?;
                Ipv6Addr::from(octets).into()
            }
            _ => return Err(MalformedTlv::Value { tag: tag::ADDRESS }),
        };
        Ok(Self {
            buffer_octets: buffer
                .try_into()
                .map(u16::from_be_bytes)
                .map_err(|_| MalformedTlv::Value { tag: tag::BUFFER })?,
            network: objects.find(tag::NETWORK).map(read_labels).unwrap_or_default(),
            to: SocketAddr::new(address, u16::from_be_bytes([high, low])),
        })
    }
}

/// Each label with its length before it (TS 23.003 9.1).
fn labels(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.') {
        let label = label.as_bytes().get(..63).unwrap_or(label.as_bytes());
        octets.push(u8::try_from(label.len()).unwrap_or(63));
        octets.extend(label);
    }
    octets
}

/// What has no end is left out.
fn read_labels(mut octets: &[u8]) -> String {
    let mut labels = Vec::new();
    while let Some((&length, rest)) = octets.split_first() {
        let Some((label, after)) = rest.split_at_checked(usize::from(length)) else { break };
        labels.push(String::from_utf8_lossy(label).into_owned());
        octets = after;
    }
    labels.join(".")
}
