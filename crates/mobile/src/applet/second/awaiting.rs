//! Records that were sent and wait for their acknowledgement: repeats, refusals, late answers (S2-AK; D-32, D-36, D-37).

use link::{
    backup::AckRecord,
    reason::{self, Outcome, Reason},
};

use super::{
    BackupApplet,
    memory::{Cause, EVENTS_MAX, Event, Flight, InFlight, Key, Results},
};

/// Status events without acknowledgement until a record is sent again (D-36).
const ACKNOWLEDGEMENT_WAIT: u16 = 60;
/// D-36: the longest wait after a temporary refusal.
const REFUSED_WAIT_MAX: u16 = 720;
const REPEATS_MAX: u8 = 3;
/// D-37: re-sent at most so often per version.
const REFUSALS_MAX: u8 = 2;

impl BackupApplet {
    /// The phone has sent the message: its records now wait for their acknowledgement.
    pub(super) fn backup_sent(&mut self, sent: &[(Key, u16)]) {
        for &(key, checksum) in sent {
            let placed = self.eeprom.outbound.len();
            self.eeprom.outbound.retain(|each| *each != key);
            let was_placed = self.eeprom.outbound.len() < placed;
            let at = self.eeprom.in_flight.iter().position(|each| each.key == key);
            let before = at.map(|at| self.eeprom.in_flight.remove(at));
            let mut entry = match before {
                Some(old) if old.checksum == checksum && !matches!(old.state, Flight::Settled { .. }) => old,
                _ => InFlight {
                    key,
                    checksum,
                    older: before.map_or(0, |old| old.older.saturating_add(old.unanswered)),
                    unanswered: 0,
                    repeats: 0,
                    refusals: 0,
                    next_wait: ACKNOWLEDGEMENT_WAIT,
                    state: Flight::Queued,
                },
            };
            entry.unanswered = entry.unanswered.saturating_add(1);
            entry.state = Flight::Sent { age: 0 };
            self.eeprom.in_flight.push(entry);
            if !was_placed {
                // A restore has overwritten it while the phone was sending: only the answer is still to come.
                self.settle(key);
            } else if self.is_newly_restored(key) && !self.eeprom.overtaking.contains(&key) {
                self.eeprom.overtaking.push(key);
            }
        }
        self.eeprom.counter = 0;
    }

    /// Restored, and the centre has not been told yet.
    fn is_newly_restored(&self, key: Key) -> bool {
        let Some(row) = self.eeprom.monitor.row(key.monitor_index) else { return false };
        let waiting = self.eeprom.acknowledgement.iter();
        let growing = self.eeprom.job.iter().map(|job| &job.acknowledgement);
        let results = waiting.chain(growing).flat_map(|acknowledgement| match &acknowledgement.results {
            Results::Restore(results) => results.as_slice(),
            Results::Configuration(_) => &[],
        });
        let place = (row.df, row.ef, key.record_number);
        results.into_iter().any(|result| (result.df, result.ef, result.record_number) == place)
    }

    /// An acknowledgement has left: what overtook it is sent once more.
    pub(super) fn repeat_overtaking(&mut self) {
        for key in std::mem::take(&mut self.eeprom.overtaking) {
            self.queue_event(Event::Record { key, cause: Cause::Resynchronise });
        }
    }

    /// D-36: one status event passes for every record that waits. A repeat for which the event buffer has no room waits
    /// for the next status event, rather than have its whole row sent.
    pub(super) fn age_in_flight(&mut self) {
        if !self.eeprom.configuration.service_on {
            return;
        }
        let mut room = EVENTS_MAX.saturating_sub(self.eeprom.events.len());
        let mut again = Vec::new();
        let mut given_up = Vec::new();
        self.eeprom.in_flight.retain_mut(|each| {
            let is_due = match &mut each.state {
                Flight::Sent { age } => {
                    *age = age.saturating_add(1);
                    *age >= ACKNOWLEDGEMENT_WAIT
                }
                Flight::Refused { left } => {
                    *left = left.saturating_sub(1);
                    *left == 0
                }
                Flight::Settled { left } => {
                    *left = left.saturating_sub(1);
                    return *left > 0;
                }
                Flight::Queued => false,
            };
            if !is_due {
                return true;
            }
            let is_repeat = matches!(each.state, Flight::Sent { .. });
            if is_repeat && each.repeats >= REPEATS_MAX {
                given_up.push(each.key);
            } else if room > 0 {
                room -= 1;
                each.repeats += u8::from(is_repeat);
                each.state = Flight::Queued;
                again.push(each.key);
            }
            true
        });
        again.into_iter().for_each(|key| self.queue_event(Event::Record { key, cause: Cause::Repeat }));
        for key in given_up {
            self.eeprom.counts.records_given_up += 1;
            self.settle(key);
            self.report(key, reason::TEMPORARY_FAILURE, Reason::None);
        }
    }

    /// S3002 to S3007: one record of a backup acknowledgement.
    pub(super) fn acknowledged(&mut self, record: AckRecord) {
        let key = Key { monitor_index: record.monitor_index, record_number: record.record_number };
        let Some(entry) = self.eeprom.in_flight.iter_mut().find(|each| each.key == key) else { return };
        let outcome = Outcome::from_octet(record.result);
        // Messages overtake one another: a refusal is taken as that of the newest version, which is then sent once too
        // often at worst; a success only once all older versions have theirs.
        let is_settled = matches!(entry.state, Flight::Settled { .. });
        if is_settled || (outcome == Outcome::Success && entry.older > 0) {
            entry.older = entry.older.saturating_sub(1);
            if is_settled && entry.older == 0 {
                self.eeprom.in_flight.retain(|each| each.key != key);
            }
            return;
        }
        entry.unanswered = entry.unanswered.saturating_sub(1);
        let is_sent = matches!(entry.state, Flight::Sent { .. });
        match outcome {
            Outcome::Success => {
                self.settle(key);
                self.eeprom.counts.records_backed_up += 1;
            }
            // The answer to an earlier repeat: the record is queued already.
            _ if !is_sent => {}
            Outcome::TemporaryFailure => {
                entry.state = Flight::Refused { left: entry.next_wait };
                entry.next_wait = (entry.next_wait * 2).min(REFUSED_WAIT_MAX);
                entry.repeats = 0;
            }
            Outcome::PermanentFailure if entry.refusals < REFUSALS_MAX => {
                entry.refusals += 1;
                // Queued by the status event that this message is.
                entry.state = Flight::Refused { left: 1 };
            }
            Outcome::PermanentFailure => {
                self.settle(key);
                self.report(key, reason::PERMANENT_FAILURE, Reason::None);
            }
        }
    }

    /// Nothing is awaited for this record any more; late answers are still counted. An event that only stood for a repeat
    /// may stand for a newer change as well: it is compared now (S2-AK-06).
    pub(super) fn settle(&mut self, key: Key) {
        for event in &mut self.eeprom.events {
            match event {
                Event::Record { key: queued, cause: cause @ Cause::Repeat } if *queued == key => *cause = Cause::Change,
                _ => {}
            }
        }
        self.eeprom.in_flight.retain_mut(|each| {
            if each.key != key {
                return true;
            }
            each.older = each.older.saturating_add(std::mem::take(&mut each.unanswered));
            each.state = Flight::Settled { left: ACKNOWLEDGEMENT_WAIT };
            each.older > 0
        });
    }
}
