//! The closing table.

use std::time::Duration;

use mobile::{Bearer, Statistics};

use super::{
    SMS_TAKES,
    acts::{Compared, Stage},
    cast::{Embodiment, Mode, role},
};
use crate::{
    demo::books::CardBook,
    smsc::SmscHandle,
    table::{Table, thousands},
};

/// What the demonstration showed.
pub struct Report {
    /// The tables, for a person.
    pub text: String,
    pub cards: usize,
    pub identical: usize,
}

impl Report {
    pub fn new(stage: &Stage, smsc: &SmscHandle, compared: &Compared, restored: usize, took: Duration) -> Self {
        // In: to the centre; out: to cards. Lost cards had their part in it, so what they did is counted.
        let mut books = Table::new(&COLUMNS);
        for embodiment in Embodiment::ALL {
            for mode in Mode::ALL {
                for bearer in [Bearer::Sms, Bearer::Ip] {
                    if let Some(row) = row(stage, embodiment, mode, bearer) {
                        books.row(row);
                    }
                }
            }
        }
        let facts = facts(stage, smsc, restored, took);
        let verdict = format!("identical {} of {}", compared.identical, compared.cards);
        let differences: String = compared.differences.iter().take(SHOWN_MAX).map(|line| format!("{line}\n")).collect();
        let text = format!("{}\n\n{}\n\n{differences}{verdict}", books.render(), facts.render());
        Self { text, cards: compared.cards, identical: compared.identical }
    }

    /// Every card holds what its book says.
    #[must_use]
    pub fn is_identical(&self) -> bool {
        self.identical == self.cards && self.cards > 0
    }
}

const COLUMNS: [&str; 11] = [
    "card",
    "backs up",
    "by",
    "books",
    "records",
    "stored",
    "restored",
    "messages",
    "a book",
    "answers",
    "phone blocked",
];

/// The cards of one profile that back up one way on one bearer; `None`: there are none.
fn row(stage: &Stage, embodiment: Embodiment, mode: Mode, bearer: Bearer) -> Option<[String; COLUMNS.len()]> {
    let is_wanted = |at: usize| {
        let role = u32::try_from(at).map(role);
        role.is_ok_and(|role| (role.embodiment, role.mode, role.bearer) == (embodiment, mode, bearer))
    };
    let phones: Vec<_> = stage.phones.iter().enumerate().filter(|(at, _)| is_wanted(*at)).collect();
    if phones.is_empty() {
        return None;
    }
    let records: usize = phones.iter().map(|(_, phone)| phone.with(CardBook::read).len()).sum();
    let sum = |value: fn(&Statistics) -> u64| stage.sum(is_wanted, value);
    let messages = sum(|statistics| statistics.sms_sent + statistics.ip_sent);
    let (by, blocked) = match bearer {
        Bearer::Sms => ("SMS", seconds(stage.longest_blocked(is_wanted))),
        // The phone is not asked to send anything but short messages.
        Bearer::Ip => ("IP", "–".to_owned()),
    };
    Some([
        embodiment.name().to_owned(),
        mode.name().to_owned(),
        by.to_owned(),
        thousands(phones.len() as u64),
        thousands(records as u64),
        thousands(sum(|statistics| statistics.records_backed_up)),
        thousands(sum(|statistics| statistics.records_restored)),
        thousands(messages),
        thousands(messages / (phones.len() as u64).max(1)),
        thousands(sum(|statistics| statistics.sms_received + statistics.ip_received)),
        blocked,
    ])
}

/// What is not of one kind of card alone.
fn facts(stage: &Stage, smsc: &SmscHandle, restored: usize, took: Duration) -> Table {
    let counters = smsc.counters();
    let mut latencies = stage.fleet.latencies();
    latencies.sort_unstable();
    let mut facts = Table::new(&["what", "how much"]);
    facts.row(["short messages in, answered after the commit", &thousands(counters.mo_acked)]);
    facts.row(["short messages out", &thousands(counters.mt_delivered)]);
    let times = [0.5, 0.95, 0.99].map(|share| milliseconds(quantile(&latencies, share)));
    facts.row(["deliver_sm to its response, p50 / p95 / p99", &times.join(" / ")]);
    let blocked = [Mode::Asynchronous, Mode::Normal].map(|mode| {
        stage.longest_blocked(|at| {
            u32::try_from(at).is_ok_and(|at| (role(at).mode, role(at).bearer) == (mode, Bearer::Sms))
        })
    });
    if blocked.iter().all(|blocked| !blocked.is_zero()) {
        let told = blocked.map(seconds).join(" / ");
        facts.row(["longest a phone was blocked, asynchronous / normal mode", &told]);
    }
    facts.row(["cards lost and replaced (counted above too)", &restored.to_string()]);
    let clock = format!("{} times ours; an SMS takes {}", stage.options.speed, seconds(SMS_TAKES));
    facts.row(["the phones' clock", &clock]);
    facts.row(["the whole run", &format!("{:.0} s", took.as_secs_f64())]);
    facts
}

/// Differing cards that are named.
const SHOWN_MAX: usize = 10;

/// The value below which `share` of the sorted values lie.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn seconds(span: Duration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}

fn milliseconds(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1000.0)
}
