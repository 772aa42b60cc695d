//! A network of wires: each machine is in a network namespace of its own, with a cable to each of the switches.
//!
//! Whoever lays one is [`isolated`](super::isolated): the switches are in the caller's own network, where commands are
//! typed, and everything goes when that goes. A cable that is pulled is silent, as a real one is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Cell, run};

/// The address of the caller's own end of each switch.
const OWN: u8 = 1;

/// In which addresses a network speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// 10.77.LINK.HOST.
    V4,
    /// `fd00:77:LINK::HOST`, and no IPv4 at all.
    V6,
}

/// Switches, and the cables to them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Wires {
    links: u8,
    family: Family,
}

impl Wires {
    /// Puts up the switches.
    ///
    /// # Errors
    /// What a tool of the system said.
    pub(super) fn lay(links: u8, family: Family) -> Result<Wires> {
        ensure!(links > 0, "a network has links");
        let wires = Wires { links, family };
        // Names of networks are files there: none of them is to be seen outside.
        std::fs::create_dir_all("/run/netns")?;
        run("mount", &["-t", "tmpfs", "tmpfs", "/run/netns"])?;
        if family == Family::V6 {
            run("ip", &["address", "flush", "dev", "lo"])?;
            run("ip", &["-6", "address", "add", "::1/128", "dev", "lo"])?;
        }
        for link in 1..=links {
            let switch = switch(link);
            run("ip", &["link", "add", "name", &switch, "type", "bridge"])?;
            wires.give(&[], &switch, wires.address(link, OWN))?;
            run("ip", &["link", "set", "dev", &switch, "up"])?;
        }
        Ok(wires)
    }

    /// The addresses of a machine, by link.
    pub(super) fn addresses(self, host: u8) -> Vec<IpAddr> {
        (1..=self.links).map(|link| self.address(link, host)).collect()
    }

    fn address(self, link: u8, host: u8) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::new(10, 77, link, host).into(),
            Family::V6 => Ipv6Addr::new(0xfd00, 0x77, link.into(), 0, 0, 0, 0, host.into()).into(),
        }
    }

    /// A machine that is not the caller's own, with its cables.
    pub(super) fn plug(self, machine: &str, host: u8) -> Result<()> {
        run("ip", &["netns", "add", machine])?;
        let within = ["netns", "exec", machine, "ip"];
        if self.family == Family::V4 {
            run("ip", &[&within[..], &["link", "set", "dev", "lo", "up"]].concat())?;
        }
        for link in 1..=self.links {
            let (cable, socket) = (cable(machine, link), format!("link{link}"));
            let ends = [
                "name", &cable, "type", "veth", "peer", "name", &socket, "netns", machine,
            ];
            run("ip", &[&["link", "add"][..], &ends].concat())?;
            run("ip", &["link", "set", "dev", &cable, "master", &switch(link), "up"])?;
            self.give(&within, &socket, self.address(link, host))?;
            run("ip", &[&within[..], &["link", "set", "dev", &socket, "up"]].concat())?;
        }
        Ok(())
    }

    /// The caller's own network is a machine's too, where people sit.
    pub(super) fn sit(self, host: u8) -> Result<()> {
        (1..=self.links).try_for_each(|link| self.give(&[], &switch(link), self.address(link, host)))
    }

    fn give(self, within: &[&str], device: &str, address: IpAddr) -> Result<()> {
        let address = match self.family {
            Family::V4 => format!("{address}/24"),
            Family::V6 => format!("{address}/64"),
        };
        let mut words = [within, &["address", "add", &address, "dev", device]].concat();
        if self.family == Family::V6 {
            words.push("nodad"); // at once, and not after a second of asking whether somebody else has it
        }
        run("ip", &words).map(drop)
    }
}

fn switch(link: u8) -> String {
    format!("switch{link}")
}

fn cable(machine: &str, link: u8) -> String {
    format!("{machine}-{link}")
}

impl Cell {
    /// Pulls the cable of a machine to a switch, counted from one.
    ///
    /// # Errors
    /// What `ip` said: the cell has no wires, or the machine no such cable.
    pub fn pull(&self, machine: &str, link: u8) -> Result<()> {
        run("ip", &["link", "set", "dev", &cable(machine, link), "down"]).map(drop)
    }

    /// Plugs a cable that was pulled in again.
    ///
    /// # Errors
    /// As [`Cell::pull`].
    pub fn plug(&self, machine: &str, link: u8) -> Result<()> {
        run("ip", &["link", "set", "dev", &cable(machine, link), "up"]).map(drop)
    }
}
