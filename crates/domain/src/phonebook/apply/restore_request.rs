//! A card asks for its data (D-15, of E3 by a Control message): the same restore as the operator's (SC-ID-16).

use link::{
    message::RequestedRange,
    reason::{self, Reason},
};

use super::{Reply, Step, new_action, order};
use crate::{
    delivery::{Action, Content, Progress, RestoreRecord},
    phonebook::restore::{self, Origin, Range, Selection},
};

/// Restores of one card that may be open when it asks for one more. A card that repeats itself must not fill the table.
const OPEN_RESTORES_MAX: usize = 4;

impl Step<'_, '_> {
    /// An error message when the request names what the card does not have.
    pub(super) fn restore_request(&mut self, ranges: &[RequestedRange]) -> Option<Reply> {
        let book = restore::book(&self.pages.of(self.card.view.device.key));
        let monitor = &self.card.view.state.monitor;
        let planned = restore::plan(Origin { book: &book, monitor }, &book, monitor, &selection(ranges));
        let records = match planned {
            Ok(records) => restore::for_profile(self.card.view.device.profile, records),
            Err(error) => {
                self.note("restore-request-refused", error.to_string());
                return Reply::to(self.incoming, self.card, reason::PERMANENT_FAILURE, Reason::RecordOutOfRange);
            }
        };
        if !records.iter().any(|record| record.progress == Progress::Open) {
            return None;
        }
        let open = || self.card.open.iter().filter(|open| open.state.is_open()).filter_map(restored);
        if open().any(|under_way| {
            records.iter().filter(|record| record.progress == Progress::Open).all(|record| brings(under_way, record))
        }) {
            self.note("restore-request-merged", "all that the card asks for is on its way already".to_owned());
            return None;
        }
        if open().count() >= OPEN_RESTORES_MAX {
            self.note("restore-request-refused", format!("{OPEN_RESTORES_MAX} restores are open"));
            return Reply::to(self.incoming, self.card, reason::TEMPORARY_FAILURE, Reason::Busy);
        }
        let channel = self.card.view.channel();
        let content = restore::content(self.card.view.device.profile, &book, records, self.context.policy.third_check);
        let action = new_action(self.card, content, channel, &self.incoming.trace, self.context);
        order(action, self.card, self.effects);
        None
    }
}

fn restored(action: &Action) -> Option<&[RestoreRecord]> {
    match &action.content {
        Content::Restore { records, .. } => Some(records),
        _ => None,
    }
}

/// Whether a restore under way will bring what `wanted` is about. Newer content in the book makes it another record.
fn brings(under_way: &[RestoreRecord], wanted: &RestoreRecord) -> bool {
    under_way.iter().any(|record| {
        let is_same = (record.monitor_index, record.file, record.record_number)
            == (wanted.monitor_index, wanted.file, wanted.record_number);
        is_same && record.data == wanted.data && record.progress.is_unsettled()
    })
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
