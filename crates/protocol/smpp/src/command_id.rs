//! `command_id` values (SMPP 3.4 5.1.2.1, SMPP 5.0 4.7.5).

/// The operation of a PDU as its 32-bit number. Bit 31 is set on responses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(pub u32);

impl CommandId {
    pub const GENERIC_NACK: Self = Self(0x8000_0000);
    pub const BIND_RECEIVER: Self = Self(0x0000_0001);
    pub const BIND_RECEIVER_RESP: Self = Self(0x8000_0001);
    pub const BIND_TRANSMITTER: Self = Self(0x0000_0002);
    pub const BIND_TRANSMITTER_RESP: Self = Self(0x8000_0002);
    pub const QUERY_SM: Self = Self(0x0000_0003);
    pub const QUERY_SM_RESP: Self = Self(0x8000_0003);
    pub const SUBMIT_SM: Self = Self(0x0000_0004);
    pub const SUBMIT_SM_RESP: Self = Self(0x8000_0004);
    pub const DELIVER_SM: Self = Self(0x0000_0005);
    pub const DELIVER_SM_RESP: Self = Self(0x8000_0005);
    pub const UNBIND: Self = Self(0x0000_0006);
    pub const UNBIND_RESP: Self = Self(0x8000_0006);
    pub const REPLACE_SM: Self = Self(0x0000_0007);
    pub const REPLACE_SM_RESP: Self = Self(0x8000_0007);
    pub const CANCEL_SM: Self = Self(0x0000_0008);
    pub const CANCEL_SM_RESP: Self = Self(0x8000_0008);
    pub const BIND_TRANSCEIVER: Self = Self(0x0000_0009);
    pub const BIND_TRANSCEIVER_RESP: Self = Self(0x8000_0009);
    pub const OUTBIND: Self = Self(0x0000_000B);
    pub const ENQUIRE_LINK: Self = Self(0x0000_0015);
    pub const ENQUIRE_LINK_RESP: Self = Self(0x8000_0015);
    pub const ALERT_NOTIFICATION: Self = Self(0x0000_0102);
    pub const DATA_SM: Self = Self(0x0000_0103);
    pub const DATA_SM_RESP: Self = Self(0x8000_0103);

    /// True for responses and `generic_nack` (bit 31).
    #[must_use]
    pub const fn is_response(self) -> bool {
        self.0 & 0x8000_0000 != 0
    }

    /// The response that answers this request; a response stays as it is.
    #[must_use]
    pub const fn response(self) -> Self {
        Self(self.0 | 0x8000_0000)
    }

    /// The standard's name, or `None` for an operation this crate does not know.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(id, _)| *id == self).map(|(_, name)| *name)
    }

    /// True for the operations this crate decodes.
    #[must_use]
    pub fn is_known(self) -> bool {
        self.name().is_some()
    }
}

impl std::fmt::Debug for CommandId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "command_id 0x{:08X}", self.0),
        }
    }
}

/// Every operation that is decoded, with its name in the standard.
pub const NAMES: &[(CommandId, &str)] = &[
    (CommandId::SUBMIT_SM, "submit_sm"),
    (CommandId::SUBMIT_SM_RESP, "submit_sm_resp"),
    (CommandId::DELIVER_SM, "deliver_sm"),
    (CommandId::DELIVER_SM_RESP, "deliver_sm_resp"),
    (CommandId::DATA_SM, "data_sm"),
    (CommandId::DATA_SM_RESP, "data_sm_resp"),
    (CommandId::ENQUIRE_LINK, "enquire_link"),
    (CommandId::ENQUIRE_LINK_RESP, "enquire_link_resp"),
    (CommandId::GENERIC_NACK, "generic_nack"),
    (CommandId::BIND_RECEIVER, "bind_receiver"),
    (CommandId::BIND_RECEIVER_RESP, "bind_receiver_resp"),
    (CommandId::BIND_TRANSMITTER, "bind_transmitter"),
    (CommandId::BIND_TRANSMITTER_RESP, "bind_transmitter_resp"),
    (CommandId::BIND_TRANSCEIVER, "bind_transceiver"),
    (CommandId::BIND_TRANSCEIVER_RESP, "bind_transceiver_resp"),
    (CommandId::UNBIND, "unbind"),
    (CommandId::UNBIND_RESP, "unbind_resp"),
    (CommandId::QUERY_SM, "query_sm"),
    (CommandId::QUERY_SM_RESP, "query_sm_resp"),
    (CommandId::CANCEL_SM, "cancel_sm"),
    (CommandId::CANCEL_SM_RESP, "cancel_sm_resp"),
    (CommandId::REPLACE_SM, "replace_sm"),
    (CommandId::REPLACE_SM_RESP, "replace_sm_resp"),
    (CommandId::OUTBIND, "outbind"),
    (CommandId::ALERT_NOTIFICATION, "alert_notification"),
];
