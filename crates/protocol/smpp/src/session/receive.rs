//! What the session does with each PDU of the peer.

use std::time::Instant;

use super::{
    CloseReason, Event, Request, RequestKind, RequestToken, Role, Session, State, Unanswered, window::PendingRequest,
};
use crate::{
    Bind, BindKind, BindResp, CommandId, CommandStatus, DecodeError, Header, Pdu, SmResp,
    decode::{decode, split_header},
};

impl Session {
    pub(super) fn receive(&mut self, mut octets: &[u8], now: Instant) {
        while self.state != State::Closed {
            match self.framer.next_frame(&mut octets) {
                Ok(Some(frame)) => {
                    if let Some((header, body)) = split_header(&frame) {
                        self.last_received = now;
                        self.counters.pdus_received += 1;
                        self.receive_frame(&header, body, now);
                    }
                }
                Ok(None) => return,
                Err(invalid) => {
                    self.counters.malformed += 1;
                    self.nack(CommandStatus::ESME_RINVCMDLEN, invalid.sequence_number);
                    self.end(CloseReason::InvalidCommandLength);
                }
            }
        }
    }

    fn receive_frame(&mut self, header: &Header, body: &[u8], now: Instant) {
        match decode(header, body) {
            Ok(pdu) if header.command_id.is_response() => self.receive_response(header, pdu, now),
            Ok(pdu) => self.receive_request(header, pdu, now),
            Err(error) => self.receive_malformed(header, error),
        }
    }

    fn receive_malformed(&mut self, header: &Header, error: DecodeError) {
        let unknown = matches!(error, DecodeError::UnknownCommand { .. });
        if unknown {
            self.counters.unknown_commands += 1;
        } else {
            self.counters.malformed += 1;
        }
        if header.command_id.is_response() {
            // A response is never answered; the request it belongs to must not wait for another.
            match self.window.get(header.sequence_number) {
                Some(PendingRequest::Message { token, command_id }) if command_id.response() == header.command_id => {
                    self.window.remove(header.sequence_number);
                    self.events.push_back(Event::Unanswered { token, reason: Unanswered::MalformedResponse });
                }
                _ => self.counters.unexpected_responses += 1,
            }
        } else {
            self.refuse(header, error.command_status());
        }
    }

    fn receive_request(&mut self, header: &Header, pdu: Pdu, now: Instant) {
        let sequence_number = header.sequence_number;
        match pdu {
            Pdu::SubmitSm(message) => {
                self.receive_message(header, RequestKind::SubmitSm, Request::SubmitSm(message), now)
            }
            Pdu::DeliverSm(message) => {
                self.receive_message(header, RequestKind::DeliverSm, Request::DeliverSm(message), now)
            }
            Pdu::DataSm(message) => self.receive_message(header, RequestKind::DataSm, Request::DataSm(message), now),
            Pdu::EnquireLink => self.reply(&Pdu::EnquireLinkResp, CommandStatus::ESME_ROK, sequence_number),
            Pdu::Bind(kind, bind) => self.receive_bind(header, kind, bind),
            Pdu::Unbind => self.receive_unbind(header),
            Pdu::AlertNotification(alert) if self.role == Role::Esme && self.state.receives() => {
                self.events.push_back(Event::Alert(alert));
            }
            Pdu::QuerySm => self.refuse(header, CommandStatus::ESME_RQUERYFAIL),
            Pdu::CancelSm => self.refuse(header, CommandStatus::ESME_RCANCELFAIL),
            Pdu::ReplaceSm => self.refuse(header, CommandStatus::ESME_RREPLACEFAIL),
            // outbind asks us to bind, and we bind by ourselves; an alert in the wrong state has nobody to go to.
            Pdu::Outbind(_) => self.wrong_state(header),
            _ => self.counters.wrong_state += 1,
        }
    }

    fn receive_message(&mut self, header: &Header, kind: RequestKind, request: Request, now: Instant) {
        let flows = match self.role {
            Role::Esme => kind != RequestKind::SubmitSm && (self.state.receives() || self.state == State::Unbound),
            Role::Smsc => kind != RequestKind::DeliverSm && (self.state.transmits() || self.state == State::Unbound),
        };
        if !flows {
            return self.wrong_state(header);
        }
        if !self.accepting || self.inbound_unanswered >= self.config.inbound_window_max {
            self.counters.throttled += 1;
            return self.refuse(header, CommandStatus::ESME_RTHROTTLED);
        }
        self.last_message = now;
        self.inbound_unanswered += 1;
        self.events.push_back(Event::Request {
            token: RequestToken { sequence_number: header.sequence_number, kind },
            request,
        });
    }

    fn receive_bind(&mut self, header: &Header, kind: BindKind, bind: Bind) {
        if self.role == Role::Esme {
            return self.wrong_state(header);
        }
        if !matches!(self.state, State::Open | State::Outbound) || self.bind_request.is_some() {
            return self.refuse(header, CommandStatus::ESME_RALYBND);
        }
        self.bind_request = Some((kind, header.sequence_number, bind.interface_version));
        self.events.push_back(Event::BindRequested { kind, bind });
    }

    fn receive_unbind(&mut self, header: &Header) {
        if !self.state.is_bound() && self.state != State::Unbound {
            return self.wrong_state(header);
        }
        self.reply(&Pdu::UnbindResp, CommandStatus::ESME_ROK, header.sequence_number);
        self.events.push_back(Event::Unbound { by_peer: true });
        self.end(CloseReason::UnboundByPeer);
    }

    fn receive_response(&mut self, header: &Header, pdu: Pdu, now: Instant) {
        let expected = self
            .window
            .get(header.sequence_number)
            .filter(|request| request.response() == header.command_id || header.command_id == CommandId::GENERIC_NACK);
        let Some(request) = expected else {
            self.counters.unexpected_responses += 1;
            return;
        };
        self.window.remove(header.sequence_number);
        match request {
            PendingRequest::Message { token, .. } => {
                let resp = match pdu {
                    Pdu::SubmitSmResp(resp) | Pdu::DeliverSmResp(resp) | Pdu::DataSmResp(resp) => resp,
                    _ => SmResp::default(),
                };
                let status = nack_status(header);
                self.events.push_back(Event::Response { token, status, resp });
            }
            PendingRequest::Bind(kind) => self.receive_bind_resp(header, kind, pdu, now),
            // A peer that refuses enquire_link with generic_nack is alive all the same.
            PendingRequest::EnquireLink => self.enquiring = false,
            PendingRequest::Unbind => {
                self.events.push_back(Event::Unbound { by_peer: false });
                self.end(CloseReason::Unbound);
            }
        }
    }

    fn receive_bind_resp(&mut self, header: &Header, kind: BindKind, pdu: Pdu, now: Instant) {
        let resp = if let Pdu::BindResp(_, resp) = pdu { resp } else { BindResp::default() };
        let status = nack_status(header);
        if status.is_ok() {
            // A peer that does not say speaks 3.3 or does not care (SMPP 3.4 7.1).
            let interface_version = resp.tlvs.sc_interface_version().unwrap_or(0x33);
            self.bound(kind, resp.system_id, interface_version, now);
        } else {
            self.events.push_back(Event::BindRefused { status });
            self.end(CloseReason::BindRefused(status));
        }
    }

    fn wrong_state(&mut self, header: &Header) {
        self.counters.wrong_state += 1;
        self.refuse(header, CommandStatus::ESME_RINVBNDSTS);
    }

    /// Answers a request with an error: its own response, or `generic_nack` where it has none.
    fn refuse(&mut self, header: &Header, status: CommandStatus) {
        let pdu = match header.command_id {
            CommandId::SUBMIT_SM => Pdu::SubmitSmResp(SmResp::default()),
            CommandId::DELIVER_SM => Pdu::DeliverSmResp(SmResp::default()),
            CommandId::DATA_SM => Pdu::DataSmResp(SmResp::default()),
            CommandId::BIND_RECEIVER => Pdu::BindResp(BindKind::Receiver, BindResp::default()),
            CommandId::BIND_TRANSMITTER => Pdu::BindResp(BindKind::Transmitter, BindResp::default()),
            CommandId::BIND_TRANSCEIVER => Pdu::BindResp(BindKind::Transceiver, BindResp::default()),
            CommandId::UNBIND => Pdu::UnbindResp,
            CommandId::QUERY_SM => Pdu::QuerySmResp,
            CommandId::CANCEL_SM => Pdu::CancelSmResp,
            CommandId::REPLACE_SM => Pdu::ReplaceSmResp,
            _ => return self.nack(status, header.sequence_number),
        };
        self.reply(&pdu, status, header.sequence_number);
    }

    fn nack(&mut self, status: CommandStatus, sequence_number: u32) {
        self.reply(&Pdu::GenericNack, status, sequence_number);
    }

    /// Sends a response whose body is empty or fixed, which always has a wire form.
    fn reply(&mut self, pdu: &Pdu, status: CommandStatus, sequence_number: u32) {
        self.send(pdu, status, sequence_number).unwrap_or_default();
    }
}

/// A `generic_nack` is a failure even when its sender forgot to say which.
fn nack_status(header: &Header) -> CommandStatus {
    if header.command_id == CommandId::GENERIC_NACK && header.command_status.is_ok() {
        CommandStatus::ESME_RUNKNOWNERR
    } else {
        header.command_status
    }
}
