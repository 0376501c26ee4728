//! Messages of the first embodiment: four entries each (SC-E1-04, SC-E1-05).

use link::{
    first::{ENTRIES, Entry, EntryResult, Message},
    message::AckRecord,
};

use super::TOO_LONG;
use crate::delivery::{Progress, Request, RestoreRecord};

/// The next four open records; one that is no entry of 28 octets becomes failed.
pub(super) fn restore(records: &mut [RestoreRecord]) -> Option<Vec<u8>> {
    let mut entries = Vec::with_capacity(ENTRIES);
    for each in records.iter_mut().filter(|each| each.progress.is_to_launch()) {
        if entries.len() == ENTRIES {
            break;
        }
        each.progress = match each.data.as_ref().try_into() {
            Ok(data) if each.record_number != 0 => {
                entries.push(Entry { record_number: each.record_number, data });
                Progress::InFlight
            }
            _ => TOO_LONG,
        };
    }
    (!entries.is_empty()).then(|| Message::Restore { entries }.encode())
}

/// At most four results.
pub(super) fn acknowledgement(records: &[AckRecord]) -> Vec<u8> {
    let result = |record: &AckRecord| EntryResult { record_number: record.record_number, result: record.result };
    Message::Acknowledgement { results: records.iter().map(result).collect() }.encode()
}

/// `None`: E1 has no such message.
pub(super) fn control(request: Request) -> Option<Vec<u8>> {
    let message = match request {
        Request::ServiceOn => Message::ServiceOn,
        Request::ServiceOff => Message::ServiceOff,
        Request::Resynchronise => Message::Resynchronise,
        Request::Poll => return None,
    };
    Some(message.encode())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{acknowledgements, next_message};
    use super::*;
    use crate::{
        delivery::Content,
        phonebook::{EF_ADN, Profile},
    };

    fn record(record_number: u8, octets: usize) -> RestoreRecord {
        let data = Bytes::from(vec![record_number; octets]);
        RestoreRecord { monitor_index: 0, file: EF_ADN, record_number, data_offset: 0, data, progress: Progress::Open }
    }

    fn messages(records: Vec<RestoreRecord>) -> Vec<Vec<u8>> {
        let mut content = Content::Restore { records, check_data: None };
        std::iter::from_fn(|| next_message(&mut content, Profile::E1, 140)).collect()
    }

    /// Covers: S1-RS-05, SC-E1-05
    #[test]
    fn a_restore_goes_four_at_a_time_on_every_channel() {
        let all = messages((1..=100).map(|number| record(number, 28)).collect());
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [119; 25]);
        let selected = messages([3, 4, 9, 70, 80, 100].map(|number| record(number, 28)).to_vec());
        assert_eq!(selected.len(), 2);
        let Ok(Message::Restore { entries }) = Message::decode(&selected[1]) else { panic!("a restore") };
        assert_eq!(entries.iter().map(|entry| entry.record_number).collect::<Vec<_>>(), [80, 100]);
        let mut content = Content::Restore { records: vec![record(1, 28), record(2, 28)], check_data: None };
        assert_eq!(next_message(&mut content, Profile::E1, 4096).map(|message| message.len()), Some(119));
    }

    #[test]
    fn what_is_no_entry_is_refused_and_the_others_go() {
        let mut content = Content::Restore { records: vec![record(1, 30), record(2, 28)], check_data: None };
        assert!(next_message(&mut content, Profile::E1, 140).is_some());
        let Content::Restore { records, .. } = &content else { panic!("still a restore") };
        assert_eq!((records[0].progress, records[1].progress), (TOO_LONG, Progress::InFlight));
        let mut content = Content::Restore { records: vec![record(1, 30)], check_data: None };
        assert_eq!(next_message(&mut content, Profile::E1, 140), None);
    }

    /// Covers: SC-E1-04
    #[test]
    fn results_go_four_at_a_time() {
        let parts: [&[u8]; 2] = [&[0, 1, 0, 0, 2, 0], &[0, 3, 2]];
        assert_eq!(acknowledgements(Profile::E1, parts, 140), [[3, 1, 0, 2, 0, 3, 2, 0, 0]]);
        let many = [0, 7, 0].repeat(5);
        assert_eq!(acknowledgements(Profile::E1, [many.as_slice()], 4096).len(), 2);
    }

    #[test]
    fn every_request_has_its_message_or_fails() {
        let built = |request, profile| {
            let mut content = Content::Control { request, progress: Progress::Open };
            let message = next_message(&mut content, profile, 140);
            let progress = content.progresses().next();
            assert_eq!(next_message(&mut content, profile, 140), None, "told once");
            (message, progress)
        };
        let told = |message: &[u8]| (Some(message.to_vec()), Some(Progress::InFlight));
        let never = (None, Some(Progress::Failed(0x0C)));
        assert_eq!(built(Request::ServiceOn, Profile::E1), told(&[4]));
        assert_eq!(built(Request::ServiceOff, Profile::E1), told(&[5]));
        assert_eq!(built(Request::Resynchronise, Profile::E1), told(&[6]));
        assert_eq!(built(Request::Poll, Profile::E1), never);
        assert_eq!(built(Request::Resynchronise, Profile::E3), told(&[0x83, 1, 2]));
        assert_eq!(built(Request::Poll, Profile::E3), told(&[0x83, 1, 3]));
        assert_eq!(built(Request::ServiceOn, Profile::E3), never);
        assert_eq!(built(Request::Resynchronise, Profile::E2), never);
    }
}
