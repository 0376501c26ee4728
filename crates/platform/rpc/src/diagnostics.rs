//! The Diagnostics service of every process: its system log and its counters (SC-DG-02).

use proto::diagnostics::{
    Counter, CountersRequest, CountersResponse, Event, EventsRequest, EventsResponse, diagnostics_server::Diagnostics,
};
use runtime::{
    events::{self, Kind},
    telemetry,
};
use tonic::{Request, Response, Status};

/// Events of one answer, at most.
const EVENTS_MAX: usize = 1000;
/// Counters of one answer, at most.
const COUNTERS_MAX: usize = 5000;

pub(crate) struct Process;

#[tonic::async_trait]
impl Diagnostics for Process {
    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<EventsResponse>, Status> {
        let asked = usize::try_from(request.get_ref().limit).unwrap_or(EVENTS_MAX);
        let limit = if asked == 0 { EVENTS_MAX } else { asked.min(EVENTS_MAX) };
        let events = events::log().newest(limit).into_iter().map(|event| Event {
            at_micros: event.at_micros,
            kind: event.kind.name().to_owned(),
            text: event.text.into_owned(),
        });
        Ok(Response::new(EventsResponse { events: events.collect() }))
    }

    async fn counters(&self, _: Request<CountersRequest>) -> Result<Response<CountersResponse>, Status> {
        let mut counters = counters(&telemetry::render());
        if !counters.iter().any(|counter| counter.name.starts_with("simvault_events_total")) {
            // A process without a metrics recorder still counts its events.
            counters.extend(Kind::ALL.map(|kind| Counter {
                name: format!("simvault_events_total{{kind=\"{}\"}}", kind.name()),
                // Exact below 2^53.
                value: events::log().count(kind) as f64,
            }));
        }
        Ok(Response::new(CountersResponse { counters }))
    }
}

/// Lines of the Prometheus text: `name{labels} value`.
fn counters(text: &str) -> Vec<Counter> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let counters = lines.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some(Counter { name: name.to_owned(), value: value.parse().ok()? })
    });
    counters.take(COUNTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_the_prometheus_text() {
        let found = counters("# TYPE a counter\na{x=\"1 2\"} 3\n\nb 0.5\nbroken\n");
        let found: Vec<_> = found.iter().map(|counter| (counter.name.as_str(), counter.value)).collect();
        assert_eq!(found, [("a{x=\"1 2\"}", 3.0), ("b", 0.5)]);
    }
}
