//! Command and response APDUs of the classic SIM (class A0, TS 51.011 clause 9) and the UICC (classes 00 and 80, TS 102
//! 221 clause 10), T=0.

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

/// P2 of READ and UPDATE RECORD: the record after, or before, the current one.
pub const NEXT: u8 = 0x02;
pub const PREVIOUS: u8 = 0x03;

/// A command as it came: header, data, and how much is expected. T=0 sends cases 1 to 3; PC/SC tools send case 4 too, with Le
/// behind the data (ISO 7816-3 12.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    pub class: u8,
    pub instruction: u8,
    pub p1: u8,
    pub p2: u8,
    pub data: &'a [u8],
    /// Octets expected in case 2 (P3 = 0: 256); `None`: no response data is asked for by this command.
    pub expected: Option<usize>,
}

impl<'a> Command<'a> {
    /// `None`: less than a header, or P3 and the data contradict each other.
    #[must_use]
    pub fn read(octets: &'a [u8]) -> Option<Self> {
        let (&[class, instruction, p1, p2], body) = octets.split_first_chunk::<4>()?;
        let (data, expected): (&[u8], _) = match body {
            [] => (&[], None),
            [0] => (&[], Some(256)),
            [p3] => (&[], Some(usize::from(*p3))),
            [p3, data @ ..] if data.len() == usize::from(*p3) => (data, None),
            [p3, data @ .., _le] if data.len() == usize::from(*p3) && *p3 > 0 => (data, None),
            _ => return None,
        };
        Some(Self { class, instruction, p1, p2, data, expected })
    }
}

/// INS octets.
pub mod instruction {
    pub const INVALIDATE: u8 = 0x04;
    pub const TERMINAL_PROFILE: u8 = 0x10;
    pub const FETCH: u8 = 0x12;
    pub const TERMINAL_RESPONSE: u8 = 0x14;
    pub const VERIFY_CHV: u8 = 0x20;
    pub const CHANGE_CHV: u8 = 0x24;
    pub const DISABLE_CHV: u8 = 0x26;
    pub const ENABLE_CHV: u8 = 0x28;
    pub const UNBLOCK_CHV: u8 = 0x2C;
    pub const REHABILITATE: u8 = 0x44;
    pub const MANAGE_CHANNEL: u8 = 0x70;
    /// SEEK of the SIM, SEARCH RECORD of the UICC.
    pub const SEEK: u8 = 0xA2;
    pub const SELECT: u8 = 0xA4;
    pub const TERMINAL_CAPABILITY: u8 = 0xAA;
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
    pub const TECHNICAL_PROBLEM: Self = Self(0x6F00);

    /// Octets wait for GET RESPONSE: 9Fxx of the SIM, 61xx of the UICC.
    #[must_use]
    pub fn response_waits(dialect: Dialect, octets: usize) -> Self {
        let word = match dialect {
            Dialect::Sim => 0x9F00,
            Dialect::Uicc => 0x6100,
        };
        Self(word | low(octets))
    }

    /// 91xx: done, and a proactive command of xx octets waits for FETCH (00: 256).
    #[must_use]
    pub fn command_waits(octets: usize) -> Self {
        Self(0x9100 | low(octets))
    }

    /// 9000, 91xx, 9Fxx or 61xx.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self.0 >> 8, 0x90 | 0x91 | 0x9F | 0x61)
    }

    /// xx of 91xx, as a length.
    #[must_use]
    pub fn waiting_command_octets(self) -> Option<usize> {
        let octets = usize::from(self.0 & 0xFF);
        (self.0 >> 8 == 0x91).then_some(if octets == 0 { 256 } else { octets })
    }
}

/// Whose words a command is answered in: by its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Class A0 (TS 51.011 9.4).
    Sim,
    /// Classes 00 and 80 (TS 102 221 10.2).
    Uicc,
}

/// Why the card did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Data of another length than this.
    DataLength {
        expected: usize,
    },
    /// Le is not the length of the response.
    Expected {
        available: usize,
    },
    NoEfSelected,
    /// Octets beyond the end of a transparent file.
    Offset,
    RecordNotFound,
    FileNotFound,
    PatternNotFound,
    FileKind,
    AccessCondition,
    WrongChv {
        tries_left: u8,
    },
    ChvBlocked,
    NoSuchChv,
    /// Enabled or disabled already, or verified although disabled.
    ChvState,
    Invalidated,
    Parameters,
    Instruction,
    Class,
    /// Only the basic logical channel is there.
    LogicalChannel,
    Technical,
}

impl Refusal {
    /// SW1 and SW2 in the words of the command's class.
    #[must_use]
    pub fn word(self, dialect: Dialect) -> StatusWord {
        let (sim, uicc) = match self {
            Self::DataLength { expected } => (0x6700 | low(expected), 0x6700),
            Self::Expected { available: 0 } => (0x6700, 0x6700),
            Self::Expected { available } => (0x6700 | low(available), 0x6C00 | low(available)),
            Self::NoEfSelected => (0x9400, 0x6986),
            Self::Offset => (0x9402, 0x6B00),
            Self::RecordNotFound => (0x9402, 0x6A83),
            Self::FileNotFound => (0x9404, 0x6A82),
            Self::PatternNotFound => (0x9404, 0x6282),
            Self::FileKind => (0x9408, 0x6981),
            Self::AccessCondition => (0x9804, 0x6982),
            Self::WrongChv { tries_left: 0 } => (0x9840, 0x63C0),
            Self::WrongChv { tries_left } => (0x9804, 0x63C0 | u16::from(tries_left & 0x0F)),
            Self::ChvBlocked => (0x9840, 0x6983),
            Self::NoSuchChv => (0x9802, 0x6A88),
            Self::ChvState => (0x9808, 0x6985),
            Self::Invalidated => (0x9810, 0x6984),
            Self::Parameters => (0x6B00, 0x6B00),
            Self::Instruction => (0x6D00, 0x6D00),
            Self::Class => (0x6E00, 0x6E00),
            Self::LogicalChannel => (0x6E00, 0x6881),
            Self::Technical => (0x6F00, 0x6F00),
        };
        StatusWord(match dialect {
            Dialect::Sim => sim,
            Dialect::Uicc => uicc,
        })
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
