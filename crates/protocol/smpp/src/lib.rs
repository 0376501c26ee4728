//! SMPP 3.4 and 5.0: framer, PDUs and the session machine for both roles, without sockets and clocks.
//!
//! Start at [`session::Session`] (three verbs: input, output, next timeout). Below it: [`framer::Framer`] cuts frames
//! out of octets and bounds them, [`pdu::Pdu`] is what a frame says, [`CommandStatus`] the whole table of statuses.
//! [`receipt::Receipt`] and [`time`] are the text formats that travel inside the PDUs.
//!
//! Deliberately absent: `submit_multi` and the broadcast operations (answered as unknown commands), and sockets,
//! which live in `net::smpp`. Why the codec is our own: `docs/decisions/smpp-codec.md`.

pub mod command_id;
pub mod command_status;
pub mod decode;
pub mod encode;
pub mod framer;
pub mod pdu;
pub mod receipt;
pub mod session;
pub mod text;
pub mod time;
pub mod tlv;

pub use command_id::CommandId;
pub use command_status::{CommandStatus, StatusClass};
pub use decode::{DecodeError, decode};
pub use encode::{EncodeError, encode};
pub use pdu::{
    Address, AlertNotification, Bind, BindKind, BindResp, DataSm, DeliverSm, Header, Outbind, Pdu, ShortMessage,
    SmResp, SubmitSm,
};
pub use receipt::Receipt;
pub use session::{
    CloseReason, Command, Event, Input, Output, Request, RequestToken, Role, Session, SessionConfig, State, Unanswered,
};
pub use text::{Text, TextTooLong};
pub use tlv::{Tlv, Tlvs};

/// `interface_version` of SMPP 3.4 (SMPP 3.4 5.2.4).
pub const INTERFACE_VERSION_3_4: u8 = 0x34;
/// `interface_version` of SMPP 5.0 (SMPP 5.0 4.7.13).
pub const INTERFACE_VERSION_5_0: u8 = 0x50;
/// `esm_class`: the message type bits (SMPP 3.4 5.2.12).
pub const ESM_CLASS_TYPE_MASK: u8 = 0x3C;
/// `esm_class`: the short message contains a delivery receipt (SMPP 3.4 5.2.12).
pub const ESM_CLASS_DELIVERY_RECEIPT: u8 = 0x04;
/// `esm_class`: the payload starts with a user data header (UDHI, SMPP 3.4 5.2.12).
pub const ESM_CLASS_UDHI: u8 = 0x40;
/// `registered_delivery`: a receipt for the final outcome, good or bad (SMPP 3.4 5.2.17).
pub const REGISTERED_DELIVERY_FINAL: u8 = 0x01;
/// `registered_delivery`: a receipt only when delivery failed (SMPP 3.4 5.2.17).
pub const REGISTERED_DELIVERY_FAILURE: u8 = 0x02;
