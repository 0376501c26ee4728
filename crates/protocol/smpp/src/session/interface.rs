//! What goes into a session and what comes out: inputs, commands, events, outputs.

use bytes::Bytes;

use crate::{
    AlertNotification, Bind, BindKind, CommandStatus, DataSm, DeliverSm, EncodeError, Outbind, SmResp, SubmitSm, Text,
};

/// Which end of the link we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// External short message entity: the client.
    Esme,
    /// Short message service centre: the server.
    Smsc,
}

/// Session states (SMPP 3.4 2.2; `Unbound` while the unbind handshake runs).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open,
    Outbound,
    BoundTx,
    BoundRx,
    BoundTrx,
    Unbound,
    Closed,
}

impl State {
    /// Messages from the ESME may flow.
    #[must_use]
    pub const fn transmits(self) -> bool {
        matches!(self, Self::BoundTx | Self::BoundTrx)
    }
    /// Messages to the ESME may flow.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::BoundRx | Self::BoundTrx)
    }
    #[must_use]
    pub const fn is_bound(self) -> bool {
        matches!(self, Self::BoundTx | Self::BoundRx | Self::BoundTrx)
    }
}

/// What the outside gives the session.
#[derive(Debug)]
pub enum Input<'a> {
    /// Octets from the peer, cut anywhere.
    Bytes(&'a [u8]),
    /// A wish of the owner. See also [`Session::command`], which says why a wish was refused.
    Command(Command),
    /// [`Session::next_timeout`] has come.
    Tick,
    /// The connection ended.
    Closed,
}

/// A wish of the owner. `token` is the owner's own number, returned with the outcome.
#[derive(Debug, Clone)]
pub enum Command {
    /// ESME, state `Open`.
    Bind(BindKind, Bind),
    /// SMSC: answers [`Event::BindRequested`]. A status other than `ESME_ROK` closes the session after the answer.
    AnswerBind { status: CommandStatus, system_id: Text<15> },
    /// SMSC, state `Open`: asks the ESME to bind as receiver (SMPP 3.4 2.2.1).
    Outbind(Outbind),
    /// ESME, bound as transmitter.
    Submit { token: u64, message: SubmitSm },
    /// SMSC, the ESME bound as receiver.
    Deliver { token: u64, message: DeliverSm },
    /// Either role, in the direction that is bound.
    Data { token: u64, message: DataSm },
    /// Answers [`Event::Request`]; once for each.
    Answer { request: RequestToken, status: CommandStatus, message_id: Text<64> },
    /// SMSC: a phone can be reached again.
    Alert(AlertNotification),
    /// With `false`, new messages of the peer are answered `ESME_RTHROTTLED` without asking the owner (drain, overload).
    Accept(bool),
    /// Ends the session in order; outstanding requests are given up, so wait for them first.
    Unbind,
}

/// A message of the peer that awaits [`Command::Answer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestToken {
    pub sequence_number: u32,
    pub kind: RequestKind,
}

/// Which response a message of the peer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestKind {
    SubmitSm,
    DeliverSm,
    DataSm,
}

/// A message of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    SubmitSm(SubmitSm),
    DeliverSm(DeliverSm),
    DataSm(DataSm),
}

/// Why a request of ours has no response. In every case the peer may have accepted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error("no response within the response timer")]
    TimedOut,
    #[error("the link ended before the response")]
    ConnectionLost,
    #[error("the response cannot be decoded")]
    MalformedResponse,
}

/// What the session tells its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// SMSC: decide with [`Command::AnswerBind`].
    BindRequested {
        kind: BindKind,
        bind: Bind,
    },
    /// Messages may flow.
    Bound {
        kind: BindKind,
        peer_system_id: Text<15>,
        interface_version: u8,
    },
    /// ESME: the bind was refused; the session closes.
    BindRefused {
        status: CommandStatus,
    },
    /// A message of the peer; answer it with [`Command::Answer`].
    Request {
        token: RequestToken,
        request: Request,
    },
    /// The response to a request of ours, whatever its status; `generic_nack` counts as one.
    Response {
        token: u64,
        status: CommandStatus,
        resp: SmResp,
    },
    /// A request of ours has no response.
    Unanswered {
        token: u64,
        reason: Unanswered,
    },
    Alert(AlertNotification),
    /// The session is over in order; `by_peer` says who asked.
    Unbound {
        by_peer: bool,
    },
}

/// Why the connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    #[error("unbound by us")]
    Unbound,
    #[error("unbound by the peer")]
    UnboundByPeer,
    #[error("command_length out of range")]
    InvalidCommandLength,
    #[error("not bound within session_init_timer")]
    SessionInitTimeout,
    #[error("enquire_link without response")]
    EnquireLinkTimeout,
    #[error("unbind without response")]
    UnbindTimeout,
    #[error("bind refused: {0}")]
    BindRefused(CommandStatus),
    #[error("connection ended")]
    ConnectionLost,
}

/// What the outside has to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Transmit(Bytes),
    Event(Event),
    /// Last output: close the connection once everything is transmitted.
    Close(CloseReason),
}

/// A command of the owner that cannot be carried out; nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    #[error("not allowed in state {state:?}")]
    WrongState { state: State },
    #[error("the window is full")]
    WindowFull,
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
