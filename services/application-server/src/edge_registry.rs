//! What the edges need kept for them: leases of bind slots, the registry of IP sessions, their settings.

use std::{sync::Arc, time::Duration};

use domain::identity::{DeviceId, Timestamp};
use proto::centre::{self, edge_registry_server::EdgeRegistry};
use store::{Audit, SessionUpdate};
use tonic::{Request, Response, Status};

use crate::{App, audit, errors};

/// A lease shorter than its renewal's way over the network is none; a longer one blocks a slot after a crash.
const TTL_MILLIS: std::ops::RangeInclusive<u32> = 100..=300_000;
const NAME_OCTETS: std::ops::RangeInclusive<usize> = 1..=200;
/// Devices of one registration or look-up; an edge with more sends several.
const DEVICES_MAX: usize = 100_000;
const VALUE_OCTETS_MAX: usize = 16_384;

/// `centre.v1.EdgeRegistry`.
pub struct Service(pub Arc<App>);

#[tonic::async_trait]
impl EdgeRegistry for Service {
    async fn acquire_lease(
        &self,
        request: Request<centre::AcquireLeaseRequest>,
    ) -> Result<Response<centre::AcquireLeaseResponse>, Status> {
        let centre::AcquireLeaseRequest { name, owner, ttl_millis } = request.into_inner();
        named("name", &name)?;
        named("owner", &owner)?;
        if !TTL_MILLIS.contains(&ttl_millis) {
            return Err(errors::invalid("ttl_millis", ttl_millis, "100 to 300000"));
        }
        let ttl = Duration::from_millis(ttl_millis.into());
        let lease = self.0.store.acquire_lease(&name, &owner, self.0.now(), ttl).await.map_err(errors::store)?;
        let (held, epoch, owner) = (lease.held, lease.epoch, lease.owner);
        Ok(Response::new(centre::AcquireLeaseResponse { held, epoch, owner }))
    }

    async fn release_lease(
        &self,
        request: Request<centre::ReleaseLeaseRequest>,
    ) -> Result<Response<centre::ReleaseLeaseResponse>, Status> {
        let centre::ReleaseLeaseRequest { name, owner } = request.into_inner();
        self.0.store.release_lease(&name, &owner).await.map_err(errors::store)?;
        Ok(Response::new(centre::ReleaseLeaseResponse {}))
    }

    async fn register_sessions(
        &self,
        request: Request<centre::RegisterSessionsRequest>,
    ) -> Result<Response<centre::RegisterSessionsResponse>, Status> {
        let request = request.into_inner();
        named("endpoint", &request.endpoint)?;
        at_most("opened", request.opened.len())?;
        at_most("closed", request.closed.len())?;
        let update = SessionUpdate {
            endpoint: request.endpoint,
            opened: request.opened.into_iter().map(DeviceId).collect(),
            closed: request.closed.into_iter().map(DeviceId).collect(),
            snapshot: request.snapshot,
            snapshot_from: request.snapshot_from.map(DeviceId),
            snapshot_to: request.snapshot_to.map(DeviceId),
            at: self.0.now(),
        };
        let superseded = self.0.store.register_sessions(&update).await.map_err(errors::store)?;
        let superseded = superseded.into_iter().map(|device| device.0).collect();
        Ok(Response::new(centre::RegisterSessionsResponse { superseded }))
    }

    async fn locate_sessions(
        &self,
        request: Request<centre::LocateSessionsRequest>,
    ) -> Result<Response<centre::LocateSessionsResponse>, Status> {
        let devices: Vec<DeviceId> = request.into_inner().device_ids.into_iter().map(DeviceId).collect();
        at_most("device_ids", devices.len())?;
        let found = self.0.store.locate_sessions(&devices).await.map_err(errors::store)?;
        let endpoints = found.into_iter().map(|(device, endpoint)| (device.0, endpoint)).collect();
        Ok(Response::new(centre::LocateSessionsResponse { endpoints }))
    }

    async fn get_settings(
        &self,
        request: Request<centre::GetSettingsRequest>,
    ) -> Result<Response<centre::GetSettingsResponse>, Status> {
        let scope = request.into_inner().scope;
        let settings = self.0.store.settings(&scope).await.map_err(errors::store)?;
        Ok(Response::new(centre::GetSettingsResponse { settings: settings.into_iter().collect() }))
    }

    async fn put_setting(
        &self,
        request: Request<centre::PutSettingRequest>,
    ) -> Result<Response<centre::PutSettingResponse>, Status> {
        let who = audit::user(request.metadata());
        let centre::PutSettingRequest { scope, key, value } = request.into_inner();
        named("scope", &scope)?;
        named("key", &key)?;
        if value.len() > VALUE_OCTETS_MAX {
            return Err(errors::invalid("value", format!("{} octets", value.len()), "at most 16384 octets"));
        }
        let at: Timestamp = self.0.now();
        // The value may be a secret: the row says what was set, not to what.
        let row = Audit { at, who, what: format!("setting {scope}/{key} changed") };
        self.0.store.put_setting(&scope, &key, &value, row).await.map_err(errors::store)?;
        Ok(Response::new(centre::PutSettingResponse {}))
    }
}

fn named(field: &str, text: &str) -> Result<(), Status> {
    if NAME_OCTETS.contains(&text.len()) && !text.contains('\0') {
        return Ok(());
    }
    Err(errors::invalid(field, format!("{} octets", text.len()), "1 to 200 octets, none of them NUL"))
}

fn at_most(field: &str, devices: usize) -> Result<(), Status> {
    if devices <= DEVICES_MAX {
        return Ok(());
    }
    Err(errors::invalid(field, devices, "at most 100000 devices in one call"))
}
