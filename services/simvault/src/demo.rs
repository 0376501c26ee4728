//! `simvault demo`: the centre in this process, and around it what `loadtest::demo` plays: an SMSC and a few hundred
//! virtual cards, half of them on SMS over TCP, half on IP over TLS.

use std::{
    fs::Permissions,
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use edge::link::{Bind, LinkSettings};
use loadtest::{
    demo::{self, CentreAccess, Damage, DemoOptions, Played},
    ip_phone::LinkAddress,
    picture,
    smsc::{MobileTerminated, Smsc, SmscConfig, SmscHandle},
};
use runtime::telemetry::TelemetryConfig;
use store::StoreConfig;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    backends,
    centre::{Centre, CentreConfig},
    process,
};

#[derive(clap::Args)]
#[command(
    after_help = "Exit status: 0 every card is identical to its book; 1 one is not, or the demonstration failed; \
130 stopped by Ctrl-C or SIGTERM before the comparison."
)]
pub struct DemoArguments {
    /// Cards, half of them on SMS, half on IP
    #[arg(long, default_value_t = 300, value_parser = within(2, 5000))]
    cards: u32,
    /// How many times faster than ours the cards' clock runs
    #[arg(long, default_value_t = 20, value_parser = within(1, 60))]
    speed: u32,
    /// The same seed gives the same people
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Of a hundred cards, how many are lost
    #[arg(long, default_value_t = 20, value_parser = within(1, 50))]
    lost: u32,
    /// Damages one octet of the centre's store before the restores: the demo must notice and exit with 1
    #[arg(long)]
    damage: bool,
    /// Keeps the centre and the cards running afterwards, for `simvaultctl`
    #[arg(long)]
    serve: bool,
    /// A line for each act instead of progress bars
    #[arg(long)]
    plain: bool,
    /// Port of the SMSC simulator, for a capture; default: a free one
    #[arg(long, default_value_t = 0)]
    smsc_port: u16,
    /// Writes the closing table as an SVG picture
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// What is logged to standard error
    #[arg(long, default_value = "error")]
    log: String,
}

/// Where `simvaultctl` looks by default.
const SERVED_AT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7400);
/// The centre's short number in the demo's network.
const CENTRE_NUMBER: &str = "49170900000";
const SYSTEM_ID: &str = "simvault";
const LINK: &str = "demo";

/// A whole number of the command line; what is not one is told what is.
fn within(min: u32, max: u32) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync {
    move |text| {
        let number = text.parse().ok().filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| format!("accepted: a whole number, {min} to {max}"))
    }
}

/// How a demonstration ended.
enum Ended {
    Compared {
        is_identical: bool,
    },
    /// By a signal, before the comparison.
    Stopped,
}

/// How long what still runs may take to end.
const END_WITHIN: Duration = Duration::from_secs(2);

/// Exit status 0 when every card is identical to its book.
pub fn run(arguments: &DemoArguments) -> ExitCode {
    match play_in_folder(arguments) {
        Ok(Ended::Compared { is_identical: true }) => ExitCode::SUCCESS,
        Ok(Ended::Compared { is_identical: false }) => ExitCode::FAILURE,
        Ok(Ended::Stopped) => ExitCode::from(130),
        Err(error) => {
            let in_use = |cause: &(dyn std::error::Error + 'static)| {
                cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse)
            };
            let hint = if error.chain().any(in_use) { "; another demonstration may be running" } else { "" };
            eprintln!("simvault demo: {}{hint}", process::told(&error));
            ExitCode::FAILURE
        }
    }
}

/// The folder goes last, when nothing writes to it any more.
fn play_in_folder(arguments: &DemoArguments) -> anyhow::Result<Ended> {
    let folder = tempfile::Builder::new()
        .prefix("simvault-demo-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .context("a temporary folder")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime")?;
    let ended = runtime.block_on(play(arguments, folder.path()));
    runtime.shutdown_timeout(END_WITHIN);
    ended
}

async fn play(arguments: &DemoArguments, folder: &Path) -> anyhow::Result<Ended> {
    let telemetry = TelemetryConfig { filter: arguments.log.clone(), json: false, ..TelemetryConfig::default() };
    runtime::telemetry::init(&telemetry, "demo")?;
    let stop = runtime::stop::on_signal()?;
    net::tls::install_provider();
    let store_path = folder.join("simvault.db");
    let store_config = StoreConfig::at(format!("sqlite:{}", store_path.display()));

    let smsc_stop = CancellationToken::new();
    let (smsc, terminated) = start_smsc(arguments, &smsc_stop).await?;
    backends::make_private(&store_config)?;
    let stores = store::open(&store_config).await.context("the embedded store")?;
    let (mut config, cards_tls) = centre_config(arguments, &smsc, store_config)?;
    let master_key = demo::master_key();
    config.master_key = runtime::config::Secret::new(&master_key);
    let centre = Centre::start(config, stores).await?;
    let access = CentreAccess {
        application_server: centre.application_server,
        cards: vec![LinkAddress { address: centre.cards, tls: Some(cards_tls) }],
        number: CENTRE_NUMBER.to_owned(),
        master_key,
    };
    let damage: Option<Damage> = arguments
        .damage
        .then(|| -> Damage { Box::new(move |msisdn| Ok(store::sqlite::damage_one_octet(&store_path, msisdn)?)) });
    let options = DemoOptions {
        cards: arguments.cards,
        speed: arguments.speed,
        seed: arguments.seed,
        lost_percent: arguments.lost,
        plain: arguments.plain,
    };
    let smsc_address = smsc.address();
    let played = tokio::select! {
        played = demo::play(&options, smsc, terminated, access, damage) => played?,
        () = stop.cancelled() => return Ok(Ended::Stopped),
    };
    show(arguments, &played)?;
    if arguments.serve {
        tell_addresses(&centre, smsc_address);
        stop.cancelled().await;
    }
    played.fleet.stop().await;
    centre.stop().await?;
    smsc_stop.cancel();
    Ok(Ended::Compared { is_identical: played.report.is_identical() })
}

async fn start_smsc(
    arguments: &DemoArguments,
    stop: &CancellationToken,
) -> anyhow::Result<(SmscHandle, mpsc::Receiver<MobileTerminated>)> {
    let config = SmscConfig {
        address: ([127, 0, 0, 1], arguments.smsc_port).into(),
        accounts: vec![(SYSTEM_ID.to_owned(), "demo".to_owned())],
        ..SmscConfig::default()
    };
    Smsc::start(config, stop.clone()).await.context("the SMSC simulator")
}

type CardsTls = (Arc<rustls::ClientConfig>, rustls::pki_types::ServerName<'static>);

/// The centre's configuration, and how cards trust it.
fn centre_config(
    arguments: &DemoArguments,
    smsc: &SmscHandle,
    store: StoreConfig,
) -> anyhow::Result<(CentreConfig, CardsTls)> {
    let certificates = demo::certificates();
    let trust = net::tls::client_config(certificates.authority.as_bytes(), None)?;
    let name = rustls::pki_types::ServerName::try_from("localhost")?;
    let link = |bind| -> anyhow::Result<LinkSettings> {
        Ok(LinkSettings {
            name: format!("{LINK}-{bind:?}").to_lowercase(),
            smsc: LINK.to_owned(),
            addresses: vec![smsc.address().to_string()],
            bind,
            system_id: SYSTEM_ID.to_owned(),
            password: runtime::config::Secret::new("demo"),
            country_code: "49".to_owned(),
            source_address: CENTRE_NUMBER.to_owned(),
            source_ton: 1,
            ..LinkSettings::default()
        })
    };
    let mut config = CentreConfig { store, ..CentreConfig::default() };
    config.inbound_smpp.links = vec![link(Bind::Receiver)?];
    config.outbound_smpp.links = vec![link(Bind::Transmitter)?];
    config.inbound_ip.listen = ([127, 0, 0, 1], 0).into();
    config.inbound_ip.tls = Some(inbound_ip::Tls {
        certificate: certificates.certificate,
        key: runtime::config::Secret::new(certificates.key),
    });
    // The cards' clock runs faster, so a day's budget of messages is used up in an hour.
    config.outbound_action.sms_budget_per_day = 0;
    if arguments.serve {
        config.application_server.server.listen = SERVED_AT;
    }
    Ok((config, (trust, name)))
}

fn show(arguments: &DemoArguments, played: &Played) -> anyhow::Result<()> {
    println!("\n{}", played.report.text);
    if let Some(path) = &arguments.picture {
        let svg = picture::terminal("cargo demo", &played.report.text);
        std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What serves where, and what to try.
fn tell_addresses(centre: &Centre, smsc: SocketAddr) {
    let (server, cards, pid) = (centre.application_server, centre.cards, std::process::id());
    eprintln!("\nThe centre keeps running, process {pid}:");
    eprintln!("  {server:<22} application server (gRPC)");
    eprintln!("  {cards:<22} cards by IP (TLS)");
    eprintln!("  {smsc:<22} SMSC simulator (SMPP)");
    eprintln!("In another terminal:");
    eprintln!("  cargo run -q -p simvaultctl -- --server http://{server} account list");
    eprintln!("  cargo run -q -p simvaultctl -- --help");
    eprintln!("Ctrl-C or `kill {pid}` ends it.");
}
