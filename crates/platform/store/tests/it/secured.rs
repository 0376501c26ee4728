//! What is kept of secured messages: the setting with what was accepted, counters towards the card, marks of actions.

use bytes::Bytes;
use domain::{
    delivery::{Content, QueueEntry},
    phonebook::LastMessage,
    security::{KeySource, KeyVersion, Level, Security, Stamp, TAR_DOWN, TAR_UP, counter_floor},
};
use secured::Algorithm;
use store::{InboundCommit, StoreError};

use crate::fixtures::{acknowledgement, at, backup, both, due, key};

fn security() -> Security {
    let wrapped = KeySource::Wrapped(Bytes::from_static(&[0xC3; 72]));
    Security {
        level: Level::IntegrityAndCipher,
        tar_up: TAR_UP,
        tar_down: TAR_DOWN,
        current: KeyVersion::new(2, Algorithm::Aes128, KeySource::Derived),
        previous: Some(KeyVersion::new(1, Algorithm::TripleDesThreeKeys, wrapped)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_security_setting_and_its_window_are_read_as_written_with_the_message_that_moved_it() {
    for store in both().await {
        let view = store.account(1).await;
        assert_eq!(view.state.security, None);
        let mut batch = backup(&view, 1, 10, None, "Anna");
        let mut security = security();
        for counter in [70, 69, 5] {
            security.accept(Stamp { version: 1, counter });
        }
        batch.states[0].1.security = Some(security.clone());
        store.inbound.commit(batch.clone()).await.unwrap();
        assert_eq!(store.view(1).await.state.security, Some(security.clone()), "{}", store.name);
        // What did not commit moved nothing.
        let stale = store.inbound.commit(batch).await;
        assert!(matches!(stale, Err(StoreError::Conflict(_))), "{}: {stale:?}", store.name);
        let view = store.view(1).await;
        assert_eq!(view.state.security.as_ref().map(|it| it.is_new(Stamp { version: 1, counter: 70 })), Some(false));
        // Beside a table of any size, and beside what is rarely there.
        let mut state = view.state.clone();
        for record in 1..=254 {
            for index in 0..70 {
                state.checksums.set(index, record, 1);
            }
        }
        state.last_message = Some(LastMessage { hash: 1, at: at(1), answer: Bytes::new() });
        let states = vec![(view.device.key, state.clone())];
        store.inbound.commit(InboundCommit { states, ..InboundCommit::default() }).await.unwrap();
        let read = store.view(1).await.state;
        assert_eq!((read.security, read.checksums), (Some(security), state.checksums), "{}", store.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_towards_a_card_only_grow() {
    for store in both().await {
        let view = store.account(1).await;
        let (inbound, outbound) = (&store.inbound, &store.outbound);
        assert_eq!(outbound.reserve_secured(key(1), 1, 0).await.unwrap(), 1, "{}", store.name);
        assert_eq!(outbound.reserve_secured(key(1), 3, 0).await.unwrap(), 2);
        assert_eq!(inbound.reserve_secured(key(1), 1, 0).await.unwrap(), 5, "one row of counters for both");
        // A centre that lost its counters goes on above what the time says; one that did not goes on.
        assert_eq!(outbound.reserve_secured(key(1), 2, 1000).await.unwrap(), 1001);
        assert_eq!(outbound.reserve_secured(key(1), 1, 1000).await.unwrap(), 1003, "{}", store.name);
        // A state that was read before does not take them back.
        inbound.commit(backup(&view, 1, 10, None, "Anna")).await.unwrap();
        assert_eq!(outbound.reserve_secured(key(1), 1, 7).await.unwrap(), 1004);
        let of_today = counter_floor(at(0));
        assert_eq!(outbound.reserve_secured(key(1), 1, of_today).await.unwrap(), of_today + 1);
        // The last counter of all blocks a card: it is never reached.
        let nearly = secured::counter::MAX - 2;
        assert_eq!(outbound.reserve_secured(key(1), 1, nearly).await.unwrap(), nearly + 1, "{}", store.name);
        for device in [key(1), key(7)] {
            let refused = outbound.reserve_secured(device, 1, 0).await;
            assert!(matches!(refused, Err(StoreError::Refused(_))), "{}: {refused:?}", store.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_reserve_at_once_no_two_get_the_same_counter() {
    for store in both().await {
        store.account(1).await;
        let reserve = |count: u32| {
            let outbound = store.outbound.clone();
            tokio::spawn(async move { (outbound.reserve_secured(key(1), count, 0).await.unwrap(), count) })
        };
        let asked: Vec<_> = (0..20).map(|n| reserve(1 + n % 3)).collect();
        let mut counters = Vec::new();
        for answer in asked {
            let (first, count) = answer.await.unwrap();
            counters.extend(first..first + u64::from(count));
        }
        counters.sort_unstable();
        assert_eq!(counters, (1..=u64::try_from(counters.len()).unwrap()).collect::<Vec<_>>(), "{}", store.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_keeps_its_mark_and_the_janitor_finds_it() {
    for store in both().await {
        let view = store.account(1).await;
        let marked = domain::delivery::Action { is_secured: true, ..acknowledgement(1, 3) };
        let new_actions = vec![acknowledgement(1, 2), marked.clone()];
        let states = vec![(view.device.key, view.state)];
        store.inbound.commit(InboundCommit { states, new_actions, ..InboundCommit::default() }).await.unwrap();
        let read = store.application.action(key(1).subscriber, marked.id).await.unwrap();
        assert_eq!(read.as_ref(), Some(&marked), "{}", store.name);
        assert!(matches!(&marked.content, Content::BackupAcknowledgement(it) if it.records.len() == 3));
        let page = store.outbound.due(&due(at(100), at(100), 10)).await.unwrap();
        let found: Vec<_> = page.actions.iter().map(|queued| (queued.id, queued.is_secured)).collect();
        assert_eq!(found, [(acknowledgement(1, 2).id, false), (marked.id, true)], "{}", store.name);
        let entry = QueueEntry::of(&marked);
        assert!(entry.is_secured && page.actions[1].acknowledgement == entry.acknowledgement);
        assert_eq!(QueueEntry::from_octets(entry.to_octets()), Ok(entry));
    }
}
