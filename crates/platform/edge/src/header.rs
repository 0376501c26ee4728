//! Header parser and payload removal (SC-IC-03, SC-IC-04): what a `deliver_sm` says about itself, and the payload as
//! the card made it.

use bytes::Bytes;
use proto::inbound::{Address, Bearer, InboundMessage};
use smpp::ShortMessage;

/// What the link adds to every message.
#[derive(Clone, Debug)]
pub struct LinkFacts {
    /// Name of the link.
    pub link: String,
    /// Home country code of the link, digits (D-116).
    pub country_code: String,
}

/// The request for the inbound data processor; its id is given by the stream. SMPP has no message reference (D-110).
///
/// A user data header that runs over the end leaves no payload: all of it goes as header octets, which the processor
/// refuses and bills like every other message.
#[must_use]
pub fn parse(message: &ShortMessage, facts: &LinkFacts, arrived_micros: i64, trace_id: [u8; 16]) -> InboundMessage {
    let (user_data_header, payload) = cut(message);
    InboundMessage {
        id: 0,
        bearer: Bearer::Sms.into(),
        link: facts.link.clone(),
        country_code: facts.country_code.clone(),
        originator: Some(address(&message.source_addr)),
        destination: Some(address(&message.destination_addr)),
        protocol_id: message.protocol_id.into(),
        data_coding: message.data_coding.into(),
        user_data_header,
        payload,
        reference: None,
        arrived_micros,
        trace_id: trace_id.to_vec().into(),
        // The number alone names an SMS's device.
        device_id: 0,
    }
}

/// User data header (UDHL left out) and payload; shares the frame's octets.
#[must_use]
pub fn cut(message: &ShortMessage) -> (Bytes, Bytes) {
    let body = message.payload();
    if !message.has_user_data_header() {
        return (Bytes::new(), body.clone());
    }
    match sms::UserDataHeader::cut(body) {
        Ok((header, payload)) => (body.slice_ref(header), body.slice_ref(payload)),
        Err(_) => (body.get(1..).map_or_else(Bytes::new, |rest| body.slice_ref(rest)), Bytes::new()),
    }
}

/// An address as the contracts have it.
pub(crate) fn address(address: &smpp::Address) -> Address {
    Address { ton: address.ton.into(), npi: address.npi.into(), digits: digits(address) }
}

/// The digits, or the text of an alphanumeric address; octets that are not UTF-8 are replaced.
#[must_use]
pub fn digits(address: &smpp::Address) -> String {
    String::from_utf8_lossy(address.addr.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(body: Vec<u8>, esm_class: u8) -> ShortMessage {
        let mut message = ShortMessage {
            source_addr: smpp::Address::international("491721217212").expect("fits"),
            destination_addr: smpp::Address::new(0, 1, "7788").expect("fits"),
            esm_class,
            protocol_id: 0x08,
            data_coding: 0xF6,
            ..ShortMessage::default()
        };
        message.set_payload(body.into());
        message
    }

    fn parsed(body: Vec<u8>, esm_class: u8) -> InboundMessage {
        let facts = LinkFacts { link: "a".into(), country_code: "49".into() };
        parse(&message(body, esm_class), &facts, 17, [9; 16])
    }

    /// Covers: SC-IC-03
    #[test]
    fn the_fields_of_table_1_are_visible() {
        let request = parsed(vec![1, 2, 3], 0);
        assert_eq!(request.originator, Some(Address { ton: 1, npi: 1, digits: "491721217212".into() }));
        assert_eq!(request.destination, Some(Address { ton: 0, npi: 1, digits: "7788".into() }));
        assert_eq!((request.protocol_id, request.data_coding, request.bearer()), (0x08, 0xF6, Bearer::Sms));
        assert_eq!((request.link.as_str(), request.country_code.as_str()), ("a", "49"));
        assert_eq!((request.reference, request.arrived_micros), (None, 17));
        assert_eq!(request.trace_id, vec![9; 16]);
        assert_eq!(request.payload, vec![1, 2, 3]);
        assert!(request.user_data_header.is_empty());
    }

    #[test]
    fn a_header_beyond_the_end_leaves_no_payload() {
        let request = parsed(vec![9, 0, 3, 1], 0x40);
        assert!(request.payload.is_empty());
        assert_eq!(request.user_data_header, vec![0, 3, 1]);
        let request = parsed(Vec::new(), 0x40);
        assert!(request.payload.is_empty() && request.user_data_header.is_empty());
    }

    proptest! {
        /// Covers: SC-IC-04
        #[test]
        fn payloads_are_what_the_card_made(
            header in prop::collection::vec(any::<u8>(), 0..=20),
            payload in prop::collection::vec(any::<u8>(), 0..=600),
            with_header: bool,
        ) {
            let mut body = payload.clone();
            if with_header {
                body.splice(0..0, std::iter::once(u8::try_from(header.len()).expect("short")).chain(header.clone()));
            }
            let request = parsed(body, if with_header { 0x40 } else { 0 });
            prop_assert_eq!(&request.payload[..], &payload[..]);
            prop_assert_eq!(&request.user_data_header[..], if with_header { &header[..] } else { &[][..] });
        }
    }
}
