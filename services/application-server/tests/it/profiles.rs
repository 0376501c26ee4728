//! Accounts of the first and third embodiment, what they can be told, and books that move between profiles.

use domain::delivery::{Content, Progress, Request};
use proto::centre;
use tonic::Code;

use crate::centre::{ADN, Centre, adn, by_anna, key, new_account};

async fn create(centre: &mut Centre, msisdn: &str, profile: &str) -> centre::Account {
    let account = centre::NewAccount { profile: profile.to_owned(), ..new_account(msisdn) };
    let request = centre::CreateAccountRequest { account: Some(account) };
    centre.accounts.create_account(by_anna(request)).await.unwrap().into_inner()
}

fn replace(msisdn: &str, iccid: u32, profile: &str) -> centre::ReplaceCardRequest {
    centre::ReplaceCardRequest {
        msisdn: msisdn.to_owned(),
        iccid: format!("8944{iccid:015}"),
        personalised: true,
        profile: profile.to_owned(),
        ..centre::ReplaceCardRequest::default()
    }
}

async fn told(centre: &mut Centre, msisdn: &str, request: &str) -> Result<Content, tonic::Status> {
    let request = centre::ControlRequest { msisdn: msisdn.to_owned(), request: request.to_owned() };
    let reference = centre.commands.control(by_anna(request)).await?.into_inner();
    Ok(centre.action(&reference).await.content)
}

/// Covers: SC-DB-04
#[tokio::test]
async fn an_account_declares_its_profile_and_e1_is_switched_on() {
    let mut centre = Centre::start().await;
    let first = create(&mut centre, "441300001", "E1").await;
    assert_eq!(first.devices[0].profile, "E1");
    let row = centre::MonitorRow {
        index: 0,
        df: 0x7F10,
        ef: 0x6F3A,
        record_count: 254,
        data_octets: 28,
        ..Default::default()
    };
    assert_eq!(first.devices[0].monitor, [row], "known from the first day: there is nothing to accept");
    let queued = centre.queued().await;
    let reference =
        centre::ActionReference { subscriber_id: queued[0].device.subscriber.0, action_id: queued[0].action.0 };
    let on = Content::Control { request: Request::ServiceOn, progress: Progress::Open };
    assert_eq!(centre.action(&reference).await.content, on);
    let third = create(&mut centre, "441300003", "E3").await;
    assert_eq!(
        (third.devices[0].profile.as_str(), centre.queued().await.len()),
        ("E3", 0),
        "E3 has nothing to be told"
    );
    let strange = centre::NewAccount { profile: "E4".to_owned(), ..new_account("441300004") };
    let request = centre::CreateAccountRequest { account: Some(strange) };
    assert_eq!(centre.accounts.create_account(by_anna(request)).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn the_monitor_table_is_what_the_profile_can_send() {
    let mut centre = Centre::start().await;
    let row = |index, ef, data_octets| centre::MonitorRow {
        index,
        df: 0x7F10,
        ef,
        record_count: 30,
        data_octets,
        ..Default::default()
    };
    let cases = [
        ("E1", vec![row(0, 0x6F3A, 28)], true),
        ("E1", vec![row(0, 0x6F3A, 30)], false),
        ("E1", vec![row(0, 0x6F3A, 28), row(1, 0x6F4A, 13)], false),
        ("E1", vec![row(0, 0x6F4A, 28)], false),
        ("E3", vec![row(0, 0x6F3A, 40)], true),
        ("E3", vec![row(0, 0x6F3A, 13)], false),
        ("E3", vec![row(1, 0x6F3A, 28)], false),
    ];
    for (at, (profile, monitor, is_good)) in (0..).zip(cases) {
        let msisdn = format!("44130001{at}");
        let account = centre::NewAccount { profile: profile.to_owned(), monitor, ..new_account(&msisdn) };
        let request = centre::CreateAccountRequest { account: Some(account) };
        let created = centre.accounts.create_account(by_anna(request)).await;
        assert_eq!(
            created.map(|_| ()).map_err(|status| status.code()),
            if is_good { Ok(()) } else { Err(Code::InvalidArgument) },
            "case {at}"
        );
    }
}

#[tokio::test]
async fn a_card_is_told_what_its_profile_has_a_message_for() {
    let mut centre = Centre::start().await;
    for (msisdn, profile) in [("441300021", "E1"), ("441300022", "E2"), ("441300023", "E3")] {
        create(&mut centre, msisdn, profile).await;
    }
    let control = |request| Content::Control { request, progress: Progress::Open };
    assert_eq!(told(&mut centre, "441300021", "service_off").await.unwrap(), control(Request::ServiceOff));
    assert_eq!(told(&mut centre, "441300021", "resynchronise").await.unwrap(), control(Request::Resynchronise));
    assert_eq!(told(&mut centre, "441300023", "poll").await.unwrap(), control(Request::Poll));
    assert!(matches!(
        told(&mut centre, "441300022", "resynchronise").await.unwrap(),
        Content::Configuration { items } if items.len() == 1 && items[0].cid == 0x0A
    ));
    for (msisdn, request) in [("441300021", "poll"), ("441300022", "poll"), ("441300023", "service_on")] {
        assert_eq!(told(&mut centre, msisdn, request).await.unwrap_err().code(), Code::FailedPrecondition);
    }
    assert_eq!(told(&mut centre, "441300021", "dance").await.unwrap_err().code(), Code::InvalidArgument);
    // What it was told is what it is wanted to be (SC-AP-05).
    let request = centre::ShowConfigurationRequest { msisdn: "441300021".to_owned(), device_id: 0 };
    let known = centre.commands.show_configuration(by_anna(request)).await.unwrap().into_inner();
    assert_eq!(known.settings.iter().find(|setting| setting.cid == 1).unwrap().wanted.as_ref(), [0]);
    // A configuration message is none of theirs.
    let items = vec![centre::ConfigurationItem { cid: 0x0C, data: vec![3].into() }];
    let request = centre::ConfigureRequest { msisdn: "441300021".to_owned(), items };
    assert_eq!(centre.commands.configure(by_anna(request)).await.unwrap_err().code(), Code::FailedPrecondition);
    let request = centre::ListActionsRequest { msisdn: "441300023".to_owned(), limit: 10, open_only: true };
    let actions = centre.commands.list_actions(by_anna(request)).await.unwrap().into_inner().actions;
    assert_eq!((actions[0].r#type.as_str(), actions[0].subtype, actions[0].records_open), ("control", 3, 1));
}

#[tokio::test]
async fn a_card_that_is_served_again_is_asked_for_all_in_its_own_words() {
    let mut centre = Centre::start().await;
    for (msisdn, profile) in [("441300031", "E1"), ("441300033", "E3")] {
        let account = create(&mut centre, msisdn, profile).await;
        for state in ["suspended", "active"] {
            let request = centre::SetStateRequest { msisdn: msisdn.to_owned(), state: state.to_owned() };
            centre.accounts.set_state(by_anna(request)).await.unwrap();
        }
        let request = centre::ListActionsRequest { msisdn: account.msisdn, limit: 10, open_only: true };
        let actions = centre.commands.list_actions(by_anna(request)).await.unwrap().into_inner().actions;
        assert_eq!((actions[0].r#type.as_str(), actions[0].subtype), ("control", 2));
    }
}

/// The book goes with the subscriber, whatever the next card speaks.
#[tokio::test]
async fn a_book_goes_from_profile_to_profile_and_back() {
    let mut centre = Centre::start().await;
    let account = create(&mut centre, "441300041", "E2").await;
    let broken = vec![0x20; 28];
    centre.backup(&account, &[(1, Some(adn("ANNA"))), (7, Some(adn("BOB"))), (9, Some(broken.into()))]).await;
    let all = || centre::restore_request::Selection::All(true);
    for (iccid, profile, refused) in [(1, "E1", 0), (2, "E3", 1), (3, "E2", 0)] {
        centre.pass(60);
        let replaced = centre.accounts.replace_card(by_anna(replace("441300041", iccid, profile))).await.unwrap();
        let device = &replaced.into_inner().devices[0];
        assert_eq!((device.profile.as_str(), device.monitor.len()), (profile, 1));
        let restore = centre.restore("441300041", all(), 0).await.unwrap();
        let Content::Restore { records, .. } = centre.action(&restore).await.content else { panic!("a restore") };
        let failed = records.iter().filter(|record| matches!(record.progress, Progress::Failed(0x03))).count();
        assert_eq!((records.len(), failed), (3, refused), "{profile}: what is no entry has no fields");
        assert_eq!((records[0].file, &records[0].data), (ADN, &adn("ANNA")));
    }
    // A longer record of E2 loses nothing on E1, or is refused.
    let long = centre::NewAccount {
        monitor: vec![centre::MonitorRow {
            index: 0,
            df: 0x7F10,
            ef: 0x6F3A,
            record_count: 100,
            data_octets: 32,
            ..Default::default()
        }],
        personalised: true,
        ..new_account("441300042")
    };
    let request = centre::CreateAccountRequest { account: Some(long) };
    let account = centre.accounts.create_account(by_anna(request)).await.unwrap().into_inner();
    let stretched = |name: &str| {
        let mut record = name.as_bytes().to_vec();
        record.resize(18, 0xFF);
        record.extend_from_slice(&adn("")[14..]);
        bytes::Bytes::from(record)
    };
    centre.backup(&account, &[(1, Some(stretched("ANNA"))), (2, Some(stretched("A VERY LONG NAME")))]).await;
    centre.pass(60);
    let replaced = centre.accounts.replace_card(by_anna(replace("441300042", 4, "E1"))).await.unwrap().into_inner();
    assert_eq!(replaced.devices[0].monitor[0].record_count, 100, "as the old card has it");
    let restore = centre.restore("441300042", all(), 0).await.unwrap();
    let action = centre.action(&restore).await;
    assert_eq!(action.device, key(&replaced, 0));
    let Content::Restore { records, .. } = action.content else { panic!("a restore") };
    assert_eq!((records[0].progress, &records[0].data), (Progress::Open, &adn("ANNA")));
    assert_eq!(records[1].progress, Progress::Failed(0x03));
}
