//! The incoming message manager and the service state manager (S1-ST-10, S1-ST-12).

use link::{
    first::{Message, id},
    first_octet::{FirstOctet, classify},
    reason::Reason,
};
use uicc::files::FileSystem;

use super::{FirstApplet, Written};

impl FirstApplet {
    /// Hands the message to the manager that it is for; what is none of them is answered with an error and changes nothing.
    pub(super) fn receive(&mut self, files: &mut FileSystem, payload: &[u8]) -> Written {
        let first = payload.first().copied().unwrap_or(0);
        if first == id::ERROR {
            // Recorded, well-formed or not, and never answered (D-115).
            self.eeprom.counts.errors_received += 1;
            return Written::default();
        }
        if let (FirstOctet::Asynchronous(_), Some(asynchronous)) = (classify(first), &mut self.eeprom.asynchronous) {
            if let Err(reason) = asynchronous.receive(payload, &mut self.carrier) {
                self.refuse(first, reason);
            }
            return Written::default();
        }
        match Message::decode(payload) {
            Ok(Message::Restore { entries }) => return self.restore(files, &entries),
            Ok(Message::Acknowledgement { results }) => self.acknowledged(&results),
            Ok(Message::ServiceOn) => self.switch_service(true),
            Ok(Message::ServiceOff) => self.switch_service(false),
            Ok(Message::Resynchronise) => self.resynchronise(files),
            Ok(Message::Backup { .. } | Message::Error { .. }) => self.refuse(first, Reason::Unsupported),
            Err(malformed) => self.refuse(first, malformed.reason()),
        }
        Written::default()
    }

    /// Off stops scanning and sending; what was found and what waits stays, and goes on with the service.
    fn switch_service(&mut self, on: bool) {
        let was_on = std::mem::replace(&mut self.eeprom.service_on, on);
        if on && !was_on {
            self.eeprom.unscanned = self.eeprom.entries();
        }
    }
}
