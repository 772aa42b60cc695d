//! All of the location database, as bytes.

use baton_proto::v1;
use baton_types::{Error, Kind, Result};

use super::FldbClient;
use super::call::Share;

/// The location database in the form that a member begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// As of this index.
    pub index: u64,
    /// All of it; it carries a checksum.
    pub bytes: Vec<u8>,
}

impl FldbClient {
    /// All of it, as new as any acknowledged change.
    ///
    /// # Errors
    /// `Denied` to all but administrators of the cell; `Unreachable` without a quorum.
    pub async fn backup(&self) -> Result<Backup> {
        self.call(Share::All, |live| {
            let request = v1::BackupRequest { caller: live.caller };
            async move {
                let mut pieces = live.connection.fldb().backup(request).await?.into_inner();
                let mut backup = Backup {
                    index: 0,
                    bytes: Vec::new(),
                };
                let mut total = 0;
                while let Some(piece) = pieces.message().await? {
                    (backup.index, total) = (piece.index, piece.total);
                    backup.bytes.extend_from_slice(&piece.data);
                }
                Ok((backup, total))
            }
        })
        .await
        .and_then(
            |(backup, total)| match backup.bytes.len() as u64 == total && total > 0 {
                true => Ok(backup),
                false => Err(Error::new(Kind::Io, "backup")
                    .because("it ended early")
                    .remedy("try again")),
            },
        )
    }
}
