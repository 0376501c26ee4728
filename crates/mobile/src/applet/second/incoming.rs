//! Messages from the centre: whose they are, what type, and where they wait (Fig. 30).

use bytes::Bytes;
use link::{
    file_result::FileResult,
    first_octet::{FirstOctet, classify},
    message::Message,
    pid::{MessageType, Pid},
    reason,
    reason::Reason,
};
use sms::{Address, Deliver};

use super::{
    BackupApplet,
    memory::{Acknowledgement, Event, INBOUND_MAX, Job, Results, Work},
};
use crate::applet::originator::is_same_number;

impl BackupApplet {
    /// An SMS-DELIVER: only the configured centre is heard (S2-AK-07).
    pub(super) fn receive_sms(&mut self, tpdu: &[u8]) {
        let centre = self.route().destination();
        let is_centre = |from: &Address| centre.as_ref().is_some_and(|centre| is_same_number(centre, from));
        let deliver = Deliver::decode(tpdu).ok().filter(|deliver| is_centre(&deliver.originator));
        match deliver {
            Some(deliver) if deliver.user_data.has_header() => self.refuse(Reason::Unsupported),
            Some(deliver) => self.receive(deliver.user_data.body()),
            None => self.eeprom.counts.messages_ignored += 1,
        }
    }

    /// S3001: the type decides (S2-AK-02). An error is recorded and never answered (D-115).
    pub(super) fn receive(&mut self, payload: &[u8]) {
        if matches!(payload.first().copied().map(classify), Some(FirstOctet::Asynchronous(_))) {
            return self.receive_asynchronous(payload);
        }
        let message_type = payload.first().and_then(|&first| Pid::from_octet(first)).map(|pid| pid.message_type);
        if message_type == Some(MessageType::Error) {
            self.eeprom.counts.errors_received += 1;
            return;
        }
        match Message::decode(payload, &self.eeprom.monitor) {
            Ok(Message::BackupAcknowledgement { records }) => {
                records.into_iter().for_each(|record| self.acknowledged(record));
            }
            Ok(
                message
                @ (Message::Restore { .. } | Message::AddressableRestore { .. } | Message::Configuration { .. }),
            ) => {
                if self.eeprom.inbound.len() < INBOUND_MAX {
                    self.eeprom.inbound.push_back(Bytes::copy_from_slice(payload));
                    if matches!(message, Message::Configuration { .. }) {
                        self.queue_event(Event::Configuration);
                    }
                    self.next_inbound();
                } else {
                    let busy = FileResult::without_file(reason::TEMPORARY_FAILURE, Reason::Busy);
                    self.queue_error(busy);
                }
            }
            Ok(_) => self.refuse(Reason::Unsupported),
            Err(malformed) => self.refuse(malformed.reason()),
        }
    }

    pub(super) fn refuse(&mut self, reason: Reason) {
        self.queue_error(FileResult::without_file(reason::PERMANENT_FAILURE, reason));
    }

    /// S3008 to S3012: takes the next waiting message once the restore/configuration buffer is free (D-38).
    pub(super) fn next_inbound(&mut self) {
        if self.eeprom.job.is_some() {
            return;
        }
        let Some(payload) = self.eeprom.inbound.pop_front() else { return };
        let (work, results) = match Message::decode(&payload, &self.eeprom.monitor) {
            Ok(Message::Restore { records, refused }) => {
                (Work::Restore { records, refused }, Results::Restore(Vec::new()))
            }
            Ok(Message::AddressableRestore { records }) => {
                (Work::AddressableRestore(records), Results::Restore(Vec::new()))
            }
            Ok(Message::Configuration { items, unparsed }) => {
                (Work::Configuration { items, unparsed }, Results::Configuration(Vec::new()))
            }
            Ok(_) => return,
            // The monitor table has changed since it came.
            Err(malformed) => return self.refuse(malformed.reason()),
        };
        let acknowledgement = Acknowledgement { results, route: self.route() };
        self.eeprom.job = Some(Job { work, pointer: 0, acknowledgement });
        self.ask_interval(true);
    }
}
