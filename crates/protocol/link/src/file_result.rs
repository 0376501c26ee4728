//! Results by file and record: restore acknowledgement (Table 11) and error (D-16).

use crate::reason::{self, Reason};

/// One record of a restore acknowledgement or an error message, 7 octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileResult {
    pub df: u16,
    pub ef: u16,
    /// 0 when no record is concerned.
    pub record_number: u8,
    /// D-10.
    pub result: u8,
    /// D-11: [`Reason::from_code`] names it; unknown values are kept.
    pub reason: u8,
}

impl FileResult {
    pub const OCTETS: usize = 7;

    /// The record of an error that concerns no file: DF and EF 0000, record 0 (D-16).
    #[must_use]
    pub fn without_file(result: u8, reason: Reason) -> Self {
        Self { df: 0, ef: 0, record_number: 0, result, reason: reason.code() }
    }

    /// Written and well.
    #[must_use]
    pub fn success(df: u16, ef: u16, record_number: u8) -> Self {
        Self { df, ef, record_number, result: reason::SUCCESS, reason: Reason::None.code() }
    }

    #[must_use]
    pub fn to_octets(self) -> [u8; Self::OCTETS] {
        let [df_high, df_low] = self.df.to_be_bytes();
        let [ef_high, ef_low] = self.ef.to_be_bytes();
        [df_high, df_low, ef_high, ef_low, self.record_number, self.result, self.reason]
    }

    #[must_use]
    pub fn from_octets(octets: [u8; Self::OCTETS]) -> Self {
        let [df_high, df_low, ef_high, ef_low, record_number, result, reason] = octets;
        Self {
            df: u16::from_be_bytes([df_high, df_low]),
            ef: u16::from_be_bytes([ef_high, ef_low]),
            record_number,
            result,
            reason,
        }
    }

    /// Records that one message of at most `limit` octets holds: 19 in a short message.
    #[must_use]
    pub fn per_message(limit: usize) -> usize {
        limit.saturating_sub(1) / Self::OCTETS
    }
}
