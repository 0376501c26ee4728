//! Reads, overrides, and finds every mistake: what cannot be read is noted, taken out, and reading goes on without it.

use std::{ops::Range, path::Path};

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeArray, DeString, DeTable, DeValue},
};

use super::{ConfigError, Mistake, Validate, explain::explain, secret};

/// A configuration file is at most this long, octets.
const FILE_MAX: u64 = 1 << 20;
/// After so many mistakes the rest is not looked for.
const MISTAKES_MAX: usize = 100;

/// The configuration from `path` (`None`: defaults only) with the overrides `{prefix}__SECTION__KEY` of the environment.
/// Elements of lists are counted from 0: `SIMVAULT__SMPP__LINKS__0__PASSWORD`.
///
/// # Errors
/// All mistakes together.
pub fn load<T: DeserializeOwned + Validate>(path: Option<&Path>, prefix: &str) -> Result<T, ConfigError> {
    // Variables that are not UTF-8 are nobody's setting.
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let Some(path) = path else { return load_from("defaults", "", &environment, prefix) };
    let place = path.display().to_string();
    let unreadable =
        |text: String| ConfigError { mistakes: vec![Mistake { place: place.clone(), key: String::new(), text }] };
    let octets = std::fs::metadata(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?.len();
    if octets > FILE_MAX {
        return Err(unreadable(format!("has {octets} octets, accepted: at most {FILE_MAX}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    load_from(&place, &text, &environment, prefix)
}

/// [`load`] with everything handed in; `place` names the text in mistakes.
///
/// # Errors
/// All mistakes together.
pub fn load_from<T: DeserializeOwned + Validate>(
    place: &str,
    text: &str,
    environment: &[(String, String)],
    prefix: &str,
) -> Result<T, ConfigError> {
    let (mut table, syntax) = DeTable::parse_recoverable(text);
    let mut source = Source {
        place,
        text,
        overrides: overrides(environment, prefix),
        mistakes: Vec::new(),
        broken_lines: Vec::new(),
    };
    for error in syntax {
        let span = error.span().unwrap_or(0..0);
        let line = source.line(&span);
        if !source.broken_lines.contains(&line) {
            source.broken_lines.push(line);
            source.note(span, String::new(), error.message());
        }
    }
    for index in 0..source.overrides.len() {
        source.apply(index, table.get_mut());
    }
    let whole = table.clone();
    let config: Option<T> = source.read(&mut table);
    if let Some(config) = config {
        for problem in config.problems() {
            let path: Vec<&str> = problem.key.split('.').collect();
            let known = source.mistakes.iter().any(|(_, mistake)| mistake.key == problem.key);
            let span = locate(whole.get_ref(), &path);
            // What is missing may stand where the syntax is broken; what was made up there has no span.
            let is_nowhere = |span: &Range<usize>| span.is_empty() && source.override_at(span).is_none();
            let follows = !source.broken_lines.is_empty() && span.as_ref().is_none_or(is_nowhere);
            if !known && !follows {
                let text = format!("found {}, accepted: {}", problem.found, problem.accepted);
                source.note(span.unwrap_or(usize::MAX..usize::MAX), problem.key, &text);
            }
        }
        if source.mistakes.is_empty() {
            return Ok(config);
        }
    }
    let mut mistakes = source.mistakes;
    mistakes.sort_by_key(|(start, _)| *start);
    Err(ConfigError { mistakes: mistakes.into_iter().map(|(_, mistake)| mistake).collect() })
}

/// A variable of the environment that overrides a key. What it means depends on the type of the setting, which is
/// known only to the setting: the readings are tried in turn.
struct Override<'a> {
    variable: &'a str,
    value: &'a str,
    path: Vec<String>,
    reading: usize,
}

impl<'a> Override<'a> {
    /// As TOML, as plain text, as a secret.
    fn reading(&self) -> Option<DeValue<'a>> {
        let text = || DeValue::String(DeString::Borrowed(self.value));
        match self.reading {
            0 => Some(DeValue::parse(self.value).map_or_else(|_| text(), Spanned::into_inner)),
            1 => Some(text()),
            2 => {
                let mut table = DeTable::new();
                table.insert(spanned(0..0, DeString::Borrowed(secret::FROM_ENVIRONMENT)), spanned(0..0, text()));
                Some(DeValue::Table(table))
            }
            _ => None,
        }
    }
}

fn overrides<'a>(environment: &'a [(String, String)], prefix: &str) -> Vec<Override<'a>> {
    let mut overrides: Vec<Override<'a>> = environment
        .iter()
        .filter_map(|(variable, value)| {
            let path = variable.strip_prefix(prefix)?.strip_prefix("__")?;
            let path = path.split("__").map(str::to_ascii_lowercase).collect();
            Some(Override { variable, value, path, reading: 0 })
        })
        .collect();
    overrides.sort_by_key(|one| one.variable);
    overrides
}

fn spanned<T>(span: Range<usize>, value: T) -> Spanned<T> {
    Spanned::new(span, value)
}

/// Where values came from. The span of an override lies behind the text: `text.len() + 1 + its index`.
struct Source<'a> {
    place: &'a str,
    text: &'a str,
    overrides: Vec<Override<'a>>,
    /// Each with the start of its span, by which they are ordered: the file's lines, then overrides.
    mistakes: Vec<(usize, Mistake)>,
    /// Lines whose syntax is wrong: what else is wrong there only follows.
    broken_lines: Vec<usize>,
}

impl<'a> Source<'a> {
    fn note(&mut self, span: Range<usize>, key: String, text: &str) {
        let place = match self.override_at(&span) {
            Some(index) => self.overrides.get(index).map_or_else(String::new, |one| one.variable.to_owned()),
            None if span.start > self.text.len() => self.place.to_owned(),
            None => {
                let line = self.line(&span);
                if !key.is_empty() && self.broken_lines.contains(&line) {
                    return;
                }
                format!("{}:{line}", self.place)
            }
        };
        self.mistakes.push((span.start, Mistake { place, key, text: text.trim().replace('\n', ", ") }));
    }

    /// Counted from 1.
    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or_default();
        before.matches('\n').count().saturating_add(1)
    }

    fn override_at(&self, span: &Range<usize>) -> Option<usize> {
        span.start.checked_sub(self.text.len())?.checked_sub(1).filter(|index| *index < self.overrides.len())
    }

    /// Puts an override into the table, in its present reading.
    fn apply(&mut self, index: usize, table: &mut DeTable<'a>) {
        let start = self.text.len().saturating_add(1).saturating_add(index);
        let Some(one) = self.overrides.get(index) else { return };
        let Some(value) = one.reading() else { return };
        if let Err(text) = insert(table, &one.path, start..start, value) {
            let key = one.path.join(".");
            self.note(start..start, key, &text);
        }
    }

    /// Reads the struct, taking out what cannot be read.
    fn read<T: DeserializeOwned>(&mut self, table: &mut Spanned<DeTable<'a>>) -> Option<T> {
        // Each round takes a mistake out or tries another reading of an override.
        let rounds = MISTAKES_MAX.saturating_add(self.overrides.len().saturating_mul(3));
        for _ in 0..rounds {
            let error = match T::deserialize(toml::Deserializer::from(table.clone())) {
                Ok(config) => return Some(config),
                Err(error) => error,
            };
            let found = error.span().and_then(|span| find(table.get_ref(), &span));
            let Some((path, span)) = found.filter(|_| self.mistakes.len() < MISTAKES_MAX) else {
                self.note(error.span().unwrap_or(0..0), String::new(), error.message());
                return None;
            };
            if let Some(index) = self.override_at(&span)
                && let Some(one) = self.overrides.get_mut(index)
                && !error.message().starts_with("unknown field")
            {
                one.reading = one.reading.saturating_add(1);
                if one.reading().is_some() {
                    self.apply(index, table.get_mut());
                    continue;
                }
            }
            let text = match self.override_at(&span).and_then(|index| self.overrides.get(index)) {
                // The last reading was that of a secret: say what the first one lacked.
                Some(one) if one.reading().is_none() => first_reading::<T>(table, one, &span, error.message()),
                _ => error.message().to_owned(),
            };
            let text = explain(&text, text_at(table.get_ref(), &path));
            self.note(span, path.join("."), &text);
            remove_in_table(table.get_mut(), &path);
        }
        None
    }
}

/// The text that stands at a key.
fn text_at<'t>(table: &'t DeTable<'_>, path: &[String]) -> Option<&'t str> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match value_at(table, &path)?.get_ref() {
        DeValue::String(text) => Some(text),
        _ => None,
    }
}

/// The message that the first reading of an override met.
fn first_reading<T: DeserializeOwned>(
    table: &Spanned<DeTable<'_>>,
    one: &Override<'_>,
    span: &Range<usize>,
    otherwise: &str,
) -> String {
    let first = Override { reading: 0, path: Vec::new(), ..*one };
    let mut table = table.clone();
    let inserted = first.reading().map(|value| insert(table.get_mut(), &one.path, span.clone(), value));
    match (inserted, T::deserialize(toml::Deserializer::from(table))) {
        (Some(Ok(())), Err(error)) => error.message().to_owned(),
        _ => otherwise.to_owned(),
    }
}

fn child<'t, 'a>(table: &'t mut DeTable<'a>, key: &str) -> Option<&'t mut Spanned<DeValue<'a>>> {
    table.iter_mut().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
}

fn insert<'a>(table: &mut DeTable<'a>, path: &[String], span: Range<usize>, value: DeValue<'a>) -> Result<(), String> {
    let Some((key, rest)) = path.split_first() else { return Err("names no key".to_owned()) };
    let next = match child(table, key) {
        Some(next) => next,
        None => {
            // One longer than the value's, so that a mistake of the section is told apart from one of the value.
            let section = span.start..span.start.saturating_add(usize::from(!rest.is_empty()));
            let empty = spanned(section.clone(), DeValue::Table(DeTable::new()));
            table.insert(spanned(section, DeString::Owned(key.clone())), empty);
            child(table, key).ok_or("cannot be set")?
        }
    };
    insert_value(next, rest, span, value)
}

fn insert_value<'a>(
    place: &mut Spanned<DeValue<'a>>,
    path: &[String],
    span: Range<usize>,
    value: DeValue<'a>,
) -> Result<(), String> {
    let Some((key, rest)) = path.split_first() else {
        *place = spanned(span, value);
        return Ok(());
    };
    match place.get_mut() {
        DeValue::Table(table) => insert(table, path, span, value),
        DeValue::Array(array) => {
            let count = array.len();
            let element = key.parse::<usize>().ok().and_then(|index| array.get_mut(index));
            let element =
                element.ok_or_else(|| format!("found element {key}, accepted: one of the {count} of the file"))?;
            insert_value(element, rest, span, value)
        }
        other => Err(format!("found a key below a {}, accepted: the {0} itself", other.type_str())),
    }
}

/// The innermost entry that the span points at: by its key, its value, or something inside its value.
fn find(table: &DeTable<'_>, span: &Range<usize>) -> Option<(Vec<String>, Range<usize>)> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref().to_string();
        if key.span() == *span && !span.is_empty() {
            return Some((vec![name], span.clone()));
        }
        find_value(value, span).map(|(mut path, found)| {
            path.insert(0, name);
            (path, found)
        })
    })
}

fn find_value(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<(Vec<String>, Range<usize>)> {
    let inner = match value.get_ref() {
        DeValue::Table(table) => find(table, span),
        DeValue::Array(array) => array.iter().enumerate().find_map(|(index, element)| {
            find_value(element, span).map(|(mut path, found)| {
                path.insert(0, index.to_string());
                (path, found)
            })
        }),
        _ => None,
    };
    let own = value.span();
    let contains = own == *span || (own.start <= span.start && span.end <= own.end && own.start < own.end);
    inner.or_else(|| contains.then(|| (Vec::new(), own)))
}

fn locate(table: &DeTable<'_>, path: &[&str]) -> Option<Range<usize>> {
    value_at(table, path).map(Spanned::span)
}

fn value_at<'t, 'a>(table: &'t DeTable<'a>, path: &[&str]) -> Option<&'t Spanned<DeValue<'a>>> {
    let (key, rest) = path.split_first()?;
    let mut value = table.iter().find(|(name, _)| name.get_ref() == key)?.1;
    for key in rest {
        value = match value.get_ref() {
            DeValue::Table(table) => table.iter().find(|(name, _)| name.get_ref() == key)?.1,
            DeValue::Array(array) => array.get(key.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

fn remove_in_table(table: &mut DeTable<'_>, path: &[String]) {
    match path {
        [] => {}
        [key] => {
            let kept = std::mem::take(table);
            table.extend(kept.into_iter().filter(|(name, _)| name.get_ref() != key));
        }
        [key, rest @ ..] => {
            if let Some(value) = child(table, key) {
                remove_in_value(value, rest);
            }
        }
    }
}

fn remove_in_value(value: &mut Spanned<DeValue<'_>>, path: &[String]) {
    match (value.get_mut(), path) {
        (DeValue::Table(table), path) => remove_in_table(table, path),
        (DeValue::Array(array), [index]) => {
            let keep = array.iter().enumerate().filter(|(at, _)| at.to_string() != *index);
            let kept: DeArray<'_> = keep.map(|(_, element)| element.clone()).collect();
            *array = kept;
        }
        (DeValue::Array(array), [index, rest @ ..]) => {
            if let Some(element) = index.parse::<usize>().ok().and_then(|index| array.get_mut(index)) {
                remove_in_value(element, rest);
            }
        }
        _ => {}
    }
}
