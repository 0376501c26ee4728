//! Passwords of users: salted hashes (Argon2id, PHC strings), made and checked on threads that may block, a few at once.

use std::sync::Arc;

use argon2::{Argon2, PasswordHasher, PasswordVerifier, password_hash::phc::PasswordHash};
use tokio::sync::Semaphore;
use tonic::Status;

use crate::errors;

/// Characters of a password.
const CHARACTERS: std::ops::RangeInclusive<usize> = 8..=128;
/// Each takes 19 MiB and some hundredths of a second of a processor.
const AT_ONCE: usize = 4;
/// A hash that belongs to no password: whoever is unknown costs as much time as whoever is known.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Makes and checks hashes.
pub struct Passwords(Arc<Semaphore>);

impl Default for Passwords {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Passwords {
    /// The hash of a new password, with a salt of its own.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a password that is too short or too long; the password itself is not repeated.
    pub async fn hash(&self, password: &str) -> Result<String, Status> {
        let characters = password.chars().count();
        if !CHARACTERS.contains(&characters) {
            return Err(errors::invalid("password", format!("{characters} characters"), "8 to 128 characters"));
        }
        let password = password.to_owned();
        self.run(move || {
            let hash = Argon2::default().hash_password(password.as_bytes());
            hash.map(|hash| hash.to_string())
                .map_err(|error| Status::internal(format!("the password was not hashed: {error}")))
        })
        .await?
    }

    /// Whether this is the password behind `hash`; without a hash, and as slowly, it is not.
    ///
    /// # Errors
    /// `INTERNAL` when the thread ended.
    pub async fn is_right(&self, password: &str, hash: Option<String>) -> Result<bool, Status> {
        let fits = password.chars().count() <= *CHARACTERS.end();
        let password = if fits { password.to_owned() } else { String::new() };
        let right = self.run(move || {
            let hash = PasswordHash::new(hash.as_deref().unwrap_or(NOBODY));
            hash.is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        });
        Ok(right.await? && fits)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
        let failed = || Status::internal("the thread of a password ended");
        let turn = self.0.clone().acquire_owned().await.map_err(|_| failed())?;
        // The turn goes with the work, which goes on when its caller leaves.
        let worked = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        worked.await.map_err(|_| failed())
    }
}
