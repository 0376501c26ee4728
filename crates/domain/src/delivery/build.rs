//! The next message of an action, within the limit of its channel (SC-OD-04 to SC-OD-06, SC-OD-09), in the layout of the
//! card's profile (D-50): E2 here, the others in [`first`] and [`third`].

mod first;
mod third;

use link::{
    addressable::AddressedRecord,
    compact, configuration,
    message::{AckRecord, Message},
    reason::Reason,
    record::{NotAdded, Record},
};
use secured::bearer::Capacity;

use super::{ConfigurationItem, Content, Progress, RestoreRecord};
use crate::{
    asynchronous,
    phonebook::{Bearer, Profile},
};

/// Octets of a message on this channel: one short message, or one IP frame's payload.
#[must_use]
pub fn limit(channel: Bearer) -> usize {
    match channel {
        Bearer::Sms => link::SMS_OCTETS,
        Bearer::Ip => link::ip::PAYLOAD_OCTETS_MAX,
    }
}

/// What a message of a plain device takes.
#[must_use]
pub fn plain(channel: Bearer) -> Capacity {
    Capacity { single: limit(channel), most: limit(channel) }
}

/// What a message to a card may be.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub profile: Profile,
    pub capacity: Capacity,
    /// Compact where that is shorter (D-08).
    pub is_compact: bool,
}

/// All messages of one launch, in order: of a transfer everything that is said now, of any other action its next message.
pub fn messages_within(content: &mut Content, form: Form) -> Vec<Vec<u8>> {
    match content {
        Content::Transfer(words) => words.all(form.capacity.single),
        content => next_message_within(content, form).into_iter().collect(),
    }
}

/// As [`next_message`]: in one short message if all that comes next fits one, in two for a record that does not (D-120).
pub fn next_message_within(content: &mut Content, form: Form) -> Option<Vec<u8>> {
    let Form { profile, capacity, is_compact } = form;
    if capacity.most > capacity.single {
        let mut short = content.clone();
        let message = next(&mut short, profile, capacity.single, is_compact);
        let refused = |content: &Content| content.progresses().filter(|progress| *progress == TOO_LONG).count();
        if refused(&short) == refused(content) {
            *content = short;
            return message;
        }
    }
    next(content, profile, capacity.most, is_compact)
}

/// Builds the next message out of the open records and marks what it holds as in flight. `None`: nothing is open, or
/// (acknowledgements) see [`acknowledgements`]. A record that no message of `limit` octets can take becomes failed,
/// reason 0x03; it is refused, never cut (SC-OD-09).
///
/// What the profile has no message for becomes failed too, reason 0x0C. The messages of E1 have one length whatever the
/// limit.
pub fn next_message(content: &mut Content, profile: Profile, limit: usize) -> Option<Vec<u8>> {
    next(content, profile, limit, false)
}

fn next(content: &mut Content, profile: Profile, limit: usize, is_compact: bool) -> Option<Vec<u8>> {
    match (content, profile) {
        // See [`acknowledgements`] and [`messages_within`].
        (Content::BackupAcknowledgement(_) | Content::Transfer(_), _) => None,
        (Content::Asynchronous { message }, _) => Some(asynchronous::fitted(message, limit)),
        (Content::Restore { records, .. }, Profile::E2) => restore(records, limit, is_compact),
        (Content::Restore { records, .. }, Profile::E1) => first::restore(records),
        (Content::Restore { records, check_data }, Profile::E3) => third::restore(records, *check_data, limit),
        (Content::AddressableRestore { records }, Profile::E2) => addressable(records, limit),
        (Content::Configuration { items }, Profile::E2) => configure(items, limit),
        (Content::Control { request, progress }, Profile::E1 | Profile::E3) if progress.is_to_launch() => {
            let message = if profile == Profile::E1 { first::control(*request) } else { third::control(*request) };
            *progress = if message.is_some() { Progress::InFlight } else { UNSUPPORTED };
            message
        }
        (Content::Control { .. }, Profile::E1 | Profile::E3) => None,
        (content, _) => {
            content.progresses_mut().filter(|progress| progress.is_to_launch()).for_each(|it| *it = UNSUPPORTED);
            None
        }
    }
}

/// Combines the Table 9 records of several acknowledgements of one device, in order, into as few messages as possible.
#[must_use]
pub fn acknowledgements<'a>(
    profile: Profile,
    records: impl IntoIterator<Item = &'a [u8]>,
    limit: usize,
) -> Vec<Vec<u8>> {
    let records: Vec<AckRecord> = records
        .into_iter()
        .flat_map(|octets| octets.as_chunks::<{ AckRecord::OCTETS }>().0)
        .map(|&[monitor_index, record_number, result]| AckRecord { monitor_index, record_number, result })
        .collect();
    match profile {
        Profile::E1 => records.chunks(link::first::ENTRIES).map(first::acknowledgement).collect(),
        Profile::E2 => records
            .chunks(AckRecord::per_message(limit).max(1))
            .map(|records| Message::BackupAcknowledgement { records: records.to_vec() }.encode())
            .collect(),
        Profile::E3 => records.iter().map(third::confirmation).collect(),
    }
}

/// Records of acknowledgements that one message takes (D-56). A confirmation (E3) does not say which backup it answers, so
/// each has its own.
#[must_use]
pub fn acknowledged_max(profile: Profile, limit: usize) -> usize {
    match profile {
        Profile::E1 => link::first::ENTRIES,
        Profile::E2 => AckRecord::per_message(limit).max(1),
        Profile::E3 => 1,
    }
}

const TOO_LONG: Progress = Progress::Failed(Reason::BadDataLengthOrOffset as u8);
const UNSUPPORTED: Progress = Progress::Failed(Reason::Unsupported as u8);

fn restore(records: &mut [RestoreRecord], limit: usize, is_compact: bool) -> Option<Vec<u8>> {
    let mut builder = compact::Builder::restore(limit).compact(is_compact);
    for each in records.iter_mut().filter(|each| each.progress.is_to_launch()) {
        let record =
            Record { monitor_index: each.monitor_index, record_number: each.record_number, data: each.data.clone() };
        match builder.push(&record) {
            Ok(()) => each.progress = Progress::InFlight,
            Err(NotAdded::Full) => break,
            Err(NotAdded::TooLong { .. }) => each.progress = TOO_LONG,
        }
    }
    (builder.count() > 0).then(|| builder.finish_restore())
}

fn addressable(records: &mut [RestoreRecord], limit: usize) -> Option<Vec<u8>> {
    let mut chosen = Vec::new();
    let mut octets = 1;
    for each in records.iter_mut().filter(|each| each.progress.is_to_launch()) {
        let record = AddressedRecord {
            df: each.file.df,
            ef: each.file.ef,
            record_number: each.record_number,
            data_offset: each.data_offset,
            data: each.data.clone(),
        };
        if each.data.len() > 255 || 1 + record.encoded_octets() > limit {
            each.progress = TOO_LONG;
            continue;
        }
        if octets + record.encoded_octets() > limit {
            break;
        }
        octets += record.encoded_octets();
        each.progress = Progress::InFlight;
        chosen.push(record);
    }
    (!chosen.is_empty()).then(|| Message::AddressableRestore { records: chosen }.encode())
}

fn configure(items: &mut [ConfigurationItem], limit: usize) -> Option<Vec<u8>> {
    let mut chosen = Vec::new();
    let mut octets = 1;
    for each in items.iter_mut().filter(|each| each.progress.is_to_launch()) {
        if configuration::data_octets(each.cid) != Some(each.data.len()) {
            each.progress = TOO_LONG;
            continue;
        }
        let item = configuration::ConfigurationItem { cid: each.cid, data: each.data.clone() };
        if octets + item.encoded_octets() > limit {
            break;
        }
        octets += item.encoded_octets();
        each.progress = Progress::InFlight;
        chosen.push(item);
    }
    (!chosen.is_empty()).then(|| Message::Configuration { items: chosen, unparsed: None }.encode())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::phonebook::EF_ADN;

    fn record(record_number: u8, data: Bytes) -> RestoreRecord {
        RestoreRecord { monitor_index: 0, file: EF_ADN, record_number, data_offset: 0, data, progress: Progress::Open }
    }

    #[test]
    fn a_restore_fills_message_after_message() {
        let records = (1..=100).map(|number| record(number, vec![number; 28].into())).collect();
        let mut content = Content::Restore { records, check_data: None };
        let messages: Vec<usize> =
            std::iter::from_fn(|| next_message(&mut content, Profile::E2, 140)).map(|message| message.len()).collect();
        assert_eq!(messages, vec![1 + 4 * 30; 25]);
        content.reopen();
        assert_eq!(next_message(&mut content, Profile::E2, 4096).map(|message| message.len()), Some(3001));
        assert_eq!(next_message(&mut content, Profile::E2, 4096), None);
    }

    /// D-08: to a card that has accepted it a restore is compact where that is shorter, and says the same.
    ///
    /// Covers: S1-BK-04
    #[test]
    fn a_compact_restore_holds_more_records_and_is_read_as_a_plain_one() {
        let bob = |number: u8| [vec![0x42, 0x4F, number + 0x30], vec![0xFF; 25]].concat();
        let records: Vec<RestoreRecord> = (1..=9).map(|number| record(number, bob(number).into())).collect();
        let mut content = Content::Restore { records, check_data: None };
        let form = Form { profile: Profile::E2, capacity: plain(Bearer::Sms), is_compact: true };
        let message = next_message_within(&mut content, form).expect("records are open");
        assert_eq!(next_message_within(&mut content, form), None, "all nine in one message");
        assert!(message.len() < 60 && message[0] == 0x58 && compact::is_format(message[1]), "{} octets", message.len());
        let row = link::monitor::MonitorRow { record_count: 9, data_octets: 28, ..Default::default() };
        let read = Message::decode(&message, &link::monitor::MonitorTable::new(vec![row]));
        let Ok(Message::Restore { records, refused: None }) = read else { panic!("a restore, got {read:?}") };
        assert_eq!(
            records.iter().map(|each| each.data.to_vec()).collect::<Vec<_>>(),
            (1..=9).map(bob).collect::<Vec<_>>()
        );
        content.reopen();
        let plain_form = Form { is_compact: false, ..form };
        assert_eq!(next_message_within(&mut content, plain_form).map(|message| message.len()), Some(1 + 4 * 30));
    }

    /// Covers: SC-OD-09
    #[test]
    fn what_fits_no_message_is_refused_not_cut() {
        let mut content = Content::Restore { records: vec![record(1, vec![1; 138].into())], check_data: None };
        assert_eq!(next_message(&mut content, Profile::E2, 140), None);
        let Content::Restore { records, .. } = &content else { panic!("still a restore") };
        assert_eq!(records[0].progress, Progress::Failed(0x03));
        let mut content = Content::AddressableRestore { records: vec![record(1, vec![1; 132].into())] };
        assert_eq!(next_message(&mut content, Profile::E2, 140), None);
    }

    /// Covers: S1-BK-05
    #[test]
    fn a_secured_message_is_shorter_and_a_record_that_does_not_fit_one_takes_two() {
        let capacity = Capacity { single: 98, most: 242 };
        let records = (1..=5).map(|number| record(number, vec![number; 28].into())).collect();
        let mut content = Content::Restore { records, check_data: None };
        let mut lengths = || {
            next_message_within(&mut content, Form { profile: Profile::E2, capacity, is_compact: false })
                .map(|message| message.len())
        };
        assert_eq!([lengths(), lengths(), lengths()], [Some(1 + 3 * 30), Some(1 + 2 * 30), None]);
        let mut content = Content::Restore { records: vec![record(1, vec![1; 117].into())], check_data: None };
        assert_eq!(
            next_message_within(&mut content, Form { profile: Profile::E2, capacity, is_compact: false })
                .map(|message| message.len()),
            Some(120)
        );
        let mut content = Content::AddressableRestore { records: vec![record(1, vec![1; 240].into())] };
        assert_eq!(next_message_within(&mut content, Form { profile: Profile::E2, capacity, is_compact: false }), None);
        assert_eq!(content.progresses().collect::<Vec<_>>(), [TOO_LONG], "refused, not cut");
        let mut content = Content::Restore { records: vec![record(1, vec![1; 117].into())], check_data: None };
        assert_eq!(
            next_message_within(
                &mut content,
                Form { profile: Profile::E2, capacity: plain(Bearer::Sms), is_compact: false }
            )
            .map(|message| message.len()),
            Some(120)
        );
    }

    #[test]
    fn acknowledgements_combine_in_order() {
        let parts: [&[u8]; 3] = [&[0, 1, 0], &[0, 2, 1, 0, 3, 0], &[0, 1, 0]];
        assert_eq!(acknowledgements(Profile::E2, parts, 140), [vec![0x10, 0, 1, 0, 0, 2, 1, 0, 3, 0, 0, 1, 0]]);
        let many = [[0, 1, 0]; 47].concat();
        assert_eq!(acknowledgements(Profile::E2, [many.as_slice()], 140).len(), 2);
        assert_eq!(acknowledgements(Profile::E2, [], 140).len(), 0);
    }

    /// Covers: SC-OD-04
    #[test]
    fn the_generators_give_the_vectors() {
        let bob = [0x42, 0x4F, 0x42, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]
            .into_iter()
            .chain([0x06, 0x91, 0x00, 0x11, 0x32, 0x54, 0xF6])
            .chain([0xFF; 7])
            .collect::<Bytes>();
        assert_eq!(acknowledgements(Profile::E2, [[0, 1, 0, 0, 2, 1].as_slice()], 140), [[0x10, 0, 1, 0, 0, 2, 1]]);
        let mut content = Content::Restore { records: vec![record(1, bob.clone())], check_data: None };
        assert_eq!(next_message(&mut content, Profile::E2, 140), Some([&[0x18, 0, 1], bob.as_ref()].concat()));
        let mut content = Content::AddressableRestore { records: vec![record(5, bob.clone())] };
        let head = [0x28, 0x7F, 0x10, 0x6F, 0x3A, 5, 0, 0, 0x1C];
        assert_eq!(next_message(&mut content, Profile::E2, 140), Some([head.as_slice(), bob.as_ref()].concat()));
        let item = |cid, data: &'static [u8]| ConfigurationItem { cid, data: data.into(), progress: Progress::Open };
        let row = item(6, &[0, 0x7F, 0x10, 0x6F, 0x3A, 0, 0x64, 0, 0, 0x1C]);
        let mut content = Content::Configuration { items: vec![item(1, &[1]), item(4, &[1]), row] };
        let expected = vec![0x30, 1, 1, 4, 1, 6, 0, 0x7F, 0x10, 0x6F, 0x3A, 0, 0x64, 0, 0, 0x1C];
        assert_eq!(next_message(&mut content, Profile::E2, 140), Some(expected));
    }
}
