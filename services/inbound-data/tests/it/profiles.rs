//! Cards of the first and third embodiment at the inbound data processor, in company with one of the second.

use std::time::Duration;

use domain::{
    delivery::{Action, ActionId, Content, State},
    phonebook::{Profile, Source, restore},
};
use link::{first, reason::Reason, third};
use proto::inbound::{Outcome, ReportDeliveryRequest, report_delivery_request::State as Reported};

use runtime::events::{self, Kind};

use crate::harness::{Card, Centre, adn, digits, key, sms, start};

fn subscriber(centre: &Centre, number: u32, profile: Profile) {
    centre.subscriber_with(number, |view| view.device.profile = profile);
}

fn entries(records: &[(u8, &str)]) -> Vec<u8> {
    let entry = |(record_number, name): &(u8, &str)| first::Entry {
        record_number: *record_number,
        data: adn(name).as_ref().try_into().unwrap(),
    };
    first::Message::Backup { entries: records.iter().map(entry).collect(), is_checked: false }.encode()
}

fn set(record_number: u8, name: &str) -> third::Set {
    third::Set::of_record(record_number, &adn(name)).unwrap()
}

fn complete(all: &[third::Set], sent: &[third::Set]) -> Vec<u8> {
    third::Message::ChangeComplete { check_data: third::check_data(all), sets: sent.to_vec() }.encode()
}

async fn delivered(centre: &mut Centre, id: ActionId) -> bool {
    let request = ReportDeliveryRequest {
        link: "north".to_owned(),
        bearer_message_id: format!("id-{}", id.0),
        state: Reported::Delivered.into(),
        at_micros: centre.now().0,
        ..ReportDeliveryRequest::default()
    };
    centre.client.report_delivery(request).await.unwrap().into_inner().matched
}

/// A restore of everything, as the application server plans it.
fn order(centre: &Centre, number: u32, profile: Profile, book: &restore::Book) -> ActionId {
    let monitor = &centre.state(number).monitor;
    let origin = restore::Origin { book, monitor };
    let records = restore::plan(origin, &centre.book(number), monitor, &restore::Selection::All).unwrap();
    let records = restore::for_profile(profile, records);
    centre.order(number, restore::content(profile, &centre.book(number), records, third::FILE_CHECK))
}

/// Covers: SC-E1-02
#[tokio::test]
async fn one_of_each_profile_is_stored_and_answered_in_one_stream() {
    let mut centre = start().await;
    for (number, profile) in [(1, Profile::E1), (2, Profile::E2), (3, Profile::E3)] {
        subscriber(&centre, number, profile);
    }
    let mut second = Card::default();
    let third = [set(1, "BOB")];
    let messages = vec![
        sms(1, entries(&[(1, "BOB"), (2, "HOME")])),
        sms(2, second.backup(1, &adn("BOB"))),
        sms(3, complete(&third, &third)),
        // A device has one profile.
        sms(1, second.backup(2, &adn("WRONG"))),
        sms(2, complete(&third, &third)),
        sms(3, entries(&[(2, "WRONG")])),
    ];
    let answers = centre.edge.ingest(messages).await;
    let expected = [(Outcome::Stored, 0), (Outcome::Refused, 0x0C)].map(|answer| [answer; 3]).concat();
    assert_eq!(answers, expected);
    assert_eq!((centre.book(1).len(), centre.book(2).len(), centre.book(3).len()), (2, 1, 1));
    let profiles: Vec<Profile> = centre
        .store
        .tables()
        .actions
        .values()
        .filter_map(|action| match &action.content {
            Content::BackupAcknowledgement(acknowledgement) => Some(acknowledgement.profile),
            _ => None,
        })
        .collect();
    assert_eq!(profiles.len(), 3);
    centre.until("three errors", |centre| centre.errors.lock().unwrap().len() == 3).await;
    let errors = centre.errors.lock().unwrap().clone();
    let sent = |number: u32| errors.iter().find(|error| error.msisdn == digits(number)).unwrap();
    assert_eq!(sent(1).payload.as_ref(), [0x48, 0, 0, 0, 0, 0, 2, 0x0C], "as its sender speaks");
    assert_eq!((sent(1).protocol_id, sent(2).protocol_id, sent(3).protocol_id), (0x7F, 0, 0));
    assert_eq!(sent(2).payload.as_ref(), [0x84, 1, 0x0C]);
    assert_eq!(sent(3).payload.as_ref(), [0x07, 0x01, 0x0C]);
    centre.stop().await;
}

/// Covers: S3-SV-01
#[tokio::test]
async fn an_e3_card_without_an_account_is_counted_and_leaves_no_record() {
    let mut centre = start().await;
    subscriber(&centre, 1, Profile::E3);
    let file = [set(1, "BOB"), set(2, "HOME")];
    let messages = |number| {
        [
            sms(number, third::Message::Change { sets: file[..1].to_vec() }.encode()),
            sms(number, complete(&file, &file[1..])),
        ]
    };
    let refusals = || events::log().count(Kind::Refusal);
    let before = refusals();
    let answers = centre.edge.ingest([messages(9), messages(1)].concat()).await;
    let unknown = (Outcome::Refused, Reason::UnknownSubscriber.code().into());
    assert_eq!(answers, [unknown, unknown, (Outcome::Stored, 0), (Outcome::Stored, 0)]);
    assert!(refusals() >= before + 2);
    {
        let tables = centre.store.tables();
        assert_eq!(tables.journal.len(), 2, "of the subscriber");
        assert!(tables.journal.iter().all(|change| change.device == key(1)));
        assert_eq!(tables.acknowledgements().len(), 1);
        let states: Vec<_> = tables.billing.iter().map(|event| event.account_state).collect();
        assert_eq!(states, ["unknown", "unknown", "active", "active"]);
        let notices: Vec<_> = tables.notices.iter().map(|notice| notice.kind.as_str()).collect();
        assert_eq!(notices, ["no-account"]);
    }
    assert_eq!((centre.book(1).len(), centre.book(9).len()), (2, 0));
    centre.until("an error message", |centre| !centre.errors.lock().unwrap().is_empty()).await;
    let errors = centre.errors.lock().unwrap().clone();
    let told: Vec<_> = errors.iter().map(|it| (it.msisdn.as_str(), it.payload.as_ref(), it.protocol_id)).collect();
    assert_eq!(told, [(digits(9).as_str(), [0x84, 1, 9].as_slice(), 0)]);
    centre.stop().await;
}

#[tokio::test]
async fn a_receipt_writes_the_records_into_the_book_and_gives_the_next_message_its_turn() {
    let mut centre = start().await;
    subscriber(&centre, 1, Profile::E1);
    let all: Vec<(u8, String)> = (1..=6).map(|number| (number, format!("N{number}"))).collect();
    let named: Vec<(u8, &str)> = all.iter().map(|(number, name)| (*number, name.as_str())).collect();
    centre.one(sms(1, entries(&named[..4]))).await;
    centre.one(sms(1, entries(&named[4..]))).await;
    let book = centre.book(1);
    centre.one(sms(1, entries(&[(1, "X"), (2, "X"), (5, "X"), (9, "SURPLUS")]))).await;
    let id = order(&centre, 1, Profile::E1, &book);
    centre.launch(id);
    let read: Action = centre.action(id);
    assert!(delivered(&mut centre, id).await);
    let first = centre.action(id);
    assert_eq!((first.state, first.due, first.receipt), (State::Queued, centre.now(), Some(centre.now())));
    assert_ne!(centre.book(1), book);
    centre.until("it is queued", |centre| centre.queue.entries().iter().any(|entry| entry.action == id)).await;
    // The same report again, as an SMSC may: the state says that it is over.
    let changes = centre.store.tables().journal.len();
    assert!(delivered(&mut centre, id).await);
    assert_eq!(centre.store.tables().journal.len(), changes);
    centre.launch(id);
    assert!(delivered(&mut centre, id).await);
    assert_eq!((centre.action(id).state, centre.book(1)), (State::Done, book));
    assert!(centre.store.tables().journal.iter().rev().take(2).all(|change| change.source == Source::Restore));
    assert!(read.receipt.is_none());
    centre.stop().await;
}

/// Another writer was quicker between the reading and the writing of a receipt.
#[tokio::test]
async fn a_receipt_that_meets_another_writer_is_done_over() {
    let mut centre = start().await;
    subscriber(&centre, 1, Profile::E1);
    centre.one(sms(1, entries(&[(1, "BOB")]))).await;
    let book = centre.book(1);
    centre.one(sms(1, entries(&[(1, "X")]))).await;
    let id = order(&centre, 1, Profile::E1, &book);
    centre.launch(id);
    let meanwhile = move |tables: &mut crate::memory_store::Tables| {
        tables.actions.get_mut(&id.0).unwrap().due.0 += 1;
    };
    centre.store.tables().before_commit = Some(Box::new(meanwhile));
    assert!(delivered(&mut centre, id).await);
    assert_eq!((centre.action(id).state, centre.book(1)), (State::Done, book));
    centre.stop().await;
}

/// D-61 over a restart: what is awaited is stored, and the sweep of the next process asks.
#[tokio::test]
async fn a_mismatch_is_looked_at_after_its_grace_whoever_runs_then() {
    let mut centre = start().await;
    subscriber(&centre, 1, Profile::E3);
    let file = [set(1, "LOST"), set(2, "HOME")];
    centre.one(sms(1, complete(&file, &file[1..]))).await;
    assert_eq!(centre.state(1).awaited_check_data, Some(third::check_data(&file)));
    let (store, clock) = (centre.store.clone(), centre.clock.now());
    centre.stop().await;
    let mut centre = crate::harness::start_with(store, |_| {}).await;
    let ahead = u64::try_from((clock - centre.clock.now()).max(0)).unwrap();
    centre.clock.advance(Duration::from_micros(ahead) + Duration::from_secs(31));
    centre.until("a resynchronisation is asked for", |centre| !centre.store.tables().ordered().is_empty()).await;
    let [action] = centre.store.tables().ordered().try_into().unwrap();
    assert_eq!(centre.launch(action.id), [0x83, 1, 2]);
    assert!(delivered(&mut centre, action.id).await);
    assert_eq!(centre.action(action.id).state, State::Done);
    // The Change comes with the resynchronisation, and the file is confirmed.
    centre.one(sms(1, complete(&file, &file))).await;
    let state = centre.state(1);
    assert_eq!((state.awaited_check_data, state.resynchronisation, centre.book(1).len()), (None, None, 2));
    let confirmed = centre.store.tables().acknowledgements();
    assert_eq!(confirmed, [vec![0, 0, 0]]);
    centre.stop().await;
}
