//! The configuration files of a topology, as an operator would write them.

use std::{collections::BTreeMap, fmt::Write, fs, net::SocketAddr, path::Path};

use anyhow::{Context, Result};

use super::{Certificate, Ports, address};

/// Name of the database in the topology's Postgres.
pub const DATABASE: &str = "simvault";
/// System id and password of the centre's binds.
pub const SMSC_ACCOUNT: &str = "simvault";
/// The centre's number: where cards send to, and what their messages come from.
pub const CENTRE_NUMBER: &str = "2001";

/// Secrets are never in the configuration itself.
const PASSWORD_FILE: &str = "smsc-password";
const CERTIFICATE_FILE: &str = "cards.pem";
const KEY_FILE: &str = "cards-key.pem";
const MASTER_KEY_FILE: &str = "master-key";

/// Where everything is.
pub struct Places<'a> {
    /// Where the files are.
    pub folder: &'a Path,
    pub ports: &'a BTreeMap<&'static str, Vec<Ports>>,
    pub store: String,
    pub queue: String,
    pub smscs: &'a [SocketAddr],
    pub certificate: Option<&'a Certificate>,
    pub master_key: Option<&'a str>,
    pub impatient: bool,
}

/// Writes `SERVICE-REPLICA.toml` for every replica, and `migrate.toml`.
pub fn write(places: &Places<'_>) -> Result<()> {
    let put = |name: String, text: String| {
        let path = places.folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    put("migrate.toml".to_owned(), places.store())?;
    put(PASSWORD_FILE.to_owned(), SMSC_ACCOUNT.to_owned())?;
    if let Some(Certificate { certificate, key }) = places.certificate {
        put(CERTIFICATE_FILE.to_owned(), certificate.clone())?;
        put(KEY_FILE.to_owned(), key.clone())?;
    }
    if let Some(master_key) = places.master_key {
        put(MASTER_KEY_FILE.to_owned(), master_key.to_owned())?;
    }
    let mut node = 0;
    for (service, replicas) in places.ports {
        for (replica, ports) in (1..).zip(replicas) {
            node += 1;
            put(format!("{service}-{replica}.toml"), places.file(service, replica, ports, node))?;
        }
    }
    Ok(())
}

impl Places<'_> {
    fn file(&self, service: &str, replica: usize, ports: &Ports, node: u16) -> String {
        let mut text = format!("[telemetry]\nfilter = \"info\"\nmetrics_listen = \"{}\"\n", address(ports.metrics));
        if matches!(service, "inbound-data" | "outbound-action" | "application-server") {
            text += &self.store();
            text += &format!("[queue]\nurl = \"{}\"\n", self.queue);
        }
        text += "[service]\n";
        text += &self.service(service, replica, ports, node);
        if self.master_key.is_some() && matches!(service, "inbound-data" | "outbound-action" | "application-server") {
            let file = self.folder.join(MASTER_KEY_FILE);
            writeln!(text, "master_key = {{ file = \"{}\" }}", file.display()).unwrap_or_default();
        }
        writeln!(text, "[service.server]\nlisten = \"{}\"", address(ports.grpc)).unwrap_or_default();
        text + &self.tables(service, replica)
    }

    fn store(&self) -> String {
        format!("[store]\nurl = \"{}\"\n", self.store)
    }

    /// Settings of the service itself.
    fn service(&self, service: &str, replica: usize, ports: &Ports, node: u16) -> String {
        let impatient = |text: &str| if self.impatient { text.to_owned() } else { String::new() };
        match service {
            "application-server" => format!("node = {node}\ncentre_number = \"{CENTRE_NUMBER}\"\n"),
            // One worker in each replica: more only share a machine's two processors in smaller batches.
            "inbound-data" => {
                format!("node = {node}\nworkers = 1\n")
                    + &impatient("retry_after = \"100ms\"\nretry_first_seconds = 1\nretry_cap_seconds = 4\n")
            }
            // No budget: a card of the load sends more in a minute than a person in a year.
            "outbound-action" => {
                format!("consumer = \"{service}-{replica}\"\nsms_budget_per_day = 0\n")
                    + &impatient(
                        "lease = \"10s\"\npatience = \"2s\"\njanitor_interval = \"500ms\"\nsettle = \"4s\"\nretry_first = \"1s\"\nretry_cap = \"4s\"\n",
                    )
            }
            "outbound-smpp" => format!("instance = \"{service}-{replica}\"\nwindow = 1000\n"),
            "inbound-smpp" => format!("instance = \"{service}-{replica}\"\n"),
            "inbound-ip" => format!("listen = \"{}\"\n", address(ports.cards)),
            _ => String::new(),
        }
    }

    /// Sub-tables: whom the service calls, and its links.
    fn tables(&self, service: &str, replica: usize) -> String {
        let calls: &[(&str, &str)] = match service {
            "inbound-smpp" | "inbound-ip" => {
                &[("inbound_data", "inbound-data"), ("application_server", "application-server")]
            }
            "outbound-smpp" | "outbound-ip" => &[("application_server", "application-server")],
            "inbound-data" => &[("error_sms", "outbound-smpp"), ("error_ip", "outbound-ip")],
            "outbound-action" => &[("sms", "outbound-smpp"), ("ip", "outbound-ip")],
            _ => &[],
        };
        let mut text = String::new();
        if service == "inbound-ip" && self.certificate.is_some() {
            let (certificate, key) = (self.folder.join(CERTIFICATE_FILE), self.folder.join(KEY_FILE));
            let (certificate, key) = (certificate.display(), key.display());
            writeln!(text, "[service.tls]\ncertificate = \"{certificate}\"\nkey = {{ file = \"{key}\" }}")
                .unwrap_or_default();
        }
        for (key, callee) in calls {
            let endpoints: Vec<String> = self.ports[callee].iter().map(|ports| address(ports.grpc)).collect();
            writeln!(text, "[service.{key}]\nendpoints = {endpoints:?}").unwrap_or_default();
        }
        if service == "outbound-action" && self.impatient {
            // With its patience less than its lease.
            text += "[service.streams]\nprogress = \"5s\"\ndeadline = \"7s\"\n";
        }
        let bind = match service {
            "inbound-smpp" => "receiver",
            "outbound-smpp" => "transmitter",
            _ => return text,
        };
        let password = self.folder.join(PASSWORD_FILE);
        let password = password.display();
        for (number, smsc) in (1..).zip(self.smscs) {
            let link = format!(
                "[[service.links]]\nname = \"smsc{number}-{bind}-{replica}\"\nsmsc = \"smsc{number}\"\n\
                 addresses = [\"{smsc}\"]\nbind = \"{bind}\"\nsystem_id = \"{SMSC_ACCOUNT}\"\n\
                 password = {{ file = \"{password}\" }}\nsource_address = \"{CENTRE_NUMBER}\"\n\
                 backoff_min = \"100ms\"\nbackoff_max = \"1s\"\n"
            );
            text += &link;
        }
        text
    }
}
