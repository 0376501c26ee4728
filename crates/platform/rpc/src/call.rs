//! Unary control calls: always a deadline, and one more try elsewhere when a replica is gone.

use std::{error::Error, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};
use tonic::{Code, Response, Status, transport::Channel};

use crate::{balancer::Balancer, replica::Replica};

impl Balancer {
    /// Calls the least loaded replica. UNAVAILABLE and broken connections are tried once more, on another replica if there
    /// is one: what `call` does must be idempotent or carry an idempotency key. Waits for a healthy replica if there is none.
    /// A call that is given up is cancelled at the server as well.
    ///
    /// # Errors
    /// The server's status; `DEADLINE_EXCEEDED` when `deadline` passed during the call, `UNAVAILABLE` when it passed
    /// without a healthy replica.
    pub async fn call_with_retry<T, F, C>(&self, deadline: Duration, call: F) -> Result<T, Status>
    where
        F: Fn(Channel) -> C,
        C: Future<Output = Result<Response<T>, Status>>,
    {
        self.call_picked(deadline, call, |except| self.least_loaded_except(except)).await
    }

    /// [`Self::call_with_retry`] on the replica that has `key`: the second try waits until the set has changed or picks the same.
    ///
    /// # Errors
    /// As [`Self::call_with_retry`].
    pub async fn call_keyed<T, F, C>(&self, key: u64, deadline: Duration, call: F) -> Result<T, Status>
    where
        F: Fn(Channel) -> C,
        C: Future<Output = Result<Response<T>, Status>>,
    {
        let pick = |except: Option<&str>| match except {
            None => self.rendezvous_replica(key),
            Some(_) => self.least_loaded_except(except),
        };
        self.call_picked(deadline, call, pick).await
    }

    async fn call_picked<T, F, C, P>(&self, deadline: Duration, call: F, pick: P) -> Result<T, Status>
    where
        F: Fn(Channel) -> C,
        C: Future<Output = Result<Response<T>, Status>>,
        P: Fn(Option<&str>) -> Option<Arc<Replica>>,
    {
        let end =
            Instant::now().checked_add(deadline).ok_or_else(|| Status::invalid_argument("deadline too far away"))?;
        let mut failed: Option<(Arc<Replica>, Status)> = None;
        loop {
            let except = failed.as_ref().map(|(replica, _)| replica.address());
            let Some(replica) = pick(except) else {
                if timeout_at(end, self.wait_healthy(1)).await.is_err() {
                    let none = || Status::unavailable("no replica is healthy");
                    return Err(failed.map_or_else(none, |(_, status)| status));
                }
                continue;
            };
            let in_flight = replica.begin();
            let answer = timeout_at(end, call(replica.channel())).await;
            drop(in_flight);
            match answer {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) if failed.is_none() && is_elsewhere_worth_a_try(&status) => {
                    failed = Some((replica, status))
                }
                Ok(Err(status)) => return Err(status),
                Err(_) => {
                    let text = format!("{} did not answer within {} ms", replica.address(), deadline.as_millis());
                    return Err(Status::deadline_exceeded(text));
                }
            }
        }
    }
}

/// The server did not take the call, or its connection broke.
fn is_elsewhere_worth_a_try(status: &Status) -> bool {
    let is_transport = status.source().is_some_and(|source| source.is::<tonic::transport::Error>());
    status.code() == Code::Unavailable || is_transport
}
