//! How full the outbound actions table and the dead-letter list are, and notices for people.

use std::sync::Arc;

use domain::delivery::State;
use proto::centre::{self, queues_server::Queues};
use tonic::{Request, Response, Status};

use crate::{App, audit, errors, translate::micros};

/// `centre.v1.Queues`.
pub struct Service(pub Arc<App>);

#[tonic::async_trait]
impl Queues for Service {
    async fn get_queues(
        &self,
        _request: Request<centre::GetQueuesRequest>,
    ) -> Result<Response<centre::QueueStatus>, Status> {
        let counts = self.0.store.queue_counts().await.map_err(errors::store)?;
        let oldest = self.0.store.oldest_due().await.map_err(errors::store)?;
        let count = |state: State| counts.get(&state).copied().unwrap_or(0);
        Ok(Response::new(centre::QueueStatus {
            queued: count(State::Queued),
            sent: count(State::Sent),
            waiting: count(State::Waiting),
            failed: count(State::Failed),
            oldest_due_micros: micros(oldest),
            dead_letters: self.0.dead_letters().await,
        }))
    }

    async fn list_notices(
        &self,
        request: Request<centre::ListNoticesRequest>,
    ) -> Result<Response<centre::ListNoticesResponse>, Status> {
        let who = audit::user(request.metadata());
        let limit = self.0.listing_rows(request.into_inner().limit);
        let notices = self.0.store.notices(limit).await.map_err(errors::store)?;
        self.0.record_listing(&who, None, &format!("listed {} notices", notices.len())).await?;
        let shown = notices.into_iter().map(|notice| centre::Notice {
            at_micros: notice.at.0,
            msisdn: notice.msisdn.map(|msisdn| msisdn.digits()).unwrap_or_default(),
            kind: notice.kind,
            text: notice.text,
        });
        Ok(Response::new(centre::ListNoticesResponse { notices: shown.collect() }))
    }
}
