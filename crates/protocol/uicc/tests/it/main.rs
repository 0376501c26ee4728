//! The card against the published examples, and against anything.

mod card;
mod chv;
mod phonebook;
mod records;
mod toolkit;
mod uicc;
mod vpcd;

/// Hex with spaces to octets.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|character| character.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).expect("an octet")).collect()
}
