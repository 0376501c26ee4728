//! Delivery receipts (D-122): recognised by their `esm_class`, reported to an inbound data processor.
//!
//! A receipt may overtake the commit of its `submit_sm_resp`: one that matches nothing yet is answered at once, held in
//! bounded memory and reported again for [`HOLD_MAX`]. One that cannot be reported is left to the SMSC. Alerts go the same
//! way (D-128).

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use metrics::Counter;
use net::smpp::{AnswerToken, LinkHandle};
use proto::inbound::{ReportDeliveryRequest, inbound_data_client::InboundDataClient, report_delivery_request::State};
use smpp::{CommandStatus, DeliverSm, Receipt, receipt::Stat};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{
    header::{self, LinkFacts},
    names,
};

/// A receipt that matches nothing is reported again for so long.
pub const HOLD_MAX: Duration = Duration::from_secs(30);
/// Receipts that may be held; beyond it they stay with the SMSC.
const HELD_MAX: usize = 20_000;
/// Receipts that wait for their first report.
const QUEUE_MAX: usize = 4096;
/// Reports under way.
const REPORTS_MAX: usize = 64;
/// For one report.
const DEADLINE: Duration = Duration::from_secs(2);
/// Before the second report; doubled each time, up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What a receipt says; `None` when it names no message. `smsc` is where its message id was given.
#[must_use]
pub fn read(message: &DeliverSm, smsc: &str, at_micros: i64) -> Option<ReportDeliveryRequest> {
    let text = Receipt::parse(message.payload());
    let id = message
        .tlvs
        .receipted_message_id()
        .filter(|id| !id.is_empty())
        .map(|id| String::from_utf8_lossy(id).into_owned())
        .or_else(|| text.as_ref().map(|text| text.id.clone()))?;
    let stat =
        message.tlvs.message_state().map(Stat::from_message_state).or_else(|| text.as_ref().map(|text| text.stat))?;
    let error = text.map(|text| text.err).filter(|error| !error.is_empty() && error != "000");
    let cause = error.map_or_else(|| stat.as_str().to_owned(), |error| format!("{} err {error}", stat.as_str()));
    Some(ReportDeliveryRequest {
        link: smsc.to_owned(),
        bearer_message_id: id,
        state: state(stat).into(),
        cause,
        at_micros,
        ..ReportDeliveryRequest::default()
    })
}

fn state(stat: Stat) -> State {
    match stat {
        Stat::Delivered => State::Delivered,
        Stat::Enroute | Stat::Accepted | Stat::Unknown => State::Temporary,
        Stat::Expired => State::Expired,
        Stat::Deleted | Stat::Undeliverable | Stat::Rejected => State::Failed,
    }
}

/// Where links hand receipts over; cheap to clone. The task ends when every clone is gone and all is reported.
#[derive(Clone)]
pub struct Receipts {
    queue: mpsc::Sender<Fresh>,
    counters: Counters,
}

#[derive(Clone)]
struct Counters {
    matched: Counter,
    held: Counter,
    unmatched: Counter,
    unreadable: Counter,
    full: Counter,
    unreachable: Counter,
}

/// What was not reported yet.
struct Fresh {
    report: ReportDeliveryRequest,
    /// How the SMSC gets the answer that it awaits; none for an alert.
    answer: Option<(LinkHandle, AnswerToken)>,
}

impl Fresh {
    fn answer(self, status: CommandStatus) {
        if let Some((link, token)) = self.answer {
            link.respond_deliver(token, status);
        }
    }
}

/// A receipt that matched nothing so far.
struct Held {
    report: ReportDeliveryRequest,
    since: Instant,
    pause: Duration,
}

enum Reported {
    Fresh(Fresh, Result<bool, tonic::Status>),
    Held(Held, Result<bool, tonic::Status>),
}

impl Receipts {
    /// Starts the task that reports.
    #[must_use]
    pub fn start(inbound_data: rpc::Balancer) -> (Self, JoinHandle<()>) {
        let counter = |outcome: &'static str| metrics::counter!(names::RECEIPTS, "outcome" => outcome);
        let counters = Counters {
            matched: counter("matched"),
            held: counter("held"),
            unmatched: counter("unmatched"),
            unreadable: counter("unreadable"),
            full: counter("full"),
            unreachable: counter("unreachable"),
        };
        let (queue, fresh) = mpsc::channel(QUEUE_MAX);
        let reporter = Reporter {
            inbound_data,
            counters: counters.clone(),
            held: BTreeMap::new(),
            serial: 0,
            calls: FuturesUnordered::new(),
        };
        let task = tokio::spawn(reporter.run(fresh));
        (Self { queue, counters }, task)
    }

    /// Reports it and answers the SMSC; a full queue says "later".
    pub fn take(&self, report: ReportDeliveryRequest, link: LinkHandle, token: AnswerToken) {
        self.queue(Fresh { report, answer: Some((link, token)) });
    }

    /// Reports that a phone can be reached again (D-128). The SMSC awaits no answer and sends it once: what cannot be reported
    /// is lost, and the card's next message does the same.
    pub fn alert(&self, source: &smpp::Address, facts: &LinkFacts, at_micros: i64) {
        let report = ReportDeliveryRequest {
            link: facts.link.clone(),
            state: State::Reachable.into(),
            at_micros,
            address: Some(header::address(source)),
            country_code: facts.country_code.clone(),
            ..ReportDeliveryRequest::default()
        };
        self.queue(Fresh { report, answer: None });
    }

    fn queue(&self, fresh: Fresh) {
        if let Err(mpsc::error::TrySendError::Full(fresh) | mpsc::error::TrySendError::Closed(fresh)) =
            self.queue.try_send(fresh)
        {
            self.counters.full.increment(1);
            fresh.answer(CommandStatus::ESME_RX_T_APPN);
        }
    }

    /// Counts a receipt that names no message.
    pub fn unreadable(&self) {
        self.counters.unreadable.increment(1);
    }
}

struct Reporter {
    inbound_data: rpc::Balancer,
    counters: Counters,
    /// By the time of the next report, and a number that tells equal times apart.
    held: BTreeMap<(Instant, u64), Held>,
    serial: u64,
    calls: FuturesUnordered<BoxFuture<'static, Reported>>,
}

impl Reporter {
    async fn run(mut self, mut fresh: mpsc::Receiver<Fresh>) {
        let mut open = true;
        loop {
            let now = Instant::now();
            // Without links nothing waits for its time: one last try each.
            while self.calls.len() < REPORTS_MAX
                && let Some(entry) = self.held.first_entry().filter(|entry| entry.key().0 <= now || !open)
            {
                let held = entry.remove();
                self.report_held(held);
            }
            let due = self.held.first_key_value().map(|((due, _), _)| *due);
            let room = self.calls.len() < REPORTS_MAX;
            tokio::select! {
                Some(reported) = self.calls.next(), if !self.calls.is_empty() => self.settle(reported, open),
                next = fresh.recv(), if open && room => match next {
                    Some(fresh) => self.report_fresh(fresh),
                    None => open = false,
                },
                () = sleep_until(due.unwrap_or(now)), if due.is_some() && room => {}
                else => return,
            }
        }
    }

    fn report_fresh(&mut self, fresh: Fresh) {
        let call = report(self.inbound_data.clone(), fresh.report.clone());
        self.calls.push(Box::pin(async move { Reported::Fresh(fresh, call.await) }));
    }

    fn report_held(&mut self, held: Held) {
        let call = report(self.inbound_data.clone(), held.report.clone());
        self.calls.push(Box::pin(async move { Reported::Held(held, call.await) }));
    }

    fn settle(&mut self, reported: Reported, open: bool) {
        let now = Instant::now();
        match reported {
            Reported::Fresh(fresh, Ok(true)) => {
                self.counters.matched.increment(1);
                fresh.answer(CommandStatus::ESME_ROK);
            }
            // An alert of nobody's number: nothing to wait for.
            Reported::Fresh(Fresh { answer: None, .. }, Ok(false)) => self.counters.unmatched.increment(1),
            Reported::Fresh(fresh, Ok(false)) if self.held.len() < HELD_MAX => {
                self.counters.held.increment(1);
                let report = fresh.report.clone();
                fresh.answer(CommandStatus::ESME_ROK);
                self.hold(Held { report, since: now, pause: PAUSE_MIN }, now + PAUSE_MIN);
            }
            Reported::Fresh(fresh, outcome) => {
                let counter = if outcome.is_ok() { &self.counters.full } else { &self.counters.unreachable };
                counter.increment(1);
                fresh.answer(CommandStatus::ESME_RX_T_APPN);
            }
            Reported::Held(_, Ok(true)) => self.counters.matched.increment(1),
            Reported::Held(mut held, _) => {
                if !open || now >= held.since + HOLD_MAX {
                    self.counters.unmatched.increment(1);
                    tracing::debug!(
                        smsc = held.report.link,
                        id = held.report.bearer_message_id,
                        "a receipt matches nothing"
                    );
                    return;
                }
                held.pause = (held.pause * 2).min(PAUSE_MAX);
                let due = (now + held.pause).min(held.since + HOLD_MAX);
                self.hold(held, due);
            }
        }
    }

    fn hold(&mut self, held: Held, due: Instant) {
        self.serial += 1;
        self.held.insert((due, self.serial), held);
    }
}

async fn report(inbound_data: rpc::Balancer, report: ReportDeliveryRequest) -> Result<bool, tonic::Status> {
    if inbound_data.healthy().is_empty() {
        // Waiting for one would keep the other receipts waiting longer than their SMSC does.
        return Err(tonic::Status::unavailable("no inbound data processor is healthy"));
    }
    let call = |channel| {
        let report = report.clone();
        async move { InboundDataClient::new(channel).report_delivery(report).await }
    };
    inbound_data.call_with_retry(DEADLINE, call).await.map(|response| response.matched)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(body: &str) -> DeliverSm {
        let mut message = DeliverSm { esm_class: smpp::ESM_CLASS_DELIVERY_RECEIPT, ..DeliverSm::default() };
        message.set_payload(body.to_owned().into());
        message
    }

    #[test]
    fn receipts_are_read_from_text_and_from_parameters() {
        let text = "id:A17 sub:001 dlvrd:000 submit date:2411211034 done date:2411211035 stat:UNDELIV err:027 text:";
        let report = read(&receipt(text), "smsc", 5).expect("readable");
        assert_eq!((report.link.as_str(), report.bearer_message_id.as_str()), ("smsc", "A17"));
        assert_eq!((report.state(), report.cause.as_str(), report.at_micros), (State::Failed, "UNDELIV err 027", 5));

        let mut message = receipt("");
        assert_eq!(read(&message, "smsc", 0), None);
        message.tlvs.set_receipted_message_id(b"B9");
        message.tlvs.set_message_state(2);
        let report = read(&message, "smsc", 0).expect("readable");
        assert_eq!((report.bearer_message_id.as_str(), report.state()), ("B9", State::Delivered));
    }

    /// D-128: a simulated SMSC sends none, so this begins where the link hands it over.
    #[cfg(feature = "testing")]
    #[tokio::test]
    async fn an_alert_is_reported_once_with_what_names_its_number() {
        let data = crate::testing::FakeInboundData::start().await;
        data.match_receipts(false);
        let stop = tokio_util::sync::CancellationToken::new();
        let balancer = rpc::Balancer::new(data.endpoints(), stop.clone()).expect("an endpoint");
        crate::testing::eventually("it is healthy", || !balancer.healthy().is_empty()).await;
        let (receipts, task) = Receipts::start(balancer);
        let facts = LinkFacts { link: "north".to_owned(), country_code: "49".to_owned() };
        let source = smpp::Address::international("491721217212").expect("fits");
        receipts.alert(&source, &facts, 7);
        drop(receipts);
        task.await.expect("ends when all is reported");
        let reports = data.reports();
        let [report] = reports.as_slice() else { panic!("{reports:?}") };
        assert_eq!((report.state(), report.country_code.as_str(), report.at_micros), (State::Reachable, "49", 7));
        let address = report.address.as_ref().expect("an address");
        assert_eq!((address.ton, address.digits.as_str()), (1, "491721217212"));
        stop.cancel();
    }

    #[test]
    fn every_state_has_its_meaning() {
        let table = [
            (Stat::Enroute, State::Temporary),
            (Stat::Delivered, State::Delivered),
            (Stat::Expired, State::Expired),
            (Stat::Deleted, State::Failed),
            (Stat::Undeliverable, State::Failed),
            (Stat::Accepted, State::Temporary),
            (Stat::Unknown, State::Temporary),
            (Stat::Rejected, State::Failed),
        ];
        for (stat, expected) in table {
            assert_eq!(state(stat), expected);
        }
    }
}
