//! Service messages that the phone stores in EF_SMS for the card, class 2 without data download (D-59): found, read, and
//! their slots freed (S1406, S1508).

use sms::{Address, Deliver};
use uicc::files::{EF_SMS, FileSystem};

use super::originator::is_same_number;

/// Status octet: the record is used (TS 51.011 10.5.3), by a message from the network (bit 3 clear).
const IS_USED: u8 = 0x01;
const IS_ORIGINATED: u8 = 0x04;
/// Status octet of a free record.
const FREE: u8 = 0x00;
const UNUSED: u8 = 0xFF;

/// What a short message is for this card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Not 8-bit data from the centre: a person's, or nobody's.
    NotOurs,
    /// With a user data header, which plain service messages do not have: its first octet behind the header.
    WithHeader(u8),
    /// Application data.
    Payload(Vec<u8>),
}

/// What an SMS-DELIVER is for this card, whose centre has this address.
pub(super) fn read(deliver: &Deliver, centre: Option<&Address>) -> Received {
    let is_centre = centre.is_some_and(|centre| is_same_number(centre, &deliver.originator));
    let body = deliver.user_data.body();
    match (is_centre && deliver.data_coding.is_binary(), deliver.user_data.has_header()) {
        (false, _) => Received::NotOurs,
        (true, true) => Received::WithHeader(body.first().copied().unwrap_or(0)),
        (true, false) => Received::Payload(body.to_vec()),
    }
}

/// The received message in a record of EF_SMS: status, service centre's address with its length, TPDU, FF.
pub(super) fn stored(files: &FileSystem, record_number: u8) -> Option<Deliver> {
    let (&status, rest) = files.record(EF_SMS, record_number).ok()?.split_first()?;
    if status == UNUSED || status & IS_USED == 0 || status & IS_ORIGINATED != 0 {
        return None;
    }
    let (&address_octets, rest) = rest.split_first()?;
    Deliver::decode_padded(rest.get(usize::from(address_octets)..)?).ok()
}

/// Frees the record; the phone does not know of it before a REFRESH. False: there is no such record.
pub(super) fn free(files: &mut FileSystem, record_number: u8) -> bool {
    let octets = files.record_octets(EF_SMS).map_or(0, usize::from);
    let mut record = vec![UNUSED; octets];
    if let Some(status) = record.first_mut() {
        *status = FREE;
    }
    files.set_record(EF_SMS, record_number, &record).is_ok()
}
