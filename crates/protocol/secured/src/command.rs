//! The command packet (TS 102 225 5.1): application data from one side to the other.
//!
//! CPL 2, CHL 1, SPI 2, KIc 1, KID 1, TAR 3, then CNTR 5, PCNTR 1, check value, data and padding; what follows the TAR is
//! ciphered when the SPI says so.

use subtle::ConstantTimeEq;

use crate::{
    Fault, KeySet, Spi, Tar, crypto,
    parameters::{Check, CounterMode},
};

/// CPL, CHL, SPI, KIc, KID and TAR: what is never ciphered.
const CLEAR_OCTETS: usize = 10;
/// SPI to TAR, and CNTR and PCNTR: what CHL counts beside the check value.
const HEADER_OCTETS: usize = 13;
/// CNTR and PCNTR.
const COUNTER_OCTETS: usize = 6;
/// Data of one packet: its length field has two octets.
const DATA_OCTETS_MAX: usize = 65_000;

/// A command, open.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    pub spi: Spi,
    pub tar: Tar,
    /// 40 bits.
    pub counter: u64,
    pub data: Vec<u8>,
}

/// The data may be personal: only its size is shown.
impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command")
            .field("spi", &self.spi)
            .field("tar", &self.tar)
            .field("counter", &self.counter)
            .field("data_octets", &self.data.len())
            .finish()
    }
}

/// What a packet says of itself before anything is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub spi: Spi,
    pub kic: u8,
    pub kid: u8,
    pub tar: Tar,
}

impl Header {
    /// Reads what is never ciphered.
    ///
    /// # Errors
    /// A [`Fault`]: the packet is too short, its length is another than it says, or its SPI is not supported.
    pub fn read(packet: &[u8]) -> Result<Self, Fault> {
        let short = Fault::Short { expected: CLEAR_OCTETS + COUNTER_OCTETS, actual: packet.len() };
        let &[cpl_high, cpl_low, _, spi_1, spi_2, kic, kid, tar_1, tar_2, tar_3, ref rest @ ..] = packet else {
            return Err(short);
        };
        if rest.len() < COUNTER_OCTETS {
            return Err(short);
        }
        let told = usize::from(u16::from_be_bytes([cpl_high, cpl_low]));
        if told != packet.len() - 2 {
            return Err(Fault::Length { field: "CPL", told, actual: packet.len() - 2 });
        }
        Ok(Self { spi: Spi::from_octets([spi_1, spi_2])?, kic, kid, tar: [tar_1, tar_2, tar_3] })
    }
}

/// The packet from CPL on, without a user data header. With a counter mode of none the counter goes as zero.
///
/// # Errors
/// [`Fault::TooLong`] for data beyond 65 000 octets.
pub fn seal(command: &Command, keys: &KeySet) -> Result<Vec<u8>, Fault> {
    let Command { spi, tar, counter, data } = command;
    if data.len() > DATA_OCTETS_MAX {
        return Err(Fault::TooLong { octets: data.len() });
    }
    let kid = kid_octet(*spi, keys);
    let check_octets = crypto::check_octets(spi.check, kid).unwrap_or_default();
    let block = if spi.is_ciphered { keys.kic.block_octets() } else { 1 };
    let open = COUNTER_OCTETS + check_octets + data.len();
    let padding = open.next_multiple_of(block) - open;
    let total = CLEAR_OCTETS + open + padding;
    let counter = if spi.counter == CounterMode::None { 0 } else { *counter };

    let mut packet = Vec::with_capacity(total);
    packet.extend(u16::try_from(total - 2).unwrap_or(u16::MAX).to_be_bytes());
    packet.push(u8::try_from(HEADER_OCTETS + check_octets).unwrap_or(u8::MAX));
    packet.extend(spi.to_octets());
    packet.extend([keys.kic_octet(), kid]);
    packet.extend(tar);
    packet.extend(counter.to_be_bytes().get(3..).unwrap_or_default());
    packet.push(u8::try_from(padding).unwrap_or(u8::MAX));
    let header = packet.len();
    packet.extend(data);
    packet.resize(packet.len() + padding, 0);
    let check = crypto::check_value(spi.check, kid, &keys.kid, &packet);
    packet.splice(header..header, check);
    if let Some(secret) = packet.get_mut(CLEAR_OCTETS..)
        && spi.is_ciphered
    {
        crypto::encrypt(&keys.kic, secret);
    }
    Ok(packet)
}

/// With a redundancy check KID names which one: CRC-32.
fn kid_octet(spi: Spi, keys: &KeySet) -> u8 {
    match spi.check {
        Check::RedundancyCheck => keys.index << 4 | 0x5,
        Check::None | Check::CryptographicChecksum => keys.kid_octet(),
    }
}

/// Deciphers and checks a packet that its owner found these keys for. The counter is not compared: see
/// [`crate::counter`].
///
/// # Errors
/// A [`Fault`]; nothing of the packet is to be believed.
pub fn open(packet: &[u8], keys: &KeySet) -> Result<Command, Fault> {
    let header = Header::read(packet)?;
    let Header { spi, kic, kid, tar } = header;
    let is_checked_by_key = spi.check == Check::CryptographicChecksum;
    if (spi.is_ciphered && kic != keys.kic_octet()) || (is_checked_by_key && kid != keys.kid_octet()) {
        return Err(Fault::OtherKeys { kic, kid });
    }
    let [high, low] = spi.to_octets();
    let unsupported = Fault::Unsupported { spi: u16::from_be_bytes([high, low]), what: "this redundancy check" };
    let check_octets = crypto::check_octets(spi.check, kid).ok_or(unsupported)?;
    let told = usize::from(packet.get(2).copied().unwrap_or_default());
    if told != HEADER_OCTETS + check_octets {
        return Err(Fault::Length { field: "CHL", told, actual: HEADER_OCTETS + check_octets });
    }
    let mut open = packet.to_vec();
    let secret = open.get_mut(CLEAR_OCTETS..).unwrap_or_default();
    if spi.is_ciphered {
        let block = keys.kic.block_octets();
        if !secret.len().is_multiple_of(block) {
            return Err(Fault::Blocks { octets: secret.len(), block });
        }
        crypto::decrypt(&keys.kic, secret);
    }
    let Some((counter, body)) = secret.split_at_checked(COUNTER_OCTETS) else {
        return Err(Fault::Short { expected: CLEAR_OCTETS + COUNTER_OCTETS, actual: packet.len() });
    };
    let Some((told, data)) = body.split_at_checked(check_octets) else {
        let expected = CLEAR_OCTETS + COUNTER_OCTETS + check_octets;
        return Err(Fault::Short { expected, actual: packet.len() });
    };
    let &[c1, c2, c3, c4, c5, padding] = counter else { return Err(Fault::CheckFailed) };
    let (told, data) = (told.to_vec(), data.to_vec());
    // What the check covers is the packet without the check value.
    open.drain(CLEAR_OCTETS + COUNTER_OCTETS..CLEAR_OCTETS + COUNTER_OCTETS + check_octets);
    let computed = crypto::check_value(spi.check, kid, &keys.kid, &open);
    if !bool::from(computed.ct_eq(&told)) {
        return Err(Fault::CheckFailed);
    }
    let counter = u64::from_be_bytes([0, 0, 0, c1, c2, c3, c4, c5]);
    let data = without_padding(data, padding, if spi.is_ciphered { keys.kic.block_octets() } else { 1 })?;
    Ok(Command { spi, tar, counter, data })
}

/// Less than a block of padding, and no more than there is.
pub(crate) fn without_padding(mut data: Vec<u8>, padding: u8, block: usize) -> Result<Vec<u8>, Fault> {
    let padding = usize::from(padding);
    let kept = data.len().checked_sub(padding).filter(|_| padding < block);
    let kept = kept.ok_or(Fault::Padding { padding, limit: block.min(data.len() + 1) })?;
    data.truncate(kept);
    Ok(data)
}

/// Octets of application data that a packet with these parameters takes when it has `octets` in all, as 137 in one short
/// message.
#[must_use]
pub fn data_octets(spi: Spi, keys: &KeySet, octets: usize) -> usize {
    let check = crypto::check_octets(spi.check, kid_octet(spi, keys)).unwrap_or_default();
    let secret = octets.saturating_sub(CLEAR_OCTETS);
    let block = if spi.is_ciphered { keys.kic.block_octets() } else { 1 };
    (secret / block * block).saturating_sub(COUNTER_OCTETS + check)
}
