//! What was measured: as tables for people, as JSON, and as `docs/performance.md`.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{
    embedded::Embedded,
    measure::{LOAD, POSTGRES, REDIS, Usage},
    reference::PgBench,
};
use crate::{
    load::{Counts, Report, millis},
    table::{Table, thousands},
    topology::SERVICES,
};

/// A round of references and subject.
#[derive(Clone, Debug)]
pub struct Round {
    pub pgbench: PgBench,
    /// Echoed frames a second.
    pub echo: f64,
    pub report: Report,
    pub usage: Usage,
    /// Octets of WAL per message.
    pub wal_octets: f64,
}

/// A measurement at a fixed rate or a small window.
#[derive(Clone, Debug)]
pub struct Latency {
    pub name: String,
    /// Messages a second that were to be carried.
    pub wanted: Option<f64>,
    pub report: Report,
    pub usage: Usage,
    /// 99th percentiles of the answer in all its rounds, ms; the rest is of the round in the middle.
    pub p99s: Vec<f64>,
}

/// Sums over the whole run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub offered: u64,
    pub accepted: u64,
    pub acknowledged: u64,
    pub short_messages: u64,
    pub repeats: u64,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Results {
    pub settings: Vec<(String, String)>,
    pub rounds: Vec<Round>,
    pub at_rate: Vec<Latency>,
    pub one_bind: Vec<Latency>,
    pub full_book_micros: f64,
    pub sums: Sums,
    pub embedded: Option<Embedded>,
}

/// A round in which strangers used more than this share of the machine does not count.
const STRANGERS_MAX: f64 = 0.30;

impl Sums {
    pub fn of(counts: &Counts) -> Self {
        use std::sync::atomic::Ordering::Relaxed;
        Self {
            offered: counts.offered.load(Relaxed),
            accepted: counts.accepted.load(Relaxed),
            acknowledged: counts.acknowledged.load(Relaxed),
            short_messages: counts.received.load(Relaxed),
            repeats: counts.repeats.load(Relaxed),
        }
    }
}

impl Round {
    fn is_void(&self) -> bool {
        self.usage.strangers > STRANGERS_MAX
    }

    /// One line for the terminal.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "  {:>6.0} msg/s, {:.1} us CPU each ({:.1} Postgres), p99 {:.0} ms; pgbench {:.0}/s; strangers {:.0} %{}",
            self.report.rate(),
            self.usage.total_micros(self.report.accepted),
            self.usage.micros(POSTGRES, self.report.accepted),
            millis(&self.report.answers, 0.99),
            self.pgbench.per_second,
            self.usage.strangers * 100.0,
            if self.is_void() { " (void)" } else { "" }
        )
    }
}

/// Median, least and greatest.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    median: f64,
    least: f64,
    greatest: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
        Self { median: at(values.len() / 2), least: at(0), greatest: at(values.len().saturating_sub(1)) }
    }

    fn show(self, decimals: usize) -> String {
        format!("{:.decimals$} ({:.decimals$}–{:.decimals$})", self.median, self.least, self.greatest)
    }
}

/// One line of the table of goals.
struct Goal {
    name: &'static str,
    metric: &'static str,
    must: &'static str,
    stretch: &'static str,
    measured: String,
    is_met: Option<bool>,
}

impl Results {
    fn spread(&self, value: impl Fn(&Round) -> f64) -> Spread {
        let counted: Vec<&Round> = self.rounds.iter().filter(|round| !round.is_void()).collect();
        // With nothing but void rounds the numbers are shown all the same; the void column says what they are worth.
        if counted.is_empty() {
            Spread::of(self.rounds.iter().map(value))
        } else {
            Spread::of(counted.into_iter().map(value))
        }
    }

    fn part(&self, part: &str) -> Spread {
        self.spread(|round| round.usage.micros(part, round.report.accepted))
    }

    fn total(&self) -> Spread {
        self.spread(|round| round.usage.total_micros(round.report.accepted))
    }

    fn goals(&self) -> Vec<Goal> {
        let total = self.total();
        let rate = self.spread(|round| round.report.rate());
        let ratio = self.spread(|round| round.report.rate() / round.pgbench.per_second.max(1.0));
        let postgres = self.spread(|round| {
            round.usage.micros(POSTGRES, round.report.accepted) / round.pgbench.postgres_micros.max(0.001)
        });
        let goal =
            |name, metric, must, stretch, measured, is_met| Goal { name, metric, must, stretch, measured, is_met };
        let mut goals = vec![
            goal("G1", "CPU per message, saturated, us", "<= 110", "<= 70", total.show(1), Some(total.median <= 110.0)),
            goal(
                "G2",
                "messages a second against pgbench -N -c 8",
                ">= 2",
                ">= 4",
                ratio.show(2),
                Some(ratio.median >= 2.0),
            ),
            goal(
                "G3",
                "Postgres CPU per message against one pgbench transaction",
                "<= 0.30",
                "<= 0.18",
                postgres.show(2),
                Some(postgres.median <= 0.30),
            ),
            goal(
                "G4",
                "durable messages a second, end to end",
                ">= 10 000",
                "20 000",
                rate.show(0),
                Some(rate.median >= 10_000.0),
            ),
        ];
        for (latency, must, stretch, limit) in
            self.at_rate.iter().zip([("10", "5", 10.0), ("25", "10", 25.0)]).map(|(l, (m, s, x))| (l, m, s, x))
        {
            let p99 = millis(&latency.report.answers, 0.99);
            let carried = latency.is_carried();
            let rounds = Spread::of(latency.p99s.iter().copied());
            let text = format!(
                "{} ({}–{}) ms at {}{}",
                decimal(p99),
                decimal(rounds.least),
                decimal(rounds.greatest),
                latency.name,
                if carried { "" } else { " (not carried)" }
            );
            goals.push(goal("G5", "answer p99, ms", must, stretch, text, Some(carried && p99 <= limit)));
        }
        for (latency, must, stretch, limit) in self
            .one_bind
            .iter()
            .zip([("3 000", "4 500", 3000.0), ("10 000", "18 000", 10_000.0)])
            .map(|(l, (m, s, x))| (l, m, s, x))
        {
            let text = format!("{:.0} ({})", latency.report.rate(), latency.name);
            goals.push(goal("G6", "messages a second", must, stretch, text, Some(latency.report.rate() >= limit)));
        }
        goals.push(goal("G7", "CPU against Kannel's relay", "<= 0.4", "<= 0.2", "not measured here".to_owned(), None));
        let first = self.rounds.first().map_or(0.0, |round| round.wal_octets);
        let warm = self.rounds.last().map_or(0.0, |round| round.wal_octets);
        let text = format!("{:.2} warm; {:.2} after a checkpoint", warm / 1000.0, first / 1000.0);
        goals.push(goal(
            "G8",
            "WAL per message, kB",
            "1.5; 10",
            "0.8; 6",
            text,
            Some(warm <= 1500.0 && first <= 10_000.0),
        ));
        let read = self.full_book_micros;
        goals.push(goal(
            "G9",
            "a book of 250 entries read, Postgres CPU us",
            "<= 70",
            "<= 40",
            format!("{read:.0}"),
            Some(read <= 70.0),
        ));
        goals.push(goal("G10", "acknowledged and lost after kills", "0", "0", "`cargo xtask faults`".to_owned(), None));
        goals.push(goal("G11", "Redis wiped with 1M pending, s", "60", "30", "not measured here".to_owned(), None));
        if let Some(embedded) = &self.embedded {
            let rate = embedded.report.rate();
            let text = format!(
                "{rate:.0} ({:.0} us CPU each, answer p99 {} ms)",
                embedded.micros,
                decimal(millis(&embedded.report.answers, 0.99))
            );
            goals.push(goal(
                "G12",
                "one process on SQLite, durable messages a second",
                ">= 5 000",
                "12 000",
                text,
                Some(rate >= 5000.0),
            ));
        }
        goals
    }

    /// For the terminal.
    #[must_use]
    pub fn tables(&self) -> String {
        let mut goals = Table::new(&["goal", "metric", "must", "stretch", "measured", "met"]);
        for goal in self.goals() {
            goals.row([goal.name, goal.metric, goal.must, goal.stretch, &goal.measured, met(goal.is_met)]);
        }
        let mut parts = Table::new(&["part", "CPU us per message (spread)"]);
        for part in SERVICES.into_iter().chain([POSTGRES, REDIS, LOAD]) {
            parts.row([part.to_owned(), self.part(part).show(1)]);
        }
        parts.row(["all".to_owned(), self.total().show(1)]);
        let settings: Vec<String> = self.settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        format!(
            "{}\n\n{}\n\n{}\n\n{}\n{}\n",
            goals.render(),
            parts.render(),
            self.latencies().render(),
            settings.join(", "),
            self.sums_line()
        )
    }

    fn sums_line(&self) -> String {
        let sums = self.sums;
        format!(
            "{} offered, {} answered, {} acknowledged by {} short messages, {} of them repeats",
            thousands(sums.offered),
            thousands(sums.accepted),
            thousands(sums.acknowledged),
            thousands(sums.short_messages),
            thousands(sums.repeats)
        )
    }

    fn latencies(&self) -> Table {
        let mut table =
            Table::new(&["load", "msg/s", "answer p50 ms", "p99 ms", "acknowledgement p50 ms", "p99 ms", "CPU us"]);
        let mut row = |name: &str, report: &Report, usage: &Usage| {
            table.row([
                name.to_owned(),
                format!("{:.0}", report.rate()),
                decimal(millis(&report.answers, 0.5)),
                decimal(millis(&report.answers, 0.99)),
                decimal(millis(&report.acknowledgements, 0.5)),
                decimal(millis(&report.acknowledgements, 0.99)),
                format!("{:.1}", usage.total_micros(report.accepted)),
            ]);
        };
        if let Some(round) = self.rounds.last() {
            row("saturated, window 1000", &round.report, &round.usage);
        }
        for latency in self.at_rate.iter().chain(&self.one_bind) {
            row(&latency.name, &latency.report, &latency.usage);
        }
        table
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let goals: Vec<Value> = self
            .goals()
            .iter()
            .map(|goal| json!({"goal": goal.name, "metric": goal.metric, "must": goal.must, "measured": goal.measured, "met": goal.is_met}))
            .collect();
        let parts: serde_json::Map<String, Value> = SERVICES
            .into_iter()
            .chain([POSTGRES, REDIS, LOAD])
            .map(|part| (part.to_owned(), json!(self.part(part).median)))
            .collect();
        let rounds: Vec<Value> = self
            .rounds
            .iter()
            .map(|round| {
                json!({
                    "messages_per_second": round.report.rate(),
                    "pgbench_per_second": round.pgbench.per_second,
                    "pgbench_postgres_micros": round.pgbench.postgres_micros,
                    "echo_frames_per_second": round.echo,
                    "cpu_micros": round.usage.total_micros(round.report.accepted),
                    "strangers": round.usage.strangers,
                    "wal_octets": round.wal_octets,
                    "void": round.is_void(),
                })
            })
            .collect();
        json!({"settings": self.settings.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(), "goals": goals, "cpu_micros": parts, "rounds": rounds})
    }

    /// `docs/performance.md`.
    #[must_use]
    pub fn document(&self) -> String {
        let mut text = String::from(
            "# Performance\n\nWritten by `cargo xtask bench`: do not edit by hand. The SMSC simulator with its cards, two replicas of every service,\n\
             Postgres and Redis run as processes of their own on one machine, and are all counted. CPU time is the scheduler's\n\
             (nanoseconds, every thread and child); each round of the centre follows a round of `pgbench -N -c 8 -M prepared`\n\
             (scale 10) on the same Postgres and of a TCP echo; a value is the median of the rounds with its spread. One message:\n\
             a backup of four records, stored, answered after the commit, and acknowledged to its card by a short message.\n\n",
        );
        let processors = std::thread::available_parallelism().map_or(1, |number| number.get());
        let mut line = |text_line: String| writeln!(text, "{text_line}").unwrap_or_default();
        line(format!(
            "Machine: {processors} processors. Postgres says: {}.\n",
            self.settings.iter().map(|(name, value)| format!("`{name}` = {value}")).collect::<Vec<_>>().join(", ")
        ));
        line("## Goals\n\n| | metric | must | stretch | measured | met |\n|---|---|---|---|---|---|".to_owned());
        for goal in self.goals() {
            line(format!(
                "| {} | {} | {} | {} | {} | {} |",
                goal.name,
                goal.metric,
                goal.must,
                goal.stretch,
                goal.measured,
                met(goal.is_met)
            ));
        }
        let names: Vec<&str> = self.at_rate.iter().map(|latency| latency.name.as_str()).collect();
        line(format!(
            "\n## CPU by part, us per message\n\n| part | saturated, window 1000 (spread) | {} |\n|---|---|{}",
            names.join(" | "),
            "---|".repeat(names.len())
        ));
        for part in SERVICES.into_iter().chain([POSTGRES, REDIS, LOAD]) {
            let at_rate = self.at_rate.iter().map(|it| format!(" {:.1} |", it.usage.micros(part, it.report.accepted)));
            line(format!("| {part} | {} |{}", self.part(part).show(1), at_rate.collect::<String>()));
        }
        let at_rate = self.at_rate.iter().map(|it| format!(" {:.1} |", it.usage.total_micros(it.report.accepted)));
        line(format!("| **all** | {} |{}", self.total().show(1), at_rate.collect::<String>()));
        line("\n## Latency\n\nAnswer: `deliver_sm_resp` after the commit. Acknowledgement: the short message at the card, which the centre holds up to\n200 ms to combine it with others (D-56).\n\n```text".to_owned());
        line(self.latencies().render());
        line("```\n\n## Rounds\n\n| round | msg/s | CPU us | pgbench/s | PG us per transaction | echo frames/s | WAL octets | strangers | |\n|---|---|---|---|---|---|---|---|---|".to_owned());
        for (number, round) in (1..).zip(&self.rounds) {
            line(format!(
                "| {number} | {:.0} | {:.1} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} % | {} |",
                round.report.rate(),
                round.usage.total_micros(round.report.accepted),
                round.pgbench.per_second,
                round.pgbench.postgres_micros,
                round.echo,
                round.wal_octets,
                round.usage.strangers * 100.0,
                if round.is_void() { "void" } else { "" }
            ));
        }
        line(format!("\nOver the whole run: {}.", self.sums_line()));
        text
    }
}

impl Latency {
    /// Within two hundredths of what was wanted.
    fn is_carried(&self) -> bool {
        self.wanted.is_none_or(|wanted| self.report.rate() >= wanted * 0.98)
    }
}

fn met(is_met: Option<bool>) -> &'static str {
    match is_met {
        Some(true) => "yes",
        Some(false) => "no",
        None => "–",
    }
}

fn decimal(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_is_shown_with_its_spread() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0].into_iter()).show(0), "2 (1–3)");
        assert_eq!(Spread::of(std::iter::empty()).show(1), "0.0 (0.0–0.0)");
    }
}
