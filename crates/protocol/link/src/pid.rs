//! The PID, octet 1 of every message: message type in bits 8 to 4, checksum length in bits 3 to 1 (D-01, D-03).

/// The message types by their code (D-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageType {
    Backup = 1,
    BackupAcknowledgement = 2,
    Restore = 3,
    RestoreAcknowledgement = 4,
    AddressableRestore = 5,
    Configuration = 6,
    ConfigurationAcknowledgement = 7,
    RestoreRequest = 8,
    Error = 9,
    CompactBackup = 10,
    CompactRestore = 11,
}

impl MessageType {
    pub const ALL: [Self; 11] = [
        Self::Backup,
        Self::BackupAcknowledgement,
        Self::Restore,
        Self::RestoreAcknowledgement,
        Self::AddressableRestore,
        Self::Configuration,
        Self::ConfigurationAcknowledgement,
        Self::RestoreRequest,
        Self::Error,
        Self::CompactBackup,
        Self::CompactRestore,
    ];

    /// The five-bit code, 1 to 11.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|message_type| message_type.code() == code)
    }

    /// Only the backup types may carry a trailing checksum (D-03, D-120).
    #[must_use]
    pub fn carries_checksum(self) -> bool {
        matches!(self, Self::Backup | Self::CompactBackup)
    }
}

/// Octet 1 of a message. All eight lengths can be expressed; 3 to 7 are refused by the message decoder (D-21).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pid {
    pub message_type: MessageType,
    /// Octets of the trailing checksum, 0 to 7.
    pub checksum_octets: u8,
}

impl Pid {
    /// A PID without checksum: 0x08, 0x10, 0x18 and so on.
    #[must_use]
    pub fn plain(message_type: MessageType) -> Self {
        Self { message_type, checksum_octets: 0 }
    }

    #[must_use]
    pub fn to_octet(self) -> u8 {
        self.message_type.code() << 3 | (self.checksum_octets & CHECKSUM_MASK)
    }

    /// `None` when the type bits name no message type (0x00 to 0x07, 0x60 to 0xFF).
    #[must_use]
    pub fn from_octet(octet: u8) -> Option<Self> {
        let message_type = MessageType::from_code(octet >> 3)?;
        Some(Self { message_type, checksum_octets: octet & CHECKSUM_MASK })
    }
}

const CHECKSUM_MASK: u8 = 0x07;

#[cfg(test)]
mod tests {
    use super::{MessageType, Pid};

    /// Covers: S2-MF-01
    #[test]
    fn the_pid_is_five_bits_of_type_and_three_of_checksum_length() {
        assert_eq!(Pid { message_type: MessageType::Backup, checksum_octets: 2 }.to_octet(), 0x0A);
        for checksum_octets in 0..=7 {
            for message_type in MessageType::ALL {
                let pid = Pid { message_type, checksum_octets };
                assert_eq!(Pid::from_octet(pid.to_octet()), Some(pid));
            }
        }
    }

    /// Covers: S2-MF-02, S2-MF-03
    #[test]
    fn the_types_have_their_codes_in_order() {
        let plain: Vec<u8> = MessageType::ALL.into_iter().map(|each| Pid::plain(each).to_octet()).collect();
        assert_eq!(plain, [0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50, 0x58]);
        assert_eq!(Pid::from_octet(0x07), None);
        assert_eq!(Pid::from_octet(0x60), None);
    }
}
