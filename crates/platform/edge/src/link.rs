//! Settings of one SMPP link, as they stand in the configuration file.

use std::{path::PathBuf, time::Duration};

use net::{
    smpp::{LinkConfig, Tls},
    tls::{Identity, TlsError, client_config, read_pem},
};
use runtime::config::{Problem, Secret, duration};
use serde::{Deserialize, Serialize};
use smpp::{BindKind, SessionConfig};

/// One link to an SMSC.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkSettings {
    /// Name in messages, logs and metrics, 1 to 64 characters, different for every link of the service.
    pub name: String,
    /// Name of the SMSC behind the link, 0 to 64 characters: message ids are unique within it, so that a receipt on one
    /// of its links finds what another submitted. Alike on inbound and outbound links. Default empty: `name`.
    pub smsc: String,
    /// `host:port` of the SMSC's servers, tried in turn; at least one.
    pub addresses: Vec<String>,
    /// Default `transceiver`.
    pub bind: Bind,
    /// At most 15 octets.
    pub system_id: String,
    /// At most 8 octets.
    pub password: Secret,
    /// At most 12 octets.
    pub system_type: String,
    /// Type of number of `address_range`, 0 to 6. Default 0.
    pub address_ton: u8,
    /// Numbering plan of `address_range`, 0 to 18. Default 0.
    pub address_npi: u8,
    /// At most 40 octets; default empty: what the SMSC has configured.
    pub address_range: String,
    /// TLS towards the SMSC. Default none.
    pub tls: Option<TlsSettings>,
    /// 0x34 (52, SMPP 3.4) or 0x50 (80, SMPP 5.0). Default 52.
    pub interface_version: u8,
    /// Home country code of the link, 1 to 3 digits (D-116). Default empty: only international numbers are known.
    pub country_code: String,
    /// Type of number of `source_address`, 0 to 6. Default 0 (a short code).
    pub source_ton: u8,
    /// Numbering plan of `source_address`, 0 to 18. Default 1.
    pub source_npi: u8,
    /// The centre's number, from which messages are submitted; at most 20 octets. Outbound only.
    pub source_address: String,
    /// `service_type` of submitted messages, at most 5 octets. Default empty. Outbound only.
    pub service_type: String,
    /// Name of the bind slot that this link occupies: only the process that holds its lease binds. Default empty: no
    /// lease, the link binds at once.
    pub slot: String,
    /// From connecting until bound, 1 s to 5 min. Default 10 s.
    #[serde(with = "duration")]
    pub session_init: Duration,
    /// Silence of the SMSC before it is asked for life, 1 s to 1 h. Default 30 s.
    #[serde(with = "duration")]
    pub enquire_link: Duration,
    /// From a request to its response, 100 ms to 5 min. Default 10 s.
    #[serde(with = "duration")]
    pub response: Duration,
    /// For the TCP connection and the TLS handshake, each, 100 ms to 1 min. Default 5 s.
    #[serde(with = "duration")]
    pub connect: Duration,
    /// First pause between attempts to bind, 10 ms to 1 min; doubled each time. Default 500 ms.
    #[serde(with = "duration")]
    pub backoff_min: Duration,
    /// Longest pause between attempts to bind, up to 1 h. Default 30 s.
    #[serde(with = "duration")]
    pub backoff_max: Duration,
    /// First pause after the SMSC refused the account (unknown system_id, wrong password, no more binds), 10 ms to 1 h;
    /// doubled each time up to 5 min, or `backoff_max` if that is longer. Default 10 s: SMSCs lock accounts.
    #[serde(with = "duration")]
    pub backoff_refused: Duration,
}

/// Direction of the bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bind {
    Receiver,
    Transmitter,
    Transceiver,
}

/// PEM files for TLS.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// The authorities that sign the SMSC's certificate.
    pub authorities: PathBuf,
    /// The name that the SMSC's certificate must carry.
    pub server_name: String,
    /// Our own certificate chain, where the SMSC asks for one. Default none.
    pub certificate: Option<PathBuf>,
    /// The key of `certificate`. Default none.
    pub key: Option<PathBuf>,
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            smsc: String::new(),
            addresses: Vec::new(),
            bind: Bind::Transceiver,
            system_id: String::new(),
            password: Secret::default(),
            system_type: String::new(),
            address_ton: 0,
            address_npi: 0,
            address_range: String::new(),
            tls: None,
            interface_version: smpp::INTERFACE_VERSION_3_4,
            country_code: String::new(),
            source_ton: 0,
            source_npi: 1,
            source_address: String::new(),
            service_type: String::new(),
            slot: String::new(),
            session_init: Duration::from_secs(10),
            enquire_link: Duration::from_secs(30),
            response: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            backoff_refused: Duration::from_secs(10),
        }
    }
}

/// Most messages that the SMSC may have unanswered on one link: event buffer and window together stay below.
const INBOUND_WINDOW_MAX: usize = 65_536;

impl LinkSettings {
    /// Name of the SMSC: [`Self::smsc`], or the link's own.
    #[must_use]
    pub fn smsc(&self) -> &str {
        if self.smsc.is_empty() { &self.name } else { &self.smsc }
    }

    /// What the driver needs. Windows and rates of the edges change while they run, so the session's own window is
    /// `window_max`, the largest that may ever be set.
    ///
    /// # Errors
    /// TLS files that cannot be read or used.
    pub fn driver(&self, window_max: usize, drain: Duration) -> Result<LinkConfig, TlsError> {
        let kind = match self.bind {
            Bind::Receiver => BindKind::Receiver,
            Bind::Transmitter => BindKind::Transmitter,
            Bind::Transceiver => BindKind::Transceiver,
        };
        let (addresses, password) = (self.addresses.clone(), self.password.expose());
        let driver = LinkConfig::new(&self.name, addresses, kind, &self.system_id, password);
        Ok(LinkConfig {
            tls: self.tls.as_ref().map(TlsSettings::driver).transpose()?,
            system_type: self.system_type.clone(),
            addr_ton: self.address_ton,
            addr_npi: self.address_npi,
            address_range: self.address_range.clone(),
            session: SessionConfig {
                window_max,
                inbound_window_max: INBOUND_WINDOW_MAX,
                session_init_timeout: self.session_init,
                enquire_link_interval: self.enquire_link,
                response_timeout: self.response,
                interface_version: self.interface_version,
                ..SessionConfig::default()
            },
            queue_max: window_max,
            // The edge's own buffer follows: what waits here is on its way there.
            event_queue_max: 64,
            // The edges pause and pace by themselves, link by link.
            rate_max_per_second: None,
            throttle_pause: Duration::ZERO,
            connect_timeout: self.connect,
            backoff_min: self.backoff_min,
            backoff_max: self.backoff_max,
            backoff_refused: self.backoff_refused,
            drain_timeout: drain,
            ..driver
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let ms = Duration::from_millis;
        let minute = Duration::from_secs(60);
        let texts = [
            ("name", &self.name, 1..=64),
            ("smsc", &self.smsc, 0..=64),
            ("system_id", &self.system_id, 0..=15),
            ("system_type", &self.system_type, 0..=12),
            ("address_range", &self.address_range, 0..=40),
            ("source_address", &self.source_address, 0..=20),
            ("service_type", &self.service_type, 0..=5),
            ("slot", &self.slot, 0..=200),
        ];
        let mut problems: Vec<Problem> = texts
            .into_iter()
            .filter(|(_, text, lengths)| !lengths.contains(&text.len()))
            .map(|(key, text, lengths)| {
                Problem::new(key, format!("{text:?}"), format!("{} to {} octets", lengths.start(), lengths.end()))
            })
            .collect();
        if self.password.expose().len() > 8 {
            problems.push(Problem::new("password", "a longer one", "at most 8 octets"));
        }
        if self.addresses.is_empty() || self.addresses.iter().any(|address| !address.contains(':')) {
            problems.push(Problem::new("addresses", format!("{:?}", self.addresses), "at least one host:port"));
        }
        if self.country_code.len() > 3 || !self.country_code.bytes().all(|octet| octet.is_ascii_digit()) {
            problems.push(Problem::new("country_code", format!("{:?}", self.country_code), "at most 3 digits"));
        }
        if let Some(tls) = &self.tls
            && tls.certificate.is_some() != tls.key.is_some()
        {
            problems.push(Problem::new("tls", "one of certificate and key", "both or none"));
        }
        if ![smpp::INTERFACE_VERSION_3_4, smpp::INTERFACE_VERSION_5_0].contains(&self.interface_version) {
            problems.push(Problem::new("interface_version", self.interface_version, "52 (3.4) or 80 (5.0)"));
        }
        problems.extend(
            [
                Problem::range("address_ton", self.address_ton, 0..=6),
                Problem::range("address_npi", self.address_npi, 0..=18),
                Problem::range("source_ton", self.source_ton, 0..=6),
                Problem::range("source_npi", self.source_npi, 0..=18),
                Problem::duration_range("session_init", self.session_init, ms(1000)..=5 * minute),
                Problem::duration_range("enquire_link", self.enquire_link, ms(1000)..=60 * minute),
                Problem::duration_range("response", self.response, ms(100)..=5 * minute),
                Problem::duration_range("connect", self.connect, ms(100)..=minute),
                Problem::duration_range("backoff_min", self.backoff_min, ms(10)..=minute),
                Problem::duration_range("backoff_max", self.backoff_max, self.backoff_min..=60 * minute),
                Problem::duration_range("backoff_refused", self.backoff_refused, ms(10)..=60 * minute),
            ]
            .into_iter()
            .flatten(),
        );
        problems
    }
}

/// What is wrong with the links of a service: each by itself, names used twice, and binds of the wrong direction.
#[must_use]
pub fn problems(links: &[LinkSettings], refused: Bind) -> Vec<Problem> {
    let mut problems = Vec::new();
    if links.is_empty() {
        problems.push(Problem::new("links", "none", "at least one link"));
    }
    for (index, link) in links.iter().enumerate() {
        let section = format!("links.{index}");
        problems.extend(Problem::under(&section, link.problems()));
        if links.iter().take(index).any(|earlier| earlier.name == link.name) {
            problems.push(Problem::new(format!("{section}.name"), &link.name, "a name of its own"));
        }
        if link.bind == refused {
            let (found, accepted) = match refused {
                Bind::Transmitter => ("transmitter", "receiver or transceiver"),
                Bind::Receiver | Bind::Transceiver => ("receiver", "transmitter or transceiver"),
            };
            problems.push(Problem::new(format!("{section}.bind"), found, accepted));
        }
    }
    problems
}

impl TlsSettings {
    fn driver(&self) -> Result<Tls, TlsError> {
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some(Identity::from_files(certificate, key)?),
            _ => None,
        };
        let config = client_config(&read_pem(&self.authorities)?, identity.as_ref())?;
        Ok(Tls { config, server_name: self.server_name.clone() })
    }
}
