//! What to do with an action whose turn may have come: an ordered one (restore, addressable restore, configuration,
//! control), or the message of an asynchronous backup, which waits for its time only. Pure.

use std::time::Duration;

use domain::{
    delivery::{Action, Content, Progress, RetryLadder, State, build},
    identity::Timestamp,
    phonebook::{AccountState, Bearer},
};

/// What to do.
#[derive(Debug)]
pub enum Decision {
    /// Over, not its turn, or not due: whatever changes that queues it again.
    Drop,
    /// Nothing (more) to launch, the ladder is exhausted, or the card is not served: the row becomes this.
    Settle(Action),
    Launch(Box<Launching>),
}

/// A launch that is decided; the row becomes `marked` before the message leaves.
#[derive(Debug)]
pub struct Launching {
    /// The action as it is should the launcher refuse: nothing in flight.
    pub before: Action,
    pub marked: Action,
    pub payload: Vec<u8>,
    /// What goes behind it, in order: the parts of a transfer's item.
    pub further: Vec<Vec<u8>>,
    /// Until the next attempt, so that the network never holds the message twice (D-117).
    pub validity: Duration,
}

/// Decides for an action as it was read, of an account in state `account`. `head`: it is the oldest open ordered one of its
/// device (SC-OD-10), or waits for no turn. `form`: what a message may be on this channel, for this device.
pub fn decide(
    action: &Action,
    account: AccountState,
    head: bool,
    channel: Bearer,
    form: build::Form,
    ladder: &RetryLadder,
    now: Timestamp,
) -> Decision {
    let launchable = matches!(action.state, State::Queued | State::Sent);
    let is_acknowledgement = matches!(action.content, Content::BackupAcknowledgement { .. });
    if !launchable || !head || action.due > now || is_acknowledgement {
        return Decision::Drop;
    }
    let ladder = &action.content.ladder(ladder);
    let mut before = action.clone();
    if let Some(cause) = not_served(account) {
        // Its card's answer would be refused (D-115), and the book would not learn of it.
        before.content.reopen();
        before.state = State::Waiting;
        cause.clone_into(&mut before.cause);
        return Decision::Settle(before);
    }
    if action.state == State::Sent {
        ladder.overdue(&mut before, "the card has not answered", now);
        if before.state != State::Queued {
            before.due = if before.state.is_open() { before.due } else { now };
            return Decision::Settle(before);
        }
    }
    before.content.reopen();
    before.channel = channel;
    let mut marked = before.clone();
    let mut messages = build::messages_within(&mut marked.content, form).into_iter();
    let Some(payload) = messages.next() else {
        marked.state = if marked.content.progresses().any(|progress| progress == Progress::Done) {
            State::Done
        } else {
            State::Failed
        };
        if marked.state == State::Failed {
            marked.cause = "no record of it can be sent: none fits a message and the card's files".to_owned();
        }
        marked.due = now;
        return Decision::Settle(marked);
    };
    // What was refused on the way stays refused, whatever becomes of the launch.
    before.content.refused_in(&marked.content);
    ladder.launched(&mut marked, None, now);
    let validity = ladder.validity(marked.attempts);
    Decision::Launch(Box::new(Launching { before, marked, payload, further: messages.collect(), validity }))
}

/// Why nothing is sent to the cards of such an account; it goes on when the account is active again.
fn not_served(account: AccountState) -> Option<&'static str> {
    match account {
        AccountState::Active => None,
        AccountState::Suspended => Some("the account is suspended"),
        AccountState::ServiceOff => Some("the account has its service off"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use domain::{
        delivery::{ActionId, RestoreRecord},
        identity::{DeviceId, DeviceKey, Msisdn, SubscriberId},
        phonebook::{EF_ADN, Profile},
    };
    use secured::bearer::Capacity;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
    const SMS: build::Form =
        build::Form { profile: Profile::E2, capacity: Capacity { single: 140, most: 140 }, is_compact: false };

    fn restore(records: u8, octets: usize) -> Action {
        let record = |record_number| RestoreRecord {
            monitor_index: 0,
            file: EF_ADN,
            record_number,
            data_offset: 0,
            data: vec![record_number; octets].into(),
            progress: Progress::Open,
        };
        Action {
            device: DeviceKey { subscriber: SubscriberId(1), device: DeviceId(2) },
            id: ActionId(3),
            content: Content::Restore { records: (1..=records).map(record).collect(), check_data: None },
            msisdn: Msisdn::parse("441234567").unwrap(),
            is_secured: false,
            channel: Bearer::Sms,
            state: State::Queued,
            attempts: 0,
            created: NOW,
            due: NOW,
            launched: None,
            receipt: None,
            cause: String::new(),
            traces: Vec::new(),
        }
    }

    fn plain(channel: Bearer) -> build::Form {
        build::Form { profile: Profile::E2, capacity: build::plain(channel), is_compact: false }
    }

    fn launching(action: &Action, channel: Bearer, now: Timestamp) -> Launching {
        match decide(action, AccountState::Active, true, channel, plain(channel), &RetryLadder::default(), now) {
            Decision::Launch(launching) => *launching,
            other => panic!("expected a launch, got {other:?}"),
        }
    }

    #[test]
    fn only_a_due_action_whose_turn_it_is_is_launched() {
        let ladder = RetryLadder::default();
        let decided =
            |action: &Action, head| decide(action, AccountState::Active, head, Bearer::Sms, SMS, &ladder, NOW);
        let dropped = |action: &Action, head| matches!(decided(action, head), Decision::Drop);
        let action = restore(1, 28);
        assert!(!dropped(&action, true));
        assert!(dropped(&action, false), "an older one is open");
        assert!(dropped(&Action { due: Timestamp(NOW.0 + 1), ..action.clone() }, true));
        for state in [State::Waiting, State::Done, State::Failed, State::Cancelled] {
            assert!(dropped(&Action { state, ..action.clone() }, true));
        }
    }

    /// Covers: SC-OD-05, SC-OD-08
    #[test]
    fn a_message_takes_what_its_channel_carries_and_the_row_waits_for_the_answer() {
        let action = restore(100, 28);
        let sms = launching(&action, Bearer::Sms, NOW);
        assert_eq!(sms.payload.len(), 1 + 4 * 30);
        assert_eq!(launching(&action, Bearer::Ip, NOW).payload.len(), 1 + 100 * 30);
        assert_eq!((sms.marked.state, sms.marked.attempts), (State::Sent, 1));
        assert_eq!(sms.marked.due, NOW.plus(Duration::from_secs(300)));
        assert_eq!(sms.validity, Duration::from_secs(300), "the network forgets it when it is sent again");
        assert_eq!(sms.before, action);
    }

    /// Covers: SC-ID-13
    #[test]
    fn silence_repeats_the_same_records_at_growing_intervals_and_then_waits_for_the_card() {
        let mut action = restore(6, 28);
        let mut now = NOW;
        let mut intervals = Vec::new();
        let first = launching(&action, Bearer::Sms, now);
        let payload = first.payload;
        action = first.marked;
        for _ in 1..12 {
            intervals.push(action.due.since(now).as_secs() / 60);
            now = action.due;
            let again = launching(&action, Bearer::Sms, now);
            assert_eq!(again.payload, payload);
            action = again.marked;
        }
        intervals.push(action.due.since(now).as_secs() / 60);
        assert_eq!(intervals, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440, 1440]);
        match decide(&action, AccountState::Active, true, Bearer::Sms, SMS, &RetryLadder::default(), action.due) {
            Decision::Settle(settled) => assert_eq!(settled.state, State::Waiting),
            other => panic!("expected waiting, got {other:?}"),
        }
    }

    /// Covers: AS-V1-10
    #[test]
    fn a_resume_message_is_repeated_after_120_240_and_480_seconds_and_then_suspended() {
        let message = Bytes::from_static(&[0xA2, 7, 10, 1, 4, 10]);
        let mut action = Action { content: Content::Asynchronous { message: message.clone() }, ..restore(1, 28) };
        assert!(matches!(
            decide(
                &action,
                AccountState::Active,
                true,
                Bearer::Sms,
                SMS,
                &RetryLadder::default(),
                Timestamp(NOW.0 - 1)
            ),
            Decision::Drop
        ));
        let mut waits = Vec::new();
        let mut now = NOW;
        for _ in 0..4 {
            let launching = launching(&action, Bearer::Sms, now);
            assert_eq!(launching.payload, message);
            action = launching.marked;
            assert_eq!(launching.validity, action.due.since(now), "the network never holds it twice");
            waits.push(action.due.since(now).as_secs());
            now = action.due;
        }
        assert_eq!(waits, [120, 240, 480, 480]);
        match decide(&action, AccountState::Active, true, Bearer::Sms, SMS, &RetryLadder::default(), now) {
            Decision::Settle(settled) => assert_eq!(settled.state, State::Waiting),
            other => panic!("expected suspended, got {other:?}"),
        }
    }

    #[test]
    fn a_card_that_is_not_served_is_sent_nothing_and_nothing_is_counted() {
        for account in [AccountState::Suspended, AccountState::ServiceOff] {
            let sent = launching(&restore(2, 28), Bearer::Sms, NOW).marked;
            let early = decide(&sent, account, true, Bearer::Sms, SMS, &RetryLadder::default(), NOW);
            assert!(matches!(early, Decision::Drop), "its answer may be on the way: {early:?}");
            for action in [restore(2, 28), sent] {
                let decided = decide(&action, account, true, Bearer::Sms, SMS, &RetryLadder::default(), action.due);
                let Decision::Settle(parked) = decided else { panic!("expected waiting, got {decided:?}") };
                assert_eq!((parked.state, parked.attempts), (State::Waiting, action.attempts));
                assert!(!parked.cause.is_empty() && parked.content.progresses().all(Progress::is_to_launch));
            }
        }
    }

    #[test]
    fn a_repeat_sends_only_what_the_card_has_not_taken() {
        let mut action = restore(3, 28);
        if let Content::Restore { records, .. } = &mut action.content {
            records[0].progress = Progress::Done;
            records[2].progress = Progress::Failed(2);
        }
        assert_eq!(launching(&action, Bearer::Sms, NOW).payload[..3], [0x18, 0, 2]);
    }

    /// Covers: SC-OD-09
    #[test]
    fn a_record_too_long_is_refused_and_the_others_go() {
        let mut action = restore(2, 28);
        if let Content::Restore { records, .. } = &mut action.content {
            records[0].data = vec![1; 138].into();
        }
        let launching = launching(&action, Bearer::Sms, NOW);
        assert_eq!(launching.payload.len(), 31);
        let Content::Restore { records, .. } = &launching.before.content else { panic!("still a restore") };
        assert_eq!((records[0].progress, records[1].progress), (Progress::Failed(3), Progress::Open));
        match decide(&restore(1, 138), AccountState::Active, true, Bearer::Sms, SMS, &RetryLadder::default(), NOW) {
            Decision::Settle(settled) => assert_eq!(settled.state, State::Failed),
            other => panic!("expected failed, got {other:?}"),
        }
    }
}
