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

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// Whoever signs in and hangs up, over and over, occupies no more threads than whoever waits.
    #[tokio::test]
    async fn work_whose_caller_has_left_keeps_its_turn_until_it_ends() {
        let passwords = Arc::new(Passwords::default());
        let (begins, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let (end, ends) = mpsc::channel::<()>();
        let ends = Arc::new(Mutex::new(ends));
        let call = || {
            let (passwords, begins, ends) = (passwords.clone(), begins.clone(), ends.clone());
            tokio::spawn(async move {
                let work = move || {
                    begins.send(()).expect("the test listens");
                    // An end of the test ends it too.
                    ends.lock().expect("no work panics").recv().ok();
                };
                passwords.run(work).await
            })
        };
        let callers: Vec<_> = (0..3 * AT_ONCE).map(|_| call()).collect();
        for _ in 0..AT_ONCE {
            begun.recv().await.expect("work begins");
        }
        for caller in callers {
            caller.abort();
            assert!(caller.await.is_err_and(|error| error.is_cancelled()));
        }
        let patient = call();
        tokio::task::yield_now().await;
        assert_eq!(passwords.0.available_permits(), 0, "what was begun goes on");
        assert!(begun.try_recv().is_err(), "nothing more has begun");
        // One of them ends: the patient caller has its turn; of the others that waited nothing is left.
        end.send(()).expect("work waits");
        begun.recv().await.expect("the next work begins");
        assert!(begun.try_recv().is_err());
        (0..AT_ONCE).for_each(|_| end.send(()).expect("work waits"));
        patient.await.expect("no panic").expect("worked");
    }
}
