//! Asynchronous backups as an operator sees them: the session beside the action that counts down for it (AS-SV-03).

use domain::{
    asynchronous::{Session, State},
    delivery::{Action, State as ActionState},
};
use link::asynchronous::Variant;
use proto::centre;

use crate::translate::micros;

/// `open`: the device's open actions.
pub fn shown(session: &Session, open: &[Action]) -> centre::Session {
    let action = open.iter().find(|action| action.content.session() == Some(session.number));
    let state = match (session.state, action.map(|action| action.state)) {
        (State::Complete, _) => "complete",
        (State::Replaced, _) => "replaced",
        (State::Receiving, Some(ActionState::Queued)) => "counting",
        (State::Receiving, Some(ActionState::Sent)) => "asked",
        (State::Receiving, Some(ActionState::Waiting)) => "suspended",
        (State::Receiving, _) => "receiving",
    };
    let next = match (session.state, action) {
        (State::Receiving, Some(action)) => (action.state != ActionState::Waiting).then_some(action.due),
        _ => session.next,
    };
    let missing = session.missing();
    centre::Session {
        number: session.number.into(),
        variant: variant(session.variant).to_owned(),
        state: state.to_owned(),
        blocks: session.total.into(),
        received: u32::try_from(session.count()).unwrap_or(u32::MAX),
        missing: missing.iter().flat_map(|range| range.first..=range.last).map(u32::from).collect(),
        delay_seconds: session.delay_seconds.into(),
        failed: session.has_failed,
        started_micros: session.started.0,
        updated_micros: session.updated.0,
        next_micros: micros(next),
    }
}

fn variant(variant: Variant) -> &'static str {
    match variant {
        Variant::ServerCountdown => "server_countdown",
        Variant::MobileTimer => "mobile_timer",
        Variant::Status => "status",
        Variant::Normal => "normal",
    }
}
