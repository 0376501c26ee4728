//! Values of the store and the queue: a version of tomorrow, or a hand in the table, must not bring a service down.

use bytes::Bytes;
use domain::{
    delivery::{Acknowledgement, ActionId, Content, Progress, QueueEntry, Request, RestoreRecord, Words},
    identity::{DeviceId, DeviceKey, Msisdn, SubscriberId, Timestamp},
    phonebook::{Bearer, DeviceState, FilePath, LastMessage, Page, Profile},
    security::{KeySource, KeyVersion, Level, Security, TAR_DOWN, TAR_UP},
    transfer::{Session, desk::Sending},
};
use link::transfer::{Kind, parts::Item};
use secured::keys::Algorithm;

use super::{BOB, Target, again, hex, messages, settles};

pub(super) fn all() -> Vec<Target> {
    vec![queue_entries(), contents(), pages(), states(), transfers()]
}

fn data() -> Bytes {
    Bytes::from(hex(BOB))
}

fn acknowledgement(profile: Profile) -> Acknowledgement {
    Acknowledgement { profile, records: Bytes::from_static(&[0, 1, 0]) }
}

fn queue_entries() -> Target {
    let entry = QueueEntry {
        device: DeviceKey { subscriber: SubscriberId(1), device: DeviceId(2) },
        action: ActionId(3),
        msisdn: Msisdn::parse("447700900123").expect("a number"),
        channel: Bearer::Sms,
        acknowledgement: Some(acknowledgement(Profile::E1)),
        is_secured: true,
        traces: vec![Bytes::from_static(&[7; 16]); 2],
    };
    Target::new("queue-entry", vec![entry.to_octets().to_vec()], |octets| {
        again(octets, |octets| QueueEntry::from_octets(octets.to_vec()), |entry| entry.to_octets().to_vec())
    })
}

fn contents() -> Target {
    let record = RestoreRecord {
        monitor_index: 0,
        file: FilePath { df: 0x7F10, ef: 0x6F3A },
        record_number: 1,
        data_offset: 0,
        data: data(),
        progress: Progress::Failed(4),
    };
    let content = Item { kind: Kind::Setting, key: Bytes::from_static(b"volume"), value: data() };
    let sending = Sending { session: 7, number: 1, content };
    let contents = [
        Content::BackupAcknowledgement(acknowledgement(Profile::E2)),
        Content::Restore { records: vec![record.clone(); 3], check_data: None },
        Content::Restore { records: vec![record.clone()], check_data: Some(7) },
        Content::Control { request: Request::Poll, progress: Progress::Open },
        Content::AddressableRestore { records: vec![record] },
        Content::Transfer(Box::new(Words { messages: vec![data(), data()], item: Some(sending) })),
        Content::Transfer(Box::new(Words { messages: vec![data()], item: None })),
    ];
    Target::new("action-content", contents.iter().map(Content::to_octets).collect(), |octets| {
        again(octets, |octets| Content::from_octets(octets.to_vec()), Content::to_octets)
    })
}

fn pages() -> Target {
    let mut page = Page { slot_octets: 28, ..Page::default() };
    page.slots[0] = Some(data());
    page.slots[15] = Some(data());
    Target::new("book-page", vec![page.to_octets()], |octets| {
        again(octets, |octets| Page::from_octets(octets.to_vec()), Page::to_octets)
    })
}

fn states() -> Target {
    let state = DeviceState {
        monitor: messages::monitor(),
        last_message: Some(LastMessage { hash: 1, at: Timestamp(2), answer: data() }),
        resynchronised: vec![Timestamp(3)],
        settings: [(4, Bytes::from_static(&[1]))].into(),
        awaited_check_data: Some(9),
        ..DeviceState::default()
    };
    let generation = |version, source| KeyVersion::new(version, Algorithm::Aes128, source);
    let security = Security {
        level: Level::IntegrityAndCipher,
        tar_up: TAR_UP,
        tar_down: TAR_DOWN,
        current: generation(2, KeySource::Wrapped(Bytes::from_static(&[9; 40]))),
        previous: Some(generation(1, KeySource::Derived)),
    };
    let secured = DeviceState { security: Some(security), ..state.clone() };
    Target::new("device-state", vec![state.to_octets(), secured.to_octets()], |octets| {
        again(octets, |octets| DeviceState::from_octets(octets.to_vec(), 1, 1), DeviceState::to_octets)
    })
}

/// Ident, device, transaction, wish, owner, name; phase and end, bearer, repeats; times; counts; one part of an item.
fn transfers() -> Target {
    let times = "0000000000000003".repeat(3);
    let opening = "01 00000001 0000000000000001 0000000000000002 0007 06 0000000000000001 0004 6D61696E";
    let running = hex(&format!("{opening} 00 00 0000 FF 00 00 {times} 00000001 00000020 0000 0005 0000 0000 0000"));
    let part = hex("0011 C4 00000001 0000 02 04 746F6E65 01 03 0708");
    let ended = hex(&format!("{opening} 02 02 0001 03 01 02 {times} 00000001 00000020 0001 0005 0000 0000 0001"));
    Target::new("transfer-session", vec![[running.clone(), part].concat(), running, ended], |octets| {
        settles(octets, |octets| Session::from_octets(octets.to_vec()), Session::to_octets)
    })
}
