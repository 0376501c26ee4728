//! What the edges keep: leases, sessions, settings; and readiness.

use std::time::Duration;

use domain::identity::DeviceId;
use store::{Lease, SessionUpdate};

use crate::fixtures::{at, audit, both};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_has_one_owner_until_it_expires() {
    const TTL: Duration = Duration::from_secs(10);
    for store in both().await {
        let acquire = async |owner: &str, seconds| {
            store.application.acquire_lease("bind/0", owner, at(seconds), TTL).await.unwrap()
        };
        let lease = |held, owner: &str, epoch| Lease { held, owner: owner.into(), epoch };
        assert_eq!(acquire("a", 0).await, lease(true, "a", 1), "{}", store.name);
        assert_eq!(acquire("b", 5).await, lease(false, "a", 1));
        assert_eq!(acquire("a", 9).await, lease(true, "a", 1), "renewed");
        assert_eq!(acquire("b", 18).await, lease(false, "a", 1));
        assert_eq!(acquire("b", 19).await, lease(true, "b", 2), "{}: expired at that moment", store.name);
        assert_eq!(acquire("a", 20).await, lease(false, "b", 2));
        store.application.release_lease("bind/0", "a").await.unwrap();
        assert_eq!(acquire("a", 20).await, lease(false, "b", 2), "only the owner releases");
        store.application.release_lease("bind/0", "b").await.unwrap();
        assert_eq!(acquire("a", 20).await, lease(true, "a", 3), "{}", store.name);
        let other = store.application.acquire_lease("bind/1", "b", at(20), TTL).await.unwrap();
        assert_eq!(other, lease(true, "b", 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_ask_for_a_lease_one_gets_it() {
    for store in both().await {
        let ask = |n: u32| {
            let application = store.application.clone();
            tokio::spawn(async move {
                application.acquire_lease("slot", &format!("o{n}"), at(0), Duration::from_secs(9)).await.unwrap().held
            })
        };
        let asked: Vec<_> = (0..10).map(ask).collect();
        let mut held = 0;
        for answer in asked {
            held += u32::from(answer.await.unwrap());
        }
        assert_eq!(held, 1, "{}", store.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_session_of_a_device_wins() {
    for store in both().await {
        let update = |endpoint: &str, opened: &[i64], closed: &[i64], snapshot, seconds| SessionUpdate {
            endpoint: endpoint.into(),
            opened: opened.iter().copied().map(DeviceId).collect(),
            closed: closed.iter().copied().map(DeviceId).collect(),
            snapshot,
            at: at(seconds),
            ..SessionUpdate::default()
        };
        let register = async |update: SessionUpdate| store.application.register_sessions(&update).await.unwrap();
        let locate = async || {
            let found = store.application.locate_sessions(&[DeviceId(1), DeviceId(2), DeviceId(3)]).await.unwrap();
            let mut found: Vec<_> =
                found.into_iter().map(|(device, endpoint)| format!("{} {endpoint}", device.0)).collect();
            found.sort();
            found
        };
        assert_eq!(register(update("a", &[1, 2], &[], false, 0)).await, []);
        assert_eq!(register(update("b", &[1], &[], false, 5)).await, [], "{}", store.name);
        assert_eq!(locate().await, ["1 b", "2 a"]);
        assert_eq!(register(update("a", &[1], &[], false, 3)).await, [DeviceId(1)], "an older one, told late");
        assert_eq!(register(update("a", &[], &[1, 2], false, 6)).await, []);
        assert_eq!(locate().await, ["1 b"], "{}: a closes only its own", store.name);
        // What an endpoint holds after losing touch: it takes no session from another, and what it lost goes.
        assert_eq!(register(update("b", &[1, 3], &[], false, 7)).await, []);
        assert_eq!(register(update("a", &[1, 2], &[], true, 9)).await, [DeviceId(1)]);
        assert_eq!(register(update("b", &[1], &[], true, 9)).await, []);
        assert_eq!(locate().await, ["1 b", "2 a"], "{}", store.name);
        assert_eq!(register(update("a", &[2], &[2], false, 10)).await, []);
        assert_eq!(locate().await, ["1 b", "2 a"], "closed and opened again");
        // A piece of a snapshot says nothing of the devices outside it.
        let piece = |opened, from: i64, to: i64| SessionUpdate {
            snapshot_from: Some(DeviceId(from)),
            snapshot_to: Some(DeviceId(to)),
            ..update("a", opened, &[], true, 11)
        };
        assert_eq!(register(piece(&[], 3, i64::MAX)).await, []);
        assert_eq!(register(piece(&[3], 3, i64::MAX)).await, []);
        assert_eq!(locate().await, ["1 b", "2 a", "3 a"], "{}", store.name);
        assert_eq!(register(piece(&[], i64::MIN, 2)).await, []);
        assert_eq!(locate().await, ["1 b", "3 a"], "{}", store.name);
        assert_eq!(register(update("a", &[], &[], true, 11)).await, []);
        assert_eq!(locate().await, ["1 b"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_is_data_and_never_sql() {
    for store in both().await {
        let hostile = "'); DROP TABLE setting; --";
        store.application.put_setting(hostile, "k'\"", hostile, audit(hostile)).await.unwrap();
        store.application.put_setting(hostile, "k'\"", "second", audit("again")).await.unwrap();
        store.application.put_setting("edge", "k", "v", audit("other")).await.unwrap();
        let settings = store.application.settings(hostile).await.unwrap();
        assert_eq!(settings, [("k'\"".to_owned(), "second".to_owned())].into(), "{}", store.name);
        assert!(store.application.settings("x' OR '1'='1").await.unwrap().is_empty());
        assert_eq!(store.sql("SELECT what FROM audit ORDER BY what")[0], hostile);
        // Postgres has no character 0 in texts: it must not spoil what it comes with.
        store.application.put_setting("zero", "k", "a\0b", audit("a\0b")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ready_store_takes_writes() {
    for store in both().await {
        store.inbound.ping().await.unwrap();
        store.outbound.ping().await.unwrap();
        store.application.ping().await.unwrap();
    }
}
