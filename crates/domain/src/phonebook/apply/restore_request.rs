//! A card asks for its data (D-15): the same restore as the operator's (SC-ID-16).

use link::{
    message::RequestedRange,
    reason::{self, Reason},
};

use super::{Reply, Step, new_action};
use crate::{
    delivery::{Content, Progress, QueueEntry},
    phonebook::restore::{self, Origin, Range, Selection},
};

impl Step<'_, '_> {
    /// An error message when the request names what the card does not have.
    pub(super) fn restore_request(&mut self, ranges: &[RequestedRange]) -> Option<Reply> {
        let book = restore::book(&self.pages.of(self.card.view.device.key));
        let monitor = &self.card.view.state.monitor;
        let planned = restore::plan(Origin { book: &book, monitor }, &book, monitor, &selection(ranges));
        let records = match planned {
            Ok(records) => records,
            Err(error) => {
                self.note("restore-request-refused", error.to_string());
                return Some(Reply::error(reason::PERMANENT_FAILURE, Reason::RecordOutOfRange, false));
            }
        };
        if !records.iter().any(|record| record.progress == Progress::Open) {
            return None;
        }
        let channel = self.card.view.channel();
        let content = Content::Restore { records };
        let action = new_action(self.card, content, channel, &self.incoming.trace, self.context);
        if self.card.open.iter().all(|open| !open.state.is_open()) {
            self.effects.to_queue.push(QueueEntry::of(&action));
        }
        self.effects.new_actions.push(action);
        None
    }
}

fn selection(ranges: &[RequestedRange]) -> Selection {
    if ranges.is_empty() {
        return Selection::All;
    }
    let range = |range: &RequestedRange| Range {
        monitor_index: range.monitor_index,
        first: range.first_record,
        last: range.first_record.saturating_add(range.count).saturating_sub(1),
    };
    Selection::Ranges(ranges.iter().map(range).collect())
}
