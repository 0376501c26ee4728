//! Levels, key versions, and a card maker's output file.

use application_server::Config;
use domain::{identity::Msisdn, phonebook::DeviceState, security::Keyring};
use proto::centre::{self, security_client::SecurityClient};
use runtime::config::Secret;
use secured::{Algorithm, CardKeys, master::MasterKey};
use tonic::{Code, Response, Status, transport::Channel};

use crate::centre::{Centre, by_anna, new_account};

const MASTER: &str = "00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF";
const TRANSPORT: &str = "FF112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF";
const NUMBER: &str = "491721217212";

async fn start() -> (Centre, SecurityClient<Channel>) {
    let config = Config { master_key: Secret::new(MASTER), transport_key: Secret::new(TRANSPORT), ..Config::default() };
    with(config).await
}

async fn with(config: Config) -> (Centre, SecurityClient<Channel>) {
    let centre = Centre::with(config).await;
    let calls = SecurityClient::new(centre.channel.clone());
    (centre, calls)
}

fn set(level: &str) -> centre::SetSecurityRequest {
    centre::SetSecurityRequest { msisdn: NUMBER.to_owned(), level: level.to_owned(), ..Default::default() }
}

fn rotate(key_version: u32) -> centre::RotateKeysRequest {
    centre::RotateKeysRequest { msisdn: NUMBER.to_owned(), key_version, ..Default::default() }
}

async fn state(centre: &Centre, number: &str) -> DeviceState {
    let account = centre.store.account(Msisdn::parse(number).unwrap()).await.unwrap().unwrap();
    account.devices[0].1.clone()
}

fn code<T>(answer: Result<Response<T>, Status>) -> Code {
    answer.map(drop).expect_err("refused").code()
}

#[tokio::test]
async fn a_level_is_set_and_keys_are_changed_version_by_version() {
    let (mut centre, mut calls) = start().await;
    centre.card(NUMBER).await;
    let shown = |answer: Result<Response<centre::DeviceSecurity>, Status>| answer.expect("answered").into_inner();
    let none = shown(calls.show_security(by_anna(centre::ShowSecurityRequest { msisdn: NUMBER.to_owned() })).await);
    assert_eq!((none.level.as_str(), none.key_version), ("none", 0));
    assert_eq!(code(calls.rotate_keys(rotate(0)).await), Code::FailedPrecondition, "no keys to follow");
    let done = shown(calls.set_security(by_anna(set("integrity"))).await);
    assert_eq!((done.level.as_str(), done.key_version, done.algorithm.as_str()), ("integrity", 1, "AES-128"));
    assert_eq!((done.key_source.as_str(), done.tar_up.len(), done.tar_down.len()), ("derived", 3, 3));
    let request = centre::SetSecurityRequest { tar_up: vec![1, 2, 3].into(), ..set("integrity_and_cipher") };
    let done = shown(calls.set_security(request).await);
    assert_eq!((done.tar_up[..].to_vec(), done.key_version), (vec![1, 2, 3], 1));
    for wrong in [
        centre::SetSecurityRequest { level: "much".to_owned(), ..set("") },
        centre::SetSecurityRequest { tar_down: vec![1].into(), ..set("none") },
        centre::SetSecurityRequest { algorithm: "DES".to_owned(), ..set("none") },
        centre::SetSecurityRequest { key_version: 3, ..set("none") },
    ] {
        assert_eq!(code(calls.set_security(wrong).await), Code::InvalidArgument);
    }
    let done = shown(calls.rotate_keys(rotate(0)).await);
    assert_eq!((done.key_version, done.previous_version), (2, 1));
    for used in [1, 2, 16] {
        assert_eq!(code(calls.rotate_keys(rotate(used)).await), Code::InvalidArgument, "{used}");
    }
    let request = centre::RotateKeysRequest { at_once: true, algorithm: "AES-256".to_owned(), ..rotate(15) };
    let done = shown(calls.rotate_keys(request).await);
    assert_eq!((done.key_version, done.previous_version, done.algorithm.as_str()), (15, 0, "AES-256"));
    assert_eq!(code(calls.rotate_keys(rotate(0)).await), Code::InvalidArgument, "the last version");
    // Off again: what was accepted is remembered for the day when it is on again.
    shown(calls.set_security(set("none")).await);
    let state = state(&centre, NUMBER).await;
    assert!(state.required_security().is_none() && state.security.is_some());
    let audit = centre.store.audit_log(None, 100).await.unwrap();
    assert!(audit.iter().any(|row| row.who == "anna" && row.what.ends_with("security set to integrity")));
    assert!(audit.iter().any(|row| row.what.ends_with("keys changed from version 1 to 2")));
}

#[tokio::test]
async fn without_a_master_key_no_card_is_secured() {
    let (mut centre, mut calls) = with(Config::default()).await;
    centre.card(NUMBER).await;
    assert_eq!(code(calls.set_security(set("integrity")).await), Code::FailedPrecondition);
    let request = centre::ImportCardsRequest { level: "integrity".to_owned(), ..Default::default() };
    assert_eq!(code(calls.import_cards(request).await), Code::FailedPrecondition);
}

/// A card of the card maker's file; its keys are octets of `seed`.
fn card(number: &str, key_version: u32, seed: u8) -> centre::ImportedCard {
    let transport = MasterKey::from_hex(TRANSPORT).unwrap();
    let key = |at: u8| transport.wrap(&[seed.wrapping_add(at); 16]).unwrap().into();
    centre::ImportedCard {
        iccid: new_account(number).iccid,
        imsi: "262011234567890".to_owned(),
        msisdn: number.to_owned(),
        key_version,
        algorithm: "AES-128".to_owned(),
        kic_down: key(0),
        kid_down: key(1),
        kic_up: key(2),
        kid_up: key(3),
    }
}

#[tokio::test]
async fn a_card_makers_file_makes_accounts_and_gives_cards_their_keys() {
    let (mut centre, mut calls) = start().await;
    centre.card(NUMBER).await;
    let mut import = async |cards: Vec<centre::ImportedCard>| {
        let request = centre::ImportCardsRequest { cards, level: "integrity".to_owned(), ..Default::default() };
        calls.import_cards(by_anna(request)).await.expect("answered").into_inner()
    };
    let other = "491721217213";
    let wrong_iccid = centre::ImportedCard { iccid: new_account(other).iccid, ..card(NUMBER, 1, 9) };
    let damaged = centre::ImportedCard { kid_up: vec![1; 24].into(), ..card(other, 1, 9) };
    let no_imsi = centre::ImportedCard { imsi: "x".to_owned(), ..card(other, 1, 9) };
    let first =
        import(vec![card(NUMBER, 1, 7), wrong_iccid, damaged, no_imsi, card(other, 1, 8), card(other, 1, 8)]).await;
    assert_eq!((first.created, first.updated, first.unchanged), (1, 1, 1));
    let refused: Vec<(u32, &str)> =
        first.refused.iter().map(|one| (one.index, one.cause.split(':').next().unwrap())).collect();
    assert_eq!(refused, [(1, "iccid"), (2, "kid_up"), (3, "imsi")]);
    // Kept wrapped, for this card alone.
    let state = state(&centre, NUMBER).await;
    let security = state.security.expect("set");
    let keyring = Keyring::from_setting(MASTER).unwrap();
    let expected: Vec<u8> = [7, 8, 9, 10].into_iter().flat_map(|octet| [octet; 16]).collect();
    let kept = keyring.keys(&new_account(NUMBER).iccid, &security.current).unwrap();
    assert_eq!(Some(kept), CardKeys::from_octets(1, Algorithm::Aes128, &expected));
    let stored = std::fs::read(centre.folder.path().join("simvault.db")).unwrap();
    let log = std::fs::read(centre.folder.path().join("simvault.db-wal")).unwrap_or_default();
    for octet in 7..=11 {
        let is_key = |octets: &[u8]| octets == [octet; 16];
        assert!(!stored.windows(16).any(is_key) && !log.windows(16).any(is_key), "no key is in the database");
    }
    // The next version follows, the same version with other keys is a mistake.
    let next = import(vec![card(NUMBER, 1, 7), card(NUMBER, 2, 70), card(NUMBER, 2, 71), card(NUMBER, 1, 7)]).await;
    assert_eq!((next.updated, next.unchanged, next.refused.len()), (1, 1, 2));
    let shown = crate::security::state(&centre, NUMBER).await.security.expect("set");
    assert_eq!((shown.current.version, shown.previous.map(|keys| keys.version)), (2, Some(1)));
    // The card is replaced: its keys are awaited, and come with the new card's line.
    let new = centre::ReplaceCardRequest {
        msisdn: NUMBER.to_owned(),
        iccid: "894400000000000000001".chars().take(20).collect(),
        personalised: true,
        ..Default::default()
    };
    centre.accounts.replace_card(by_anna(new.clone())).await.expect("replaced");
    let awaited = crate::security::state(&centre, NUMBER).await.security.expect("the level stays");
    assert_eq!((awaited.level, awaited.current.source), (security.level, domain::security::KeySource::Awaited));
    let line = centre::ImportedCard { iccid: new.iccid.clone(), ..card(NUMBER, 2, 30) };
    assert_eq!(import(vec![line]).await.updated, 1);
    let known = crate::security::state(&centre, NUMBER).await.security.expect("set");
    assert!(keyring.keys(&new.iccid, &known.current).is_ok());
}
