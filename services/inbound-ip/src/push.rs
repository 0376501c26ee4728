//! `session.v1.IpSession`: outbound-ip hands a payload to the connection of a card. When it was written and that is wanted,
//! [`crate::deliveries`] says so.

use std::{sync::Arc, time::Duration};

use link::ip::PAYLOAD_OCTETS_MAX;
use metrics::counter;
use proto::session::{PushRequest, PushResponse, ip_session_server::IpSession};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use crate::{
    deliveries::Deliveries,
    sessions::{Downlink, Sessions},
    telemetry,
};

/// Pushes into the sessions of this replica.
pub struct Push {
    pub sessions: Arc<Sessions>,
    pub deliveries: Deliveries,
    /// How long a frame may take to be written.
    pub deadline: Duration,
}

#[tonic::async_trait]
impl IpSession for Push {
    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PushResponse>, Status> {
        let PushRequest { device_id, payload, report_delivery, .. } = request.into_inner();
        if payload.is_empty() || payload.len() > PAYLOAD_OCTETS_MAX {
            let octets = payload.len();
            return Err(Status::invalid_argument(format!(
                "payload: {octets} octets, expected 1 to {PAYLOAD_OCTETS_MAX}"
            )));
        }
        let delivered = self.write(device_id, payload).await.is_some();
        if delivered {
            counter!(telemetry::PUSHED).increment(1);
        }
        let delivery_id = if delivered && report_delivery { self.deliveries.report() } else { None };
        Ok(Response::new(PushResponse { delivered, delivery_id: delivery_id.unwrap_or_default() }))
    }
}

impl Push {
    /// `None`: there is no session, or its connection ended or stalled before the frame was written.
    async fn write(&self, device_id: i64, payload: bytes::Bytes) -> Option<()> {
        let session = self.sessions.find(device_id)?;
        let (written, wait) = oneshot::channel();
        let handed_over = async {
            session.downlink.send(Downlink { payload, written: Some(written) }).await.ok()?;
            wait.await.ok()
        };
        tokio::time::timeout(self.deadline, handed_over).await.ok().flatten()
    }
}
