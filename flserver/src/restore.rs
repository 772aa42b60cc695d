//! The first start of a member that a cell comes back with from a file.
//!
//! `baton cell restore` leaves the file beside the member's own; it is used once. A start that is cut short before the
//! log says that it began is done again from the beginning: nobody was told anything.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use baton_rpc::config::{Daemon, MemberFile, Paths, RESTORE};
use baton_security::HostTls;
use baton_types::{Clock, Error, Kind, Result};

use crate::raft::{Peer, begin_with};
use crate::state::{Fldb, Restoration};
use crate::store::LogStore;

/// Begins with the file, if there is one; says then which member this is.
///
/// # Errors
/// What is wrong with the file: `Damaged`, `Version`, `Invalid` for one of another cell; what the store says.
pub fn begin(
    paths: &Paths,
    (me, issuer): (&MemberFile, bool),
    (tls, store): (&HostTls, &Arc<dyn LogStore>),
    clock: &Arc<dyn Clock>,
) -> Result<Option<MemberFile>> {
    let path = path(paths);
    let on = || path.display().to_string();
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(on(), error)),
    };
    let file = Fldb::load(&bytes).map_err(|error| Error { on: on(), ..error })?;
    let own = tls.with_credential(|credential| credential.anchor().cell().clone());
    if file.cell().is_none_or(|cell| cell.name != own) {
        return Err(Error::new(Kind::Invalid, on()).because(format!("it is not of the cell {own}")));
    }
    let restoration = Restoration {
        member: me.name.clone(),
        addresses: me.addresses.clone(),
        issuer,
        jumps: rand::random_range(1..=Restoration::JUMPS_MAX),
        date: clock.date(),
    };
    let number = match store.marks()?.vote {
        None => {
            let (state, number) = file.restored(&restoration)?;
            let peer = Peer {
                name: me.name.to_string(),
                addresses: me.addresses.clone(),
            };
            begin_with(store.as_ref(), &state, (number, peer))?;
            tracing::warn!(
                applied = state.applied(),
                "the location database begins with what a file says"
            );
            number
        }
        Some(_) => begun(store, &on())?,
    };
    let me = MemberFile { number, ..me.clone() };
    me.save(paths)?;
    fs::rename(&path, path.with_extension("done")).map_err(|error| Error::io(on(), error))?;
    Ok(Some(me))
}

/// Which member began before the last start was cut short.
fn begun(store: &Arc<dyn LogStore>, on: &str) -> Result<u64> {
    let lost = || Error::new(Kind::Damaged, on.to_owned()).because("it was used, and what came of it is lost");
    let state = Fldb::load(&store.load_snapshot()?.ok_or_else(lost)?.data)?;
    state.members().next().map(|member| member.number).ok_or_else(lost)
}

fn path(paths: &Paths) -> PathBuf {
    paths.state(Daemon::Flserver).join(RESTORE)
}
