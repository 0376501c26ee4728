//! Collections that users have stored, consents and sessions, as tables.

use link::reason::Reason;
use proto::centre::{self, transfers_client::TransfersClient};

use crate::{
    arguments::{Consent, Transfer},
    commands::{Connection, Failure},
    output::{Cell, Output, Table},
};

pub async fn run(connection: Connection, output: &Output, command: Transfer) -> Result<(), Failure> {
    let mut client = TransfersClient::new(connection);
    let (Consent { msisdn, name, to }, given) = match command {
        Transfer::List { msisdn } => {
            let found = client.list_transfers(centre::ListTransfersRequest { msisdn }).await?.into_inner();
            let tables = [
                ("collections", &collections(&found.collections)),
                ("consents", &consents(&found.consents)),
                ("sessions", &sessions(&found.sessions)),
            ];
            return Ok(output.lists(&tables)?);
        }
        Transfer::Consent(consent) => (consent, true),
        Transfer::Withdraw(consent) => (consent, false),
    };
    let request = centre::SetConsentRequest { msisdn, name: name.clone(), to_msisdn: to.clone(), given };
    let changed = client.set_consent(request).await?.into_inner().changed;
    let mut table = Table::new(&["collection", "fetched by", "consent"], "");
    let consent = match (given, changed) {
        (true, true) => "given",
        (true, false) => "given before",
        (false, true) => "withdrawn",
        (false, false) => "there was none",
    };
    table.row(vec![Cell::text(name), Cell::text(to), Cell::text(consent)]);
    Ok(output.single(&table)?)
}

fn collections(collections: &[centre::Collection]) -> Table {
    let mut table = Table::new(&["name", "stored", "device", "data", "settings", "octets"], "no collections");
    for it in collections {
        table.row(vec![
            Cell::text(&it.name),
            Cell::Time(it.stored_micros),
            Cell::Number(it.origin_device_id),
            Cell::Number(it.data_items.into()),
            Cell::Number(it.setting_items.into()),
            Cell::Number(it.octets.into()),
        ]);
    }
    table
}

fn consents(consents: &[centre::Consent]) -> Table {
    let mut table = Table::new(&["collection", "fetched by"], "nobody else may fetch them");
    for it in consents {
        table.row(vec![Cell::text(&it.name), Cell::text(&it.msisdn)]);
    }
    table
}

fn sessions(sessions: &[centre::TransferSession]) -> Table {
    let columns =
        ["session", "device", "collection", "wish", "state", "item", "items", "bearer", "opened", "last", "note"];
    let mut table = Table::new(&columns, "no sessions");
    for it in sessions {
        table.row(vec![
            Cell::text(format!("{:08X}", it.session_id)),
            Cell::Number(it.device_id),
            Cell::text(&it.name),
            Cell::text(wish(it)),
            Cell::text(&it.state),
            Cell::Number(it.item.into()),
            Cell::Number(it.items.into()),
            Cell::text(&it.bearer),
            Cell::Time(it.opened_micros),
            Cell::Time(it.last_traffic_micros),
            Cell::text(note(it)),
        ]);
    }
    table
}

/// `store data+settings, move`.
fn wish(session: &centre::TransferSession) -> String {
    let kinds: Vec<&str> =
        [(session.data, "data"), (session.settings, "settings")].iter().filter(|it| it.0).map(|it| it.1).collect();
    let moves = if session.moves { ", move" } else { "" };
    format!("{} {}{moves}", session.direction, kinds.join("+"))
}

fn note(session: &centre::TransferSession) -> String {
    let reason = u8::try_from(session.reason).ok().filter(|code| *code != 0).and_then(Reason::from_code);
    let mut notes: Vec<String> = reason.map(|reason| reason.name().to_owned()).into_iter().collect();
    for (count, what) in [(session.skipped, "not known to the device"), (session.failed, "not applied")] {
        if count > 0 {
            notes.push(format!("{count} {what}"));
        }
    }
    notes.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_and_sessions_are_shown_with_what_became_of_them() {
        let collection = centre::Collection {
            name: "main".to_owned(),
            origin_device_id: 7,
            data_items: 5,
            setting_items: 3,
            octets: 3456,
            ..centre::Collection::default()
        };
        let shown = collections(&[collection]).render();
        assert!(["main", "7", "5", "3", "3456"].iter().all(|cell| shown.contains(cell)), "{shown}");
        let session = centre::TransferSession {
            session_id: 0xBEEF,
            name: "main".to_owned(),
            direction: "fetch".to_owned(),
            data: true,
            settings: true,
            moves: true,
            state: "failed".to_owned(),
            skipped: 1,
            reason: Reason::AccessDenied.code().into(),
            ..centre::TransferSession::default()
        };
        let shown = sessions(&[session]).render();
        for text in ["0000BEEF", "fetch data+settings, move", "1 not known to the device", Reason::AccessDenied.name()]
        {
            assert!(shown.contains(text), "{text}: {shown}");
        }
    }
}
