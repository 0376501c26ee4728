//! Damage on purpose: how the demonstration proves that it would notice.

use std::path::Path;

use rusqlite::{OptionalExtension, params};

use crate::{Result, StoreError};

/// Flips one bit of one record in the newest book page of the subscriber, behind the store's back.
///
/// # Errors
/// `NotFound` when the number has no book.
pub fn damage_one_octet(path: impl AsRef<Path>, msisdn: &str) -> Result<()> {
    let connection = super::connect(path.as_ref())?;
    let found: Option<(i64, i64, i64, i64, Vec<u8>)> = connection
        .query_row(
            "SELECT subscriber_id, device_id, file, page, data FROM book_page
             WHERE subscriber_id = (SELECT id FROM subscriber WHERE msisdn = ?1)
             ORDER BY device_id DESC, file, page LIMIT 1",
            params![msisdn.parse::<i64>().unwrap_or_default()],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
        )
        .optional()?;
    let (subscriber, device, file, page, mut data) =
        found.ok_or_else(|| StoreError::NotFound("a book to damage".to_owned()))?;
    // The last octet of the page is the last of a record: format, sizes and map stay as they are.
    if let Some(last) = data.last_mut() {
        *last ^= 0x01;
    }
    connection.execute(
        "UPDATE book_page SET data = ?5 WHERE subscriber_id = ?1 AND device_id = ?2 AND file = ?3 AND page = ?4",
        params![subscriber, device, file, page, data],
    )?;
    Ok(())
}
