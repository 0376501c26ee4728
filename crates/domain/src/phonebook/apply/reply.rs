//! Error messages (D-16, D-04, D-05) and who gets one (D-115).

use link::first_octet::{FirstOctet, classify};
use link::{
    first,
    message::{FileResult, Message},
    pid::MessageType,
    reason::{self, Reason},
    third,
};

use super::{Incoming, profile_of};
use crate::phonebook::{Card, Profile};

/// An error message, straight to its card (SC-OC-03).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// In whose layout.
    pub profile: Profile,
    pub octets: Vec<u8>,
    /// At most one a day and number (D-115).
    pub once_a_day: bool,
}

impl Reply {
    /// An error about a message, that concerns no record of it. `refused`: its first octet.
    fn error(profile: Profile, refused: u8, result: u8, reason: Reason) -> Self {
        let reason = reason.code();
        let octets = match profile {
            Profile::E1 => first::Message::Error { refused, reason }.encode(),
            Profile::E2 => {
                let record = FileResult { df: 0, ef: 0, record_number: 0, result, reason };
                Message::Error { records: vec![record] }.encode()
            }
            Profile::E3 => third::Message::Error { reason }.encode(),
        };
        Self { profile, octets, once_a_day: false }
    }

    /// The answer to a message of a known card, in the layout that it spoke (D-50); `None`: it gets none.
    pub(super) fn to(incoming: &Incoming, card: &Card, result: u8, reason: Reason) -> Option<Self> {
        let profile = profile_of(&incoming.octets).unwrap_or(card.view.device.profile);
        let refused = incoming.octets.first().copied().unwrap_or_default();
        may_be_answered(&incoming.octets).then(|| Self::error(profile, refused, result, reason))
    }

    /// What an unknown number gets (D-115), unless it sent an error itself. What no profile sends is answered as E2.
    #[must_use]
    pub fn unknown_subscriber(octets: &[u8]) -> Option<Self> {
        let profile = profile_of(octets).unwrap_or(Profile::E2);
        let refused = octets.first().copied().unwrap_or_default();
        let error = || Self::error(profile, refused, reason::PERMANENT_FAILURE, Reason::UnknownSubscriber);
        may_be_answered(octets).then(error).map(Self::once_a_day)
    }

    pub(super) fn once_a_day(self) -> Self {
        Self { once_a_day: true, ..self }
    }
}

/// D-115: an error is never answered by an error.
fn may_be_answered(octets: &[u8]) -> bool {
    let is_error = |octet: &u8| match classify(*octet) {
        FirstOctet::FirstEmbodiment(id) => id == first::id::ERROR,
        FirstOctet::SecondEmbodiment(pid) => pid.message_type == MessageType::Error,
        FirstOctet::ThirdEmbodiment(id) => id == third::id::ERROR,
        _ => false,
    };
    !octets.first().is_some_and(is_error)
}
