//! TP-DCS (TS 23.038 section 4): alphabet and message class.

/// TP-DCS as it is on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DataCoding(pub u8);

/// Towards the card: 8-bit, class 2 (D-59).
pub const MT_DATA_CODING: DataCoding = DataCoding(0xF6);
/// Towards the phone: 8-bit, class 1 (D-59).
pub const MT_DATA_CODING_CLASS_1: DataCoding = DataCoding(0xF5);

/// Who takes the message first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageClass {
    /// Class 0: shown at once, not stored.
    Display,
    /// Class 1: the phone.
    Phone,
    /// Class 2: the (U)SIM.
    Sim,
    /// Class 3: the terminal equipment.
    TerminalEquipment,
}

/// How the user data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// Packed septets; TP-UDL counts septets.
    Gsm7,
    /// 8-bit data.
    Octets,
    Ucs2,
    /// Compressed (TS 23.042): octets whose meaning is left alone.
    Compressed,
}

impl DataCoding {
    /// The class, when the coding group has one. `F6` and `16` are both class 2.
    #[must_use]
    pub fn class(self) -> Option<MessageClass> {
        let has_class = match self.0 >> 4 {
            0x0..=0x7 => self.0 & 0x10 != 0,
            0xF => true,
            _ => false,
        };
        has_class.then_some(match self.0 & 3 {
            0 => MessageClass::Display,
            1 => MessageClass::Phone,
            2 => MessageClass::Sim,
            _ => MessageClass::TerminalEquipment,
        })
    }

    /// The alphabet; reserved codings count as the default alphabet (TS 23.038 section 4).
    #[must_use]
    pub fn alphabet(self) -> Alphabet {
        match self.0 >> 4 {
            0x0..=0x7 if self.0 & 0x20 != 0 => Alphabet::Compressed,
            0x0..=0x7 => match (self.0 >> 2) & 3 {
                1 => Alphabet::Octets,
                2 => Alphabet::Ucs2,
                _ => Alphabet::Gsm7,
            },
            0xE => Alphabet::Ucs2,
            0xF if self.0 & 4 != 0 => Alphabet::Octets,
            _ => Alphabet::Gsm7,
        }
    }

    /// 8-bit data.
    #[must_use]
    pub fn is_binary(self) -> bool {
        self.alphabet() == Alphabet::Octets
    }
}

impl From<u8> for DataCoding {
    fn from(octet: u8) -> Self {
        Self(octet)
    }
}

impl From<DataCoding> for u8 {
    fn from(coding: DataCoding) -> Self {
        coding.0
    }
}
