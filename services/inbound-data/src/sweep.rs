//! What happens without a message: parts and transfers that never became whole go, marked devices are looked at,
//! readiness follows the store.

use std::{sync::Arc, time::Duration};

use domain::identity::Timestamp;
use store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::{batch::Processor, config::Config, item::Item, pace::Pace, service::Shards};

/// Between two questions whether the store takes writes.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// A store that takes longer to answer is not ready.
const PING_MAX: Duration = Duration::from_secs(2);

/// A session whose device was silent for so long is not resumed (D-92); a little more, for what is being decided now.
const TRANSFER_AGE_MAX: Duration = Duration::from_secs(25 * 3600);
/// Sessions that one round forgets.
const TRANSFERS_MAX: u32 = 100;

/// One round; also for tests.
pub async fn sweep(processor: &Processor, shards: &Shards, config: &Config) -> Result<(), StoreError> {
    let now = processor.now();
    let before = |age: Duration| Timestamp(now.0.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX)));
    let expired = processor.store.expire_parts(before(config.parts_age_max)).await?;
    if expired > 0 {
        processor.metrics.parts_expired.increment(expired);
        tracing::warn!(parts = expired, "parts of long messages that never became complete were dropped");
    }
    let ended = processor.store.expire_transfers(before(TRANSFER_AGE_MAX), TRANSFERS_MAX).await?;
    if ended > 0 {
        tracing::info!(sessions = ended, "sessions of transfers that nobody resumed are forgotten");
    }
    for msisdn in processor.store.mismatched(now, config.sweep_devices_max).await? {
        if !shards.send(Item::Check(msisdn)).await {
            break;
        }
    }
    Ok(())
}

pub async fn run(processor: Arc<Processor>, shards: Shards, config: Config, stop: CancellationToken) {
    let rounds = async {
        loop {
            tokio::time::sleep(config.sweep_interval).await;
            if let Err(error) = sweep(&processor, &shards, &config).await {
                tracing::warn!(%error, "the sweep could not look");
            }
        }
    };
    tokio::select! {
        () = rounds => {}
        () = stop.cancelled() => {}
    }
}

/// Ready while the store takes synchronous writes and the workers get on.
pub(crate) async fn watch(
    processor: Arc<Processor>,
    pace: Arc<Pace>,
    readiness: rpc::Readiness,
    stop: CancellationToken,
) {
    let looks = async {
        loop {
            let answer = tokio::time::timeout(PING_MAX, processor.store.ping()).await;
            readiness.set(matches!(answer, Ok(Ok(()))) && !pace.is_stuck());
            tokio::time::sleep(PING_INTERVAL).await;
        }
    };
    tokio::select! {
        () = looks => {}
        () = stop.cancelled() => {}
    }
}
