//! The one thread that writes: natural batches, one commit each.

use std::thread;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::{Result, StoreError};

/// Writes that may wait before callers do.
const WAITING_MAX: usize = 1024;
/// Writes in one commit.
const BATCH_MAX: usize = 256;

/// Runs within the batch's transaction, or is not run (`None`) when that has failed already; answers whether the write
/// went well and how to tell the caller once the commit's fate is known.
type Job = Box<dyn FnOnce(Option<&Connection>) -> (bool, Answer) + Send>;
type Answer = Box<dyn FnOnce(std::result::Result<(), String>) + Send>;

/// Work for the writing connection.
enum Work {
    Write(Job),
    /// Between two commits, with nobody writing.
    Between(Box<dyn FnOnce(&Connection) + Send>),
}

#[derive(Clone)]
pub struct Writer(mpsc::Sender<Work>);

/// A writer that does not keep the thread alive.
pub struct WeakWriter(mpsc::WeakSender<Work>);

impl Writer {
    pub fn start(connection: Connection) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let thread = thread::Builder::new().name("sqlite-writer".into());
        thread.spawn(move || run(&connection, receiver)).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self(sender))
    }

    /// Runs `write` in the next commit and answers after it. An error undoes this write alone.
    pub async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = connection.map_or_else(|| Err(stopped()), write);
            let went_well = result.is_ok();
            let answer: Answer = Box::new(move |committed| {
                // A caller that left needs no answer.
                drop(tell.send(match committed {
                    Ok(()) => result,
                    Err(why) => Err(StoreError::Unavailable(why)),
                }));
            });
            (went_well, answer)
        });
        self.0.send(Work::Write(job)).await.map_err(|_| stopped())?;
        told.await.map_err(|_| stopped())?
    }

    pub fn downgrade(&self) -> WeakWriter {
        WeakWriter(self.0.downgrade())
    }
}

impl WeakWriter {
    /// Runs `work` between two commits; dropped when the writer is gone or has too much to do.
    pub fn between(&self, work: impl FnOnce(&Connection) + Send + 'static) {
        if let Some(sender) = self.0.upgrade() {
            drop(sender.try_send(Work::Between(Box::new(work))));
        }
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the writing thread has ended".into())
}

fn run(connection: &Connection, mut receiver: mpsc::Receiver<Work>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while let Some(first) = receiver.blocking_recv() {
        let mut next = Some(first);
        let mut between = None;
        while let Some(work) = next {
            match work {
                Work::Write(job) => batch.push(job),
                Work::Between(work) => {
                    between = Some(work);
                    break;
                }
            }
            next = if batch.len() < BATCH_MAX { receiver.try_recv().ok() } else { None };
        }
        if !batch.is_empty() {
            commit(connection, batch.drain(..));
        }
        if let Some(work) = between {
            work(connection);
        }
    }
}

/// All jobs in one transaction, each within a savepoint; then everybody is told.
fn commit(connection: &Connection, jobs: impl Iterator<Item = Job>) {
    let mut answers = Vec::new();
    let mut fate = connection.execute_batch("BEGIN IMMEDIATE");
    for job in jobs {
        if fate.is_err() {
            answers.push(job(None).1);
            continue;
        }
        fate = step(connection, job, &mut answers);
    }
    let fate = fate.and_then(|()| connection.execute_batch("COMMIT")).map_err(|error| {
        tracing::error!(%error, "the embedded store did not commit");
        if !connection.is_autocommit() {
            drop(connection.execute_batch("ROLLBACK"));
        }
        error.to_string()
    });
    for answer in answers {
        answer(fate.clone());
    }
}

/// An error is the whole batch's: a full disk makes SQLite end the transaction itself.
fn step(connection: &Connection, job: Job, answers: &mut Vec<Answer>) -> rusqlite::Result<()> {
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let (went_well, answer) = job(Some(connection));
    answers.push(answer);
    if !went_well {
        connection.execute_batch("ROLLBACK TO job")?;
    }
    connection.prepare_cached("RELEASE job")?.execute([])?;
    Ok(())
}
