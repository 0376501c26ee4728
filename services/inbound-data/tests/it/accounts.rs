use std::time::Duration;

use domain::{identity::Msisdn, phonebook::AccountState};
use link::reason::Reason;
use proto::inbound::{Address, Outcome};
use runtime::events::{self, Kind};

use crate::harness::{Card, adn, digits, sms, start};

fn refused(reason: Reason) -> (Outcome, u32) {
    (Outcome::Refused, reason.code().into())
}

/// Covers: SC-AC-01, SC-ER-04, SC-OC-03
#[tokio::test]
async fn an_unknown_number_leaves_no_row_and_gets_one_error_a_day() {
    let mut centre = start().await;
    let mut card = Card::default();
    for _ in 0..3 {
        let outcomes =
            centre.edge.ingest(vec![sms(9, card.backup(1, &adn("X"))), sms(9, card.backup(2, &adn("Y")))]).await;
        assert_eq!(outcomes, [refused(Reason::UnknownSubscriber); 2]);
    }
    centre.until("the error message", |centre| !centre.errors.lock().unwrap().is_empty()).await;
    centre.clock.advance(Duration::from_secs(86_400));
    centre.edge.ingest(vec![sms(9, card.backup(1, &adn("Z")))]).await;
    centre.until("the next day's", |centre| centre.errors.lock().unwrap().len() == 2).await;
    for error in centre.errors.lock().unwrap().iter() {
        assert_eq!((error.payload.as_ref(), &error.msisdn), ([0x48, 0, 0, 0, 0, 0, 2, 9].as_slice(), &digits(9)));
        assert_eq!((error.protocol_id, error.data_coding), (0x7F, 0xF6));
    }
    {
        let tables = centre.store.tables();
        assert!(tables.journal.is_empty() && tables.actions.is_empty() && tables.parts.is_empty());
        assert_eq!((tables.notices.len(), tables.notices[0].kind.as_str()), (2, "no-account"));
        assert!(tables.billing.iter().all(|event| event.account_state == "unknown" && event.subscriber.is_none()));
    }
    centre.stop().await;
}

/// Covers: SC-AC-02
#[tokio::test]
async fn every_account_state_has_its_outcome() {
    let mut centre = start().await;
    for (number, state) in [(1, AccountState::Active), (2, AccountState::Suspended), (3, AccountState::ServiceOff)] {
        centre.subscriber_with(number, |view| view.subscriber.state = state);
    }
    let mut outcomes = Vec::new();
    for number in 1..=4 {
        outcomes.extend(centre.edge.ingest(vec![sms(number, Card::default().backup(1, &adn("X")))]).await);
    }
    let service_off = refused(Reason::ServiceOff);
    assert_eq!(outcomes, [(Outcome::Stored, 0), service_off, service_off, refused(Reason::UnknownSubscriber)]);
    centre.until("three error messages", |centre| centre.errors.lock().unwrap().len() == 3).await;
    let mut errors: Vec<_> =
        centre.errors.lock().unwrap().iter().map(|it| (it.msisdn.clone(), it.payload.to_vec())).collect();
    errors.sort();
    let temporary = vec![0x48, 0, 0, 0, 0, 0, 1, 0x0A];
    let unknown = vec![0x48, 0, 0, 0, 0, 0, 2, 9];
    assert_eq!(errors, [(digits(2), temporary.clone()), (digits(3), temporary), (digits(4), unknown)]);
    {
        let tables = centre.store.tables();
        assert_eq!((tables.acknowledgements().len(), tables.journal.len()), (1, 1));
        let states: Vec<_> = tables.billing.iter().map(|event| event.account_state).collect();
        assert_eq!(states, ["active", "suspended", "service_off", "unknown"]);
    }
    centre.stop().await;
}

/// Covers: SC-IC-09, SC-BL-02
#[tokio::test]
async fn a_hundred_signals_are_a_hundred_billing_events() {
    let mut centre = start().await;
    centre.subscriber(1);
    let mut card = Card::default();
    let mut messages = Vec::new();
    for number in 0..25 {
        let stored = card.backup(1 + number, &adn("N"));
        messages.extend([sms(1, stored.clone()), sms(1, stored), sms(1, vec![0x60, 1]), sms(7, vec![0x08])]);
    }
    centre.edge.ingest(messages).await;
    {
        let tables = centre.store.tables();
        assert_eq!(tables.billing.len(), 100);
        let count = |is: fn(&store::BillingEvent) -> bool| tables.billing.iter().filter(|event| is(event)).count();
        assert_eq!(count(|event| event.duplicate), 25);
        assert_eq!(count(|event| event.first_octet == Some(0x60)), 25);
        assert_eq!(count(|event| event.account_state == "unknown"), 25);
        assert!(tables.billing.iter().all(|event| event.channel == "sms/north"));
    }
    centre.stop().await;
}

#[tokio::test]
async fn an_originator_that_is_no_number_is_refused_and_billed() {
    let mut centre = start().await;
    let mut message = sms(1, vec![0x08]);
    message.originator = Some(Address { ton: 5, npi: 0, digits: "BANK".to_owned() });
    assert_eq!(centre.edge.ingest(vec![message]).await, [refused(Reason::UnknownSubscriber)]);
    let mut message = sms(1, Card::default().backup(1, &adn("X")));
    centre.subscriber(1);
    message.originator = Some(Address { ton: 2, npi: 1, digits: digits(1)[2..].to_owned() });
    assert_eq!(centre.one(message).await, Outcome::Stored);
    {
        let tables = centre.store.tables();
        assert_eq!(tables.billing[0].msisdn, None);
        assert_eq!(tables.billing[1].msisdn, Some(Msisdn::parse(&digits(1)).unwrap()));
    }
    centre.stop().await;
}

/// Covers: SC-ER-01
#[tokio::test]
async fn an_error_is_told_to_card_operator_and_customer_service_but_never_answers_an_error() {
    let mut centre = start().await;
    centre.subscriber(1);
    let alerts = || events::log().count(Kind::Refusal);
    let before = alerts();
    assert_eq!(centre.edge.ingest(vec![sms(1, vec![0xC9])]).await, [refused(Reason::Unsupported)]);
    assert!(alerts() > before);
    let alert = events::log().newest(1000).into_iter().find(|event| event.kind == Kind::Refusal).unwrap();
    assert!(!alert.text.contains("77009"), "{alert:?}");
    centre.until("the error message", |centre| centre.errors.lock().unwrap().len() == 1).await;
    assert_eq!(centre.errors.lock().unwrap()[0].payload.as_ref(), [0x48, 0, 0, 0, 0, 0, 2, 0x0C]);
    assert_eq!(centre.one(sms(1, vec![0x48, 0x7F, 0x10, 0x6F, 0x3A, 5, 2, 4])).await, Outcome::Stored);
    assert_eq!(centre.edge.ingest(vec![sms(1, vec![0x48, 1])]).await, [refused(Reason::Malformed)]);
    // Error messages leave in order: when the next one is there, the two errors of the card had none.
    assert_eq!(centre.edge.ingest(vec![sms(1, vec![0xC7])]).await, [refused(Reason::Unsupported)]);
    centre.until("the next error message", |centre| centre.errors.lock().unwrap().len() > 1).await;
    assert_eq!(centre.errors.lock().unwrap().len(), 2);
    let kinds: Vec<_> = centre.store.tables().notices.iter().map(|notice| notice.kind.clone()).collect();
    assert_eq!(kinds, ["refused-message", "card-error", "refused-message", "refused-message"]);
    centre.stop().await;
}
