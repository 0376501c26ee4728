//! What Redis answers, read without trust.

use bytes::Bytes;
use redis::{RedisError, Value, streams::StreamId};

use crate::Entry;

/// The one field of an entry.
pub(super) const BODY: &str = "b";

/// An entry that somebody else wrote has no body; it is handed on empty, refused by the consumer and buried.
pub(super) fn entry(mut id: StreamId, deliveries: u32) -> Entry {
    let body = match id.map.remove(BODY) {
        Some(Value::BulkString(octets)) => Bytes::from(octets),
        _ => Bytes::new(),
    };
    Entry { id: id.id, body, deliveries }
}

/// Ids begin with the milliseconds of their entry: `1732190000000-0`.
pub(super) fn added_micros(id: &str) -> Option<i64> {
    id.split_once('-')?.0.parse::<i64>().ok()?.checked_mul(1000)
}

/// The group, or the whole stream, is not there, or went while a read waited.
pub(super) fn is_group_missing(error: &RedisError) -> bool {
    has_code(error, &["NOGROUP", "UNBLOCKED"])
}

/// Another consumer made it.
pub(super) fn is_group_there(error: &RedisError) -> bool {
    has_code(error, &["BUSYGROUP"])
}

/// The errors of a pipeline are inside it.
fn has_code(error: &RedisError, codes: &[&str]) -> bool {
    let inner = error.clone().into_server_errors();
    inner.is_some_and(|errors| errors.iter().any(|(_, error)| codes.contains(&error.code())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_when_its_entry_was_added() {
        assert_eq!(added_micros("1732190000000-7"), Some(1_732_190_000_000_000));
        for wrong in ["", "7", "x-1", "9223372036854775807-1"] {
            assert_eq!(added_micros(wrong), None, "{wrong}");
        }
    }
}
