//! Connections to servers that may own an aggregate soon, made while nobody waits for them (HA §4.1): the first call to
//! a new owner costs no handshake.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use baton_types::call::Role;
use baton_types::{EntryName, Result};
use parking_lot::Mutex;

use super::{Dial, Wire};
use crate::Owner;

/// Older ones are made anew: certificates are renewed meanwhile.
const AGE_MAX: Duration = Duration::from_secs(600);
/// What a session begins with.
const ROLES: [Role; 2] = [Role::Call, Role::Push];

/// Dials, unless a connection is there already.
pub struct Beforehand {
    dial: Box<dyn Dial>,
    ready: Mutex<HashMap<(EntryName, Role), Ready>>,
}

struct Ready {
    wire: Box<dyn Wire>,
    since: Instant,
}

impl Beforehand {
    /// None is there yet.
    pub fn new(dial: Box<dyn Dial>) -> Beforehand {
        Beforehand {
            dial,
            ready: Mutex::default(),
        }
    }

    /// Has one of each role to each of `servers`; those that broke are made anew. Blocks for as long as dialling takes,
    /// and keeps nobody else waiting. Others stay for a while: a server that is no standby any more may be the owner now.
    pub fn keep(&self, servers: &[Owner]) {
        let mut known = self.ready.lock();
        known.retain(|_, ready| ready.since.elapsed() < AGE_MAX && ready.is_whole());
        drop(known);
        for server in servers {
            for role in ROLES {
                let key = (server.server.clone(), role);
                if self.ready.lock().contains_key(&key) {
                    continue;
                }
                match self.dial.dial(server, role) {
                    Ok(wire) => {
                        let since = Instant::now();
                        self.ready.lock().insert(key, Ready { wire, since });
                    }
                    Err(error) => {
                        tracing::debug!(%error, server = %server.server, "no connection beforehand");
                        break;
                    }
                }
            }
        }
    }
}

impl Dial for Beforehand {
    fn dial(&self, owner: &Owner, role: Role) -> Result<Box<dyn Wire>> {
        let ready = self.ready.lock().remove(&(owner.server.clone(), role));
        if let Some(mut ready) = ready
            && ready.is_whole()
        {
            return Ok(ready.wire);
        }
        self.dial.dial(owner, role)
    }
}

impl Ready {
    /// Nothing comes on a connection on which nothing was asked, but its end.
    fn is_whole(&mut self) -> bool {
        matches!(self.wire.recv(Duration::ZERO), Ok(None))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use baton_security::Channel;
    use baton_types::{AggregateId, Epoch, Error, Kind};

    use super::*;
    use crate::session::frame::Frame;

    #[derive(Clone, Default)]
    struct Network {
        dialled: Arc<AtomicUsize>,
        is_down: Arc<AtomicBool>,
    }

    struct Line(Network);

    impl Dial for Network {
        fn dial(&self, _: &Owner, _: Role) -> Result<Box<dyn Wire>> {
            self.dialled.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(Line(self.clone())))
        }
    }

    impl Wire for Line {
        fn send(&mut self, _: &[Frame]) -> Result<()> {
            Ok(())
        }

        fn recv(&mut self, _: Duration) -> Result<Option<Frame>> {
            match self.0.is_down.load(Ordering::Relaxed) {
                true => Err(Error::new(Kind::Unreachable, "server")),
                false => Ok(None),
            }
        }

        fn fd(&self) -> BorrowedFd<'_> {
            unreachable!("nobody waits on it here")
        }

        fn wants_write(&self) -> bool {
            false
        }

        fn channel(&self) -> &Channel {
            unreachable!("nobody logs in here")
        }
    }

    fn server(name: &str) -> Owner {
        Owner {
            aggregate: AggregateId::random(),
            epoch: Epoch(1),
            server: EntryName::parse(name).unwrap(),
            addresses: Vec::new(),
        }
    }

    #[test]
    fn each_connection_is_made_once_and_used_once() {
        let network = Network::default();
        let dialled = || network.dialled.load(Ordering::Relaxed);
        let beforehand = Beforehand::new(Box::new(network.clone()));
        let standby = server("fs2");
        beforehand.keep(std::slice::from_ref(&standby));
        beforehand.keep(std::slice::from_ref(&standby));
        assert_eq!(dialled(), 2);
        for role in ROLES {
            beforehand.dial(&standby, role).unwrap();
        }
        assert_eq!(dialled(), 2, "they were there");
        beforehand.dial(&standby, Role::Call).unwrap();
        assert_eq!(dialled(), 3, "and are no more");
    }

    #[test]
    fn broken_ones_are_not_used() {
        let network = Network::default();
        let dialled = || network.dialled.load(Ordering::Relaxed);
        let beforehand = Beforehand::new(Box::new(network.clone()));
        let standby = server("fs2");
        beforehand.keep(std::slice::from_ref(&standby));
        network.is_down.store(true, Ordering::Relaxed);
        beforehand.dial(&standby, Role::Call).unwrap();
        assert_eq!(dialled(), 3);
        beforehand.keep(std::slice::from_ref(&standby));
        assert_eq!(dialled(), 5, "both anew");
    }
}
