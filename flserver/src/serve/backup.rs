//! All of the location database, for who keeps it in a file.

use baton_proto::v1;
use baton_rpc::control::{Connection, House};
use baton_types::{Error, Kind, Result};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Server;
use crate::state::is_administrator;

/// Bytes of one message, well below what one may have.
const PIECE_BYTES: usize = 128 << 10;
/// Pieces on their way to a reader that is slow.
const PIECES: usize = 4;

pub(super) type Pieces = ReceiverStream<Result<v1::BackupReply, Status>>;

impl Server {
    /// Administrators of the cell only: it says who was invited, and who everybody is.
    pub(super) async fn back_up(&self, connection: &Connection, ask: &v1::BackupRequest) -> Result<Pieces> {
        let who = self.who(connection, ask.caller)?;
        if !is_administrator(&self.published().state(), &who) {
            return Err(who.denied("a backup is for administrators of the cell"));
        }
        self.catch_up().await?;
        let state = self.published().state();
        let index = state.applied();
        let dumped = tokio::task::spawn_blocking(move || state.dump()).await;
        let bytes = dumped.map_err(|error| Error::new(Kind::Io, "backup").because(error.to_string()))?;
        let total = bytes.len() as u64;
        let (send, pieces) = mpsc::channel(PIECES);
        tokio::spawn(async move {
            for piece in bytes.chunks(PIECE_BYTES) {
                let piece = v1::BackupReply {
                    index,
                    total,
                    data: piece.to_vec(),
                };
                if !super::fldb::sent(&send, piece).await {
                    return; // whoever reads counts the bytes
                }
            }
        });
        Ok(ReceiverStream::new(pieces))
    }
}
