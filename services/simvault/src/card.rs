//! `simvault card`: the arguments of `loadtest::card`, a virtual card for PC/SC tools.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context;
use loadtest::{
    card::{self, CardOptions, Centre, Kind, Reader, VirtualCard},
    fleet::Subscription,
};
use runtime::telemetry::TelemetryConfig;

use crate::process;

#[derive(clap::Args)]
#[command(
    after_help = "The book is a table with the columns record,name,number; + before a number makes it international.
--dump prints it when the card ends (Ctrl-C or SIGTERM), at once without a reader and a centre.
The card keeps nothing between two runs: --dump BOOK.csv and --load BOOK.csv do.

A centre takes the card's messages when its account knows the key and the rows of the card:
  simvaultctl account create NUMBER --iccid ICCID --bearer ip --ip-key KEY --personalised \\
    --row 0:7F10/6F3A:1-250@0+28 --row 1:7F10/6F4A:1-250@0+13
(250: --records; 28: --alpha and 14.) The whole book that was loaded is backed up, and every change a tool makes."
)]
pub struct CardArguments {
    /// Goes into the reader that listens there; vsmartcard's vpcd does on port 35963
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "listen")]
    connect: Option<String>,
    /// Waits there for a reader that connects
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Phonebook that the card has at the start
    #[arg(long, value_name = "BOOK.csv")]
    load: Option<PathBuf>,
    /// Prints the phonebook when the card ends, to standard output or to a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    dump: Option<PathBuf>,
    /// A SIM of the second generation, class A0 (the default)
    #[arg(long, conflicts_with = "uicc")]
    classic: bool,
    /// A UICC with a USIM, classes 00 and 80, which knows class A0 too
    #[arg(long)]
    uicc: bool,
    /// Places for entries
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u8).range(1..=254))]
    records: u8,
    /// Octets of a name
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u8).range(0..=241))]
    alpha: u8,
    /// PIN (CHV1), 4 to 8 digits, that tools have to verify; without it nobody is asked
    #[arg(long, value_parser = pin)]
    pin: Option<[u8; 8]>,
    /// Backs the card up to the centre whose IP link is there
    #[arg(long, value_name = "HOST:PORT", requires = "msisdn", requires = "key")]
    centre: Option<String>,
    /// The card's number at the centre, E.164
    #[arg(long, value_name = "NUMBER", value_parser = msisdn)]
    msisdn: Option<String>,
    /// File with the card's key for the IP link, 16 to 64 octets in hexadecimal
    #[arg(long, value_name = "FILE", requires = "centre")]
    key: Option<PathBuf>,
    /// PEM file of the authority that signed the centre's certificate: the link is TLS then
    #[arg(long, value_name = "FILE", requires = "centre")]
    authority: Option<PathBuf>,
    /// How many times faster than ours the card's clock runs: its polls are 5 s apart
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    speed: u32,
    /// What is logged to standard error
    #[arg(long, default_value = "info")]
    log: String,
}

/// Exit status 0 when the card ended because it was told to.
pub fn run(arguments: &CardArguments) -> ExitCode {
    match play(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simvault card: {}", process::told(&error));
            ExitCode::FAILURE
        }
    }
}

fn play(arguments: &CardArguments) -> anyhow::Result<()> {
    let options = options(arguments)?;
    if options.reader.is_none() && options.centre.is_none() && arguments.dump.is_none() {
        anyhow::bail!("nothing to do: expected --connect, --listen, --centre or --dump");
    }
    let card = Arc::new(VirtualCard::new(&options)?);
    if options.reader.is_some() || options.centre.is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime")?;
        runtime.block_on(async {
            let telemetry =
                TelemetryConfig { filter: arguments.log.clone(), json: false, ..TelemetryConfig::default() };
            runtime::telemetry::init(&telemetry, "card")?;
            let stop = runtime::stop::on_signal()?;
            card::run(&options, &card, stop).await
        })?;
    }
    match arguments.dump.as_deref() {
        None => Ok(()),
        Some(path) if path.as_os_str() == "-" => {
            print!("{}", card.table());
            Ok(())
        }
        Some(path) => std::fs::write(path, card.table()).with_context(|| format!("cannot write {}", path.display())),
    }
}

fn options(arguments: &CardArguments) -> anyhow::Result<CardOptions> {
    let reader = match (&arguments.connect, &arguments.listen) {
        (Some(address), _) => Some(Reader::Connect(address.clone())),
        (_, Some(address)) => Some(Reader::Listen(address.clone())),
        (None, None) => None,
    };
    let centre = match (&arguments.centre, &arguments.msisdn, &arguments.key) {
        (Some(address), Some(msisdn), Some(key)) => Some(Centre {
            address: address.clone(),
            authority: arguments.authority.clone(),
            subscription: Subscription { msisdn: msisdn.clone(), ip_key: read_key(key)? },
            speed: arguments.speed,
        }),
        _ => None,
    };
    Ok(CardOptions {
        kind: if arguments.uicc { Kind::Uicc } else { Kind::Sim },
        records: arguments.records,
        alpha_octets: arguments.alpha,
        chv1: arguments.pin,
        load: arguments.load.clone(),
        reader,
        centre,
    })
}

fn read_key(path: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let digits: Option<Vec<u8>> =
        text.trim().chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let (pairs, rest) = digits.as_deref().unwrap_or_default().as_chunks::<2>();
    if !(16..=64).contains(&pairs.len()) || !rest.is_empty() {
        anyhow::bail!("{}: expected a key of 16 to 64 octets in hexadecimal", path.display());
    }
    Ok(pairs.iter().map(|[high, low]| (high << 4) | low).collect())
}

fn pin(text: &str) -> Result<[u8; 8], String> {
    let is_pin = (4..=8).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
    let mut octets = text.bytes().filter(|_| is_pin).chain(std::iter::repeat(0xFF));
    if is_pin {
        Ok(std::array::from_fn(|_| octets.next().unwrap_or(0xFF)))
    } else {
        Err("accepted: 4 to 8 digits".to_owned())
    }
}

fn msisdn(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_number = (1..=15).contains(&digits.len()) && digits.bytes().all(|octet| octet.is_ascii_digit());
    if is_number { Ok(digits.to_owned()) } else { Err("accepted: 1 to 15 digits, with or without +".to_owned()) }
}
