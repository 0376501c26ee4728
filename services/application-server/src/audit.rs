//! Who did what: every change and every look leaves a row.

use domain::{identity::Timestamp, phonebook::Subscriber};
use store::Audit;
use tonic::metadata::MetadataMap;

/// The metadata key that names the operator; whoever terminates the operator's session sets it.
const USER: &str = "simvault-user";
/// Longest name kept.
const USER_CHARACTERS_MAX: usize = 64;

/// The operator named by the call, "unknown" when none is.
pub fn user(metadata: &MetadataMap) -> String {
    let named = metadata.get(USER).and_then(|value| value.to_str().ok()).map(str::trim);
    named.filter(|name| !name.is_empty()).unwrap_or("unknown").chars().take(USER_CHARACTERS_MAX).collect()
}

/// An audit row about a subscriber, by id and masked number: the row outlives the subscriber's data (PF-20).
pub fn about(at: Timestamp, who: &str, subscriber: &Subscriber, what: &str) -> Audit {
    let what = format!("subscriber {} ({}): {what}", subscriber.id.0, subscriber.msisdn);
    Audit { at, who: who.to_owned(), what }
}
