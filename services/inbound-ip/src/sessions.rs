//! The open sessions of this replica, by device: the newest connection of a device wins (D-114).

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use metrics::gauge;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::telemetry;

/// A payload for the card and who waits for it to be written.
pub struct Downlink {
    pub payload: Bytes,
    /// Told when the frame was written; dropped when it never will be. None: a keep-alive's answer.
    pub written: Option<oneshot::Sender<()>>,
}

/// How the rest of the service reaches a connection.
#[derive(Clone)]
pub struct Session {
    /// Unique in this process, growing: tells two connections of one device apart.
    pub connection: u64,
    pub downlink: mpsc::Sender<Downlink>,
    /// Closes the connection because a newer one took its place.
    pub superseded: CancellationToken,
}

/// What changed since the last report to the registry.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub opened: HashSet<i64>,
    pub closed: HashSet<i64>,
}

/// All open sessions.
#[derive(Default)]
pub struct Sessions {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    open: HashMap<i64, Session>,
    changes: Changes,
}

impl Sessions {
    /// Enters a session and closes the one that the device had.
    pub fn open(&self, device_id: i64, session: Session) {
        let older = {
            let mut state = self.state();
            state.changes.closed.remove(&device_id);
            state.changes.opened.insert(device_id);
            let older = state.open.insert(device_id, session);
            self.note(&state);
            older
        };
        if let Some(older) = older {
            older.superseded.cancel();
        }
    }

    /// Takes a session out, unless a newer connection already has its place.
    pub fn close(&self, device_id: i64, connection: u64) {
        let mut state = self.state();
        if state.open.get(&device_id).is_some_and(|session| session.connection == connection) {
            state.open.remove(&device_id);
            state.changes.opened.remove(&device_id);
            state.changes.closed.insert(device_id);
            self.note(&state);
        }
    }

    /// Closes a session that is newer elsewhere, if it is older than `horizon` (a connection number).
    pub fn supersede(&self, device_id: i64, horizon: u64) {
        let session = self.find(device_id).filter(|session| session.connection < horizon);
        if let Some(session) = session {
            session.superseded.cancel();
        }
    }

    #[must_use]
    pub fn find(&self, device_id: i64) -> Option<Session> {
        self.state().open.get(&device_id).cloned()
    }

    /// Every device with a session; what was noted as changed is in it.
    #[must_use]
    pub fn snapshot(&self) -> Vec<i64> {
        let mut state = self.state();
        state.changes = Changes::default();
        state.open.keys().copied().collect()
    }

    /// What changed since the last call of this or of [`Self::snapshot`].
    #[must_use]
    pub fn take_changes(&self) -> Changes {
        std::mem::take(&mut self.state().changes)
    }

    /// Returns when something changed since the last return.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn note(&self, state: &State) {
        gauge!(telemetry::SESSIONS).set(u32::try_from(state.open.len()).unwrap_or(u32::MAX));
        self.changed.notify_one();
    }

    /// No code panics while it holds this lock, so a poisoned one is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Changes, Session, Sessions};
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    fn session(connection: u64) -> Session {
        Session { connection, downlink: mpsc::channel(1).0, superseded: CancellationToken::new() }
    }

    #[test]
    fn the_newest_connection_of_a_device_wins() {
        let sessions = Sessions::default();
        let (first, second) = (session(1), session(2));
        sessions.open(7, first.clone());
        sessions.open(7, second.clone());
        assert!(first.superseded.is_cancelled() && !second.superseded.is_cancelled());
        sessions.close(7, 1);
        assert_eq!(sessions.find(7).map(|found| found.connection), Some(2));
        sessions.supersede(7, 2);
        assert!(!second.superseded.is_cancelled(), "as new as what the registry knows");
        sessions.supersede(7, 3);
        assert!(second.superseded.is_cancelled());
    }

    #[test]
    fn changes_are_reported_once_and_cancel_out() {
        let sessions = Sessions::default();
        sessions.open(7, session(1));
        sessions.open(8, session(2));
        sessions.close(8, 2);
        let expected = Changes { opened: [7].into(), closed: [8].into() };
        assert_eq!(sessions.take_changes(), expected);
        assert_eq!(sessions.take_changes(), Changes::default());
        sessions.close(7, 1);
        assert!(sessions.snapshot().is_empty());
        assert_eq!(sessions.take_changes(), Changes::default());
    }
}
