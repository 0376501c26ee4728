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
    }
}

/// `field`: got what, expected what.
#[must_use]
pub fn invalid(field: &str, got: impl Display, expected: &str) -> Status {
    Status::invalid_argument(format!("{field}: got {got}, expected {expected}"))
}
