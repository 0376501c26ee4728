//! Dead letters (PF-05): an entry that can never succeed goes to the list, is shown by the centre, and disturbs nobody; all
//! that is only interrupted, however often, never gets there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use domain::phonebook::Bearer;
use proto::centre::{GetQueuesRequest, queues_client::QueuesClient};
use queue::Queue;

use super::Run;

/// For a poisoned entry to be set aside.
const SET_ASIDE_WITHIN: Duration = Duration::from_secs(10);
/// Actions that failed for good, and messages that no commit took.
const FAILED: &str = "SELECT (SELECT count(*) FROM outbound_action WHERE state = 4) \
                      + (SELECT count(*) FROM notice WHERE kind IN ('dead-letter', 'action_failed'))";

impl Run<'_> {
    /// Puts an entry into the queue that no outbound action processor can read: it is listed, and the centre says so.
    pub(super) async fn poison(&mut self, progress: &dyn Fn(&str)) -> Result<()> {
        let queue = self.topology.queue().await?;
        queue.push(Bearer::Sms, &[Bytes::from_static(b"no entry")]).await?;
        let began = Instant::now();
        loop {
            let client = self.topology.channel("application-server").map(QueuesClient::new);
            let status = client?.get_queues(GetQueuesRequest {}).await.context("GetQueues")?.into_inner();
            if status.dead_letters == Some(1) {
                break;
            }
            if began.elapsed() > SET_ASIDE_WITHIN {
                self.fail(format!(
                    "{SET_ASIDE_WITHIN:?} after one entry was poisoned, dead letters are {:?}",
                    status.dead_letters
                ));
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        progress(&format!("one poisoned entry was set aside after {:.1} s", began.elapsed().as_secs_f64()));
        self.report.poisoned += 1;
        self.listed += 1;
        Ok(())
    }

    /// Before the list is wiped, and at the end: what is on it that was not poisoned.
    pub(super) async fn count_dead_letters(&mut self) -> Result<()> {
        let queue = self.topology.queue().await?;
        let mut dead = 0;
        for channel in [Bearer::Sms, Bearer::Ip] {
            dead += queue.depth(channel).await?.dead;
        }
        self.found_dead(dead.abs_diff(self.listed), "entries are on the dead-letter list or missing there");
        Ok(())
    }

    /// What the database knows to have failed.
    pub(super) async fn count_failed_actions(&mut self) -> Result<()> {
        let failed = self.topology.sql(FAILED).await?;
        let failed = failed.trim().parse().with_context(|| format!("a count: {failed:?}"))?;
        self.found_dead(failed, "actions or messages failed for good");
        Ok(())
    }

    fn found_dead(&mut self, count: u64, what: &str) {
        self.report.dead_letters += count;
        if count > 0 {
            self.fail(format!("{count} {what}"));
        }
    }
}
