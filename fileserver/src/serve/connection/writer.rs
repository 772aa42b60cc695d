//! The writing half of a connection: as much at once as there is, and the end of whoever takes nothing.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use baton_rpc::session::frame::Frame;
use baton_types::{Error, FRAME_HEADER_BYTES, Kind, Result};
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::{Line, Stream};
use crate::pushes::Outgoing;

/// A reader that takes nothing for this long is cut off (SECURITY D10).
const STALL: Duration = Duration::from_secs(30);
/// Frames that are written together.
const BATCH: usize = 64;

/// What the writer is told.
pub(super) enum Out {
    /// An answer, and what its call took.
    Reply(Frame, usize),
    /// A call that nobody will answer, and what it took.
    Nothing(usize),
}

/// Writes what there is, as much at once as there is.
pub(super) async fn write(
    line: &Arc<Line>,
    mut stream: WriteHalf<Stream>,
    mut outgoing: UnboundedReceiver<Out>,
    mut pushed: UnboundedReceiver<Outgoing>,
) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let mut frames = Vec::with_capacity(BATCH);
        let mut taken = Vec::with_capacity(BATCH);
        tokio::select! {
            _ = outgoing.recv_many(&mut batch, BATCH) => {}
            Some(push) = pushed.recv() => frames.extend(line.push(push)),
        }
        for out in batch.drain(..) {
            match out {
                Out::Reply(frame, cost) => {
                    frames.push(frame);
                    taken.push(cost);
                }
                Out::Nothing(cost) => taken.push(cost),
            }
        }
        let written = write_all(&mut stream, &frames).await;
        taken.into_iter().for_each(|cost| line.end(cost));
        written?;
    }
}

async fn write_all(stream: &mut WriteHalf<Stream>, frames: &[Frame]) -> Result<()> {
    let stalled = |_| Error::new(Kind::TimedOut, "connection").because("it took no answer for half a minute");
    let broken = |e| Error::io("connection", e);
    let headers: Vec<[u8; FRAME_HEADER_BYTES]> = frames.iter().map(|frame| frame.header.encode()).collect();
    let parts = headers.iter().zip(frames);
    let mut slices: Vec<IoSlice<'_>> = parts
        .flat_map(|(header, frame)| [&header[..], &frame.meta, &frame.payload])
        .filter(|part| !part.is_empty())
        .map(IoSlice::new)
        .collect();
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let count = timeout(STALL, stream.write_vectored(left))
            .await
            .map_err(stalled)?
            .map_err(broken)?;
        IoSlice::advance_slices(&mut left, count);
    }
    timeout(STALL, stream.flush()).await.map_err(stalled)?.map_err(broken)
}
