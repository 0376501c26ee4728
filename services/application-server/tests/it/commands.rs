//! Restore, addressable restore, configuration; cancelling and trying again.

use bytes::Bytes;
use domain::{
    delivery::{Content, State},
    identity::Msisdn,
};
use link::monitor::MonitorRow;
use proto::centre::{self, restore_request::Selection};
use store::{ApplicationStore, Audit, InboundCommit};
use tonic::Code;

use crate::centre::{Centre, adn, by_anna, new_account};

fn range(first: u32, last: u32) -> Selection {
    Selection::Range(centre::RecordRange { monitor_index: 0, first, last })
}

fn configure(msisdn: &str, items: &[(u32, &'static [u8])]) -> centre::ConfigureRequest {
    let items = items.iter().map(|(cid, data)| centre::ConfigurationItem { cid: *cid, data: (*data).into() });
    centre::ConfigureRequest { msisdn: msisdn.to_owned(), items: items.collect() }
}

/// Covers: SC-RS-02, SC-CS-01, SC-DB-16
#[tokio::test]
async fn all_a_range_chosen_records_chosen_rows_and_an_earlier_time_can_be_restored() {
    let mut centre = Centre::start().await;
    let account = centre.card("441220001").await;
    let records: Vec<_> = (1..=20).map(|number| (number, Some(adn(&format!("N{number}"))))).collect();
    centre.backup(&account, &records).await;
    let before = centre.clock.now();
    let msisdn = account.msisdn.as_str();

    let all = centre.restore(msisdn, Selection::All(true), 0).await.unwrap();
    assert_eq!(centre.restored(&all).await.len(), 20);
    let some = centre.restore(msisdn, range(5, 9), 0).await.unwrap();
    let five: Vec<u8> = centre.restored(&some).await.into_iter().map(|(number, _)| number).collect();
    assert_eq!(five, [5, 6, 7, 8, 9]);
    let list = centre::RecordList { monitor_index: 0, records: vec![3, 17] };
    let chosen = centre.restore(msisdn, Selection::Records(list), 0).await.unwrap();
    assert_eq!(centre.restored(&chosen).await, [(3, adn("N3")), (17, adn("N17"))]);
    let rows = Selection::Rows(centre::MonitorRows { indexes: vec![0] });
    let row = centre.restore(msisdn, rows, 0).await.unwrap();
    assert_eq!(centre.restored(&row).await.len(), 20);
    assert_eq!(centre.queued().await.len(), 4);

    centre.pass(60);
    centre.backup(&account, &[(7, None)]).await;
    let range_now = centre.restore(msisdn, range(7, 7), 0).await.unwrap_err();
    assert_eq!(range_now.code(), Code::FailedPrecondition, "{range_now}");
    let back = centre.restore(msisdn, range(7, 7), before).await.unwrap();
    assert_eq!(centre.restored(&back).await, [(7, adn("N7"))], "it is back");
}

#[tokio::test]
async fn restoring_all_as_of_earlier_empties_what_came_later() {
    let mut centre = Centre::start().await;
    let account = centre.card("441220002").await;
    centre.backup(&account, &[(1, Some(adn("ANNA")))]).await;
    let before = centre.clock.now();
    centre.pass(1);
    centre.backup(&account, &[(2, Some(adn("BOB")))]).await;
    let restore = centre.restore(&account.msisdn, Selection::All(true), before).await.unwrap();
    assert_eq!(centre.restored(&restore).await, [(1, adn("ANNA")), (2, vec![0xFF; 28].into())]);
}

/// The file is as it was, the row reaches further or less far: no octet may move. Before the card has accepted the row,
/// and after.
#[tokio::test]
async fn records_from_before_a_monitor_row_changed_are_restored_where_they_were() {
    let mut centre = Centre::start().await;
    let padded: Bytes = [adn("ANNA").as_ref(), &[0xFF; 2]].concat().into();
    for (msisdn, octets, expected) in [("441220010", 30, padded), ("441220011", 20, adn("ANNA").slice(..20))] {
        let account = centre.card(msisdn).await;
        centre.backup(&account, &[(1, Some(adn("ANNA")))]).await;
        let before = centre.clock.now();
        centre.pass(1);
        centre.backup(&account, &[(1, None)]).await;
        let row = MonitorRow {
            df: 0x7F10,
            ef: 0x6F3A,
            record_offset: 0,
            record_count: 100,
            data_offset: 0,
            data_octets: octets,
        };
        let data: Bytes = [&[0], row.to_octets().as_slice()].concat().into();
        let request = centre::ConfigureRequest {
            msisdn: msisdn.to_owned(),
            items: vec![centre::ConfigurationItem { cid: 6, data }],
        };
        centre.commands.configure(by_anna(request)).await.unwrap();
        let restore = centre.restore(msisdn, Selection::All(true), before).await.unwrap();
        assert_eq!(centre.restored(&restore).await, [(1, expected.clone())], "on its way");
        let stored = centre.store.account(Msisdn::parse(msisdn).unwrap()).await.unwrap().unwrap();
        let (device, mut state) = stored.devices[0].clone();
        state.monitor.set(0, row);
        let batch = InboundCommit { states: vec![(device.key, state)], ..InboundCommit::default() };
        let audit = Audit { at: centre.now(), who: "test".to_owned(), what: "configured".to_owned() };
        ApplicationStore::commit(centre.store.as_ref(), batch, audit).await.unwrap();
        let restore = centre.restore(msisdn, Selection::All(true), before).await.unwrap();
        assert_eq!(centre.restored(&restore).await, [(1, expected)], "accepted");
    }
}

/// Covers: SC-DB-17
#[tokio::test]
async fn a_restore_carries_its_data_and_later_edits_do_not_alter_it() {
    let mut centre = Centre::start().await;
    let account = centre.card("441220003").await;
    centre.backup(&account, &[(1, Some(adn("ANNA")))]).await;
    let restore = centre.restore(&account.msisdn, Selection::All(true), 0).await.unwrap();
    centre.pass(1);
    centre.backup(&account, &[(1, Some(adn("ZOE")))]).await;
    assert_eq!(centre.restored(&restore).await, [(1, adn("ANNA"))]);
    let row = centre.action(&restore).await;
    assert_eq!((row.device.subscriber.0, row.channel), (account.subscriber_id, domain::phonebook::Bearer::Sms));
}

#[tokio::test]
async fn what_cannot_be_restored_is_said() {
    let mut centre = Centre::start().await;
    let account = centre.card("441220004").await;
    let msisdn = account.msisdn.as_str();
    let refused = |status: tonic::Status| (status.code(), status.message().to_owned());
    let (code, _) = refused(centre.restore(msisdn, Selection::All(true), 0).await.unwrap_err());
    assert_eq!(code, Code::FailedPrecondition);
    centre.backup(&account, &[(1, Some(adn("ANNA")))]).await;
    let (code, message) = refused(centre.restore(msisdn, range(9, 5), 0).await.unwrap_err());
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains("range 9 to 5"), "{message}");
    let rows = Selection::Rows(centre::MonitorRows { indexes: vec![4] });
    let (_, message) = refused(centre.restore(msisdn, rows, 0).await.unwrap_err());
    assert!(message.contains("monitor_index 4: the card's monitor table has rows 0"), "{message}");
    let (_, message) = refused(centre.restore(msisdn, Selection::All(false), 0).await.unwrap_err());
    assert!(message.contains("expected all, a range, records or rows"), "{message}");
}

/// Covers: SC-AP-05, SC-AP-06, SC-AP-01
#[tokio::test]
async fn a_configuration_overwrites_what_is_wanted_and_goes_to_that_card_alone() {
    let mut centre = Centre::start().await;
    let (account, other) = (centre.card("441220005").await, centre.card("441220006").await);
    let request = configure(&account.msisdn, &[(4, &[1]), (0x0B, &[5, 1])]);
    let reference = centre.commands.configure(by_anna(request)).await.unwrap().into_inner();
    let queued = centre.queued().await;
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0].device.device.0, account.devices[0].device_id);
    let row = centre.action(&reference).await;
    assert!(matches!(&row.content, Content::Configuration { items } if items.len() == 2));
    let state = |msisdn: &str| {
        let (store, msisdn) = (centre.store.clone(), domain::identity::Msisdn::parse(msisdn).unwrap());
        async move { store.account(msisdn).await.unwrap().unwrap().devices[0].1.clone() }
    };
    let wanted = state(&account.msisdn).await.wanted;
    assert_eq!(wanted.get(&4).map(|data| data.as_ref()), Some([1].as_slice()));
    assert_eq!(wanted.get(&0x0B).map(|data| data.as_ref()), Some([5, 1].as_slice()));
    assert!(state(&account.msisdn).await.settings.is_empty(), "accepted is another matter");
    assert!(state(&other.msisdn).await.wanted.is_empty());
    let listed = centre::ListActionsRequest { msisdn: other.msisdn, limit: 0, open_only: false };
    assert!(centre.commands.list_actions(listed).await.unwrap().into_inner().actions.is_empty());
}

#[tokio::test]
async fn configuration_items_that_no_card_takes_are_refused_with_their_place() {
    let mut centre = Centre::start().await;
    let account = centre.card("441220007").await;
    for (items, part) in [
        (vec![(1, [2].as_slice())], "items[0]: CID 01"),
        (vec![(1, [1].as_slice()), (0x99, [0].as_slice())], "items[1]: CID 99 is unknown"),
        (vec![(0x0B, [1].as_slice())], "has 1 octets of data, expected 2"),
        (vec![], "items: got 0, expected 1 to"),
    ] {
        let request = configure(&account.msisdn, &items);
        let status = centre.commands.configure(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(part), "{}", status.message());
    }
    assert!(centre.queued().await.is_empty());
}

#[tokio::test]
async fn any_file_of_the_card_can_be_written() {
    let mut centre = Centre::start().await;
    let account = centre.card("441220008").await;
    let record = |record_number, data_offset, data: &[u8]| centre::AddressedRecord {
        df: 0x7F10,
        ef: 0x6F3A,
        record_number,
        data_offset,
        data: data.to_vec().into(),
    };
    let mut send = async |record| {
        let request = centre::AddressableRestoreRequest { msisdn: account.msisdn.clone(), records: vec![record] };
        centre.commands.addressable_restore(by_anna(request)).await.map(tonic::Response::into_inner)
    };
    send(record(5, 0, &adn("BOB"))).await.unwrap();
    for (wrong, part) in [
        (record(300, 0, &[1]), "records[0].record_number: got 300, expected 0 to 255"),
        (record(5, 0, &[]), "records[0].data: got 0 octets"),
        (record(5, 250, &[0; 10]), "records[0].data_offset + data: got 260, expected at most 255"),
    ] {
        let status = send(wrong).await.unwrap_err();
        assert!(status.message().contains(part), "{}", status.message());
    }
    assert_eq!(centre.queued().await.len(), 1);
}

#[tokio::test]
async fn actions_are_listed_cancelled_and_tried_again() {
    let mut centre = Centre::start().await;
    let account = centre.create(new_account("441220009")).await.unwrap();
    let request = configure(&account.msisdn, &[(0x0C, &[5])]);
    let second = centre.commands.configure(by_anna(request)).await.unwrap().into_inner();
    let listed = centre::ListActionsRequest { msisdn: account.msisdn.clone(), limit: 0, open_only: true };
    let actions = centre.commands.list_actions(listed.clone()).await.unwrap().into_inner().actions;
    assert_eq!(actions.len(), 2);
    let first = actions.iter().find(|action| action.action_id != second.action_id).unwrap();
    assert_eq!((first.r#type.as_str(), first.state.as_str()), ("configuration", "queued"));
    centre.queued().await;

    let first = centre::ActionReference { subscriber_id: first.subscriber_id, action_id: first.action_id };
    let cancelled = centre.commands.cancel(by_anna(first)).await.unwrap().into_inner();
    assert_eq!((cancelled.state.as_str(), cancelled.cause.as_str()), ("cancelled", "cancelled by anna"));
    assert_eq!(centre.commands.cancel(first).await.unwrap_err().code(), Code::FailedPrecondition);
    let turn: Vec<i64> = centre.queued().await.iter().map(|entry| entry.action.0).collect();
    assert_eq!(turn, [second.action_id], "the next one's turn has come");

    let mut waiting = centre.action(&second).await;
    waiting.state = State::Waiting;
    waiting.attempts = 12;
    let audit = Audit { at: centre.now(), who: "test".to_owned(), what: "waits".to_owned() };
    assert!(centre.store.move_action(&waiting, &[State::Queued], None, audit).await.unwrap());
    let again = centre.commands.retry(by_anna(second)).await.unwrap().into_inner();
    assert_eq!((again.state.as_str(), again.attempts), ("queued", 0));
    assert_eq!(centre.queued().await.len(), 1);
    let unknown = centre::ActionReference { subscriber_id: 1, action_id: 2 };
    assert_eq!(centre.commands.retry(unknown).await.unwrap_err().code(), Code::NotFound);
    let status = centre.queues.get_queues(centre::GetQueuesRequest {}).await.unwrap().into_inner();
    assert_eq!((status.queued, status.waiting), (1, 0));
    assert_eq!(status.oldest_due_micros, centre.clock.now());
}

async fn set_state(centre: &mut Centre, msisdn: &str, state: &str) {
    let request = centre::SetStateRequest { msisdn: msisdn.to_owned(), state: state.to_owned() };
    centre.accounts.set_state(by_anna(request)).await.unwrap();
}

/// D-115: what a card answers is refused while its subscriber is not served, so nothing may be sent to it.
#[tokio::test]
async fn nothing_is_commanded_to_a_card_that_is_not_served() {
    let mut centre = Centre::start().await;
    let account = centre.card("441220030").await;
    centre.backup(&account, &[(1, Some(adn("ANNA")))]).await;
    let known = centre.restore(&account.msisdn, Selection::All(true), 0).await.unwrap();
    let addressed = centre::AddressableRestoreRequest {
        msisdn: account.msisdn.clone(),
        records: vec![centre::AddressedRecord {
            df: 0x7F10,
            ef: 0x6F3A,
            record_number: 1,
            data_offset: 0,
            data: Bytes::from_static(b"A"),
        }],
    };
    for (state, said) in [("suspended", "is suspended"), ("service_off", "service off")] {
        set_state(&mut centre, &account.msisdn, state).await;
        let refused = [
            centre.restore(&account.msisdn, Selection::All(true), 0).await.unwrap_err(),
            centre.commands.configure(by_anna(configure(&account.msisdn, &[(1, &[1])]))).await.unwrap_err(),
            centre.commands.addressable_restore(by_anna(addressed.clone())).await.unwrap_err(),
            centre.commands.retry(by_anna(known)).await.unwrap_err(),
        ];
        for refused in refused {
            assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
            assert!(refused.message().contains(said), "{refused}");
            assert!(refused.message().contains("simvaultctl account state 441220030 active"), "{refused}");
        }
    }
    centre.commands.cancel(by_anna(known)).await.expect("cancelling sends nothing");
    set_state(&mut centre, &account.msisdn, "active").await;
    centre.restore(&account.msisdn, Selection::All(true), 0).await.unwrap();
}

/// Whatever was read of the card before a command is stale after it: of two that race, one reads again.
#[tokio::test]
async fn every_command_moves_the_version_that_it_read() {
    let mut centre = Centre::start().await;
    let account = centre.card("441220031").await;
    let msisdn = Msisdn::parse(&account.msisdn).unwrap();
    centre.backup(&account, &[(1, Some(adn("ANNA")))]).await;
    let mut versions = Vec::new();
    let version =
        async |centre: &Centre| centre.store.account(msisdn).await.unwrap().unwrap().devices.first().unwrap().1.version;
    versions.push(version(&centre).await);
    let restore = centre.restore(&account.msisdn, Selection::All(true), 0).await.unwrap();
    versions.push(version(&centre).await);
    centre.commands.configure(by_anna(configure(&account.msisdn, &[(1, &[1])]))).await.unwrap();
    versions.push(version(&centre).await);
    centre.commands.retry(by_anna(restore)).await.unwrap();
    versions.push(version(&centre).await);
    set_state(&mut centre, &account.msisdn, "suspended").await;
    versions.push(version(&centre).await);
    assert!(versions.is_sorted_by(|before, after| before < after), "{versions:?}");
}

/// A failed action of a card that was replaced is not sent to the new one.
#[tokio::test]
async fn an_action_of_a_replaced_card_is_not_tried_again() {
    let mut centre = Centre::start().await;
    let account = centre.card("441220032").await;
    centre.backup(&account, &[(1, Some(adn("ANNA")))]).await;
    let restore = centre.restore(&account.msisdn, Selection::All(true), 0).await.unwrap();
    let mut failed = centre.action(&restore).await;
    failed.state = State::Failed;
    let audit = Audit { at: centre.now(), who: "test".to_owned(), what: "fails".to_owned() };
    assert!(centre.store.move_action(&failed, &[State::Queued], None, audit).await.unwrap());
    let replace = centre::ReplaceCardRequest {
        msisdn: account.msisdn.clone(),
        iccid: "8944000000000220032".to_owned(),
        personalised: true,
        ..centre::ReplaceCardRequest::default()
    };
    centre.accounts.replace_card(by_anna(replace)).await.unwrap();
    let refused = centre.commands.retry(by_anna(restore)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("card was replaced"), "{refused}");
    assert_eq!(centre.action(&restore).await.state, State::Failed);
}
