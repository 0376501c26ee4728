//! Accounts and their first configuration.

use domain::{
    delivery::{Acknowledgement, ActionId, Content, QueueEntry, State, build},
    identity::Msisdn,
    phonebook::{Bearer, Profile},
};
use link::{
    configuration::{self, Item},
    message::Message,
    monitor::MonitorTable,
};
use proto::centre;
use queue::Queue;
use store::Audit;
use tonic::Code;

use crate::centre::{Centre, adn, by_anna, key, new_account};

/// The items of all configuration messages that an action makes for a channel.
fn items(mut content: Content, channel: Bearer) -> Vec<Item> {
    let mut items = Vec::new();
    while let Some(octets) = build::next_message(&mut content, Profile::E2, build::limit(channel)) {
        match Message::decode(&octets, &MonitorTable::default()).unwrap() {
            Message::Configuration { items: part, unparsed: None } => {
                items.extend(part.iter().map(|item| item.item().unwrap()));
            }
            other => panic!("expected a configuration, got {other:?}"),
        }
    }
    items
}

#[tokio::test]
async fn a_new_account_sends_addresses_channel_monitor_table_and_last_the_service() {
    let config = application_server::Config {
        centre_number: "441234567890".to_owned(),
        centre_ip: Some("192.0.2.1:7000".parse().unwrap()),
        poll_normal_seconds: 5,
        poll_fast_seconds: 1,
        ..application_server::Config::default()
    };
    let mut centre = Centre::with(config).await;
    let row = |index, ef, octets| centre::MonitorRow {
        index,
        df: 0x7F10,
        ef,
        record_offset: 0,
        record_count: 100,
        data_offset: 0,
        data_octets: octets,
    };
    let account = centre::NewAccount {
        bearer: "ip".to_owned(),
        ip_key: vec![7; 16].into(),
        monitor: vec![row(0, 0x6F3A, 28), row(1, 0x6F4A, 13)],
        ..new_account("441200001")
    };
    let account = centre.create(account).await.unwrap();
    assert_eq!((account.state.as_str(), account.devices[0].bearer.as_str()), ("active", "ip"));
    assert!(account.devices[0].monitor.is_empty(), "unknown until the card has accepted it (D-57)");
    let queued = centre.queued().await;
    assert_eq!(queued.len(), 1);
    let reference = centre::ActionReference { subscriber_id: account.subscriber_id, action_id: queued[0].action.0 };
    let items = items(centre.action(&reference).await.content, queued[0].channel);
    let cids: Vec<u8> = items.iter().map(Item::cid).collect();
    assert_eq!(cids, [2, 3, 4, 5, 6, 6, 0x0B, 1]);
    assert_eq!(items[2], Item::Bearer(configuration::Bearer::Ip));
    assert_eq!(items[7], Item::ServiceState { on: true });
}

#[tokio::test]
async fn a_personalised_card_gets_nothing_and_its_table_is_known() {
    let mut centre = Centre::start().await;
    let account = centre.card("441200002").await;
    assert!(centre.queued().await.is_empty());
    let row = &account.devices[0].monitor[0];
    assert_eq!((row.df, row.ef, row.record_count, row.data_octets), (0x7F10, 0x6F3A, 254, 28));
}

#[tokio::test]
async fn mistakes_are_named_with_what_was_expected() {
    let mut centre = Centre::start().await;
    centre.card("441200003").await;
    let mut refused = async |account: centre::NewAccount| {
        let status = centre.create(account).await.unwrap_err();
        (status.code(), status.message().to_owned())
    };
    let good = || new_account("441200004");
    let row = centre::MonitorRow { record_count: 100, data_octets: 138, ..centre::MonitorRow::default() };
    for (account, part) in [
        (centre::NewAccount { msisdn: "+44".to_owned(), ..good() }, "msisdn: got \"+44\", expected 1 to 15 digits"),
        (centre::NewAccount { iccid: "12".to_owned(), ..good() }, "iccid: got \"12\", expected 18 to 20 digits"),
        (centre::NewAccount { bearer: "pigeon".to_owned(), ..good() }, "bearer: got \"pigeon\", expected sms or ip"),
        (centre::NewAccount { ip_key: vec![1; 3].into(), ..good() }, "ip_key: got 3 octets, expected 16 to 64"),
        (centre::NewAccount { monitor: vec![row], ..good() }, "monitor[0].data_octets: got 138, expected at most 137"),
    ] {
        let (code, message) = refused(account).await;
        assert_eq!(code, Code::InvalidArgument);
        assert!(message.contains(part), "{message}");
    }
    let (code, _) = refused(centre::NewAccount { iccid: good().iccid, ..new_account("441200003") }).await;
    assert_eq!(code, Code::AlreadyExists);
    let request = centre::GetAccountRequest { msisdn: "441299999".to_owned() };
    assert_eq!(centre.accounts.get_account(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn many_accounts_are_created_at_once_and_listed_page_by_page() {
    let mut centre = Centre::start().await;
    let accounts = (0..25).map(|at| new_account(&format!("4413{at:05}"))).collect();
    let created = centre.accounts.create_accounts(centre::CreateAccountsRequest { accounts }).await.unwrap();
    assert_eq!(created.into_inner().created, 25);
    assert_eq!(centre.queued().await.len(), 25);
    let mut seen = Vec::new();
    loop {
        let after_msisdn = seen.last().cloned().unwrap_or_default();
        let request = centre::ListAccountsRequest { limit: 10, after_msisdn };
        let page = centre.accounts.list_accounts(request).await.unwrap().into_inner().accounts;
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|account| account.msisdn));
    }
    assert_eq!(seen.len(), 25);
    assert!(seen.is_sorted());
}

#[tokio::test]
async fn a_subscriber_served_again_backs_everything_up_again() {
    let mut centre = Centre::start().await;
    centre.card("441200005").await;
    let mut set = async |state: &str| {
        let request = centre::SetStateRequest { msisdn: "441200005".to_owned(), state: state.to_owned() };
        centre.accounts.set_state(by_anna(request)).await.map(|account| account.into_inner().state)
    };
    assert_eq!(set("suspended").await.unwrap(), "suspended");
    assert_eq!(set("active").await.unwrap(), "active");
    assert_eq!(set("active").await.unwrap(), "active");
    assert_eq!(set("dead").await.unwrap_err().code(), Code::InvalidArgument);
    let queued = centre.queued().await;
    assert_eq!(queued.len(), 1, "once, on the way back");
    let reference =
        centre::ActionReference { subscriber_id: queued[0].device.subscriber.0, action_id: queued[0].action.0 };
    let items = items(centre.action(&reference).await.content, Bearer::Sms);
    assert_eq!(items, [Item::Resynchronise { index: None }]);
}

/// What waited through the suspension starts over, in its turn before the resynchronisation.
#[tokio::test]
async fn what_waits_for_a_card_goes_on_when_it_is_served_again() {
    let mut centre = Centre::start().await;
    let account = centre.card("441200020").await;
    centre.backup(&account, &[(1, Some(adn("ANNA")))]).await;
    let restore = centre.restore(&account.msisdn, centre::restore_request::Selection::All(true), 0).await.unwrap();
    let mut waiting = centre.action(&restore).await;
    (waiting.state, waiting.attempts) = (State::Waiting, 7);
    "the account is suspended".clone_into(&mut waiting.cause);
    let audit = Audit { at: centre.now(), who: "test".to_owned(), what: "parked".to_owned() };
    assert!(centre.store.move_action(&waiting, &[State::Queued], None, audit).await.unwrap());
    for (state, expected) in [("suspended", State::Waiting), ("active", State::Queued)] {
        centre.queued().await;
        centre.pass(60);
        let request = centre::SetStateRequest { msisdn: account.msisdn.clone(), state: state.to_owned() };
        centre.accounts.set_state(by_anna(request)).await.unwrap();
        assert_eq!(centre.action(&restore).await.state, expected);
    }
    let resumed = centre.action(&restore).await;
    assert_eq!((resumed.attempts, resumed.due, resumed.cause.as_str()), (0, centre.now(), ""));
    let queued = centre.queued().await;
    assert_eq!((queued.len(), queued[0].action.0), (2, restore.action_id), "the resynchronisation is behind it");
}

/// Covers: SC-AC-04
#[tokio::test]
async fn a_lost_sim_is_replaced_and_its_data_goes_to_the_new_one() {
    let mut centre = Centre::start().await;
    let account = centre.card("441200006").await;
    centre.backup(&account, &[(1, Some(adn("ANNA"))), (7, Some(adn("BOB")))]).await;
    centre.pass(60);
    let request = centre::ReplaceCardRequest {
        msisdn: account.msisdn.clone(),
        iccid: "8944999999999999999".to_owned(),
        ..centre::ReplaceCardRequest::default()
    };
    let replaced = centre.accounts.replace_card(by_anna(request.clone())).await.unwrap().into_inner();
    assert_eq!(replaced.subscriber_id, account.subscriber_id, "same user");
    assert_eq!(replaced.devices.len(), 2);
    let (new, old) = (&replaced.devices[0], &replaced.devices[1]);
    assert_eq!((new.closed_micros, old.device_id), (0, account.devices[0].device_id));
    assert_ne!(old.closed_micros, 0);
    assert_eq!(centre.queued().await.len(), 1, "the first configuration of the new card");
    // Planned against the table that the first configuration gives the card.
    let restore = centre.restore(&account.msisdn, centre::restore_request::Selection::All(true), 0).await.unwrap();
    assert_eq!(centre.restored(&restore).await, [(1, adn("ANNA")), (7, adn("BOB"))]);
    assert_eq!(centre.action(&restore).await.device.device.0, new.device_id);
    let again = centre.accounts.replace_card(by_anna(request)).await.unwrap_err();
    assert_eq!(again.code(), Code::InvalidArgument);
}

/// Acknowledgements in the queue carry the number that they go to.
#[tokio::test]
async fn what_is_queued_for_a_number_or_card_of_before_is_taken_out() {
    let mut centre = Centre::start().await;
    let (one, other) = (centre.card("441200030").await, centre.card("441200031").await);
    let mut kept = Vec::new();
    for account in [&one, &other] {
        let told = Acknowledgement { profile: Profile::E2, records: vec![0, 1, 0].into() };
        for records in [Some(told), None] {
            let (device, action) = (key(account, 0), ActionId(i64::from(records.is_some())));
            let (msisdn, traces) = (Msisdn::parse(&account.msisdn).unwrap(), Vec::new());
            let channel = Bearer::Sms;
            let acknowledgement = records;
            kept.push(QueueEntry { device, action, msisdn, channel, acknowledgement, is_secured: false, traces });
        }
    }
    let push = async |entries: &[QueueEntry], centre: &Centre| {
        let bodies: Vec<_> = entries.iter().map(QueueEntry::to_octets).collect();
        centre.queue.push(Bearer::Sms, &bodies).await.unwrap();
    };
    push(&kept, &centre).await;
    let change = centre::ChangeNumberRequest { msisdn: one.msisdn.clone(), new_msisdn: "441200032".to_owned() };
    centre.accounts.change_number(by_anna(change)).await.unwrap();
    let acknowledgement = kept.remove(0);
    assert_eq!(centre.queued().await, kept, "its ordered action reads the number when it is launched");

    push(&[acknowledgement], &centre).await;
    let erase = centre::EraseAccountRequest { msisdn: "441200032".to_owned() };
    push(&kept, &centre).await;
    centre.accounts.erase_account(by_anna(erase)).await.unwrap();
    kept.remove(0);
    assert_eq!(centre.queued().await, kept);

    push(&kept, &centre).await;
    let replace = centre::ReplaceCardRequest {
        msisdn: other.msisdn,
        iccid: "8944999999999999998".to_owned(),
        personalised: true,
        ..centre::ReplaceCardRequest::default()
    };
    centre.accounts.replace_card(by_anna(replace)).await.unwrap();
    assert_eq!(centre.queued().await, kept[1..]);
}

#[tokio::test]
async fn the_number_moves_and_the_book_stays() {
    let mut centre = Centre::start().await;
    let account = centre.card("441200007").await;
    centre.backup(&account, &[(1, Some(adn("ANNA")))]).await;
    let request = centre::ChangeNumberRequest { msisdn: account.msisdn.clone(), new_msisdn: "441200008".to_owned() };
    let changed = centre.accounts.change_number(by_anna(request)).await.unwrap().into_inner();
    assert_eq!((changed.subscriber_id, changed.msisdn.as_str()), (account.subscriber_id, "441200008"));
    assert_eq!(changed.devices[0].records, 1);
    let old = centre.accounts.get_account(centre::GetAccountRequest { msisdn: account.msisdn }).await;
    assert_eq!(old.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn an_erased_account_is_gone() {
    let mut centre = Centre::start().await;
    let account = centre.create(new_account("441200009")).await.unwrap();
    centre.backup(&account, &[(1, Some(adn("ANNA")))]).await;
    let request = centre::EraseAccountRequest { msisdn: account.msisdn.clone() };
    let erased = centre.accounts.erase_account(by_anna(request)).await.unwrap().into_inner();
    assert!(erased.rows >= 4, "subscriber, device, book, action: {}", erased.rows);
    let gone = centre.accounts.get_account(centre::GetAccountRequest { msisdn: account.msisdn }).await;
    assert_eq!(gone.unwrap_err().code(), Code::NotFound);
    assert!(centre.store.actions_of(None, false, 10).await.unwrap().is_empty());
}
