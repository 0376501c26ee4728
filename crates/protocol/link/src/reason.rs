//! Result codes (D-10) and reason codes (D-11), one octet each.

/// Result: the record was stored or written.
pub const SUCCESS: u8 = 0x00;
/// Result: try again later.
pub const TEMPORARY_FAILURE: u8 = 0x01;
/// Result: the same record will fail again.
pub const PERMANENT_FAILURE: u8 = 0x02;

/// What a result octet means; any value but the three counts as temporary (D-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Success,
    TemporaryFailure,
    PermanentFailure,
}

impl Outcome {
    #[must_use]
    pub fn from_octet(octet: u8) -> Self {
        match octet {
            SUCCESS => Self::Success,
            PERMANENT_FAILURE => Self::PermanentFailure,
            _ => Self::TemporaryFailure,
        }
    }

    #[must_use]
    pub fn to_octet(self) -> u8 {
        match self {
            Self::Success => SUCCESS,
            Self::TemporaryFailure => TEMPORARY_FAILURE,
            Self::PermanentFailure => PERMANENT_FAILURE,
        }
    }
}

/// Octet 2 of the result of Table 11 (D-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    None = 0x00,
    UnknownFile = 0x01,
    RecordOutOfRange = 0x02,
    BadDataLengthOrOffset = 0x03,
    NotInMonitorTable = 0x04,
    MemoryFault = 0x05,
    AccessDenied = 0x06,
    Busy = 0x07,
    ChecksumMismatch = 0x08,
    UnknownSubscriber = 0x09,
    ServiceOff = 0x0A,
    Malformed = 0x0B,
    Unsupported = 0x0C,
    StorageUnavailable = 0x0D,
    KeyOrCounterRefused = 0x0E,
}

impl Reason {
    pub const ALL: [Self; 15] = [
        Self::None,
        Self::UnknownFile,
        Self::RecordOutOfRange,
        Self::BadDataLengthOrOffset,
        Self::NotInMonitorTable,
        Self::MemoryFault,
        Self::AccessDenied,
        Self::Busy,
        Self::ChecksumMismatch,
        Self::UnknownSubscriber,
        Self::ServiceOff,
        Self::Malformed,
        Self::Unsupported,
        Self::StorageUnavailable,
        Self::KeyOrCounterRefused,
    ];

    /// The octet on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// For metrics and logs: `unknown_subscriber`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::UnknownFile => "unknown_file",
            Self::RecordOutOfRange => "record_out_of_range",
            Self::BadDataLengthOrOffset => "bad_data_length_or_offset",
            Self::NotInMonitorTable => "not_in_monitor_table",
            Self::MemoryFault => "memory_fault",
            Self::AccessDenied => "access_denied",
            Self::Busy => "busy",
            Self::ChecksumMismatch => "checksum_mismatch",
            Self::UnknownSubscriber => "unknown_subscriber",
            Self::ServiceOff => "service_off",
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::StorageUnavailable => "storage_unavailable",
            Self::KeyOrCounterRefused => "key_or_counter_refused",
        }
    }

    /// `None` for an octet that D-11 does not name.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl From<Reason> for u8 {
    fn from(reason: Reason) -> Self {
        reason.code()
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Reason};

    #[test]
    fn results_other_than_the_three_are_temporary() {
        for octet in 0..=u8::MAX {
            let expected = match octet {
                0 => Outcome::Success,
                2 => Outcome::PermanentFailure,
                _ => Outcome::TemporaryFailure,
            };
            assert_eq!(Outcome::from_octet(octet), expected);
        }
    }

    #[test]
    fn reasons_are_their_place_in_the_list() {
        for (code, reason) in (0..).zip(Reason::ALL) {
            assert_eq!(reason.code(), code);
            assert_eq!(Reason::from_code(code), Some(reason));
        }
        assert_eq!(Reason::from_code(0x0F), None);
    }
}
