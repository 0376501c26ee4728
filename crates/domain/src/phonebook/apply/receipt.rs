//! A delivery receipt, or the IP channel's success, where the card itself does not answer (D-111): E1 and E3 have no
//! restore acknowledgement and no answer to a control message.

use bytes::Bytes;

use super::{Change, Context, Effects, Incoming, PageKey, Pages, Step, answers, book_pages};
use crate::{
    delivery::{Action, ActionId, Content, Progress, Request, State},
    identity::Timestamp,
    phonebook::{Card, Profile, Source},
};

/// Whether the network's word on this action's last message is the card's.
#[must_use]
pub fn is_settled_by_receipt(profile: Profile, action: &Action) -> bool {
    let is_silent = matches!(action.content, Content::Restore { .. } | Content::Control { .. });
    profile != Profile::E2 && action.state == State::Sent && is_silent
}

/// The pages that [`delivered`] looks at, of a card whose open actions are read.
pub fn receipt_pages(card: &Card, keys: &mut Vec<PageKey>) {
    answers::pages_needed(card, keys);
    if card.view.state.awaited_check_data.is_some() {
        book_pages(&card.view, keys);
    }
}

/// The last message of this action reached the card at `at`: what was in flight is done, and is the book's (journal source
/// `restore`). Nothing, when the card's own word counts ([`is_settled_by_receipt`]).
pub fn delivered(
    card: &mut Card,
    pages: &mut Pages,
    id: ActionId,
    at: Timestamp,
    context: Context<'_>,
    effects: &mut Effects,
) {
    let Some(mut action) = card.open.iter().find(|open| open.id == id).cloned() else { return };
    if !is_settled_by_receipt(card.view.device.profile, &action) {
        return;
    }
    action.receipt = Some(at);
    let trace = action.traces.first().cloned().unwrap_or_default();
    let incoming = Incoming { octets: Bytes::new(), bearer: action.channel, reference: None, stamp: None, trace };
    let source = Source::Restore;
    let mut step = Step { incoming: &incoming, card, pages, context, effects, records: Vec::new(), source };
    step.delivered(action);
    let Step { records, .. } = step;
    if !records.is_empty() {
        let (device, id) = (card.view.device.key, context.ids.next(context.now));
        effects.changes.push(Change { device, id, at: context.now, source, dedup: 0, records });
    }
    card.touched = true;
}

impl Step<'_, '_> {
    fn delivered(&mut self, mut action: Action) {
        let mut written = Vec::new();
        match &mut action.content {
            Content::Restore { records, .. } => {
                for record in records.iter_mut().filter(|record| record.progress == Progress::InFlight) {
                    record.progress = Progress::Done;
                    written.push(record.clone());
                }
            }
            Content::Control { request, progress } => {
                *progress = Progress::Done;
                if let Some(on) = service(*request) {
                    self.state().settings.insert(link::configuration::cid::SERVICE_STATE, on);
                }
            }
            _ => {}
        }
        for record in written {
            self.write_restored(&record, false);
        }
        self.settle(action, &answers::Progressed::success());
        if !self.card.restore_runs() {
            self.compare_again();
        }
    }
}

/// What the card is known to be set to after this request (SC-DB-09), in the form of CID 0x01.
fn service(request: Request) -> Option<Bytes> {
    match request {
        Request::ServiceOn => Some(Bytes::from_static(&[1])),
        Request::ServiceOff => Some(Bytes::from_static(&[0])),
        Request::Resynchronise | Request::Poll => None,
    }
}
