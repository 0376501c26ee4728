//! Settings of the application server.

use std::net::SocketAddr;

use domain::security::Keyring;
use runtime::config::{Problem, Secret, Validate};
use serde::{Deserialize, Serialize};

use crate::housekeeping::HousekeepingConfig;

/// Everything that can be set, with its default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where gRPC is served.
    pub server: rpc::ServerConfig,
    /// Part of the ids made here: 0 to 1023, different for every process. Default 900.
    pub node: u16,
    /// The centre's number that new cards are told (CID 0x02), E.164 digits. Default empty: it is personalised (D-124).
    pub centre_number: String,
    /// The centre's IP address and port that new cards are told (CID 0x03). Default none.
    pub centre_ip: Option<SocketAddr>,
    /// Normal poll interval that new cards are told (CID 0x0B), 1 to 255 s. Default 0: the card keeps its own.
    pub poll_normal_seconds: u8,
    /// Fast poll interval (CID 0x0B), 1 to 255 s, at most the normal one. Default 0: the card keeps its own.
    pub poll_fast_seconds: u8,
    /// Journal rows read at most to show or restore a book as of an earlier time, 100 to 1 000 000. Default 100 000.
    pub journal_rows_max: u32,
    /// Rows of one answer to a listing, 1 to 10 000. Default 1000.
    pub listing_rows_max: u32,
    /// How long rows are kept.
    pub housekeeping: HousekeepingConfig,
    /// What the keys of cards are derived from or kept under (D-125): 64 hexadecimal digits, the same in inbound-data,
    /// outbound-action and application-server. Default none: no device can be secured.
    pub master_key: Secret,
    /// What a card maker wraps keys with in its output file: 64 hexadecimal digits. Default none: nothing can be imported.
    pub transport_key: Secret,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: rpc::ServerConfig::default(),
            node: 900,
            centre_number: String::new(),
            centre_ip: None,
            poll_normal_seconds: 0,
            poll_fast_seconds: 0,
            journal_rows_max: 100_000,
            listing_rows_max: 1000,
            housekeeping: HousekeepingConfig::default(),
            master_key: Secret::default(),
            transport_key: Secret::default(),
        }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Problem> {
        let number = self.centre_number.as_str();
        let number = (!number.is_empty() && domain::identity::Msisdn::parse(number).is_err()).then(|| {
            Problem::new("centre_number", format!("{number:?}"), "1 to 15 digits, the first not 0, or nothing")
        });
        let (normal, fast) = (self.poll_normal_seconds, self.poll_fast_seconds);
        let polls = ((normal == 0) != (fast == 0) || fast > normal).then(|| {
            Problem::new("poll_fast_seconds", fast, "0 with poll_normal_seconds 0, else 1 to poll_normal_seconds")
        });
        let keys = [("master_key", &self.master_key), ("transport_key", &self.transport_key)];
        let keys = keys.into_iter().filter_map(|(name, key)| {
            let expected = Keyring::from_setting(key.expose()).err()?;
            Some(Problem::new(name, "another text (not shown)", expected))
        });
        [
            number,
            polls,
            Problem::range("node", self.node, 0..=1023),
            Problem::range("journal_rows_max", self.journal_rows_max, 100..=1_000_000),
            Problem::range("listing_rows_max", self.listing_rows_max, 1..=10_000),
        ]
        .into_iter()
        .flatten()
        .chain(keys)
        .chain(Problem::under("server", self.server.problems()))
        .chain(Problem::under("housekeeping", self.housekeeping.problems()))
        .collect()
    }
}
