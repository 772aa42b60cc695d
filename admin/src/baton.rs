//! The commands of `baton`, one file for each or for each family.

mod backup;
mod config;
mod create;
mod groups;
mod import;
mod invite;
mod join;
mod login;
mod members;
mod principals;
mod whoami;

use baton_types::Result;

use crate::grammar::Baton;
use crate::grammar::baton::{Cell, Config};
use crate::output::Output;
use crate::session::Session;

/// Carries out one of them.
pub async fn run(session: &Session, command: Baton) -> Result<Output> {
    match command {
        Baton::Cell(Cell::Create(words)) => create::create(session, words).await,
        Baton::Cell(Cell::Invite(words)) => invite::invite(session, words).await,
        Baton::Cell(Cell::Members) => members::members(session).await,
        Baton::Cell(Cell::Remove { member }) => members::remove(session, member).await,
        Baton::Cell(Cell::Backup { file }) => backup::backup(session, &file).await,
        Baton::Cell(Cell::Restore(words)) => backup::restore(session, words).await,
        Baton::Cell(Cell::Principals) => principals::principals(session).await,
        Baton::Cell(Cell::Principal(words)) => principals::principal(session, words).await,
        Baton::Cell(Cell::Groups) => groups::groups(session).await,
        Baton::Cell(Cell::Group(words)) => groups::group(session, words).await,
        Baton::Cell(Cell::Import(words)) => import::import(session, words).await,
        Baton::Join(words) => join::join(session, words).await,
        Baton::Login { invite } => login::login(session, invite.as_deref()).await,
        Baton::Logout => login::logout(session),
        Baton::Whoami => whoami::whoami(session).await,
        Baton::Config(Config::Show) => config::show(session),
    }
}
