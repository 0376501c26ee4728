//! Stored octets that nobody wrote: an error that says what, never a panic.

use domain::identity::Timestamp;
use store::{InboundCommit, StoreError};

use crate::fixtures::{backup, both, key, number, page_key, restore};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_values_are_corrupt() {
    for store in both().await {
        let view = store.account(1).await;
        let mut batch = backup(&view, 1, 10, None, "Anna");
        batch.new_actions = vec![restore(1, 11)];
        store.inbound.commit(batch).await.unwrap();
        for hex in ["", "00", "01ff", "0109ffff", "02aabbcc"] {
            let octets = store.octets(hex);
            for column in
                ["book_page SET data", "device_state SET data", "book_change SET data", "outbound_action SET content"]
            {
                store.sql(&format!("UPDATE {column} = {octets}"));
            }
            let page = store.inbound.pages(&[page_key(1, 0)]).await.map(drop);
            let book = store.application.book(key(1)).await.map(drop);
            let devices = store.inbound.devices(&[number(1)]).await.map(drop);
            let account = store.application.account(number(1)).await.map(drop);
            let journal = store.application.journal(key(1), Timestamp(0), 10).await.map(drop);
            let open = store.inbound.open_actions(&[key(1)]).await.map(drop);
            for (what, read) in [page, book, devices, account, journal, open].into_iter().enumerate() {
                // Behind a known format octet some of it may be a newer release's.
                let is_error = match hex {
                    "" | "00" => matches!(read, Err(StoreError::Corrupt(_))),
                    "02aabbcc" if !(2..=3).contains(&what) => matches!(read, Err(StoreError::Newer(_))),
                    _ => matches!(read, Err(StoreError::Corrupt(_) | StoreError::Newer(_))),
                };
                assert!(is_error, "{} {what} {hex}: {read:?}", store.name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_out_of_range_are_corrupt_or_of_a_newer_release() {
    for store in both().await {
        store.account(1).await;
        let batch = InboundCommit { new_actions: vec![restore(1, 11)], ..InboundCommit::default() };
        store.inbound.commit(batch).await.unwrap();
        for (change, is_newer) in [
            ("state = 99", true),
            ("channel = 7", true),
            ("state = -1", false),
            ("attempts = -1", false),
            ("msisdn = 0", false),
        ] {
            store.sql(&format!("UPDATE outbound_action SET {change}"));
            let read = store.application.action(key(1).subscriber, restore(1, 11).id).await;
            match read {
                Err(StoreError::Newer(_)) if is_newer => {}
                Err(StoreError::Corrupt(_)) if !is_newer => {}
                other => panic!("{} {change}: {other:?}", store.name),
            }
            store.sql("UPDATE outbound_action SET state = 0, channel = 0, attempts = 0, msisdn = 46700000001");
        }
        for change in ["device SET profile = 9", "device SET bearer = 9", "subscriber SET state = 9"] {
            store.sql(&format!("UPDATE {change}"));
            let read = store.inbound.devices(&[number(1)]).await;
            assert!(matches!(read, Err(StoreError::Newer(_))), "{} {change}: {read:?}", store.name);
            store.sql("UPDATE device SET profile = 2, bearer = 0");
            store.sql("UPDATE subscriber SET state = 0");
        }
        store.sql("UPDATE device_state SET downlink_counter = -1");
        assert!(matches!(store.inbound.devices(&[number(1)]).await, Err(StoreError::Corrupt(_))), "{}", store.name);
    }
}
