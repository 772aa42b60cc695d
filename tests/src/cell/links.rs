//! Links of a network of the caller's own, cut by the addresses that packets come from and go to.
//!
//! Packets are dropped silently, as a broken network does it. Whoever cuts is [`isolated`](super::isolated).

use anyhow::Result;

use super::{Cell, run};

/// The rules that cut links.
#[derive(Debug)]
pub struct Links(());

impl Links {
    /// From where commands dial: they choose no address, and the system gives them this one.
    pub const COMMANDS: &str = "127.0.0.1";

    /// All are open.
    ///
    /// # Errors
    /// What `nft` said.
    pub fn new() -> Result<Links> {
        run("nft", &["add", "table", "inet", "baton"])?;
        let hook = "{ type filter hook output priority 0; }";
        run("nft", &["add", "chain", "inet", "baton", "cut", hook])?;
        run("nft", &["flush", "chain", "inet", "baton", "cut"])?;
        Ok(Links(()))
    }

    /// Nothing gets from `source` to `target` any more; the other way is open.
    ///
    /// # Errors
    /// What `nft` said.
    pub fn cut(&self, source: &str, target: &str) -> Result<()> {
        let rule = ["ip", "saddr", source, "ip", "daddr", target, "drop"];
        run("nft", &[&["add", "rule", "inet", "baton", "cut"][..], &rule].concat()).map(drop)
    }

    /// Nothing gets from one to the other any more, nor back.
    ///
    /// # Errors
    /// What `nft` said.
    pub fn cut_both(&self, one: &str, other: &str) -> Result<()> {
        self.cut(one, other)?;
        self.cut(other, one)
    }

    /// Nothing gets to this port of `target` any more.
    ///
    /// # Errors
    /// What `nft` said.
    pub fn cut_port(&self, target: &str, port: u16) -> Result<()> {
        let port = port.to_string();
        let rule = ["ip", "daddr", target, "tcp", "dport", &port, "drop"];
        run("nft", &[&["add", "rule", "inet", "baton", "cut"][..], &rule].concat()).map(drop)
    }

    /// All are open again.
    ///
    /// # Errors
    /// What `nft` said.
    pub fn heal(&self) -> Result<()> {
        run("nft", &["flush", "chain", "inet", "baton", "cut"]).map(drop)
    }
}

impl Cell {
    /// The address of a machine, as rules name it.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn address(&self, machine: &str) -> Result<String> {
        Ok(self.machine(machine)?.address.to_string())
    }
}
