//! A password or key: never written in the configuration file, never shown.

use std::{collections::BTreeMap, fmt, path::Path};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Read from a file (`password = { file = "/run/secrets/smsc" }`) or from the environment
/// (`SIMVAULT__SMPP__PASSWORD=...`). Empty when nothing was given.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

/// The loader hands an environment override over under this key; TOML files cannot mean it by mistake.
pub(super) const FROM_ENVIRONMENT: &str = "\u{0}environment";

/// Files longer than this are no secret but a mistake, octets.
const FILE_MAX: u64 = 65_536;

impl Secret {
    /// For tests and for secrets that other code makes.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself: call it where it is used, never to log it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(none)" } else { "Secret(hidden)" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "(hidden)" })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const ACCEPTED: &str = "accepted: { file = \"PATH\" }, or the secret in the environment variable";
        // The text of a wrong value may be the secret: it is not repeated.
        let table = BTreeMap::<String, String>::deserialize(deserializer)
            .map_err(|_| D::Error::custom(format!("found a secret in the file, {ACCEPTED}")))?;
        let mut entries = table.into_iter();
        match (entries.next(), entries.next()) {
            (Some((key, value)), None) if key == FROM_ENVIRONMENT => Ok(Self(value)),
            (Some((key, path)), None) if key == "file" => read(Path::new(&path)).map(Self).map_err(D::Error::custom),
            _ => Err(D::Error::custom(format!("found other keys than file, {ACCEPTED}"))),
        }
    }
}

/// For `#[serde(serialize_with)]` on a URL or key-value string that may carry a password.
///
/// # Errors
/// Those of the serializer.
pub fn hide_password<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&without_password(text))
}

/// A URL or key-value string to show: its password hidden.
pub fn without_password(text: &str) -> String {
    const HIDDEN: &str = "(hidden)";
    let mut shown = text.to_owned();
    if let Some((scheme, rest)) = text.split_once("://") {
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        // A password with a slash in it ends the authority early: then all up to the last @ counts.
        let user_info = authority.rsplit_once('@').or_else(|| rest.rsplit_once('@')).map(|(user_info, _)| user_info);
        if let Some((user, password)) = user_info.and_then(|user_info| user_info.split_once(':')) {
            let after = rest.get(user.len().saturating_add(1).saturating_add(password.len())..).unwrap_or_default();
            shown = format!("{scheme}://{user}:{HIDDEN}{after}");
        }
    }
    // `password=...` of a query or of a key-value string; what follows it is not worth a mistake.
    match shown.to_ascii_lowercase().find("password") {
        Some(at) => format!("{}password={HIDDEN}", shown.get(..at).unwrap_or_default()),
        None => shown,
    }
}

/// A text that is no URL, to show: not repeated where it may hold a password.
pub fn without_secret(text: &str) -> String {
    let may_hold_one = text.contains('@') || text.to_ascii_lowercase().contains("pass");
    if may_hold_one { "another form (not shown: it may hold a password)".to_owned() } else { format!("{text:?}") }
}

/// The file's text without the line end that editors add.
fn read(path: &Path) -> Result<String, String> {
    let describe = |error: std::io::Error| format!("cannot read the secret's file {}: {error}", path.display());
    if std::fs::metadata(path).map_err(describe)?.len() > FILE_MAX {
        return Err(format!("the secret's file {} is longer than {FILE_MAX} octets", path.display()));
    }
    let text = std::fs::read_to_string(path).map_err(describe)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::{without_password, without_secret};

    #[test]
    fn a_text_that_is_no_url_is_shown_unless_it_may_hold_a_password() {
        assert_eq!(without_secret("mysql://one/db"), "\"mysql://one/db\"");
        for text in ["mysql://user:hush@one/db", "one; Password=hush"] {
            assert!(!without_secret(text).contains("hush"));
        }
    }

    #[test]
    fn passwords_within_urls_are_not_shown() {
        for (text, shown) in [
            ("redis://127.0.0.1:6379/", "redis://127.0.0.1:6379/"),
            ("sqlite:simvault.db", "sqlite:simvault.db"),
            ("redis://:hush@one:6379/0", "redis://:(hidden)@one:6379/0"),
            ("postgres://user@one,two/db", "postgres://user@one,two/db"),
            ("postgres://user:hush@one:5432/db", "postgres://user:(hidden)@one:5432/db"),
            ("postgres://user:hu/sh@one/db", "postgres://user:(hidden)@one/db"),
            ("postgres://one/db?password=hush", "postgres://one/db?password=(hidden)"),
            ("host=one Password = 'hu sh' user=u", "host=one password=(hidden)"),
        ] {
            assert_eq!(without_password(text), shown);
        }
    }
}
