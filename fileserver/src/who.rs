//! Who: what a caller is to the files, out of what it proved and what the registry says.
//!
//! | logged in by | uid and gid | groups |
//! |---|---|---|
//! | `host-trust` | as its machine says; uid 0 is root where the registry marks the machine, else nobody | as its machine says |
//! | `cert` | the registry's id, twice | none yet |
//! | nothing, or without an id | nobody's | none |
//!
//! Nobody has a privilege by his uid alone: what root may is asked of [`Root`], never of a number.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use baton_security::auth::Identity;
use baton_security::auth::host_trust::MayAssert;
use baton_types::record::Principal;
use baton_types::{Error, Kind, PrincipalName, Result};
use parking_lot::RwLock;

/// The uid and gid of those of whom nothing is known.
pub const NOBODY: u32 = 65_534;

/// Whether the rules about owners and mode bits bind somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// They do.
    No,
    /// They do not: uid 0 of a machine that may speak for its root.
    Yes,
}

/// What a caller is to the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cred {
    /// Owner of what it makes.
    pub uid: u32,
    /// Group of what it makes.
    pub gid: u32,
    /// Other groups that it is in.
    pub groups: Vec<u32>,
    /// Whether it is above the rules.
    pub root: Root,
}

impl Cred {
    /// One of whom nothing is known.
    pub fn nobody() -> Cred {
        Cred {
            uid: NOBODY,
            gid: NOBODY,
            groups: Vec::new(),
            root: Root::No,
        }
    }

    /// Whether the rules do not bind it.
    pub fn is_root(&self) -> bool {
        self.root == Root::Yes
    }

    /// Whether it is in a group.
    pub fn is_in(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

/// The registry's principals, as a watch on the location database tells them.
#[derive(Default)]
pub struct Registry {
    principals: RwLock<BTreeMap<PrincipalName, Principal>>,
    ended: OnceLock<Ended>,
}

/// Hears of principals whose logins say what is so no more.
type Ended = Box<dyn Fn(&PrincipalName) + Send + Sync>;

impl Registry {
    /// From now on `ended` hears of each principal that is no more what it logged in as. Only the first who asks does.
    pub fn on_end(&self, ended: impl Fn(&PrincipalName) + Send + Sync + 'static) {
        if self.ended.set(Box::new(ended)).is_err() {
            tracing::error!("somebody hears of ended principals already");
        }
    }

    /// A principal is new, or another than before.
    pub fn put(&self, principal: Principal) {
        let name = principal.name.clone();
        let rights = |of: &Principal| (of.id, of.disabled, of.may_assert_users, of.may_assert_root);
        let now = rights(&principal);
        let before = self.principals.write().insert(name.clone(), principal);
        if before.is_some_and(|before| rights(&before) != now) {
            self.end(&name);
        }
    }

    /// A principal is no more.
    pub fn remove(&self, name: &PrincipalName) {
        self.principals.write().remove(name);
        self.end(name);
    }

    fn end(&self, name: &PrincipalName) {
        if let Some(ended) = self.ended.get() {
            ended(name);
        }
    }

    /// The watch begins anew: until it is complete, nobody is known.
    pub fn clear(&self) {
        self.principals.write().clear();
    }

    /// For whom a machine may speak here. One that may speak for its users may name uid 0 as well: whether that is
    /// root is decided by [`Registry::cred`], so that a machine's own processes are nobody, and not shut out.
    pub fn may_assert(&self, host: &PrincipalName) -> MayAssert {
        match self.principals.read().get(host) {
            Some(machine) if !machine.disabled && machine.may_assert_users => MayAssert::UsersAndRoot,
            Some(_) | None => MayAssert::Nobody,
        }
    }

    /// Lets those in who are not disabled; users of a machine that may speak for them need no record.
    ///
    /// # Errors
    /// `Denied`.
    pub fn admit(&self, identity: &Identity) -> Result<()> {
        let principals = self.principals.read();
        let known = principals.get(&identity.principal);
        match known {
            Some(principal) if principal.disabled => {}
            Some(_) => return Ok(()),
            None if identity.host.is_some() => return Ok(()),
            None => {}
        }
        Err(Error::new(Kind::Denied, format!("principal {}", identity.principal))
            .because("not in the registry, or disabled there")
            .remedy("an administrator of the cell can add or enable it: baton cell principal"))
    }

    /// What somebody is to the files; `None` is one who did not log in.
    pub fn cred(&self, identity: Option<&Identity>) -> Cred {
        let Some(identity) = identity else {
            return Cred::nobody();
        };
        let principals = self.principals.read();
        match (&identity.unix, &identity.host) {
            (Some(unix), Some(host)) => {
                let host = principals.get(host).filter(|host| !host.disabled);
                let is_root = host.is_some_and(|host| host.may_assert_users && host.may_assert_root);
                match (unix.uid, is_root) {
                    (0, false) => Cred::nobody(),
                    (uid, _) => Cred {
                        uid,
                        gid: unix.gid,
                        groups: unix.groups.clone(),
                        root: if uid == 0 { Root::Yes } else { Root::No },
                    },
                }
            }
            _ => match principals.get(&identity.principal).filter(|own| !own.disabled) {
                Some(Principal { id: Some(id), .. }) => Cred {
                    uid: *id,
                    gid: *id,
                    groups: Vec::new(),
                    root: Root::No,
                },
                Some(_) | None => Cred::nobody(),
            },
        }
    }

    /// A principal's record.
    pub fn find(&self, name: &PrincipalName) -> Option<Principal> {
        self.principals.read().get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use baton_security::auth::UnixIds;
    use baton_types::{CellName, Timestamp};

    use super::*;

    fn principal(name: &str, id: Option<u32>) -> Principal {
        Principal {
            name: PrincipalName::parse(name).unwrap(),
            id,
            groups: Vec::new(),
            disabled: false,
            may_assert_users: false,
            may_assert_root: false,
        }
    }

    fn identity(name: &str, unix: Option<u32>) -> Identity {
        Identity {
            principal: PrincipalName::parse(name).unwrap(),
            cell: CellName::parse("example.org").unwrap(),
            mech: if unix.is_some() { "host-trust" } else { "cert" },
            host: unix.map(|_| PrincipalName::parse("hosts/c1").unwrap()),
            unix: unix.map(|uid| UnixIds {
                uid,
                gid: 100,
                groups: vec![7],
            }),
            expires: Timestamp(0),
        }
    }

    fn registry(may_assert_users: bool, may_assert_root: bool) -> Registry {
        let registry = Registry::default();
        registry.put(Principal {
            may_assert_users,
            may_assert_root,
            ..principal("hosts/c1", None)
        });
        registry.put(principal("alice", Some(1001)));
        registry
    }

    #[test]
    fn uid_0_is_root_only_where_the_registry_marks_the_machine() {
        let root = identity("root", Some(0));
        assert_eq!(registry(true, false).cred(Some(&root)), Cred::nobody());
        let cred = registry(true, true).cred(Some(&root));
        assert!(cred.is_root() && cred.uid == 0 && cred.is_in(7));
        let bob = registry(true, true).cred(Some(&identity("bob", Some(5))));
        assert!(!bob.is_root() && (bob.uid, bob.gid) == (5, 100));
    }

    #[test]
    fn a_certificate_counts_by_the_registry_alone() {
        let registry = registry(false, false);
        let alice = registry.cred(Some(&identity("alice", None)));
        assert_eq!((alice.uid, alice.gid, alice.root), (1001, 1001, Root::No));
        assert_eq!(registry.cred(Some(&identity("mallory", None))), Cred::nobody());
        assert_eq!(registry.cred(None), Cred::nobody());
        registry.put(Principal {
            disabled: true,
            ..principal("alice", Some(1001))
        });
        assert_eq!(registry.cred(Some(&identity("alice", None))), Cred::nobody());
        assert_eq!(registry.admit(&identity("alice", None)).unwrap_err().kind, Kind::Denied);
        assert_eq!(
            registry.admit(&identity("mallory", None)).unwrap_err().kind,
            Kind::Denied
        );
        assert!(registry.admit(&identity("bob", Some(5))).is_ok());
    }

    #[test]
    fn logins_end_with_what_they_rest_on() {
        let registry = registry(true, true);
        let ended: std::sync::Arc<parking_lot::Mutex<Vec<String>>> = std::sync::Arc::default();
        let heard = ended.clone();
        registry.on_end(move |name| heard.lock().push(name.to_string()));
        registry.put(principal("alice", Some(1001)));
        registry.put(principal("bob", Some(5)));
        assert!(ended.lock().is_empty(), "nothing changed for anybody");
        registry.put(principal("hosts/c1", None));
        registry.put(principal("bob", Some(6)));
        registry.remove(&PrincipalName::parse("alice").unwrap());
        assert_eq!(*ended.lock(), ["hosts/c1", "bob", "alice"]);
    }

    #[test]
    fn a_machine_speaks_only_where_the_registry_lets_it() {
        let host = PrincipalName::parse("hosts/c1").unwrap();
        assert_eq!(registry(false, true).may_assert(&host), MayAssert::Nobody);
        assert_eq!(registry(true, false).may_assert(&host), MayAssert::UsersAndRoot);
        let gone = registry(true, true);
        gone.clear();
        assert_eq!(gone.may_assert(&host), MayAssert::Nobody);
    }
}
