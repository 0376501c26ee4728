//! Every decoder of the project: what of the octets that come from cards, phones, message centres and stores is read.

mod cards;
mod messages;
mod secured_packets;
mod short_messages;
mod stored;

use super::{Reading, Target, Verdict};

/// All of them.
#[must_use]
pub fn all() -> Vec<Target> {
    [messages::all(), secured_packets::all(), short_messages::all(), cards::all(), stored::all()]
        .into_iter()
        .flatten()
        .collect()
}

/// The entry of the vectors: Bob.
const BOB: &str = "424F42FFFFFFFFFFFFFFFFFFFFFF069100113254F6FFFFFFFFFFFFFF";

/// Hexadecimal text to octets; everything else in it is passed over.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|each| each.to_digit(16)).map(|digit| digit.to_le_bytes()[0]).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Only that it comes to an end is looked at.
fn seen<T>(value: T) {
    drop(std::hint::black_box(value));
}

fn hex_all(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| hex(text)).collect()
}

/// Reads; what was understood must be the same when it is written and read again.
fn again<T: PartialEq + std::fmt::Debug, E: std::fmt::Debug>(
    octets: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> Verdict {
    let Ok(value) = decode(octets) else { return Ok(Reading::Refused) };
    same(&value, &decode(&encode(&value))).map(|()| Reading::Understood)
}

fn same<T: PartialEq + std::fmt::Debug, E: std::fmt::Debug>(value: &T, read: &Result<T, E>) -> Result<(), String> {
    match read {
        Ok(read) if read == value => Ok(()),
        other => Err(format!("written and read again it is {other:?}, it was {value:?}")),
    }
}

/// As [`again`] where writing may round: once written, it is written the same for ever.
fn settles<T, E: std::fmt::Debug>(
    octets: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> Verdict {
    let Ok(value) = decode(octets) else { return Ok(Reading::Refused) };
    let written = encode(&value);
    let read = decode(&written).map_err(|error| format!("written as {written:02X?} it is not read: {error:?}"))?;
    let again = encode(&read);
    if again == written {
        Ok(Reading::Understood)
    } else {
        Err(format!("{written:02X?} is written again as {again:02X?}"))
    }
}

/// The first fault of several readings; understood when one of them was.
fn any(readings: impl IntoIterator<Item = Verdict>) -> Verdict {
    let mut understood = false;
    for reading in readings {
        understood |= reading? == Reading::Understood;
    }
    Ok(Reading::of(understood))
}
