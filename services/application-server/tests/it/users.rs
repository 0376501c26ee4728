//! Names, addresses, logins and passwords of users.

use proto::centre::{self, ChangeUserRequest, VerifyPasswordRequest};
use tonic::Code;

use crate::centre::{Centre, by_anna};

const PASSWORD: &str = "correct horse battery";

fn change(msisdn: &str, login: &str, password: &str) -> ChangeUserRequest {
    ChangeUserRequest {
        msisdn: msisdn.to_owned(),
        login: Some(login.to_owned()),
        password: Some(password.to_owned()),
        ..ChangeUserRequest::default()
    }
}

fn attempt(login: &str, password: &str) -> VerifyPasswordRequest {
    VerifyPasswordRequest { login: login.to_owned(), password: password.to_owned() }
}

/// Everything that the store has written to its folder.
fn dump(centre: &Centre) -> Vec<u8> {
    let files = std::fs::read_dir(centre.folder.path()).unwrap();
    files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

fn contains(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|window| window == text.as_bytes())
}

fn hashes(centre: &Centre) -> Vec<String> {
    let connection = rusqlite::Connection::open(centre.folder.path().join("simvault.db")).unwrap();
    let mut statement = connection.prepare("SELECT password_hash FROM subscriber ORDER BY id").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Covers: SC-DB-03
#[tokio::test]
async fn a_user_is_stored_with_a_salted_hash_and_no_clear_password() {
    let mut centre = Centre::start().await;
    let account = centre.card("441250001").await;
    centre.card("441250002").await;
    let mut request = change("441250001", "Anna@Example.org", PASSWORD);
    (request.name, request.address) = (Some("Anna Smith".to_owned()), Some("1 High Street".to_owned()));
    let changed = centre.accounts.change_user(by_anna(request)).await.unwrap().into_inner();
    assert_eq!((changed.subscriber_id, changed.name.as_str()), (account.subscriber_id, "Anna Smith"));
    assert_eq!((changed.address.as_str(), changed.login.as_str()), ("1 High Street", "anna@example.org"));
    assert!(changed.has_password);
    centre.accounts.change_user(by_anna(change("441250002", "bob", PASSWORD))).await.unwrap();

    let dump = dump(&centre);
    assert!(contains(&dump, "1 High Street") && contains(&dump, "anna@example.org"), "the dump holds what was written");
    assert!(!contains(&dump, PASSWORD));
    let hashes = hashes(&centre);
    assert!(hashes.iter().all(|hash| hash.starts_with("$argon2id$")), "{hashes:?}");
    assert_ne!(hashes[0], hashes[1], "the same password, another salt");

    for (login, account) in [("anna@example.org", "441250001"), ("BOB", "441250002")] {
        let right = centre.accounts.verify_password(attempt(login, PASSWORD)).await.unwrap().into_inner();
        assert_eq!(right.msisdn, account);
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_a_login_the_answer_is_the_same() {
    let mut centre = Centre::start().await;
    centre.card("441250003").await;
    centre.card("441250004").await;
    centre.accounts.change_user(by_anna(change("441250003", "anna", PASSWORD))).await.unwrap();
    let login = ChangeUserRequest { password: None, ..change("441250004", "bob", "") };
    centre.accounts.change_user(by_anna(login)).await.unwrap();
    let long = "a".repeat(129);
    for (login, password) in [
        ("anna", "correct horse batterie"),
        ("anna", ""),
        ("anna", long.as_str()),
        ("bob", ""),
        ("bob", PASSWORD),
        ("nobody", PASSWORD),
        ("' OR 1=1 --", PASSWORD),
    ] {
        let refused = centre.accounts.verify_password(attempt(login, password)).await.unwrap_err();
        let answer = (refused.code(), refused.message());
        assert_eq!(answer, (Code::Unauthenticated, "login or password is wrong"), "{login}");
    }
    // A new password takes the place of the old one, and an empty one removes it.
    for password in ["another password", ""] {
        let request = ChangeUserRequest { login: None, ..change("441250003", "", password) };
        centre.accounts.change_user(by_anna(request)).await.unwrap();
        let old = centre.accounts.verify_password(attempt("anna", PASSWORD)).await;
        assert_eq!(old.unwrap_err().code(), Code::Unauthenticated);
        let new = centre.accounts.verify_password(attempt("anna", password)).await;
        assert_eq!(new.is_ok(), !password.is_empty());
    }
}

#[tokio::test]
async fn what_no_user_can_have_is_refused_and_secrets_are_not_repeated() {
    let mut centre = Centre::start().await;
    centre.card("441250005").await;
    centre.card("441250006").await;
    let mut refused = async |request: ChangeUserRequest| {
        let status = centre.accounts.change_user(by_anna(request)).await.unwrap_err();
        (status.code(), status.message().to_owned())
    };
    let of = |field: fn(&mut ChangeUserRequest)| {
        let mut request = ChangeUserRequest { msisdn: "441250005".to_owned(), ..ChangeUserRequest::default() };
        field(&mut request);
        request
    };
    for (request, part) in [
        (of(|_| ()), "at least one of"),
        (of(|it| it.password = Some("secret7".to_owned())), "password: got 7 characters, expected 8 to 128"),
        (of(|it| it.password = Some("x".repeat(129))), "password: got 129 characters"),
        (of(|it| it.login = Some("an na".to_owned())), "login: got 5 characters, expected 3 to 64"),
        (of(|it| it.address = Some("x".repeat(501))), "address: got 501 characters"),
        (of(|it| it.name = Some("x".repeat(201))), "name: got 201 characters"),
    ] {
        let (code, message) = refused(request).await;
        assert!(code == Code::InvalidArgument && message.contains(part), "{message}");
        assert!(!message.contains("secret7"));
    }
    let (code, _) = refused(change("441299999", "anna", PASSWORD)).await;
    assert_eq!(code, Code::NotFound);
    centre.accounts.change_user(by_anna(change("441250005", "anna", PASSWORD))).await.unwrap();
    let taken = centre.accounts.change_user(by_anna(change("441250006", "ANNA", PASSWORD))).await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists);
    assert!(!taken.message().to_lowercase().contains("anna"), "{taken}");
    let erase = centre::EraseAccountRequest { msisdn: "441250005".to_owned() };
    centre.accounts.erase_account(by_anna(erase)).await.unwrap();
    centre.accounts.change_user(by_anna(change("441250006", "anna", PASSWORD))).await.unwrap();
}
