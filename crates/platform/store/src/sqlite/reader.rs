//! Threads that read, each with its own connection; a read sees one moment of the database.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::{Result, StoreError};

type Job = Box<dyn FnOnce(&Connection) + Send>;

pub struct Readers(Mutex<mpsc::Sender<Job>>);

impl Readers {
    pub fn start(connections: Vec<Connection>) -> Result<Self> {
        let (sender, receiver) = mpsc::channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        for connection in connections {
            let receiver = receiver.clone();
            let thread = thread::Builder::new().name("sqlite-reader".into());
            let run = move || {
                while let Some(job) = take(&receiver) {
                    job(&connection);
                }
            };
            thread.spawn(run).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        }
        Ok(Self(Mutex::new(sender)))
    }

    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |connection| drop(tell.send(in_one_moment(connection, read))));
        let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner).send(job);
        let ended = || StoreError::Unavailable("the reading threads have ended".into());
        sent.map_err(|_| ended())?;
        told.await.map_err(|_| ended())?
    }
}

fn take(receiver: &Mutex<mpsc::Receiver<Job>>) -> Option<Job> {
    receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn in_one_moment<T>(connection: &Connection, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = read(connection);
    connection.prepare_cached("COMMIT")?.execute([])?;
    result
}
