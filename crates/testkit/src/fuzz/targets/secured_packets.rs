//! Secured packets: what opens was made by somebody who has the keys, and is made again octet for octet.

use secured::{
    Key, KeySet, Spi,
    command::{self, Command, Header},
    parameters::{Check, CounterMode, ProofOfReceipt},
    response::{self, Response, Status},
};

use super::{Reading, Target, Verdict, hex, seen};

pub(super) fn all() -> Vec<Target> {
    vec![commands(), responses(), sealing()]
}

fn key<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|at| first.wrapping_add(u8::try_from(at).unwrap_or(0).wrapping_mul(17)))
}

fn key_sets() -> [KeySet; 3] {
    [
        KeySet { index: 2, kic: Key::Aes128(key(1)), kid: Key::Aes128(key(2)) },
        KeySet { index: 3, kic: Key::TripleDesTwoKeys(key(3)), kid: Key::TripleDesTwoKeys(key(4)) },
        KeySet { index: 4, kic: Key::Aes256(key(5)), kid: Key::Aes256(key(6)) },
    ]
}

fn parameters() -> [Spi; 4] {
    let proven = Spi {
        proof: ProofOfReceipt::Always,
        proof_check: Check::CryptographicChecksum,
        is_proof_ciphered: true,
        ..Spi::CIPHER
    };
    let bare = Spi { check: Check::RedundancyCheck, counter: CounterMode::None, ..Spi::INTEGRITY };
    [Spi::INTEGRITY, Spi::CIPHER, proven, bare]
}

fn packet(spi: Spi, keys: &KeySet, data: &[u8]) -> Vec<u8> {
    let command = Command { spi, tar: [0xB0, 0x01, 0x20], counter: 77, data: data.to_vec() };
    command::seal(&command, keys).expect("few octets")
}

fn commands() -> Target {
    let data = hex("0A0001424F42");
    let sets = key_sets();
    let seeds: Vec<Vec<u8>> = sets.iter().flat_map(|keys| parameters().map(|spi| packet(spi, keys, &data))).collect();
    let genuine = seeds.clone();
    Target::new("secured-command", seeds, move |octets| {
        seen(Header::read(octets));
        let mut reading = Reading::Refused;
        for keys in &sets {
            let Ok(command) = command::open(octets, keys) else { continue };
            reading = Reading::Understood;
            let resealed = command::seal(&command, keys);
            super::same(&command, &resealed.clone().and_then(|packet| command::open(&packet, keys)))?;
            if command.spi.check == Check::CryptographicChecksum && !genuine.iter().any(|each| each == octets) {
                // Padding, and fields that a mode of no counter leaves free, are part of what is checked.
                return Err("a packet that nobody made passes its cryptographic check".to_owned());
            }
        }
        Ok(reading)
    })
}

fn responses() -> Target {
    let sets = key_sets();
    let response =
        Response { tar: [0xB0, 0x01, 0x20], counter: 77, status: Status::from_octet(0), data: hex("020102") };
    let seeds = sets
        .iter()
        .flat_map(|keys| parameters().map(|spi| response::seal(&response, spi, keys).expect("few octets")))
        .collect();
    Target::new("secured-response", seeds, move |octets| {
        let mut understood = false;
        for keys in &sets {
            for spi in parameters() {
                let Ok(response) = response::open(octets, spi, keys) else { continue };
                understood = true;
                let resealed = response::seal(&response, spi, keys);
                super::same(&response, &resealed.and_then(|packet| response::open(&packet, spi, keys)))?;
            }
        }
        Ok(Reading::of(understood))
    })
}

/// The input as data: what is sealed opens, and with one bit flipped it does not.
fn sealing() -> Target {
    let sets = key_sets();
    Target::new("secured-data", vec![hex("0A0001424F42"), Vec::new(), vec![0xFF; 98]], move |octets| {
        let keys = &sets[octets.len() % sets.len()];
        for spi in [Spi::INTEGRITY, Spi::CIPHER] {
            let command = Command { spi, tar: [1, 2, 3], counter: 5, data: octets.to_vec() };
            let sealed = command::seal(&command, keys).map_err(|fault| fault.to_string())?;
            super::same(&command, &command::open(&sealed, keys))?;
            flipped(&sealed, octets, keys)?;
        }
        Ok(Reading::Understood)
    })
}

/// Which bit: the data says.
fn flipped(sealed: &[u8], data: &[u8], keys: &KeySet) -> Verdict {
    let sum = data.iter().fold(data.len(), |sum, &octet| sum.wrapping_mul(31).wrapping_add(usize::from(octet)));
    let mut forged = sealed.to_vec();
    let bit = sum % (8 * forged.len());
    forged[bit / 8] ^= 1 << (bit % 8);
    match command::open(&forged, keys) {
        Ok(opened) if opened.spi.suffices(Spi::INTEGRITY) => Err(format!("bit {bit} does not count")),
        _ => Ok(Reading::Refused),
    }
}
