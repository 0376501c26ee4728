//! `simvaultctl security`: levels, key versions, and the import of a card maker's output file (D-125). No key is shown, and
//! those of the file stay wrapped until the application server has them.

use std::{collections::HashMap, path::PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use proto::centre::{self, security_client::SecurityClient};

use crate::{
    arguments::Bearer,
    commands::{Connection, Failure},
    notation,
    output::{Cell, Output, Table},
};

#[derive(Subcommand)]
pub enum Security {
    /// Shows how messages of the open card are secured.
    Show {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
    },
    /// Sets what messages of the open card must have. A card without keys has them derived from the master key.
    Set {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
        level: Level,
        /// Algorithm of derived keys; AES-128 when left out.
        #[arg(long)]
        algorithm: Option<String>,
        /// Version of derived keys, 1 to 15; 1 when left out.
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        key_version: u32,
        #[command(flatten)]
        applications: Applications,
    },
    /// The card's next keys, derived from the master key. The card must have them already.
    Rotate {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
        /// Above the current one, at most 15; the next when left out.
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        key_version: u32,
        /// AES-128, AES-192, AES-256, 3DES-2 or 3DES-3; as now when left out.
        #[arg(long)]
        algorithm: Option<String>,
        /// The old keys are known to others: nothing under them is taken any more, not even what is under way.
        #[arg(long)]
        at_once: bool,
    },
    /// Reads a card maker's output file. Again with the same file it changes nothing.
    #[command(after_help = FILE_HELP)]
    Import(Import),
}

#[derive(Args)]
pub struct Import {
    /// CSV with a header line.
    pub file: PathBuf,
    /// What messages of these cards must have.
    #[arg(long, default_value = "integrity_and_cipher")]
    pub level: Level,
    /// Profile of accounts that are made: E1, E2 or E3.
    #[arg(long, default_value = "E2")]
    pub profile: String,
    /// Bearer of accounts that are made; SMS when left out.
    #[arg(long)]
    pub bearer: Option<Bearer>,
    #[command(flatten)]
    pub applications: Applications,
}

#[derive(Args)]
pub struct Applications {
    /// TAR of the centre's application, 3 octets in hexadecimal; as it is when left out.
    #[arg(long, value_parser = notation::octets, default_value = "", hide_default_value = true)]
    pub tar_up: Bytes,
    /// TAR of the card's application, 3 octets in hexadecimal; as it is when left out.
    #[arg(long, value_parser = notation::octets, default_value = "", hide_default_value = true)]
    pub tar_down: Bytes,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Level {
    None,
    Integrity,
    #[value(name = "integrity_and_cipher", alias = "integrity-and-cipher")]
    IntegrityAndCipher,
}

impl Level {
    fn name(self) -> String {
        match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::IntegrityAndCipher => "integrity_and_cipher",
        }
        .to_owned()
    }
}

const COLUMNS: [&str; 9] =
    ["iccid", "imsi", "msisdn", "key_version", "algorithm", "kic_down", "kid_down", "kic_up", "kid_up"];
const FILE_HELP: &str = "The file: one line a card, the columns in any order,
  iccid,imsi,msisdn,key_version,algorithm,kic_down,kid_down,kic_up,kid_up
Keys are in hexadecimal, each wrapped by the transport key (AES-256 key wrap, RFC 3394). Lines that begin with # are
left out. A number without an account gets one.";
/// Cards of one call.
const CARDS_MAX: usize = 1000;
/// A file longer than this is no list of cards.
const FILE_OCTETS_MAX: u64 = 1 << 30;

pub async fn run(connection: Connection, output: &Output, command: Security) -> Result<(), Failure> {
    let mut client = SecurityClient::new(connection);
    let shown = match command {
        Security::Show { msisdn } => client.show_security(centre::ShowSecurityRequest { msisdn }).await?,
        Security::Set { msisdn, level, algorithm, key_version, applications } => {
            let Applications { tar_up, tar_down } = applications;
            let algorithm = algorithm.unwrap_or_default();
            let request =
                centre::SetSecurityRequest { msisdn, level: level.name(), algorithm, key_version, tar_up, tar_down };
            client.set_security(request).await?
        }
        Security::Rotate { msisdn, key_version, algorithm, at_once } => {
            let algorithm = algorithm.unwrap_or_default();
            client.rotate_keys(centre::RotateKeysRequest { msisdn, key_version, algorithm, at_once }).await?
        }
        Security::Import(request) => return import(client, output, request).await,
    };
    show(output, &shown.into_inner())
}

fn show(output: &Output, security: &centre::DeviceSecurity) -> Result<(), Failure> {
    let columns = [
        "msisdn",
        "device",
        "level",
        "tar up",
        "tar down",
        "key version",
        "algorithm",
        "keys",
        "previous version",
        "counter up",
    ];
    let mut table = Table::new(&columns, "");
    table.row(vec![
        Cell::text(&security.msisdn),
        Cell::Number(security.device_id),
        Cell::text(&security.level),
        Cell::Octets(security.tar_up.clone()),
        Cell::Octets(security.tar_down.clone()),
        Cell::Number(security.key_version.into()),
        Cell::text(&security.algorithm),
        Cell::text(&security.key_source),
        Cell::Number(security.previous_version.into()),
        Cell::Number(i64::try_from(security.counter_up).unwrap_or(i64::MAX)),
    ]);
    Ok(output.single(&table)?)
}

/// In calls of so many cards; what was refused is told by its line.
async fn import(mut client: SecurityClient<Connection>, output: &Output, request: Import) -> Result<(), Failure> {
    let Import { file, level, profile, bearer, applications } = request;
    let told = |error: std::io::Error| Failure::File(format!("{}: {error}", file.display()));
    if std::fs::metadata(&file).map_err(told)?.len() > FILE_OCTETS_MAX {
        return Err(Failure::File(format!("{}: longer than {FILE_OCTETS_MAX} octets", file.display())));
    }
    let text = std::fs::read_to_string(&file).map_err(told)?;
    let lines = parse(&text).map_err(|mistake| Failure::File(format!("{}: {mistake}", file.display())))?;
    let bearer = match bearer {
        Some(Bearer::Ip) => "ip",
        Some(Bearer::Sms) | None => "sms",
    };
    let mut counts = [0_u32; 3];
    let mut refused = Table::new(&["line", "iccid", "cause"], "none");
    let (total, mut refusals) = (lines.len(), 0);
    let mut refuse = |line: usize, iccid: &str, cause: String| {
        refusals += 1;
        let line = i64::try_from(line).unwrap_or(i64::MAX);
        refused.row(vec![Cell::Number(line), Cell::text(iccid), Cell::text(cause)]);
    };
    let mut cards = Vec::with_capacity(lines.len());
    for (line, card) in lines {
        match card {
            Ok(card) => cards.push((line, card)),
            Err(cause) => refuse(line, "", cause),
        }
    }
    for cards in cards.chunks(CARDS_MAX) {
        let request = centre::ImportCardsRequest {
            cards: cards.iter().map(|(_, card)| card.clone()).collect(),
            level: level.name(),
            tar_up: applications.tar_up.clone(),
            tar_down: applications.tar_down.clone(),
            profile: profile.clone(),
            bearer: bearer.to_owned(),
        };
        let done = client.import_cards(request).await?.into_inner();
        let of_call = [done.created, done.updated, done.unchanged];
        counts.iter_mut().zip(of_call).for_each(|(all, more)| *all += more);
        for one in done.refused {
            let Some((line, card)) = usize::try_from(one.index).ok().and_then(|index| cards.get(index)) else {
                continue;
            };
            refuse(*line, &card.iccid, one.cause);
        }
    }
    let mut table = Table::new(&["created", "updated", "unchanged"], "");
    table.row(counts.into_iter().map(|count| Cell::Number(count.into())).collect());
    output.single_with(&table, "refused", &refused)?;
    if refusals > 0 {
        return Err(Failure::File(format!("{}: {refusals} of {total} lines were refused", file.display())));
    }
    Ok(())
}

/// A card, or what is wrong with its line.
type Line = Result<centre::ImportedCard, String>;

/// Lines with their numbers; each stands for itself. A mistake is told without the value, which may be a key.
///
/// # Errors
/// A header that is none.
fn parse(text: &str) -> Result<Vec<(usize, Line)>, String> {
    let is_read = |line: &str| !line.trim().is_empty() && !line.starts_with('#');
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| is_read(line));
    let (_, header) = lines.next().ok_or("no header line")?;
    let names: Vec<&str> = header.split(',').map(str::trim).collect();
    if let Some(unknown) = names.iter().find(|name| !COLUMNS.contains(name)) {
        return Err(format!("column {unknown:?}, expected {}", COLUMNS.join(",")));
    }
    let missing = COLUMNS.iter().find(|name| !names.contains(name));
    if let Some(missing) = missing {
        return Err(format!("no column {missing:?}, expected {}", COLUMNS.join(",")));
    }
    Ok(lines.map(|(number, line)| (number, card(&names, line))).collect())
}

fn card(names: &[&str], line: &str) -> Line {
    let values: Vec<&str> = line.split(',').map(str::trim).collect();
    if values.len() != names.len() {
        return Err(format!("{} values, expected {}", values.len(), names.len()));
    }
    let by_name: HashMap<&str, &str> = names.iter().copied().zip(values).collect();
    let value = |name: &str| by_name.get(name).copied().unwrap_or_default();
    let octets = |name: &str| notation::octets(value(name)).map_err(|_| format!("{name} is not hexadecimal"));
    let key_version = value("key_version");
    Ok(centre::ImportedCard {
        iccid: value("iccid").to_owned(),
        imsi: value("imsi").to_owned(),
        msisdn: notation::msisdn(value("msisdn"))?,
        key_version: key_version.parse().map_err(|_| "key_version is not 1 to 15")?,
        algorithm: value("algorithm").to_owned(),
        kic_down: octets("kic_down")?,
        kid_down: octets("kid_down")?,
        kic_up: octets("kic_up")?,
        kid_up: octets("kid_up")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "msisdn,iccid,imsi,key_version,algorithm,kic_down,kid_down,kic_up,kid_up";

    #[test]
    fn a_file_is_read_by_the_names_of_its_columns() {
        let text = format!(
            "# batch 7\n{HEADER}\n\n+491721217212,8949000000000000001,262011234567890,2,AES-128,01,02,03,0A0B\n"
        );
        let cards = parse(&text).expect("read");
        let [(line, Ok(card))] = cards.as_slice() else { panic!("{cards:?}") };
        assert_eq!((*line, card.msisdn.as_str(), card.iccid.as_str()), (4, "491721217212", "8949000000000000001"));
        assert_eq!((card.key_version, card.kic_down.as_ref(), card.kid_up.as_ref()), (2, &[1][..], &[10, 11][..]));
    }

    #[test]
    fn a_mistake_names_its_line_and_never_a_key() {
        let lines =
            ["1,2,3", "1,2,3,4,AES-128,00,00,00,5EC2ETXX", "1,2,3,x,AES-128,00,00,00,00", "1,2,3,4,AES-128,0,0,0,"];
        let lines = parse(&format!("{HEADER}\n{}\n491,2,3,4,AES-128,00,00,00,00", lines.join("\n"))).expect("a header");
        let told: Vec<(usize, Option<&str>)> =
            lines.iter().map(|(line, card)| (*line, card.as_ref().err().map(String::as_str))).collect();
        let expected = [
            (2, Some("3 values, expected 9")),
            (3, Some("kid_up is not hexadecimal")),
            (4, Some("key_version is not 1 to 15")),
            (5, Some("kic_down is not hexadecimal")),
            (6, None),
        ];
        assert_eq!(told, expected, "one line's mistake is not the others'");
        assert!(parse("iccid,key\n").expect_err("refused").contains("\"key\""));
        assert!(parse("iccid\n").expect_err("refused").contains("no column"));
        assert!(parse("").is_err());
    }
}
