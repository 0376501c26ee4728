//! What a stream sends: polled by the HTTP/2 connection when it can write, so a batch is whatever queued up until then.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio_stream::Stream;

use super::{BatchStream, lane::Lane};

/// The batches of one stream, until it is rotated or its replica is left.
pub struct Outgoing<S: BatchStream> {
    pub(super) lane: Arc<Lane<S>>,
    /// Which of the lane's streams this is: an old one sends nothing more.
    pub(super) epoch: u64,
}

impl<S: BatchStream> Stream for Outgoing<S> {
    type Item = S::Batch;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Batch>> {
        self.lane.poll_batch(self.epoch, context)
    }
}
