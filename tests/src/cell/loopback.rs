//! A network of a cell's own: 127.x.y.0/24, drawn so that cells side by side never meet.
//!
//! Each machine has an address there and the port that its daemon always has. The first address is held for as
//! long as the cell is in this process: who draws the same numbers finds it taken and draws again.

use std::net::{IpAddr, Ipv4Addr, TcpListener};

use anyhow::{Context, Result, bail};
use baton_rpc::config::PORT_FLDB;
use serde::{Deserialize, Serialize};

/// Draws before giving up: with one in a hundred networks taken, ten are enough for every cell ever started.
const DRAWS: usize = 10;

/// The address that is held.
const HELD: u8 = 1;
/// Members of the location database have this address and the next ones.
pub const FLSERVERS: u8 = 11;
/// File servers have this address and the next ones.
pub const FILESERVERS: u8 = 31;
/// The machine that people sit at.
pub const DESK: u8 = 61;
/// Client machines have this address and the next ones.
pub const CLIENTS: u8 = 71;

/// The network of one cell.
#[derive(Debug, Serialize, Deserialize)]
pub struct Loopback {
    x: u8,
    y: u8,
    #[serde(skip)]
    _held: Option<TcpListener>,
}

impl Loopback {
    /// One that nobody uses.
    ///
    /// # Errors
    /// When none is found, which has one likely reason.
    pub fn draw() -> Result<Loopback> {
        for _ in 0..DRAWS {
            let [x, y] = rand::random();
            let network = Loopback {
                x: x % 128 + 100, // 127.0.y and its neighbours are taken by hand everywhere
                y,
                _held: None,
            };
            if let Some(held) = network.hold() {
                return Ok(Loopback {
                    _held: Some(held),
                    ..network
                });
            }
        }
        bail!("port {PORT_FLDB} is taken in {DRAWS} networks of 127.0.0.0/8; does something listen on all addresses?")
    }

    /// The address of a machine.
    pub fn address(&self, host: u8) -> IpAddr {
        Ipv4Addr::new(127, self.x, self.y, host).into()
    }

    /// The held address, if no member's is taken either.
    fn hold(&self) -> Option<TcpListener> {
        let listen = |host| TcpListener::bind((self.address(host), PORT_FLDB)).ok();
        let held = listen(HELD)?;
        let are_free = (FLSERVERS..FLSERVERS + 5).all(|host| listen(host).is_some());
        are_free.then_some(held)
    }
}

/// The address of the `index`th machine from `first` on.
pub(super) fn host(first: u8, index: usize) -> Result<u8> {
    let index = u8::try_from(index).ok().filter(|index| *index < 20);
    index
        .map(|index| first + index)
        .context("a cell on loopback has at most 20 machines of a kind")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_side_by_side_have_networks_of_their_own() {
        let cells: Vec<Loopback> = (0..20).map(|_| Loopback::draw().unwrap()).collect();
        let mut networks: Vec<IpAddr> = cells.iter().map(|cell| cell.address(0)).collect();
        networks.sort();
        networks.dedup();
        assert_eq!(networks.len(), 20);
        let again = Loopback {
            _held: None,
            ..cells[0]
        };
        assert!(again.hold().is_none(), "what is held is seen to be taken");
    }
}
