//! TP-PID (TS 23.040 9.2.3.9).

/// TP-PID as it is on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProtocolId(pub u8);

/// A plain short message, stored in EF_SMS when its class says so (D-59: E1 and E3).
pub const PID_SHORT_MESSAGE: ProtocolId = ProtocolId(0x00);
/// (U)SIM data download: handed straight to the application (D-59: E2).
pub const PID_SIM_DATA_DOWNLOAD: ProtocolId = ProtocolId(0x7F);

/// What a TP-PID asks of the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolIdMeaning {
    /// `00`, and everything that this centre treats alike.
    Plain,
    /// `40`: acknowledged and thrown away.
    TypeZero,
    /// `41` to `47`: replaces an earlier one of the same originator and number.
    Replace(u8),
    /// `7C`.
    Ansi136Data,
    /// `7D`.
    PhoneDataDownload,
    /// `7E`.
    DePersonalisation,
    /// `7F`.
    SimDataDownload,
}

impl ProtocolId {
    /// What it asks of the receiver.
    #[must_use]
    pub fn meaning(self) -> ProtocolIdMeaning {
        match self.0 {
            0x40 => ProtocolIdMeaning::TypeZero,
            0x41..=0x47 => ProtocolIdMeaning::Replace(self.0 & 7),
            0x7C => ProtocolIdMeaning::Ansi136Data,
            0x7D => ProtocolIdMeaning::PhoneDataDownload,
            0x7E => ProtocolIdMeaning::DePersonalisation,
            0x7F => ProtocolIdMeaning::SimDataDownload,
            _ => ProtocolIdMeaning::Plain,
        }
    }

    /// Data download to the (U)SIM; with a class 2 coding the phone hands it over by ENVELOPE.
    #[must_use]
    pub fn is_sim_data_download(self) -> bool {
        self == PID_SIM_DATA_DOWNLOAD
    }
}

impl From<u8> for ProtocolId {
    fn from(octet: u8) -> Self {
        Self(octet)
    }
}

impl From<ProtocolId> for u8 {
    fn from(protocol_id: ProtocolId) -> Self {
        protocol_id.0
    }
}
