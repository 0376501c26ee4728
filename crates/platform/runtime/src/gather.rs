//! Batches of what comes in ones.

use std::time::Duration;

use tokio::{sync::mpsc, time::Instant};

/// Fills `batch` up to `max`: whatever waits, and what comes within `hold` of the first. False when there will never be
/// more.
///
/// For what nobody waits for. A statement or a call of one costs many times its share of a batch, and a process that is not
/// saturated makes mostly ones.
pub async fn gather<T>(receiver: &mut mpsc::Receiver<T>, batch: &mut Vec<T>, max: usize, hold: Duration) -> bool {
    if receiver.recv_many(batch, max.saturating_sub(batch.len()).max(1)).await == 0 {
        return false;
    }
    let deadline = Instant::now() + hold;
    while batch.len() < max {
        let room = max - batch.len();
        match tokio::time::timeout_at(deadline, receiver.recv_many(batch, room)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_what_comes_within_the_hold_of_its_first() {
        let (sender, mut receiver) = mpsc::channel(16);
        let sending = tokio::spawn(async move {
            for (number, pause) in [(1, 50), (2, 4), (3, 5), (4, 6)] {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                sender.send(number).await.unwrap();
            }
        });
        let hold = Duration::from_millis(10);
        let mut batches = Vec::new();
        let mut batch = Vec::new();
        while gather(&mut receiver, &mut batch, 16, hold).await {
            batches.push(std::mem::take(&mut batch));
        }
        sending.await.unwrap();
        assert_eq!(batches, [vec![1, 2, 3], vec![4]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_does_not_wait_and_the_last_one_comes_whole() {
        let (sender, mut receiver) = mpsc::channel(16);
        for number in 1..=5 {
            sender.send(number).await.unwrap();
        }
        drop(sender);
        let began = Instant::now();
        let mut batch = Vec::new();
        assert!(gather(&mut receiver, &mut batch, 4, Duration::from_secs(9)).await);
        assert_eq!((batch.as_slice(), began.elapsed()), ([1, 2, 3, 4].as_slice(), Duration::ZERO));
        batch.clear();
        assert!(gather(&mut receiver, &mut batch, 4, Duration::from_secs(9)).await);
        assert_eq!((batch.as_slice(), began.elapsed()), ([5].as_slice(), Duration::ZERO));
        batch.clear();
        assert!(!gather(&mut receiver, &mut batch, 4, Duration::from_secs(9)).await);
    }
}
