//! Launch system (SC-OC-02): one task takes every launch, gives it to a link, and answers it with what the SMSC said.
//!
//! A launch that no link can take waits in a bounded queue, at most for [`Launcher::hold`], then it is answered
//! "temporary": nothing is kept here that a better placed launcher could send.

use std::{collections::VecDeque, time::Duration};

use net::smpp::{Completion, CompletionSender, SubmitError};
use proto::outbound::{Accepted, Launch, LaunchResult, Permanent, Temporary, Unknown, launch_result::Outcome};
use rpc::stream::{Answer, Job};
use runtime::mask::Number;
use smpp::CommandStatus;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    pool::Pool,
    verdict::{Verdict, verdict},
};

/// A launch and the way to answer it.
pub type LaunchJob = Job<rpc::stream::Launch>;

/// The task's state.
pub struct Launcher {
    pool: Pool,
    /// How long a launch may wait for a link.
    hold: Duration,
    /// After what time a launch that was refused for now may come again.
    retry_after: Duration,
    waiting: VecDeque<Waiting>,
    submitted: Vec<Option<Submitted>>,
    free: Vec<usize>,
    completions: CompletionSender,
}

struct Waiting {
    job: LaunchJob,
    until: Instant,
}

/// A message that awaits its `submit_sm_resp`.
struct Submitted {
    answer: Answer<rpc::stream::Launch>,
    link: usize,
    msisdn: String,
}

/// Jobs or completions taken in one turn.
const TAKEN_MAX: usize = 128;
/// Launches that wait for a link; beyond it nothing more is taken from the streams.
const WAITING_MAX: usize = 20_000;
/// A link that comes back is seen after this time.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Launcher {
    /// `completions`' other end goes to [`Self::run`].
    pub fn new(pool: Pool, hold: Duration, retry_after: Duration, completions: CompletionSender) -> Self {
        Self { pool, hold, retry_after, waiting: VecDeque::new(), submitted: Vec::new(), free: Vec::new(), completions }
    }

    /// Runs until no stream is left and everything is answered.
    pub async fn run(mut self, mut jobs: mpsc::Receiver<LaunchJob>, mut done: mpsc::UnboundedReceiver<Completion>) {
        let mut taken = Vec::with_capacity(TAKEN_MAX);
        let mut completed = Vec::with_capacity(TAKEN_MAX);
        let mut open = true;
        while open || !self.waiting.is_empty() || self.submitted.len() > self.free.len() {
            let wake = self.launch_waiting();
            let under_way = self.submitted.len() > self.free.len();
            tokio::select! {
                _ = done.recv_many(&mut completed, TAKEN_MAX), if under_way => {
                    let now = Instant::now();
                    completed.drain(..).for_each(|completion| self.complete(completion, now));
                }
                count = jobs.recv_many(&mut taken, TAKEN_MAX), if open && self.waiting.len() < WAITING_MAX => {
                    open = count > 0;
                    let until = Instant::now() + self.hold;
                    self.waiting.extend(taken.drain(..).map(|job| Waiting { job, until }));
                }
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// Gives what waits to links, in order; returns when to look again if something is left.
    fn launch_waiting(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while let Some(front) = self.waiting.front() {
            let (over, msisdn) = (front.until <= now, &front.job.message.msisdn);
            if let Some(rest) = self.pool.rests(msisdn, now) {
                self.refuse_front("ESME_RMSGQFUL of late", rest);
                continue;
            }
            match self.pool.take(now) {
                Some(link) => {
                    let Some(Waiting { job, .. }) = self.waiting.pop_front() else { break };
                    self.submit(job, link);
                }
                None if over => self.refuse_front("no link can take it", self.retry_after),
                None => {
                    let turn = self.pool.next_turn(now).unwrap_or(now + LOOK_AGAIN);
                    return Some(turn.min(front.until).min(now + LOOK_AGAIN));
                }
            }
        }
        None
    }

    fn refuse_front(&mut self, cause: &str, after: Duration) {
        if let Some(Waiting { job, .. }) = self.waiting.pop_front() {
            job.answer.send(temporary(cause, after));
        }
    }

    /// Hands the message to the link whose place was taken.
    fn submit(&mut self, job: LaunchJob, link: usize) {
        let Job { message: launch, answer } = job;
        let Some(member) = self.pool.member(link) else { return };
        let message = match member.template.submit(&launch) {
            Ok(message) => message,
            Err(unfit) => {
                member.counters.permanent.increment(1);
                self.pool.give_back(link);
                return answer.send(permanent(&unfit.to_string()));
            }
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.submitted.push(None);
            self.submitted.len() - 1
        });
        // A usize fits 64 bits wherever this runs.
        if member.submit(message, place as u64, &self.completions) {
            log_submitted(&launch, &member.smsc);
            if let Some(slot) = self.submitted.get_mut(place) {
                *slot = Some(Submitted { answer, link, msisdn: launch.msisdn });
            }
        } else {
            self.free.push(place);
            self.pool.give_back(link);
            answer.send(temporary("the link is gone", LOOK_AGAIN));
        }
    }

    fn complete(&mut self, completion: Completion, now: Instant) {
        let Ok(place) = usize::try_from(completion.token) else { return };
        let Some(Submitted { answer, link, msisdn }) = self.submitted.get_mut(place).and_then(Option::take) else {
            return;
        };
        self.free.push(place);
        self.pool.give_back(link);
        let outcome = match completion.outcome {
            Ok(accepted) => {
                self.pool.accepted(link, now);
                let bearer_message_id = String::from_utf8_lossy(accepted.message_id.as_bytes()).into_owned();
                let link = self.pool.member(link).map_or_else(String::new, |member| member.smsc.clone());
                outcome(Outcome::Accepted(Accepted { link, bearer_message_id }))
            }
            Err(SubmitError::Refused(status)) => self.refused(status, link, msisdn, now),
            Err(SubmitError::Encode(error)) => permanent(&error.to_string()),
            // Certainly not sent.
            Err(error @ SubmitError::NotBound) => temporary(&error.to_string(), LOOK_AGAIN),
            // The SMSC may have it: submitted again, it would be there twice (D-117).
            Err(error) => outcome(Outcome::Unknown(Unknown { cause: error.to_string() })),
        };
        self.count(link, &outcome);
        answer.send(outcome);
    }

    fn refused(&mut self, status: CommandStatus, link: usize, msisdn: String, now: Instant) -> LaunchResult {
        let cause = status.to_string();
        match verdict(status) {
            Verdict::Throttled => {
                let pause = self.pool.throttled(link, now);
                temporary(&cause, pause)
            }
            Verdict::QueueFull => {
                self.pool.rest(msisdn, now, self.retry_after);
                temporary(&cause, self.retry_after)
            }
            Verdict::Temporary => temporary(&cause, self.retry_after),
            Verdict::Permanent => {
                tracing::debug!(msisdn = %Number(&msisdn), cause, "refused for good");
                permanent(&cause)
            }
        }
    }

    fn count(&self, link: usize, result: &LaunchResult) {
        let Some(counters) = self.pool.member(link).map(|member| &member.counters) else { return };
        match &result.outcome {
            Some(Outcome::Accepted(_)) => counters.accepted.increment(1),
            Some(Outcome::Permanent(_)) => counters.permanent.increment(1),
            Some(Outcome::Unknown(_)) => counters.unanswered.increment(1),
            Some(Outcome::Temporary(_)) | None => counters.temporary.increment(1),
        }
    }
}

/// One line per message, with the trace of every backup that it answers.
fn log_submitted(launch: &Launch, smsc: &str) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        let traces: Vec<String> = launch
            .trace_ids
            .iter()
            .filter_map(|trace| runtime::TraceId::from_slice(trace))
            .map(|trace| trace.to_string())
            .collect();
        let octets = launch.payload.len();
        tracing::debug!(msisdn = %Number(&launch.msisdn), smsc, octets, traces = traces.join(" "), "submitted");
    }
}

fn outcome(outcome: Outcome) -> LaunchResult {
    LaunchResult { id: 0, outcome: Some(outcome) }
}

fn temporary(cause: &str, after: Duration) -> LaunchResult {
    let after_millis = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
    outcome(Outcome::Temporary(Temporary { cause: cause.to_owned(), after_millis, not_reachable: false }))
}

fn permanent(cause: &str) -> LaunchResult {
    outcome(Outcome::Permanent(Permanent { cause: cause.to_owned() }))
}
