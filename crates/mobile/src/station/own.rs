//! The device's own memory (AS-GN-03, AS-GN-04): its entries, its menu, and the way of its messages.

use link::configuration::{Bearer, IsdnAddress};
use sms::{Address, Deliver};
use uicc::phonebook::{Contact, NotStorable};

use super::{
    Station,
    assembly::{Outstanding, SUBMIT_WAIT, Whose},
};
use crate::{
    applet::{asynchronous::Choice, carrier::submit, memory::address, originator::is_same_number},
    interface::Output,
};

/// Messages that leave over IP in one go.
const AT_ONCE_MAX: usize = 8;

impl Station {
    /// Writes an entry of the device's own address book; `None` deletes it. False: it has none.
    ///
    /// # Errors
    /// [`NotStorable`], as for a card's entry.
    pub fn write_own(&mut self, record_number: u8, contact: Option<&Contact>) -> Result<bool, NotStorable> {
        let Some(own) = &mut self.own else { return Ok(false) };
        own.write(record_number, contact)?;
        Ok(true)
    }

    /// The entries of the device's own address book that are in use: number and octets.
    #[must_use]
    pub fn own_records(&self) -> Vec<(u8, Vec<u8>)> {
        let own = self.own.iter().flat_map(|own| own.records());
        own.map(|(number, octets)| (number, octets.to_vec())).collect()
    }

    pub(super) fn back_up_own_memory(&mut self, item: u8) {
        let (now, limit) = (self.now, self.own_limit());
        let answers = &mut self.answers;
        if let (Some(own), Some(choice)) = (&mut self.own, Choice::of_menu(item)) {
            own.request(choice, limit, now, || answers.pop_front().unwrap_or(true));
        }
    }

    /// Sends the next blocks if it is time for them. A device sends one short message at a time, its card's or its own.
    pub(super) fn run_own_memory(&mut self) {
        let (now, limit) = (self.now, self.own_limit());
        for _ in 0..AT_ONCE_MAX {
            let Some(own) = self.own.as_mut().filter(|_| self.in_service) else { return };
            own.tick(limit, now);
            let message = if self.submit.is_some() || self.is_setting_up_call { None } else { own.next(limit, now) };
            let texts = own.take_texts();
            for text in texts {
                self.output(Output::Display(text));
            }
            let Some(message) = message else { return };
            self.send_own(message);
        }
    }

    fn send_own(&mut self, message: Vec<u8>) {
        if self.config.bearer == Bearer::Ip {
            self.statistics.ip_sent += 1;
            let ok = self.output(Output::IpPayload(message.into()));
            return self.own_sent(ok);
        }
        let Some(tpdu) = self.centre().and_then(|centre| submit(&message, centre, 0)) else {
            return self.own_sent(false);
        };
        self.send(&tpdu);
        self.busy.begins(self.now);
        if self.config.immediate_result {
            self.busy.ends(self.now);
            self.statistics.sms_sent += 1;
            return self.own_sent(true);
        }
        let until = self.now + SUBMIT_WAIT;
        self.submit = Some(Outstanding { reference: self.reference, whose: Whose::Device, until });
    }

    pub(super) fn own_sent(&mut self, ok: bool) {
        if let Some(own) = &mut self.own {
            own.sent(ok, self.now);
        }
    }

    /// Takes application data of the centre if it is about a backup of the device's own memory.
    pub(super) fn is_for_own_memory(&mut self, payload: &[u8]) -> bool {
        self.own.as_mut().is_some_and(|own| own.receive(payload, self.now))
    }

    /// The same of a short message.
    pub(super) fn is_deliver_for_own_memory(&mut self, deliver: &Deliver) -> bool {
        let is_centre = self.centre().is_some_and(|centre| is_same_number(&centre, &deliver.originator));
        is_centre && !deliver.user_data.has_header() && self.is_for_own_memory(deliver.user_data.body())
    }

    fn centre(&self) -> Option<Address> {
        IsdnAddress::new(0x91, &self.config.centre_isdn).as_ref().and_then(address)
    }

    /// Software of the device knows no packets: what it sends is plain.
    fn own_limit(&self) -> usize {
        match self.config.bearer {
            Bearer::Sms => link::SMS_OCTETS,
            Bearer::Ip => link::ip::PAYLOAD_OCTETS_MAX,
        }
    }
}
