//! What went wrong, as gRPC codes; texts name the field, what it was and what was expected.

use std::fmt::Display;

use store::StoreError;
use tonic::Status;

/// A store error as the caller sees it. `Conflict` reaches it only after our own repeats.
#[must_use]
pub fn store(error: StoreError) -> Status {
    match error {
        StoreError::Unavailable(_) => {
            tracing::warn!(%error, "the store does not answer");
            Status::unavailable(error.to_string())
        }
        StoreError::Conflict(_) => Status::aborted(error.to_string()),
        StoreError::NotFound(_) => Status::not_found(error.to_string()),
        StoreError::Refused(_) => Status::already_exists(error.to_string()),
        StoreError::Corrupt(_) => {
            tracing::error!(%error, "stored octets do not decode");
            Status::data_loss(error.to_string())
        }
        // A replica of that release can.
        StoreError::Newer(_) => Status::unavailable(error.to_string()),
    }
}

/// `field`: got what, expected what.
#[must_use]
pub fn invalid(field: &str, got: impl Display, expected: &str) -> Status {
    Status::invalid_argument(format!("{field}: got {got}, expected {expected}"))
}

/// `None`: what was read has changed meanwhile; read again, at most [`crate::app::CONFLICT_REPEATS`] times.
///
/// # Errors
/// Every other error of the store.
pub fn unless_changed<T>(written: Result<T, StoreError>) -> Result<Option<T>, Status> {
    match written {
        Ok(written) => Ok(Some(written)),
        Err(StoreError::Conflict(_)) => Ok(None),
        Err(error) => Err(store(error)),
    }
}

/// The repeats are used up.
#[must_use]
pub fn kept_changing() -> Status {
    Status::aborted("the card's state kept changing; try again")
}
