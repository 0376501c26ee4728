//! The SMS reception unit (S1-ST-02): what is for the card goes to it through the SIM manager, what is for a person is shown.

use sms::{Alphabet, Deliver, MessageClass, alphabet::gsm7};
use uicc::{apdu::command, files::EF_SMS, proactive::envelope};

use super::Station;
use crate::interface::Output;

/// EF_SMS: bit 1 of the status octet says that the record is used (TS 51.011 10.5.3).
const SMS_RECEIVED_UNREAD: u8 = 0x03;
const SMS_USED: u8 = 0x01;

impl Station {
    /// Class 2 is for the card: with PID 7F it goes to the applet, with any other into EF_SMS (TS 23.040 9.2.3.9, TS
    /// 23.038 4), unless it is about the device's own memory. What else comes is for a person: text is displayed (S1-ST-02), data has no use here.
    pub(super) fn deliver(&mut self, tpdu: &[u8]) {
        self.statistics.sms_received += 1;
        let Ok(deliver) = Deliver::decode(tpdu) else { return };
        if deliver.data_coding.class() != Some(MessageClass::Sim) {
            return self.display(&deliver);
        }
        if self.is_deliver_for_own_memory(&deliver) {
            return;
        }
        if deliver.protocol_id.is_sim_data_download() {
            self.exchange(&command::envelope(&envelope::sms_pp_download(&[], tpdu)));
        } else if self.store_message(tpdu) {
            self.statistics.sms_stored += 1;
        } else {
            self.statistics.sms_refused += 1;
        }
    }

    pub(super) fn display(&mut self, deliver: &Deliver) {
        let body = deliver.user_data.body();
        let text = match deliver.data_coding.alphabet() {
            Alphabet::Gsm7 => gsm7::decode(body),
            Alphabet::Ucs2 => {
                let (units, _) = body.as_chunks::<2>();
                String::from_utf16_lossy(&units.iter().map(|unit| u16::from_be_bytes(*unit)).collect::<Vec<_>>())
            }
            Alphabet::Octets | Alphabet::Compressed => return,
        };
        self.output(Output::Display(text));
    }

    /// Status, a service centre's address of no octets, TPDU, FF (TS 51.011 10.5.3). False: no record is free.
    pub(super) fn store_message(&mut self, tpdu: &[u8]) -> bool {
        let files = self.card.files();
        let octets = files.record_octets(EF_SMS).map_or(0, usize::from);
        let is_free =
            |number: &u8| files.record(EF_SMS, *number).is_ok_and(|record| record.first().is_some_and(is_free_sms));
        let Some(free) = (1..=u8::MAX).find(is_free) else { return false };
        let mut record = vec![SMS_RECEIVED_UNREAD, 0];
        record.extend(tpdu);
        if record.len() > octets {
            return false;
        }
        record.resize(octets, 0xFF);
        self.update_record(EF_SMS, free, &record)
    }
}

/// A record of FF octets has never been used: it is free too.
fn is_free_sms(status: &u8) -> bool {
    *status == 0xFF || status & SMS_USED == 0
}
