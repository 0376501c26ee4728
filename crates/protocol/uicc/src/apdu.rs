//! Command and response APDUs of the classic SIM, class A0, T=0 (TS 51.011 clause 9).

/// Builders of the commands that a phone sends; P3 is the length of data, or of what is expected (0: 256).
pub mod command {
    use super::{CLASS, instruction as ins};

    /// SELECT by file identifier.
    #[must_use]
    pub fn select(file: u16) -> Vec<u8> {
        with_data(ins::SELECT, 0, 0, &file.to_be_bytes())
    }

    /// READ RECORD, absolute mode.
    #[must_use]
    pub fn read_record(record_number: u8, octets: u8) -> Vec<u8> {
        vec![CLASS, ins::READ_RECORD, record_number, super::ABSOLUTE, octets]
    }

    /// UPDATE RECORD, absolute mode.
    #[must_use]
    pub fn update_record(record_number: u8, octets: &[u8]) -> Vec<u8> {
        with_data(ins::UPDATE_RECORD, record_number, super::ABSOLUTE, octets)
    }

    #[must_use]
    pub fn read_binary(offset: u16, octets: u8) -> Vec<u8> {
        let [high, low] = offset.to_be_bytes();
        vec![CLASS, ins::READ_BINARY, high, low, octets]
    }

    #[must_use]
    pub fn update_binary(offset: u16, octets: &[u8]) -> Vec<u8> {
        let [high, low] = offset.to_be_bytes();
        with_data(ins::UPDATE_BINARY, high, low, octets)
    }

    #[must_use]
    pub fn status(octets: u8) -> Vec<u8> {
        vec![CLASS, ins::STATUS, 0, 0, octets]
    }

    /// VERIFY CHV1, 8 octets, padded with FF.
    #[must_use]
    pub fn verify_chv1(chv: &[u8; 8]) -> Vec<u8> {
        with_data(ins::VERIFY_CHV, 0, 1, chv)
    }

    #[must_use]
    pub fn get_response(octets: u8) -> Vec<u8> {
        vec![CLASS, ins::GET_RESPONSE, 0, 0, octets]
    }

    #[must_use]
    pub fn terminal_profile(profile: &[u8]) -> Vec<u8> {
        with_data(ins::TERMINAL_PROFILE, 0, 0, profile)
    }

    #[must_use]
    pub fn fetch(octets: u8) -> Vec<u8> {
        vec![CLASS, ins::FETCH, 0, 0, octets]
    }

    #[must_use]
    pub fn terminal_response(tlvs: &[u8]) -> Vec<u8> {
        with_data(ins::TERMINAL_RESPONSE, 0, 0, tlvs)
    }

    #[must_use]
    pub fn envelope(tlvs: &[u8]) -> Vec<u8> {
        with_data(ins::ENVELOPE, 0, 0, tlvs)
    }

    /// Data beyond 255 octets cannot be said in P3 and is cut; no caller has that much.
    fn with_data(instruction: u8, p1: u8, p2: u8, data: &[u8]) -> Vec<u8> {
        let length = u8::try_from(data.len()).unwrap_or(u8::MAX);
        let mut octets = vec![CLASS, instruction, p1, p2, length];
        octets.extend(data.iter().take(usize::from(length)));
        octets
    }
}

/// Class of every SIM command.
pub const CLASS: u8 = 0xA0;
/// P2 of READ and UPDATE RECORD: the record number is in P1.
pub const ABSOLUTE: u8 = 0x04;

/// INS octets.
pub mod instruction {
    pub const TERMINAL_PROFILE: u8 = 0x10;
    pub const FETCH: u8 = 0x12;
    pub const TERMINAL_RESPONSE: u8 = 0x14;
    pub const VERIFY_CHV: u8 = 0x20;
    pub const SELECT: u8 = 0xA4;
    pub const READ_BINARY: u8 = 0xB0;
    pub const READ_RECORD: u8 = 0xB2;
    pub const GET_RESPONSE: u8 = 0xC0;
    pub const ENVELOPE: u8 = 0xC2;
    pub const UPDATE_BINARY: u8 = 0xD6;
    pub const UPDATE_RECORD: u8 = 0xDC;
    pub const STATUS: u8 = 0xF2;
}

/// SW1 and SW2 (TS 51.011 9.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusWord(pub u16);

impl StatusWord {
    pub const DONE: Self = Self(0x9000);
    pub const MEMORY_PROBLEM: Self = Self(0x9240);
    pub const NO_EF_SELECTED: Self = Self(0x9400);
    pub const OUT_OF_RANGE: Self = Self(0x9402);
    pub const FILE_NOT_FOUND: Self = Self(0x9404);
    pub const FILE_KIND_INCONSISTENT: Self = Self(0x9408);
    pub const ACCESS_NOT_FULFILLED: Self = Self(0x9804);
    pub const CHV_BLOCKED: Self = Self(0x9840);
    pub const WRONG_PARAMETERS: Self = Self(0x6B00);
    pub const UNKNOWN_INSTRUCTION: Self = Self(0x6D00);
    pub const WRONG_CLASS: Self = Self(0x6E00);
    pub const TECHNICAL_PROBLEM: Self = Self(0x6F00);

    /// 67xx: P3 should have been xx.
    #[must_use]
    pub fn wrong_length(expected: usize) -> Self {
        Self(0x6700 | low(expected))
    }

    /// 9Fxx: xx octets wait for GET RESPONSE.
    #[must_use]
    pub fn response_waits(octets: usize) -> Self {
        Self(0x9F00 | low(octets))
    }

    /// 91xx: done, and a proactive command of xx octets waits for FETCH (00: 256).
    #[must_use]
    pub fn command_waits(octets: usize) -> Self {
        Self(0x9100 | low(octets))
    }

    /// 9000, 91xx or 9Fxx.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self.0 >> 8, 0x90 | 0x91 | 0x9F)
    }

    /// xx of 91xx, as a length.
    #[must_use]
    pub fn waiting_command_octets(self) -> Option<usize> {
        let octets = usize::from(self.0 & 0xFF);
        (self.0 >> 8 == 0x91).then_some(if octets == 0 { 256 } else { octets })
    }
}

/// 256 and above are written as their low octet: 256 is 00.
fn low(octets: usize) -> u16 {
    u16::try_from(octets & 0xFF).unwrap_or(0)
}

/// Data and status word of a response; `None` when it is shorter than a status word.
#[must_use]
pub fn split(response: &[u8]) -> Option<(&[u8], StatusWord)> {
    let (data, word) = response.split_last_chunk::<2>()?;
    Some((data, StatusWord(u16::from_be_bytes(*word))))
}
