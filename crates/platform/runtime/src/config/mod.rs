//! Configuration: one TOML file, then environment overrides `SIMVAULT__SECTION__KEY`, into one struct, all mistakes
//! reported together, each with its place, what was found and what is accepted. Only this module reads files and the
//! environment. Start with [`load`]; ranges are checked by the struct's own [`Validate`].

pub mod duration;
mod explain;
mod load;
mod secret;
#[cfg(test)]
mod tests;

use std::fmt;

pub use load::{load, load_from};
pub use secret::{Secret, hide_password, without_password, without_secret};
use serde::Serialize;

/// A value that is of the right type and still not acceptable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key, such as `smpp.window`.
    pub key: String,
    pub found: String,
    /// Range or form, in words.
    pub accepted: String,
}

impl Problem {
    pub fn new(key: impl Into<String>, found: impl fmt::Display, accepted: impl Into<String>) -> Self {
        Self { key: key.into(), found: found.to_string(), accepted: accepted.into() }
    }

    /// The same problems one section deeper: `window` becomes `smpp.window`.
    pub fn under(section: &str, problems: Vec<Self>) -> Vec<Self> {
        problems.into_iter().map(|problem| Self { key: format!("{section}.{}", problem.key), ..problem }).collect()
    }

    /// `None` when `value` is within `range`.
    pub fn range<T: PartialOrd + fmt::Display>(
        key: &str,
        value: T,
        range: std::ops::RangeInclusive<T>,
    ) -> Option<Self> {
        (!range.contains(&value)).then(|| Self::new(key, value, format!("{} to {}", range.start(), range.end())))
    }

    /// `None` when the duration is within `range`.
    pub fn duration_range(
        key: &str,
        value: std::time::Duration,
        range: std::ops::RangeInclusive<std::time::Duration>,
    ) -> Option<Self> {
        let shown = duration::show;
        (!range.contains(&value))
            .then(|| Self::new(key, shown(value), format!("{} to {}", shown(*range.start()), shown(*range.end()))))
    }
}

/// What a configuration says about its own values: ranges, and values that do not go together.
pub trait Validate {
    fn problems(&self) -> Vec<Problem>;
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    pub mistakes: Vec<Mistake>,
}

impl ConfigError {
    /// A key that the role does not have: a typo, or the file of another role.
    pub fn names_unknown_key(&self) -> bool {
        self.mistakes.iter().any(|mistake| mistake.text.starts_with(explain::UNKNOWN_KEY))
    }
}

/// One mistake, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// File and line, or the environment variable.
    pub place: String,
    /// Dotted path of the key; empty when the mistake is the file's.
    pub key: String,
    /// What is wrong: what was found and what is accepted.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.place, self.text),
            key => write!(f, "{}: {key}: {}", self.place, self.text),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.mistakes.len();
        write!(f, "configuration: {count} mistake{}", if count == 1 { "" } else { "s" })?;
        self.mistakes.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

/// The configuration in effect as TOML, secrets hidden: `--print-config`.
///
/// # Errors
/// The struct has a shape that TOML cannot carry.
pub fn print<T: Serialize>(config: &T) -> Result<String, toml::ser::Error> {
    toml::to_string_pretty(config)
}
