//! `simvault card`: a virtual card in a virtual PC/SC reader, with a phonebook from a table, backed up to a centre if there is one.
//!
//! Start at [`run`]. The card is `uicc::card::Card` with the backup applet; `reader` is the link to the reader, `centre` that to
//! the centre, `csv` the table.

mod centre;
pub mod csv;
mod reader;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use mobile::applet::{BackupApplet, default_monitor_table, memory::Configuration};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
pub use uicc::card::Kind;
use uicc::{
    book::{self, NotStored},
    card::{Card, Personalisation},
    files::{EF_ADN, EF_EXT1, FileSystem},
    phonebook::NotStorable,
    profile::{ATR_SIM, ATR_UICC, Profile},
    vpcd::Request,
};

pub use self::{centre::Centre, reader::Reader};

/// What a virtual card is.
#[derive(Clone, Debug)]
pub struct CardOptions {
    pub kind: Kind,
    /// Records of EF_ADN, 1 to 254.
    pub records: u8,
    /// Octets of a name, 0 to 241.
    pub alpha_octets: u8,
    /// CHV1, padded with FF; `None`: it is disabled, and nobody is asked.
    pub chv1: Option<[u8; 8]>,
    pub load: Option<PathBuf>,
    /// `None`: in no reader.
    pub reader: Option<Reader>,
    pub centre: Option<Centre>,
}

/// A card that a reader and a centre use at the same time.
pub struct VirtualCard {
    card: Mutex<Card<BackupApplet>>,
    changed: Notify,
    kind: Kind,
}

impl VirtualCard {
    /// A new card with the book that the options name.
    ///
    /// # Errors
    /// A book that cannot be read or does not fit the card: file, line, column and what was expected.
    pub fn new(options: &CardOptions) -> anyhow::Result<Self> {
        let profile = Profile {
            adn_records: options.records,
            alpha_octets: options.alpha_octets,
            // As many as can be named: a book may be all long numbers.
            ext1_records: options.records,
            msisdn: options.centre.as_ref().map(|centre| centre.subscription.msisdn.clone()).unwrap_or_default(),
            ..Profile::default()
        };
        let mut files = profile.files(options.kind);
        let mut loaded = Vec::new();
        if let Some(path) = &options.load {
            loaded = load(path, options.records, &mut files).with_context(|| path.display().to_string())?;
        }
        let configuration = Configuration {
            service_on: options.centre.is_some(),
            bearer: mobile::Bearer::Ip,
            ..Configuration::default()
        };
        let applet = BackupApplet::new(configuration, default_monitor_table(&files));
        let default = Personalisation::default();
        let with = Personalisation {
            kind: options.kind,
            chv1: options.chv1.unwrap_or(default.chv1),
            is_chv1_enabled: options.chv1.is_some(),
            ..default
        };
        let mut card = Card::personalised(files, &with, applet);
        // As if somebody had typed it all: the book reaches the centre.
        for (path, record_number) in loaded {
            card.announce_change(path, record_number);
        }
        Ok(Self { card: Mutex::new(card), changed: Notify::new(), kind: options.kind })
    }

    /// The book as the card holds it now, as a table.
    #[must_use]
    pub fn table(&self) -> String {
        self.with(|card| csv::write(&book::contacts(card.files())))
    }

    /// What the reader gets for a request; `None`: nothing.
    fn answer(&self, request: &Request) -> Option<Vec<u8>> {
        match request {
            Request::Command(command) => {
                let answer = self.with(|card| card.transmit(command));
                self.changed.notify_one();
                Some(answer)
            }
            Request::AnswerToReset => Some(match self.kind {
                Kind::Sim => ATR_SIM.to_vec(),
                Kind::Uicc => ATR_UICC.to_vec(),
            }),
            Request::PowerOff | Request::PowerOn | Request::Reset => {
                self.taken_out();
                None
            }
            Request::Unknown => None,
        }
    }

    /// Without power, or in no reader any more: nobody is verified, and no phone is there that would poll.
    fn taken_out(&self) {
        self.with(Card::reset);
    }

    fn with<T>(&self, action: impl FnOnce(&mut Card<BackupApplet>) -> T) -> T {
        action(&mut self.card.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns after a command of the reader.
    async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Runs the card until `stop`.
///
/// # Errors
/// The card cannot listen for its reader, or the centre's address or authority is wrong.
pub async fn run(options: &CardOptions, card: &Arc<VirtualCard>, stop: CancellationToken) -> anyhow::Result<()> {
    let in_reader = async {
        match &options.reader {
            Some(reader) => reader::serve(reader, card).await.context("listening for a reader"),
            None => std::future::pending().await,
        }
    };
    let at_centre = async {
        match &options.centre {
            Some(centre) => centre::back_up(centre, card, &stop).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = in_reader => ended,
        ended = at_centre => ended,
        () = stop.cancelled() => Ok(()),
    }
}

/// Puts the table of a file on the card; the records that were written.
fn load(path: &Path, records: u8, files: &mut FileSystem) -> anyhow::Result<Vec<(uicc::files::Path, u8)>> {
    let text = std::fs::read_to_string(path)?;
    let mut written = Vec::new();
    for row in csv::read(&text, records)? {
        let used = book::store(files, row.record, &row.contact).map_err(|error| {
            let (column, expected) = match error {
                NotStored::Entry(NotStorable::NameTooLong { .. }) => ("name", "; a card with more room: --alpha"),
                NotStored::Entry(_) => ("number", ""),
                NotStored::File(_) => ("record", ""),
            };
            csv::BadRow::new(row.line, column, format!("{error}{expected}"))
        })?;
        written.extend(used.into_iter().map(|number| (EF_EXT1, number)));
        written.push((EF_ADN, row.record));
    }
    Ok(written)
}
