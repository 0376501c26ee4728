//! Blocks of an asynchronous backup (0xA1): stored at once, whatever their order, and the countdown to the next (AS-BL,
//! AS-V1 to AS-V3, D-81 to D-84). They belong to every profile (D-50).
//!
//! The action of a session is one row: its message names what is missing and its due time is the countdown, so that both
//! are as new as the last block. It becomes the final acknowledgement when nothing is missing.

use std::time::Duration;

use bytes::Bytes;
use link::{
    asynchronous::{Message, Variant},
    monitor::MonitorRow,
    reason::Reason,
};

use super::{Context, Effects, Incoming, Step, Verdict, backup, counted, malformed, new_action, record_message};
use crate::{
    asynchronous::{SESSIONS_MAX, Session, State},
    delivery::{Action, Content, QueueEntry, State as ActionState},
    identity::{Msisdn, Timestamp},
    phonebook::{
        Card, DeviceView, EF_ADN, EF_EXT1, FilePath, PHONE_MEMORY, PageKey, Pages, RecordChange, Source, page,
    },
};

/// A countdown that began, for the log (AS-V1-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Countdown {
    pub msisdn: Msisdn,
    pub session: u8,
    /// Blocks.
    pub received: usize,
    pub total: u8,
    /// When the next message is due.
    pub next: Timestamp,
}

/// A repeat of the last block this long after the end shows that the card has missed the final message; sooner it is the
/// network's (AS-V1-05: exactly one).
const FINAL_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Pages of the records in the blocks.
pub(super) fn pages_needed(blocks: &[Bytes], view: &DeviceView, keys: &mut Vec<PageKey>) {
    for block in blocks {
        let Some((file, record_number, _)) = place(block) else { continue };
        keys.extend(PageKey::of(view.device.key, file, record_number).map(|(key, _)| key));
    }
}

pub(super) fn apply(
    incoming: &Incoming,
    message: Message,
    hash: u64,
    card: &mut Card,
    pages: &mut Pages,
    context: Context<'_>,
    effects: &mut Effects,
) -> Verdict {
    counted(incoming, card);
    let Message::Blocks { session, total, first, variant, delay_seconds, blocks } = message else {
        let what = "resume and final messages are the centre's".to_owned();
        return malformed(incoming, card, Reason::Unsupported, what, effects);
    };
    let mut step = Step { incoming, card, pages, context, effects, records: Vec::new(), source: Source::Backup };
    let mut followed = step.session(session, total);
    followed.variant = variant;
    followed.delay_seconds = delay_seconds;
    match followed.state {
        State::Receiving => {
            let before = followed.count();
            step.blocks(&mut followed, first, &blocks);
            // A repeat does not put off what is due.
            if followed.count() > before || !step.is_counting(session) {
                step.follow(&mut followed);
            }
        }
        State::Complete if step.is_latest(session) => {
            step.blocks(&mut followed, first, &blocks);
            if context.now.since(followed.updated) >= FINAL_AGAIN_AFTER {
                followed.updated = context.now;
                step.end(&mut followed);
            }
        }
        // A newer backup has the newer data.
        State::Complete | State::Replaced => {}
    }
    step.keep(followed);
    let Step { records, source, .. } = step;
    record_message(hash, records, source, Bytes::new(), card, context, effects);
    Verdict::stored()
}

impl Step<'_, '_> {
    /// The session as it was, or a new one, which ends the open ones of its side and their countdowns.
    fn session(&mut self, number: u8, total: u8) -> Session {
        let known = self.card.view.state.sessions.iter().rev().find(|it| it.number == number && it.total == total);
        if let Some(known) = known {
            return known.clone();
        }
        let mut replaced = Vec::new();
        for old in &mut self.card.view.state.sessions {
            if old.is_beside(number) && old.state == State::Receiving {
                old.state = State::Replaced;
                old.next = None;
                replaced.push(old.number);
            }
        }
        let of_replaced = |action: &&Action| action.content.session().is_some_and(|it| replaced.contains(&it));
        let ended: Vec<Action> = self.card.open.iter().filter(of_replaced).cloned().collect();
        for mut action in ended.into_iter().filter(|action| !action.content.ends_by_leaving()) {
            action.state = ActionState::Cancelled;
            "the device has begun another backup".clone_into(&mut action.cause);
            self.put(action);
        }
        self.card.view.state.sessions.retain(|old| old.number != number);
        Session::new(number, total, self.context.now)
    }

    fn is_latest(&self, number: u8) -> bool {
        let beside = self.card.view.state.sessions.iter().rfind(|it| it.is_beside(number));
        beside.is_some_and(|latest| latest.number == number)
    }

    /// Whether the session's countdown runs.
    fn is_counting(&self, number: u8) -> bool {
        let mut open = self.card.open.iter();
        open.any(|it| it.content.session() == Some(number) && it.state == ActionState::Queued)
    }

    /// In its place, or as the newest.
    fn keep(&mut self, session: Session) {
        let sessions = &mut self.card.view.state.sessions;
        match sessions.iter_mut().find(|it| it.number == session.number) {
            Some(place) => *place = session,
            None => sessions.push(session),
        }
        let surplus = sessions.len().saturating_sub(SESSIONS_MAX);
        sessions.drain(..surplus);
    }

    fn blocks(&mut self, session: &mut Session, first: u8, blocks: &[Bytes]) {
        for (number, block) in (first..=u8::MAX).zip(blocks) {
            if let Err(why) = self.block(block) {
                self.note("incompatible-data", format!("block {number} not stored: {why}"));
                session.has_failed = true;
            }
            // What cannot be stored is not asked for again.
            session.receive(number);
        }
    }

    /// A whole record into the book, and what the monitor table covers of it into the checksums.
    fn block(&mut self, block: &Bytes) -> Result<(), &'static str> {
        let (file, record_number, data) = place(block).ok_or("it names no record")?;
        self.whole_record(file, record_number, data)
    }

    /// A whole record, as [`Self::block`].
    pub(super) fn whole_record(
        &mut self,
        file: FilePath,
        record_number: u8,
        mut data: Bytes,
    ) -> Result<(), &'static str> {
        let monitor = &self.card.view.state.monitor;
        let is_known = [EF_ADN, EF_EXT1, PHONE_MEMORY].contains(&file)
            || monitor.rows().any(|(_, row)| (row.df, row.ef) == (file.df, file.ef));
        if !is_known {
            return Err("its file is not under backup");
        }
        let data_octets = u8::try_from(data.len()).map_err(|_| "it is longer than a record")?;
        let (key, slot) = PageKey::of(self.card.view.device.key, file, record_number).ok_or("there is no record 0")?;
        let whole = MonitorRow {
            df: file.df,
            ef: file.ef,
            record_offset: 0,
            record_count: u8::MAX,
            data_offset: 0,
            data_octets,
        };
        if let Some(why) = backup::incompatible(file, &whole, &data, self.pages.get(&key)) {
            return Err(why);
        }
        let slot_octets = backup::extent(monitor, file).unwrap_or(0).max(data_octets);
        let page = self.pages.open(key, slot_octets);
        if data.len() < usize::from(page.slot_octets) {
            let mut padded = data.to_vec();
            padded.resize(usize::from(page.slot_octets), 0xFF);
            data = padded.into();
        }
        let new = Some(data).filter(|data| !page::is_empty(data));
        let place = page.slots.get_mut(slot).ok_or("there is no such record")?;
        if *place != new {
            let old = std::mem::replace(place, new.clone());
            self.pages.changed(&key);
            self.records.push(RecordChange { file, record_number, old, new: new.clone() });
        }
        let rows = self.card.view.state.monitor.covering(file.df, file.ef, record_number);
        let covering: Vec<(u8, MonitorRow)> = rows.map(|(index, row)| (index, *row)).collect();
        for (index, row) in covering {
            let covered = page::covered(new.as_ref(), row.data_offset, row.data_octets);
            self.set_checksum(index, record_number, covered.as_deref().unwrap_or_default());
        }
        self.reported(file, record_number, new);
        Ok(())
    }

    /// The end, or the countdown to the next blocks.
    fn follow(&mut self, session: &mut Session) {
        let now = self.context.now;
        session.updated = now;
        if session.missing().is_empty() {
            session.state = State::Complete;
            return self.end(session);
        }
        let key = self.card.view.device.key;
        let seed = u64::from_be_bytes(key.device.0.to_be_bytes()) ^ u64::from_be_bytes(now.0.to_be_bytes());
        let next = self.context.policy.spacing.next(session.delay_seconds, now, seed);
        session.next = (session.variant != Variant::Normal).then_some(next);
        if session.is_asked_for() {
            session.next = Some(next);
            self.launch(session.number, session.resume(), next);
        }
        let (msisdn, received) = (self.card.view.subscriber.msisdn, session.count());
        let countdown = session.next.map(|next| Countdown {
            msisdn,
            session: session.number,
            received,
            total: session.total,
            next,
        });
        self.effects.countdowns.extend(countdown);
    }

    fn end(&mut self, session: &mut Session) {
        session.next = None;
        let action = self.launch(session.number, session.ended(), self.context.now);
        self.effects.to_queue.push(QueueEntry::of(&action));
    }

    /// The session's action, or a new one, now with this message and due then. It goes where the blocks came from.
    fn launch(&mut self, session: u8, message: Bytes, due: Timestamp) -> Action {
        let content = Content::Asynchronous { message };
        let of_session = |action: &&Action| action.content.session() == Some(session) && action.state.is_open();
        let Some(mut action) = self.card.open.iter().find(of_session).cloned() else {
            let bearer = self.incoming.bearer;
            let mut action = new_action(self.card, content, bearer, &self.incoming.trace, self.context);
            action.due = due;
            // The next message of the same batch finds it there.
            self.card.open.push(action.clone());
            self.effects.new_actions.push(action.clone());
            return action;
        };
        action.content = content;
        action.channel = self.incoming.bearer;
        action.state = ActionState::Queued;
        action.attempts = 0;
        action.due = due;
        action.launched = None;
        action.cause.clear();
        self.put(action.clone());
        action
    }

    /// An action as it is now: new in this batch, or moved.
    pub(super) fn put(&mut self, action: Action) {
        let id = action.id;
        match self.effects.new_actions.iter_mut().find(|new| new.id == id) {
            Some(new) => *new = action.clone(),
            None => self.card.moved(id),
        }
        if let Some(place) = self.card.open.iter_mut().find(|open| open.id == id) {
            *place = action;
        }
    }
}

/// File, record number and octets of a block (D-81): of EF_ADN the record number and the record; of any other file 00,
/// DF 2, EF 2, record number, record.
fn place(block: &Bytes) -> Option<(FilePath, u8, Bytes)> {
    match **block {
        [0, df_high, df_low, ef_high, ef_low, record_number, _, ..] => {
            let file =
                FilePath { df: u16::from_be_bytes([df_high, df_low]), ef: u16::from_be_bytes([ef_high, ef_low]) };
            Some((file, record_number, block.slice(6..)))
        }
        [0, ..] => None,
        [record_number, _, ..] => Some((EF_ADN, record_number, block.slice(1..))),
        _ => None,
    }
}
