//! Failovers and deaths, each from its cause to the last watcher that was told of it.

use std::time::{Duration, Instant};

use anyhow::Result;
use baton_rpc::FldbClient;
use baton_types::change::{Change, Move, Moving, Takeover};
use baton_types::record::{Record, ServerState};
use tokio::time::sleep;

use super::listeners::Listeners;
use super::players::Players;
use crate::figures::{Figures, Samples};

/// Failovers of each server, there and back.
const MOVES: usize = 20;
/// Deaths of each kind.
const DEATHS: usize = 5;
/// Between two deaths: whoever was dead is alive again, and is heard by all.
const SETTLE: Duration = Duration::from_millis(1_500);

/// One at a time has no rate.
fn alone(each: Vec<Duration>) -> Figures {
    Samples::new(each, Duration::ZERO).figures()
}

/// All that a server owns is given to its neighbour by one change, and back: until that is acknowledged, and until the
/// last watcher has heard of it.
///
/// # Errors
/// When the database refuses, or a watcher is not told.
pub async fn moves(
    client: &FldbClient,
    players: &Players,
    listeners: &mut Listeners,
    server: usize,
) -> Result<[Figures; 2]> {
    let (mut commits, mut told) = (Vec::new(), Vec::new());
    let (mut owner, mut other) = (server, server ^ 1);
    for _ in 0..MOVES {
        listeners.forget();
        let change = Change::Move(Move {
            what: Moving::Server(players.player(owner).made.id),
            to: Some(players.player(other).made.id),
            takeover: Takeover::Forced,
        });
        // What the other one has of its own goes back with it.
        let begun = Instant::now();
        let done = client.change(change).await?;
        commits.push(begun.elapsed());
        told.push(listeners.last(done.index).await?.duration_since(begun));
        players.owned(server, other);
        players.owned(server ^ 1, other);
        (owner, other) = (other, owner);
    }
    Ok([alone(commits), alone(told)])
}

/// How long deaths take to be known.
#[derive(Clone, Copy, Debug)]
pub struct Deaths {
    /// From its guard's word to the last watcher that heard who has its aggregates.
    pub attested: Figures,
    /// From its last sign of life, which may be a beat old, until it is pending, at the last watcher.
    pub pending: Figures,
    /// Until it is dead and its aggregates are another's.
    pub dead: Figures,
}

/// A server ends, with its guard's word and without.
///
/// # Errors
/// When its death is not noticed.
pub async fn deaths(players: &Players, listeners: &mut Listeners, server: usize) -> Result<Deaths> {
    let (mut attested, mut pending, mut dead) = (Vec::new(), Vec::new(), Vec::new());
    let mut owner = server;
    for round in 0..2 * DEATHS {
        sleep(SETTLE).await;
        let player = players.player(owner);
        let id = player.made.id;
        let becomes = |wanted: ServerState| move |record: &Record| matches!(record, Record::Server(server) if server.id == id && server.state == wanted);
        listeners.forget();
        let begun = Instant::now();
        player.fall_silent();
        if round % 2 == 0 {
            player.attest().await?;
        } else {
            let index = listeners.change_with(becomes(ServerState::Pending)).await?;
            pending.push(listeners.last(index).await?.duration_since(begun));
        }
        let index = listeners.change_with(becomes(ServerState::Dead)).await?;
        let took = listeners.last(index).await?.duration_since(begun);
        match round % 2 {
            0 => attested.push(took),
            _ => dead.push(took),
        }
        player.register().await?;
        owner ^= 1;
        players.owned(server, owner);
        players.owned(server ^ 1, owner);
    }
    Ok(Deaths {
        attested: alone(attested),
        pending: alone(pending),
        dead: alone(dead),
    })
}
