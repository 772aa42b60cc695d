//! The commands of `fts`, one file for each family.

mod aggregates;
mod branches;
mod cell;
mod check;
mod diff;
mod entries;
mod entry;
mod events;
mod failover;
mod filesets;
mod headers;
mod history;
mod hold;
mod lsfldb;
mod lsft;
mod mounts;
mod places;
mod quota;
mod repair;
mod restore;
mod scrub;
mod snapshots;
mod status;
mod sync;

use baton_types::Result;

use crate::grammar::Fts;
use crate::grammar::fts::{CellSettings, Snapshots};
use crate::output::Output;
use crate::session::Session;

/// Carries out one of them.
pub async fn run(session: &Session, command: Fts) -> Result<Output> {
    match command {
        Fts::CrServerEntry(words) => entries::create(session, words).await,
        Fts::EdServerEntry(words) => entries::edit(session, words).await,
        Fts::DelServerEntry(words) => entries::delete(session, words.server).await,
        Fts::LsServerEntry(words) => entries::list(session, words).await,
        Fts::Create(words) => filesets::create(session, words).await,
        Fts::Delete(words) => filesets::delete(session, words).await,
        Fts::Rename(words) => filesets::rename(session, words).await,
        Fts::SetQuota(words) => quota::set(session, words).await,
        Fts::LsQuota(words) => quota::list(session, words).await,
        Fts::Lock(words) => filesets::lock(session, words.fileset).await,
        Fts::Unlock(words) => filesets::unlock(session, words.fileset).await,
        Fts::UnlockFldb(words) => repair::unlockfldb(session, words).await,
        Fts::SyncFldb(words) => sync::syncfldb(session, words).await,
        Fts::SyncServ(words) => sync::syncserv(session, words).await,
        Fts::DelFldbEntry(words) => repair::delfldbentry(session, words).await,
        Fts::Clone(words) => snapshots::clone(session, words.fileset).await,
        Fts::CloneSys(words) => snapshots::clonesys(session, words).await,
        Fts::Snapshot(Snapshots::Create { fileset, name }) => snapshots::create(session, fileset, name).await,
        Fts::Snapshot(Snapshots::List { fileset }) => snapshots::list(session, fileset).await,
        Fts::Snapshot(Snapshots::Delete { fileset, name }) => snapshots::delete(session, fileset, name).await,
        Fts::Snapshot(Snapshots::Rollback(words)) => branches::rollback(session, words).await,
        Fts::Snapshot(Snapshots::Clone(words)) => branches::clone(session, words).await,
        Fts::Snapshot(Snapshots::Diff(words)) => diff::diff(session, words).await,
        Fts::RestoreHome(words) => restore::restorehome(session, words).await,
        Fts::CrMount(words) => mounts::create(session, words),
        Fts::DelMount(words) => mounts::delete(session, &words),
        Fts::LsMount(words) => mounts::list(session, &words),
        Fts::LsFldb(words) => lsfldb::lsfldb(session, words).await,
        Fts::LsFt(words) => lsft::lsft(session, words).await,
        Fts::LsHeader(words) => headers::lsheader(session, words).await,
        Fts::AggrInfo(words) => aggregates::aggrinfo(session, words).await,
        Fts::LsAggr(words) => aggregates::lsaggr(session, words.server).await,
        Fts::StatFtServer(words) => aggregates::statftserver(session, words.server).await,
        Fts::Cell(CellSettings::Show) => cell::show(session).await,
        Fts::Cell(CellSettings::Set { setting, value }) => cell::set(session, setting, value).await,
        Fts::Scrub(words) => scrub::scrub(session, words).await,
        Fts::FailOver(words) => failover::failover(session, words).await,
        Fts::Drain(words) => failover::drain(session, words.server).await,
        Fts::UnDrain(words) => failover::undrain(session, words.server).await,
        Fts::SetDomain(words) => places::setdomain(session, &words.server, words.domain).await,
        Fts::Prefer(words) => places::prefer(session, words.aggregate, &words.server).await,
        Fts::Hold(words) => hold::hold(session, words.aggregate, Some(words.why)).await,
        Fts::UnHold(words) => hold::hold(session, words.aggregate, None).await,
        Fts::History(words) => history::history(session, words).await,
        Fts::Status(words) => status::status(session, words).await,
        Fts::Events(words) => events::events(session, words).await,
    }
}

#[cfg(test)]
pub mod tests {
    pub use super::entry::tests::{fileset, records};
}
