//! Transfers between devices as an operator sees them, and the consents that owners give (NK-ST-01, NK-SE-02).

use std::sync::Arc;

use domain::{
    phonebook::Subscriber,
    transfer::{
        Collection, Phase, Session,
        desk::{NAME_OCTETS_MAX, is_legal_name},
        session::End,
    },
};
use link::reason::Outcome;
use proto::centre::{self, transfers_server::Transfers};
use store::Consent;
use tonic::{Request, Response, Status};

use crate::{App, app::msisdn, audit, errors, translate::bearer};

/// `centre.v1.Transfers`.
pub struct Service(pub Arc<App>);

#[tonic::async_trait]
impl Transfers for Service {
    async fn list_transfers(
        &self,
        request: Request<centre::ListTransfersRequest>,
    ) -> Result<Response<centre::ListTransfersResponse>, Status> {
        let who = audit::user(request.metadata());
        let account = self.0.account(&request.into_inner().msisdn).await?;
        self.0.record_look(&who, &account.subscriber, "looked at the transfers").await?;
        let transfers = self.0.store.transfers_of(account.subscriber.id).await.map_err(errors::store)?;
        let consents = transfers.consents.into_iter();
        Ok(Response::new(centre::ListTransfersResponse {
            collections: transfers.collections.into_iter().map(collection).collect(),
            consents: consents.map(|(name, to)| centre::Consent { name, msisdn: to.digits() }).collect(),
            sessions: transfers.sessions.iter().rev().map(session).collect(),
        }))
    }

    async fn set_consent(
        &self,
        request: Request<centre::SetConsentRequest>,
    ) -> Result<Response<centre::SetConsentResponse>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        if !is_legal_name(&request.name) {
            let expected = format!("1 to {NAME_OCTETS_MAX} octets without control characters and /");
            return Err(errors::invalid("name", format!("{:?}", request.name), &expected));
        }
        let owner = self.0.account(&request.msisdn).await?.subscriber;
        let to = self.0.subscriber("to_msisdn", &request.to_msisdn).await?;
        if to.id == owner.id {
            return Err(errors::invalid("to_msisdn", "the owner", "another user: a collection is its owner's anyway"));
        }
        let verb = if request.given { "given to" } else { "withdrawn from" };
        let what = format!("consent to fetch a collection {verb} subscriber {} ({})", to.id.0, to.msisdn);
        let row = audit::about(self.0.now(), &who, &owner, &what);
        let consent = Consent { owner: owner.id, name: request.name, to: to.id };
        let changed = self.0.store.set_consent(&consent, request.given, row).await.map_err(errors::store)?;
        Ok(Response::new(centre::SetConsentResponse { changed }))
    }
}

impl App {
    /// The subscriber of another number than that whom a call is about.
    async fn subscriber(&self, field: &str, digits: &str) -> Result<Subscriber, Status> {
        let account = self.store.account(msisdn(field, digits)?).await.map_err(errors::store)?;
        let account =
            account.ok_or_else(|| Status::not_found(format!("{field} {digits}: no account has this number")))?;
        Ok(account.subscriber)
    }
}

fn collection((name, it): (String, Collection)) -> centre::Collection {
    centre::Collection {
        name,
        stored_micros: it.stored.0,
        origin_device_id: it.origin.device.0,
        data_items: it.data.into(),
        setting_items: it.settings.into(),
        octets: it.octets,
    }
}

fn session(session: &Session) -> centre::TransferSession {
    let opening = &session.opening;
    let (state, refused) = match session.phase {
        Phase::Running => ("running", None),
        Phase::Waiting => ("waiting", None),
        Phase::Ended(End { outcome: Outcome::Success, .. }) => ("done", None),
        Phase::Ended(End { refused, .. }) => ("failed", refused),
    };
    centre::TransferSession {
        session_id: opening.id,
        device_id: opening.device.device.0,
        owner_subscriber_id: opening.owner.0,
        name: opening.name.clone(),
        direction: if opening.wish.fetch { "fetch" } else { "store" }.to_owned(),
        data: opening.wish.data,
        settings: opening.wish.settings,
        moves: opening.wish.moves,
        state: state.to_owned(),
        item: session.item.into(),
        items: session.items.into(),
        skipped: session.skipped.into(),
        failed: session.failed.into(),
        reason: refused.map_or(0, |(_, reason)| reason.code().into()),
        bearer: bearer(session.bearer).to_owned(),
        opened_micros: session.opened.0,
        last_traffic_micros: session.last_traffic.0,
    }
}
