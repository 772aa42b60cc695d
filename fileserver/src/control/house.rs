//! Who calls this server's control, as the location database knows them.

use std::sync::Arc;

use baton_rpc::control::{Connection, House};
use baton_security::Anchor;
use baton_security::auth::acceptors;
use baton_security::auth::host_trust::{MayAssert, Trust};
use baton_types::change::Who;
use baton_types::{EntryName, Error, GroupName, Kind, Result};

use super::Control;

impl House for Control {
    fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    fn name(&self) -> &EntryName {
        &self.claims.me.name
    }

    fn applied(&self) -> u64 {
        self.heard.index()
    }

    fn offer_as_set(&self) {
        let mechanisms = self.heard.mechanisms();
        let mut offered = self.offered.lock();
        if *offered != mechanisms {
            let registry = self.heard.registry().clone();
            let trust: Trust = Arc::new(move |host| MayAssert::of(registry.find(host).as_ref()));
            let clock = &self.claims.clock;
            self.gate
                .offer(acceptors(&mechanisms, (&self.anchor, self.name()), clock, &trust));
            *offered = mechanisms;
        }
    }

    fn who(&self, connection: &Connection, caller: u32) -> Result<Who> {
        self.heard.check()?;
        let who = connection.who(caller)?;
        let record = who.principal().and_then(|name| self.heard.registry().find(name));
        match record {
            Some(principal) if principal.disabled => {
                Err(Error::new(Kind::Denied, format!("principal {}", principal.name)).because("it is disabled"))
            }
            Some(_) | None => Ok(who),
        }
    }

    fn groups(&self, who: &Who) -> Vec<GroupName> {
        let record = who.principal().and_then(|name| self.heard.registry().find(name));
        record.map(|principal| principal.groups).unwrap_or_default()
    }
}
