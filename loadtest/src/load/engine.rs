//! The one task that holds all cards.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use link::{message::Message, monitor::MonitorTable, pid::MessageType};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{Command, Counts, FIRST_MSISDN, Pace, Report, Worked, records_of, report::count};
use crate::{
    load_card::{LoadCard, monitor_table},
    smsc::{Delivered, DeliveredSender, Delivery, MobileOriginated, MobileTerminated, Number, SmscHandle},
    topology::CENTRE_NUMBER,
};

/// Taken from each channel in one turn.
const TURN_MAX: usize = 1024;
/// How often a rate is followed.
const TICK: Duration = Duration::from_millis(1);
/// TP-DCS of backup messages: 8-bit, class 2.
const DATA_CODING: u8 = 0xF6;

/// A card and where its message stands.
struct Station {
    card: LoadCard,
    sent: u32,
    /// Not answered by the centre.
    unanswered: bool,
    /// Records of the message that are not acknowledged yet, one bit each.
    unacknowledged: u8,
    offered_at: Instant,
}

pub(super) struct Engine {
    smsc: SmscHandle,
    stations: Vec<Station>,
    records: u8,
    /// Cards with nothing under way, longest at rest first.
    idle: VecDeque<usize>,
    pace: Pace,
    /// From when a rate counts, and messages since.
    paced_since: Instant,
    paced: u64,
    unanswered: usize,
    counts: Arc<Counts>,
    report: Report,
    monitor: MonitorTable,
    centre: Number,
}

impl Engine {
    pub fn new(smsc: SmscHandle, count: usize, records: u8, counts: Arc<Counts>) -> Self {
        let now = Instant::now();
        let station = |msisdn| Station {
            card: LoadCard::new(msisdn, records),
            sent: 0,
            unanswered: false,
            unacknowledged: 0,
            offered_at: now,
        };
        Self {
            smsc,
            stations: (FIRST_MSISDN..).take(count).map(station).collect(),
            records,
            idle: (0..count).collect(),
            pace: Pace::Stopped,
            paced_since: now,
            paced: 0,
            unanswered: 0,
            counts,
            report: Report::default(),
            monitor: monitor_table(records),
            centre: Number::new(CENTRE_NUMBER).unwrap_or_default(),
        }
    }

    pub async fn run(
        mut self,
        mut phones: mpsc::Receiver<MobileTerminated>,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) {
        let (ends, mut ends_end) = mpsc::unbounded_channel();
        let (mut end_batch, mut phone_batch) = (Vec::new(), Vec::new());
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // False once the simulator is gone.
        let mut phoned = true;
        loop {
            let is_rate = matches!(self.pace, Pace::Rate { .. });
            tokio::select! {
                _ = ends_end.recv_many(&mut end_batch, TURN_MAX) => {}
                count = phones.recv_many(&mut phone_batch, TURN_MAX), if phoned => phoned = count > 0,
                _ = tick.tick(), if is_rate => {}
                command = commands.recv() => match command {
                    Some(Command::Pace(pace)) => self.set_pace(pace),
                    Some(Command::Report(sender)) => drop(sender.send(self.take_report())),
                    Some(Command::End(sender)) => return drop(sender.send(self.into_cards())),
                    None => return,
                },
            }
            let now = Instant::now();
            for end in end_batch.drain(..) {
                self.answered(end, now);
            }
            for message in phone_batch.drain(..) {
                self.received(&message, now);
            }
            self.offer(&ends, now).await;
        }
    }

    fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
        self.paced_since = Instant::now();
        self.paced = 0;
    }

    fn take_report(&mut self) -> Report {
        let mut report = std::mem::take(&mut self.report);
        report.elapsed = report.since.elapsed();
        report
    }

    fn into_cards(self) -> Vec<Worked> {
        let worked = |station: Station| Worked {
            card: station.card,
            sent: station.sent,
            unanswered: station.unanswered,
            unacknowledged: station.unacknowledged != 0,
        };
        self.stations.into_iter().map(worked).collect()
    }

    /// As many messages as the pace allows now.
    async fn offer(&mut self, ends: &DeliveredSender, now: Instant) {
        let room = |window: usize, unanswered: usize| window.saturating_sub(unanswered);
        let wanted = match self.pace {
            Pace::Stopped => 0,
            Pace::Saturated { window } => room(window, self.unanswered),
            Pace::Rate { per_second, window_max } => {
                let due = per_second * now.saturating_duration_since(self.paced_since).as_secs_f64();
                whole(due - count(self.paced)).min(room(window_max, self.unanswered))
            }
        };
        for _ in 0..wanted {
            let Some(index) = self.idle.pop_front() else { return };
            let Some(station) = self.stations.get_mut(index) else { return };
            let payload = station.card.back_up(&records_of(station.sent, self.records));
            station.sent += 1;
            station.unanswered = true;
            station.unacknowledged = 0x0F;
            station.offered_at = now;
            let message = MobileOriginated {
                msisdn: Number::new(station.card.msisdn.to_string()).unwrap_or_default(),
                destination: self.centre,
                protocol_id: 0,
                data_coding: DATA_CODING,
                user_data_header: false,
                payload,
                message_reference: None,
            };
            self.unanswered += 1;
            self.paced += 1;
            self.counts.offered.fetch_add(1, Relaxed);
            self.smsc.offer(message, u64::try_from(index).unwrap_or(u64::MAX), ends).await;
        }
    }

    /// The centre's answer to a card's message.
    fn answered(&mut self, end: Delivered, now: Instant) {
        let Ok(index) = usize::try_from(end.token) else { return };
        let Some(station) = self.stations.get_mut(index) else { return };
        station.unanswered = false;
        self.unanswered = self.unanswered.saturating_sub(1);
        self.report.redelivered += u64::from(end.attempts > 1);
        self.report.redelivered_since += u64::from(end.attempts > 1 && station.offered_at >= self.report.since);
        if end.delivery == Delivery::Accepted {
            self.counts.accepted.fetch_add(1, Relaxed);
            self.report.accepted += 1;
            record(&mut self.report.answers, now.saturating_duration_since(station.offered_at));
            if station.unacknowledged == 0 {
                self.completed(index);
            }
        } else {
            // The card's book and the centre's part here: the comparison at the end names this card.
            self.counts.failed.fetch_add(1, Relaxed);
            self.report.failed += 1;
        }
    }

    /// A short message for a card.
    fn received(&mut self, message: &MobileTerminated, now: Instant) {
        self.counts.received.fetch_add(1, Relaxed);
        let digits = message.msisdn.as_str().and_then(|digits| digits.parse::<u64>().ok());
        let index = digits.and_then(|number| usize::try_from(number.checked_sub(FIRST_MSISDN)?).ok());
        let Some((index, station)) = index.and_then(|index| Some((index, self.stations.get_mut(index)?))) else {
            return;
        };
        let Ok(Message::BackupAcknowledgement { records }) = Message::decode(&message.payload, &self.monitor) else {
            tracing::warn!(first = message.payload.first(), wanted = ?MessageType::BackupAcknowledgement, "not an acknowledgement");
            return;
        };
        let before = station.unacknowledged;
        let current = records_of(station.sent.wrapping_sub(1), self.records);
        for record in records {
            if record.result != 0 {
                self.counts.refused_records.fetch_add(1, Relaxed);
            }
            if let Some(at) = current.iter().position(|number| *number == record.record_number) {
                station.unacknowledged &= !(1 << at);
            }
        }
        if before == station.unacknowledged {
            self.counts.repeats.fetch_add(1, Relaxed);
        } else if station.unacknowledged == 0 {
            self.counts.acknowledged.fetch_add(1, Relaxed);
            self.report.acknowledged += 1;
            let after = now.saturating_duration_since(station.offered_at);
            record(&mut self.report.acknowledgements, after);
            if station.offered_at >= self.report.since {
                self.report.acknowledged_within = self.report.acknowledged_within.max(after);
            }
            if !station.unanswered {
                self.completed(index);
            }
        }
    }

    fn completed(&mut self, index: usize) {
        self.counts.completed.fetch_add(1, Relaxed);
        self.idle.push_back(index);
    }
}

fn record(histogram: &mut hdrhistogram::Histogram<u64>, after: Duration) {
    histogram.saturating_record(u64::try_from(after.as_micros()).unwrap_or(u64::MAX));
}

/// The whole part of a number of messages; 0 below 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "float casts saturate, which is wanted")]
fn whole(number: f64) -> usize {
    number.max(0.0) as usize
}
