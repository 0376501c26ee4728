//! Two machines against each other: a fake clock, delay, cuts. Every message ends exactly once.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use smpp::{
    Bind, BindKind, CloseReason, Command, CommandStatus, Event, Input, Output, Role, Session, SessionConfig,
    ShortMessage, State, Text, Unanswered,
};

/// One end: its machine, the octets on the way to it, and what it heard.
pub struct End {
    pub session: Session,
    arriving: VecDeque<(Instant, Vec<u8>)>,
    pub events: VecDeque<Event>,
    pub closed: Option<CloseReason>,
}

/// Both ends and the network between them.
pub struct Pair {
    pub now: Instant,
    pub esme: End,
    pub smsc: End,
    /// From one end to the other.
    pub delay: Duration,
    /// Nothing arrives any more, and nobody is told.
    pub silent: bool,
    seed: u64,
}

impl Pair {
    pub fn new(config: SessionConfig) -> Self {
        let now = crate::origin();
        let end = |role| End {
            session: Session::new(role, config.clone(), now),
            arriving: VecDeque::new(),
            events: VecDeque::new(),
            closed: None,
        };
        Self {
            now,
            esme: end(Role::Esme),
            smsc: end(Role::Smsc),
            delay: Duration::from_millis(10),
            silent: false,
            seed: 1,
        }
    }

    pub fn bound(config: SessionConfig, kind: BindKind) -> Self {
        let mut pair = Self::new(config);
        pair.esme.session.command(Command::Bind(kind, Bind::default()), pair.now).unwrap();
        pair.run(Duration::from_millis(50));
        assert!(matches!(pair.smsc.events.pop_front(), Some(Event::BindRequested { .. })));
        let answer = Command::AnswerBind { status: CommandStatus::ESME_ROK, system_id: Text::new("smsc").unwrap() };
        pair.smsc.session.command(answer, pair.now).unwrap();
        pair.run(Duration::from_millis(50));
        assert!(matches!(pair.smsc.events.pop_front(), Some(Event::Bound { .. })));
        assert!(matches!(pair.esme.events.pop_front(), Some(Event::Bound { interface_version: 0x34, .. })));
        pair
    }

    pub fn random(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % below
    }

    /// Lets the network and the timers work for `time`.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.exchange();
            let arrivals =
                [&self.esme, &self.smsc].into_iter().filter_map(|end| end.arriving.front().map(|(at, _)| *at));
            let timers = [&self.esme, &self.smsc].into_iter().filter_map(|end| end.session.next_timeout());
            let Some(next) = arrivals.chain(timers).min().filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            let now = self.now;
            for end in [&mut self.esme, &mut self.smsc] {
                while end.arriving.front().is_some_and(|(at, _)| *at <= now) {
                    let (_, octets) = end.arriving.pop_front().unwrap();
                    end.session.handle_input(Input::Bytes(&octets), now).unwrap();
                }
                if end.session.next_timeout().is_some_and(|due| due <= now) {
                    end.session.handle_input(Input::Tick, now).unwrap();
                }
            }
        }
        self.now = until;
    }

    pub fn exchange(&mut self) {
        for from_esme in [true, false] {
            let arrives = self.now + self.delay;
            let mut sent = Vec::new();
            let end = if from_esme { &mut self.esme } else { &mut self.smsc };
            while let Some(output) = end.session.poll_output() {
                match output {
                    Output::Transmit(octets) => sent.extend_from_slice(&octets),
                    Output::Event(event) => end.events.push_back(event),
                    Output::Close(reason) => end.closed = Some(reason),
                }
            }
            if self.silent {
                continue;
            }
            // TCP cuts where it likes.
            while !sent.is_empty() {
                let length = usize::try_from(self.random(40)).unwrap().clamp(1, sent.len());
                let rest = sent.split_off(length);
                let other = if from_esme { &mut self.smsc } else { &mut self.esme };
                other.arriving.push_back((arrives, sent));
                sent = rest;
            }
        }
    }

    /// The connection breaks: what is on the way is lost, and both ends notice.
    pub fn cut(&mut self) {
        for end in [&mut self.esme, &mut self.smsc] {
            end.arriving.clear();
            end.session.handle_input(Input::Closed, self.now).unwrap();
        }
        self.exchange();
    }
}

pub fn message() -> ShortMessage {
    ShortMessage { short_message: vec![7; 20].into(), ..ShortMessage::default() }
}

fn answer_requests(pair: &mut Pair, status: CommandStatus) -> usize {
    let mut count = 0;
    for end in [&mut pair.esme, &mut pair.smsc] {
        for event in std::mem::take(&mut end.events) {
            if let Event::Request { token, .. } = event {
                let answer = Command::Answer { request: token, status, message_id: Text::EMPTY };
                // After a cut there is nobody to answer.
                if end.session.command(answer, pair.now).is_ok() {
                    count += 1;
                }
            } else {
                end.events.push_back(event);
            }
        }
    }
    count
}

#[test]
fn bind_exchange_and_unbind() {
    let mut pair = Pair::bound(SessionConfig::default(), BindKind::Transceiver);
    assert_eq!((pair.esme.session.state(), pair.smsc.session.state()), (State::BoundTrx, State::BoundTrx));
    pair.esme.session.command(Command::Submit { token: 5, message: message() }, pair.now).unwrap();
    pair.smsc.session.command(Command::Deliver { token: 6, message: message() }, pair.now).unwrap();
    pair.run(Duration::from_millis(50));
    assert_eq!(answer_requests(&mut pair, CommandStatus::ESME_ROK), 2);
    pair.run(Duration::from_millis(50));
    assert!(matches!(
        pair.esme.events.pop_front(),
        Some(Event::Response { token: 5, status: CommandStatus::ESME_ROK, .. })
    ));
    assert!(matches!(pair.smsc.events.pop_front(), Some(Event::Response { token: 6, .. })));
    pair.esme.session.command(Command::Unbind, pair.now).unwrap();
    pair.run(Duration::from_millis(50));
    assert_eq!((pair.esme.closed, pair.smsc.closed), (Some(CloseReason::Unbound), Some(CloseReason::UnboundByPeer)));
    assert_eq!(pair.esme.events.pop_front(), Some(Event::Unbound { by_peer: false }));
    assert_eq!(pair.smsc.events.pop_front(), Some(Event::Unbound { by_peer: true }));
}

#[test]
fn a_refused_bind_closes_both_ends() {
    let mut pair = Pair::new(SessionConfig::default());
    pair.esme.session.command(Command::Bind(BindKind::Receiver, Bind::default()), pair.now).unwrap();
    pair.run(Duration::from_millis(50));
    let answer = Command::AnswerBind { status: CommandStatus::ESME_RINVPASWD, system_id: Text::EMPTY };
    pair.smsc.session.command(answer, pair.now).unwrap();
    pair.run(Duration::from_millis(50));
    let reason = Some(CloseReason::BindRefused(CommandStatus::ESME_RINVPASWD));
    assert_eq!((pair.esme.closed, pair.smsc.closed), (reason, reason));
}

#[test]
fn outbind_from_the_smsc_is_refused_by_us() {
    let mut pair = Pair::new(SessionConfig::default());
    pair.smsc.session.command(Command::Outbind(smpp::Outbind::default()), pair.now).unwrap();
    assert_eq!(pair.smsc.session.state(), State::Outbound);
    pair.run(Duration::from_millis(50));
    assert_eq!(pair.esme.session.state(), State::Open);
    assert_eq!(pair.esme.session.counters().wrong_state, 1);
    assert_eq!(pair.smsc.session.counters().unexpected_responses, 1);
}

#[test]
fn a_quiet_link_is_kept_alive_and_a_dead_one_left() {
    let mut pair = Pair::bound(SessionConfig::default(), BindKind::Transmitter);
    pair.run(Duration::from_secs(3600));
    assert_eq!((pair.esme.closed, pair.smsc.closed), (None, None));
    pair.silent = true;
    let silent_since = pair.now;
    pair.run(Duration::from_secs(45));
    assert_eq!(
        (pair.esme.closed, pair.smsc.closed),
        (Some(CloseReason::EnquireLinkTimeout), Some(CloseReason::EnquireLinkTimeout))
    );
    assert!(pair.now > silent_since);
}

#[test]
fn an_idle_link_is_unbound_when_so_configured() {
    let config = SessionConfig { inactivity_timeout: Some(Duration::from_secs(100)), ..SessionConfig::default() };
    let mut pair = Pair::bound(config, BindKind::Transceiver);
    pair.run(Duration::from_secs(99));
    assert_eq!(pair.esme.closed, None);
    pair.run(Duration::from_secs(5));
    assert!(pair.esme.closed.is_some() && pair.smsc.closed.is_some());
}

#[test]
fn who_never_binds_is_left() {
    let mut pair = Pair::new(SessionConfig::default());
    pair.run(Duration::from_secs(11));
    assert_eq!(pair.smsc.closed, Some(CloseReason::SessionInitTimeout));
}

#[test]
fn an_unanswered_message_times_out_and_the_link_stays() {
    let mut pair = Pair::bound(SessionConfig::default(), BindKind::Transmitter);
    pair.esme.session.command(Command::Submit { token: 1, message: message() }, pair.now).unwrap();
    pair.run(Duration::from_secs(11));
    assert_eq!(pair.esme.events.pop_front(), Some(Event::Unanswered { token: 1, reason: Unanswered::TimedOut }));
    // The answer that comes too late belongs to nobody.
    answer_requests(&mut pair, CommandStatus::ESME_ROK);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.esme.session.counters().unexpected_responses, 1);
    assert_eq!((pair.esme.closed, pair.esme.session.outstanding()), (None, 0));
}

#[test]
fn every_message_ends_once_through_load_delays_and_a_cut() {
    for seed in 1..30 {
        let config = SessionConfig { window_max: 10, inbound_window_max: 8, ..SessionConfig::default() };
        let mut pair = Pair::bound(config, BindKind::Transceiver);
        pair.seed = seed;
        let mut ended: HashMap<u64, u32> = HashMap::new();
        let mut sent = 0_u64;
        for step in 0..400 {
            if pair.random(3) > 0 && pair.esme.session.window_room() > 0 && pair.esme.session.state() == State::BoundTrx
            {
                pair.esme.session.command(Command::Submit { token: sent, message: message() }, pair.now).unwrap();
                sent += 1;
            }
            assert!(pair.esme.session.outstanding() <= 10 && pair.smsc.session.inbound_unanswered() <= 8);
            let time = Duration::from_millis(pair.random(30));
            pair.run(time);
            if pair.random(4) == 0 {
                answer_requests(&mut pair, CommandStatus::ESME_ROK);
            }
            if step == 350 {
                pair.cut();
            }
            for event in std::mem::take(&mut pair.esme.events) {
                if let Event::Response { token, .. } | Event::Unanswered { token, .. } = event {
                    *ended.entry(token).or_default() += 1;
                }
            }
        }
        assert!(sent > 50, "{sent}");
        assert_eq!(u64::try_from(ended.len()).unwrap(), sent, "seed {seed}");
        assert!(ended.values().all(|count| *count == 1), "seed {seed}");
    }
}
