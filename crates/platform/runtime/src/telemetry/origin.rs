//! Which process wrote a line: `role` and `instance` at the front of every JSON line, so that collected logs can be told
//! apart.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext,
        format::{FormatEvent, FormatFields, Writer},
    },
    registry::LookupSpan,
};

/// A JSON format whose lines begin with the origin.
pub(super) struct Origin<F> {
    json: F,
    /// Opens the line's object.
    head: String,
}

impl<F> Origin<F> {
    pub(super) fn new(json: F, role: &str, instance: &str) -> Self {
        Self { json, head: format!("{{\"role\":{},\"instance\":{},", quoted(role), quoted(instance)) }
    }
}

/// A JSON string; control characters, which no name has, become spaces.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => quoted.push(' '),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

impl<S, N, F> FormatEvent<S, N> for Origin<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.json.format_event(context, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) => writer.write_str(&self.head).and_then(|()| writer.write_str(rest)),
            None => writer.write_str(&line),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex, PoisonError},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Keep(Arc<Mutex<Vec<u8>>>);

    impl Write for Keep {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(octets)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_says_who_wrote_it() {
        let kept = Keep::default();
        let writer = kept.clone();
        let format = tracing_subscriber::fmt().with_writer(move || writer.clone()).json().flatten_event(true);
        let format = format.map_event_format(|json| Origin::new(json, "inbound-data", "a\"b"));
        tracing::subscriber::with_default(format.finish(), || tracing::info!(link = "north", "bound"));
        let line = String::from_utf8(kept.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).expect("UTF-8");
        assert!(line.starts_with(r#"{"role":"inbound-data","instance":"a\"b","timestamp":"#), "{line}");
        assert!(line.ends_with("}\n") && line.contains(r#""message":"bound","link":"north""#), "{line}");
    }
}
