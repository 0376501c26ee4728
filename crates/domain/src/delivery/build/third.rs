//! Messages of the third embodiment: sets of any length, as many as fit (D-05, D-27).

use link::{
    message::AckRecord,
    third::{self, Message, Set},
};

use super::TOO_LONG;
use crate::delivery::{Progress, Request, RestoreRecord};

/// Octets before the sets of a Restore Complete: room is counted with them, for any message may be the last.
const HEADER_OCTETS: usize = 5;

/// Open records until the message is full: a Restore, or, when no more are open behind it, the Restore Complete, if there is
/// check data for it.
pub(super) fn restore(records: &mut [RestoreRecord], check_data: Option<u16>, limit: usize) -> Option<Vec<u8>> {
    let mut sets = Vec::new();
    let mut octets = HEADER_OCTETS;
    let mut is_last = true;
    let mut encoded = Vec::new();
    for each in records.iter_mut().filter(|each| each.progress.is_to_launch()) {
        encoded.clear();
        let set = set(each).inspect(|set| set.append_to(&mut encoded));
        let Some(set) = set.filter(|_| HEADER_OCTETS + encoded.len() <= limit) else {
            each.progress = TOO_LONG;
            continue;
        };
        if octets + encoded.len() > limit {
            is_last = false;
            break;
        }
        octets += encoded.len();
        each.progress = Progress::InFlight;
        sets.push(set);
    }
    let message = match check_data.filter(|_| is_last) {
        _ if sets.is_empty() => return None,
        Some(check_data) => Message::RestoreComplete { check_data, sets },
        None => Message::Restore { sets },
    };
    Some(message.encode())
}

fn set(record: &RestoreRecord) -> Option<Set> {
    Set::of_record(record.record_number, &record.data).filter(|set| set.record_number != 0)
}

/// D-05: the result of the whole backup.
pub(super) fn confirmation(record: &AckRecord) -> Vec<u8> {
    Message::Confirmation { result: record.result }.encode()
}

/// `None`: E3 has no such message.
pub(super) fn control(request: Request) -> Option<Vec<u8>> {
    let request = match request {
        Request::Resynchronise => third::Request::Resynchronise,
        Request::Poll => third::Request::Poll,
        Request::ServiceOn | Request::ServiceOff => return None,
    };
    Some(Message::Control { request }.encode())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{acknowledged_max, acknowledgements, next_message};
    use super::*;
    use crate::{
        delivery::Content,
        phonebook::{EF_ADN, Profile},
    };

    fn record(record_number: u8, name: &str, octets: usize) -> RestoreRecord {
        let mut data = name.as_bytes().to_vec();
        data.resize(octets - 14, 0xFF);
        data.extend([5, 0x81, 0x20, 0x80, 0x91, 0x99]);
        data.resize(octets, 0xFF);
        let data = Bytes::from(data);
        RestoreRecord { monitor_index: 0, file: EF_ADN, record_number, data_offset: 0, data, progress: Progress::Open }
    }

    #[test]
    fn a_restore_fills_its_messages_and_the_last_carries_the_check_data() {
        let records: Vec<_> = (1..=20).map(|number| record(number, "HOME", 28)).collect();
        let sets: Vec<Set> = records.iter().filter_map(set).collect();
        let check_data = 0x1234;
        let mut content = Content::Restore { records, check_data: Some(check_data) };
        let messages: Vec<_> = std::iter::from_fn(|| next_message(&mut content, Profile::E3, 140))
            .map(|it| Message::decode(&it))
            .collect();
        // A set has 18 octets: seven in a message.
        assert_eq!(messages.len(), 3);
        assert!(matches!(&messages[0], Ok(Message::Restore { sets }) if sets.len() == 7));
        assert_eq!(messages[2], Ok(Message::RestoreComplete { check_data, sets: sets[14..].to_vec() }));
        content.reopen();
        let one = next_message(&mut content, Profile::E3, 4096).map(|it| Message::decode(&it));
        assert_eq!(one, Some(Ok(Message::RestoreComplete { check_data, sets })));
    }

    #[test]
    fn any_length_goes_and_what_has_no_place_in_a_set_is_refused() {
        let broken = RestoreRecord { data: vec![0x20; 28].into(), ..record(2, "", 28) };
        let long = record(3, &"x".repeat(130), 144);
        let mut content = Content::Restore { records: vec![record(1, "BOB", 40), broken, long], check_data: None };
        assert!(next_message(&mut content, Profile::E3, 140).is_some());
        let progresses: Vec<_> = content.progresses().collect();
        assert_eq!(progresses, [Progress::InFlight, TOO_LONG, TOO_LONG]);
    }

    #[test]
    fn every_backup_has_a_confirmation_of_its_own() {
        let parts: [&[u8]; 2] = [&[0, 0, 1], &[0, 0, 0]];
        assert_eq!(acknowledgements(Profile::E3, parts, 140), [[0x85, 1, 1, 1], [0x85, 1, 1, 0]]);
        assert!(acknowledgements(Profile::E3, [], 140).is_empty());
        assert_eq!(acknowledged_max(Profile::E3, 140), 1);
    }
}
