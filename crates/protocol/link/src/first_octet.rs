//! The registry of first octets: which format a message at the centre's one address is in (D-02).

use crate::pid::Pid;

/// What the first octet of the application data says (after the user data header, and after a secured packet is opened).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstOctet {
    /// 0x00.
    Invalid,
    /// 0x01 to 0x07: a message ID of the first embodiment (D-04).
    FirstEmbodiment(u8),
    /// 0x08 to 0x5F: a PID of the second embodiment.
    SecondEmbodiment(Pid),
    /// 0x80 to 0x87: a message ID of the third embodiment (D-05).
    ThirdEmbodiment(u8),
    /// 0xA0 to 0xA7: the asynchronous mode (D-06).
    Asynchronous(u8),
    /// 0xC0 to 0xC7: transfer between two devices (D-07).
    Transfer(u8),
    /// 0xF0: a secured command packet in an IP frame (D-120).
    SecuredCommand,
    /// 0xF1: a secured response packet in an IP frame (D-120).
    SecuredResponse,
    /// Everything else; answered with reason 0x0C.
    Reserved(u8),
}

/// Looks `octet` up in the registry of D-02; every octet has a place.
#[must_use]
pub fn classify(octet: u8) -> FirstOctet {
    match octet {
        0x00 => FirstOctet::Invalid,
        0x01..=0x07 => FirstOctet::FirstEmbodiment(octet),
        0x80..=0x87 => FirstOctet::ThirdEmbodiment(octet),
        0xA0..=0xA7 => FirstOctet::Asynchronous(octet),
        0xC0..=0xC7 => FirstOctet::Transfer(octet),
        0xF0 => FirstOctet::SecuredCommand,
        0xF1 => FirstOctet::SecuredResponse,
        _ => Pid::from_octet(octet).map_or(FirstOctet::Reserved(octet), FirstOctet::SecondEmbodiment),
    }
}

#[cfg(test)]
mod tests {
    use super::{FirstOctet, classify};

    #[test]
    fn every_octet_has_the_place_of_the_registry() {
        for octet in 0..=u8::MAX {
            let found = classify(octet);
            let expected = match octet {
                0x00 => found == FirstOctet::Invalid,
                0x01..=0x07 => found == FirstOctet::FirstEmbodiment(octet),
                0x08..=0x5F => matches!(found, FirstOctet::SecondEmbodiment(pid) if pid.to_octet() == octet),
                0x80..=0x87 => found == FirstOctet::ThirdEmbodiment(octet),
                0xA0..=0xA7 => found == FirstOctet::Asynchronous(octet),
                0xC0..=0xC7 => found == FirstOctet::Transfer(octet),
                0xF0 => found == FirstOctet::SecuredCommand,
                0xF1 => found == FirstOctet::SecuredResponse,
                _ => found == FirstOctet::Reserved(octet),
            };
            assert!(expected, "{octet:02X} became {found:?}");
        }
    }
}
