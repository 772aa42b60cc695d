//! Long answers, in messages of a bounded size: few of them are on their way to one reader at once.

use std::sync::Arc;
use std::time::Duration;

use baton_proto::control::scrub_to_wire;
use baton_proto::{into_status, v1};
use baton_types::control::{Difference, RestoreReport, Restored, ScrubReport};
use baton_types::{Error, Kind};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use crate::claims::Claims;
use crate::difference::{self, Wish};

/// Restored files in one piece of a list: with paths of 4 KiB still less than a message may have.
const RESTORED_PIECE: usize = 50;
/// Pieces of a list on their way to one reader.
const PIECES: usize = 4;
/// How long a thread waits for a reader of what it finds: somebody may look at it page by page.
const READER_PATIENCE: Duration = Duration::from_secs(300);

/// What there is to say of the scrubs of an aggregate.
pub(super) fn of_scrub(report: &ScrubReport) -> Response<ReceiverStream<Result<v1::ScrubReply, Status>>> {
    let (send, pieces) = mpsc::channel(PIECES);
    let replies = scrub_to_wire(report);
    tokio::spawn(async move {
        for reply in replies {
            if send.send(Ok(reply)).await.is_err() {
                return; // the reader is gone
            }
        }
    });
    Response::new(ReceiverStream::new(pieces))
}

/// A list, so many of it in a message.
pub(super) fn in_pieces<T: Clone + Send + Sync + 'static, R: Send + 'static>(
    list: Vec<T>,
    len: usize,
    mut reply: impl FnMut(Vec<T>) -> R + Send + 'static,
) -> Response<ReceiverStream<Result<R, Status>>> {
    let (send, pieces) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        for piece in list.chunks(len) {
            if send.send(Ok(reply(piece.to_vec()))).await.is_err() {
                return; // the reader is gone
            }
        }
    });
    Response::new(ReceiverStream::new(pieces))
}

/// What was restored.
pub(super) fn of_restore(report: RestoreReport) -> Response<ReceiverStream<Result<v1::RestoreFilesetReply, Status>>> {
    let RestoreReport {
        from,
        taken,
        before,
        steps,
    } = report;
    // The first piece says what it is of, though nothing differed.
    let mut first = Some((from, taken.0, before));
    let mut pieces: Vec<Vec<Restored>> = steps.chunks(RESTORED_PIECE).map(<[Restored]>::to_vec).collect();
    if pieces.is_empty() {
        pieces.push(Vec::new());
    }
    in_pieces(pieces, 1, move |piece| {
        let (from, taken, before) = first.take().unwrap_or_default();
        let files = piece.into_iter().flatten().map(Into::into).collect();
        v1::RestoreFilesetReply {
            from,
            taken,
            before,
            files,
        }
    })
}

/// Differences, while they are found.
pub(super) fn of_difference(
    claims: Arc<Claims>,
    wish: Wish,
) -> Response<ReceiverStream<Result<v1::DiffSnapshotsReply, Status>>> {
    let (send, pieces) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        let (to_reader, runtime) = (send.clone(), Handle::current());
        let tell = move |piece: Vec<Difference>| {
            let differences = piece.into_iter().map(Into::into).collect();
            let sent = to_reader.send_timeout(Ok(v1::DiffSnapshotsReply { differences }), READER_PATIENCE);
            runtime.block_on(sent).map_err(|_| {
                let error = Error::new(Kind::TimedOut, "differences").because("nobody takes them");
                error.remedy("have them written to a file, and read that")
            })
        };
        if let Err(error) = difference::difference(&claims, wish, tell).await {
            tracing::info!(%error, "snapshots not compared");
            let _ = send.send(Err(into_status(&error))).await; // unless the reader is gone
        }
    });
    Response::new(ReceiverStream::new(pieces))
}
