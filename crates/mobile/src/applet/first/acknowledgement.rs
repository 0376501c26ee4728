//! The acknowledgement manager (Fig. 14): clears the change flags of what the centre has stored.

use link::{
    first::{EntryResult, id},
    reason::{Outcome, Reason},
};

use super::FirstApplet;

impl FirstApplet {
    /// S1401 to S1407, all pairs in one slot.
    pub(super) fn acknowledged(&mut self, results: &[EntryResult]) {
        results.iter().for_each(|result| self.answered(*result));
        self.eeprom.ack_pending = false;
    }

    /// One pair. Messages overtake one another and do not say which version they answer: a success counts for the newest
    /// only when all older versions have their answer, or it is too late for one (S1-AK-06). A refusal always counts for
    /// the newest, which at worst is sent once too often.
    fn answered(&mut self, EntryResult { record_number, result }: EntryResult) {
        let Some(flight) = self.eeprom.flight(record_number) else { return };
        let outcome = Outcome::from_octet(result);
        let Some(checksum) = flight.checksum else {
            flight.older = flight.older.saturating_sub(1);
            return;
        };
        if outcome == Outcome::Success && flight.older > 0 {
            flight.older -= 1;
            return;
        }
        flight.unanswered = flight.unanswered.saturating_sub(1);
        match outcome {
            Outcome::Success => {
                flight.settle();
                self.eeprom.counts.records_backed_up += 1;
                if let Some(known) = self.eeprom.backup_record_mut(record_number) {
                    known.checksum = checksum;
                    known.is_changed = false;
                }
            }
            // The flag is set: the scan sends it again when it reaches it, but not before the wait is over.
            Outcome::TemporaryFailure => {}
            Outcome::PermanentFailure => {
                flight.refusals = flight.refusals.saturating_add(1);
                if flight.is_given_up() {
                    self.eeprom.counts.records_given_up += 1;
                    self.refuse(id::BACKUP, Reason::None);
                }
            }
        }
    }
}
