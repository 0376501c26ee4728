//! What a user is called, where it lives and how it signs in (SC-DB-03).

use proto::centre;
use store::UserChange;
use tonic::Status;

use crate::{
    App,
    accounts::{NAME_CHARACTERS_MAX, short},
    audit, errors,
};

const ADDRESS_CHARACTERS_MAX: usize = 500;
const LOGIN_CHARACTERS: std::ops::RangeInclusive<usize> = 3..=64;

impl App {
    /// The audit row names what was changed, never to what.
    pub(crate) async fn change_user(&self, who: &str, request: &centre::ChangeUserRequest) -> Result<(), Status> {
        let account = self.account(&request.msisdn).await?;
        let mut changed = Vec::new();
        let mut change = UserChange::default();
        if let Some(name) = &request.name {
            short("name", name, NAME_CHARACTERS_MAX)?;
            change.name = Some(name.clone());
            changed.push("name");
        }
        if let Some(address) = &request.address {
            short("address", address, ADDRESS_CHARACTERS_MAX)?;
            change.address = Some(address.clone());
            changed.push("address");
        }
        if let Some(text) = &request.login {
            change.login = Some(if text.is_empty() { None } else { Some(login(text)?) });
            changed.push("login");
        }
        if let Some(password) = &request.password {
            let hash = if password.is_empty() { None } else { Some(self.passwords.hash(password).await?) };
            change.password_hash = Some(hash);
            changed.push("password");
        }
        if changed.is_empty() {
            let expected = "at least one of name, address, login and password";
            return Err(errors::invalid("request", "nothing to change", expected));
        }
        let what = format!("user's {} changed", changed.join(", "));
        let row = audit::about(self.now(), who, &account.subscriber, &what);
        self.store.change_user(account.subscriber.id, &change, row).await.map_err(errors::store)
    }

    /// One answer, after the same work, whatever is wrong.
    pub(crate) async fn verify_password(
        &self,
        request: &centre::VerifyPasswordRequest,
    ) -> Result<centre::VerifyPasswordResponse, Status> {
        let login = login(&request.login).unwrap_or_default();
        let found = self.store.by_login(&login).await.map_err(errors::store)?;
        let (subscriber, hash) = found.map_or((None, None), |(subscriber, hash)| (Some(subscriber), hash));
        let right = self.passwords.is_right(&request.password, hash).await?;
        let outcome = if right { "right" } else { "wrong" };
        metrics::counter!("simvault_application_logins_total", "outcome" => outcome).increment(1);
        match subscriber.filter(|_| right) {
            Some(subscriber) => Ok(centre::VerifyPasswordResponse {
                subscriber_id: subscriber.id.0,
                msisdn: subscriber.msisdn.digits(),
            }),
            None => Err(Status::unauthenticated("login or password is wrong")),
        }
    }
}

/// As it is stored: small letters.
fn login(text: &str) -> Result<String, Status> {
    let login = text.to_ascii_lowercase();
    let may_stand =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || "._@+-".contains(character);
    if LOGIN_CHARACTERS.contains(&login.chars().count()) && login.chars().all(may_stand) {
        return Ok(login);
    }
    let got = format!("{} characters", text.chars().count());
    Err(errors::invalid("login", got, "3 to 64 of the characters a-z 0-9 . _ @ + -"))
}
