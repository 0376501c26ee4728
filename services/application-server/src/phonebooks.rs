//! Books and their history, as of now or as of any minute (D-118). Every look leaves an audit row.

use std::sync::Arc;

use bytes::Bytes;
use domain::{
    identity::{DeviceKey, Timestamp},
    phonebook::{
        Card, DeviceView, EF_ADN, EF_EXT1, Pages,
        apply::{Context, Effects, Policy, decide_held},
        history::{self, Entry},
        restore::Book,
    },
};
use proto::centre::{self, phonebooks_server::Phonebooks};
use store::InboundCommit;
use tonic::{Request, Response, Status};
use uicc::phonebook::decode_adn;

use crate::{
    App,
    app::{CONFLICT_REPEATS, device_by_id, open_device},
    audit, errors,
    translate::{micros, source},
};

/// `centre.v1.Phonebooks`.
pub struct Service(pub Arc<App>);

#[tonic::async_trait]
impl Phonebooks for Service {
    async fn show_book(&self, request: Request<centre::ShowBookRequest>) -> Result<Response<centre::Book>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        let as_of = self.0.as_of(request.as_of_micros).await?;
        let account = self.0.account(&request.msisdn).await?;
        let found = self.0.newest_book(&account, request.device_id, as_of).await?;
        let ((device, state), book) = match found {
            Some(found) => found,
            None => (open_device(&account)?, Book::default()),
        };
        let what = format!("looked at the book of device {}", device.key.device.0);
        self.0.record_look(&who, &account.subscriber, &what).await?;
        Ok(Response::new(centre::Book {
            records: records(&book),
            device_id: device.key.device.0,
            iccid: device.iccid.clone(),
            opened_micros: device.opened.0,
            closed_micros: micros(device.closed),
            last_contact_micros: micros(state.last_contact),
            shown_micros: as_of.unwrap_or(self.0.now()).0,
        }))
    }

    async fn history(
        &self,
        request: Request<centre::HistoryRequest>,
    ) -> Result<Response<centre::HistoryResponse>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        let account = self.0.account(&request.msisdn).await?;
        let (device, _) = device_by_id(&account, request.device_id)?;
        let limit = self.0.listing_rows(request.limit);
        let entries = self.0.newest_entries(device.key, limit).await?;
        let what = format!("looked at the history of device {}", device.key.device.0);
        self.0.record_look(&who, &account.subscriber, &what).await?;
        Ok(Response::new(centre::HistoryResponse { entries }))
    }

    async fn decide_held(
        &self,
        request: Request<centre::DecideHeldRequest>,
    ) -> Result<Response<centre::DecideHeldResponse>, Status> {
        let who = audit::user(request.metadata());
        let request = request.into_inner();
        let records = self.0.decide_held(&who, &request.msisdn, request.apply).await?;
        Ok(Response::new(centre::DecideHeldResponse { records }))
    }
}

impl App {
    /// Entries of the history, newest first. Many messages change nothing, so the journal is read on until there are
    /// enough entries, it ends, or as many rows were read as any command reads.
    async fn newest_entries(&self, device: DeviceKey, limit: u32) -> Result<Vec<centre::HistoryEntry>, Status> {
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut rows = limit;
        loop {
            let journal = self.store.journal(device, Timestamp(0), rows).await.map_err(errors::store)?;
            let entries: Vec<_> = history::entries(&journal).take(wanted).map(entry).collect();
            let is_whole = journal.len() < usize::try_from(rows).unwrap_or(usize::MAX);
            if entries.len() >= wanted || is_whole || rows >= self.config.journal_rows_max {
                return Ok(entries);
            }
            rows = rows.saturating_mul(8).min(self.config.journal_rows_max);
        }
    }

    /// How many records the decision concerned.
    async fn decide_held(&self, who: &str, digits: &str, apply: bool) -> Result<u32, Status> {
        for _ in 0..CONFLICT_REPEATS {
            let account = self.account(digits).await?;
            let (device, state) = open_device(&account)?;
            let view =
                DeviceView { subscriber: account.subscriber.clone(), device: device.clone(), state: state.clone() };
            let read = self.store.book(device.key).await.map_err(errors::store)?;
            let mut card = Card::new(view);
            let mut pages = Pages::new(read.into_iter().collect());
            let policy = Policy::default();
            let context = Context { now: self.now(), ids: &self.ids, policy: &policy };
            let mut effects = Effects::default();
            let Some(records) = decide_held(&mut card, &mut pages, apply, context, &mut effects) else {
                return Err(Status::failed_precondition("no resynchronisation of this card is held for a decision"));
            };
            let what = if apply { "applied: the book loses" } else { "dropped: the book keeps" };
            let what = format!("held resynchronisation {what} {records} records");
            let row = audit::about(self.now(), who, &account.subscriber, &what);
            let batch = InboundCommit {
                states: vec![(device.key, card.view.state)],
                pages: pages.into_changed(),
                changes: effects.changes,
                ..InboundCommit::default()
            };
            // What the card said meanwhile may change the decision's ground.
            if errors::unless_changed(self.commit(batch, row).await)?.is_some() {
                return Ok(u32::try_from(records).unwrap_or(u32::MAX));
            }
        }
        Err(errors::kept_changing())
    }
}

fn records(book: &Book) -> Vec<centre::BookRecord> {
    let shown = book.iter().map(|((file, record_number), octets)| {
        // Digits beyond the twentieth are in EF_EXT1.
        let ext1 = |number| book.get(&(EF_EXT1, number)).map(|octets| octets.to_vec());
        let contact = (*file == EF_ADN).then(|| decode_adn(octets, ext1)).flatten().unwrap_or_default();
        centre::BookRecord {
            df: file.df.into(),
            ef: file.ef.into(),
            record_number: (*record_number).into(),
            octets: octets.clone(),
            name: contact.name,
            number: contact.number,
        }
    });
    shown.collect()
}

fn entry(entry: Entry) -> centre::HistoryEntry {
    let kind = match (&entry.old, &entry.new) {
        (None, _) => "insert",
        (Some(_), Some(_)) => "update",
        (Some(_), None) => "delete",
    };
    let contact = |octets: &Option<Bytes>| {
        let adn = octets.as_ref().filter(|_| entry.file == EF_ADN);
        adn.and_then(|octets| decode_adn(octets, |_| None)).unwrap_or_default()
    };
    let (before, after) = (contact(&entry.old), contact(&entry.new));
    centre::HistoryEntry {
        at_micros: entry.at.0,
        source: source(entry.source).to_owned(),
        df: entry.file.df.into(),
        ef: entry.file.ef.into(),
        record_number: entry.record_number.into(),
        kind: kind.to_owned(),
        old: entry.old.unwrap_or_default(),
        new: entry.new.unwrap_or_default(),
        old_name: before.name,
        old_number: before.number,
        new_name: after.name,
        new_number: after.number,
    }
}
