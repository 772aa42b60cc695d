//! Who: what a caller is to the files, out of what it proved and what the registry says.
//!
//! | logged in by | uid and gid | groups |
//! |---|---|---|
//! | `host-trust` | as its machine says; uid 0 is root where the registry marks the machine, else nobody | as its machine says |
//! | `cert` | the registry's id; the gid of the primary group, else the id again unless that is a group's, else nobody's | those of its groups that have a gid |
//! | nothing, or without an id | nobody's | none |
//!
//! Nobody has a privilege by his uid alone: what root may is asked of [`Root`], never of a number.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use baton_security::auth::Identity;
use baton_security::auth::host_trust::MayAssert;
use baton_types::record::{Group, Principal};
use baton_types::{Error, GroupName, Kind, PrincipalName, Result};
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

/// The registry, as a watch on the location database tells it.
#[derive(Default)]
pub struct Registry {
    known: RwLock<Known>,
    ended: OnceLock<Ended>,
}

#[derive(Default)]
struct Known {
    principals: BTreeMap<PrincipalName, Principal>,
    /// The gids of groups.
    gids: BTreeMap<GroupName, u32>,
    /// And whose they are.
    groups: BTreeMap<u32, GroupName>,
}

impl Known {
    fn forget_group(&mut self, name: &GroupName) {
        if let Some(gid) = self.gids.remove(name)
            && self.groups.get(&gid) == Some(name)
        {
            self.groups.remove(&gid);
        }
    }

    /// The group of what somebody with this uid makes. Without a primary group it is one of its own; a number that is
    /// a group's already would put it among strangers.
    fn gid(&self, principal: &Principal, uid: u32) -> u32 {
        let primary = principal.primary.as_ref().and_then(|group| self.gids.get(group));
        match primary {
            Some(gid) => *gid,
            None if self.groups.contains_key(&uid) => NOBODY,
            None => uid,
        }
    }

    fn person(&self, principal: &Principal) -> Cred {
        let Some(uid) = principal.id else {
            return Cred::nobody();
        };
        let gids = principal.groups.iter().filter_map(|group| self.gids.get(group));
        Cred {
            uid,
            gid: self.gid(principal, uid),
            groups: gids.copied().collect(),
            root: Root::No,
        }
    }
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
        let before = self.known.write().principals.insert(name.clone(), principal);
        if before.is_some_and(|before| rights(&before) != now) {
            self.end(&name);
        }
    }

    /// A principal is no more.
    pub fn remove(&self, name: &PrincipalName) {
        self.known.write().principals.remove(name);
        self.end(name);
    }

    /// A group has a number, new or another than before.
    pub fn put_group(&self, group: Group) {
        let mut known = self.known.write();
        known.forget_group(&group.name);
        known.groups.insert(group.id, group.name.clone());
        known.gids.insert(group.name, group.id);
    }

    /// A group has no number any more.
    pub fn remove_group(&self, name: &GroupName) {
        self.known.write().forget_group(name);
    }

    fn end(&self, name: &PrincipalName) {
        if let Some(ended) = self.ended.get() {
            ended(name);
        }
    }

    /// The watch begins anew: until it is complete, nobody is known.
    pub fn clear(&self) {
        *self.known.write() = Known::default();
    }

    /// For whom a machine may speak here. One that may speak for its users may name uid 0 as well: whether that is
    /// root is decided by [`Registry::cred`], so that a machine's own processes are nobody, and not shut out.
    pub fn may_assert(&self, host: &PrincipalName) -> MayAssert {
        match self.known.read().principals.get(host) {
            Some(machine) if !machine.disabled && machine.may_assert_users => MayAssert::UsersAndRoot,
            Some(_) | None => MayAssert::Nobody,
        }
    }

    /// Lets those in who are not disabled; users of a machine that may speak for them need no record.
    ///
    /// # Errors
    /// `Denied`.
    pub fn admit(&self, identity: &Identity) -> Result<()> {
        match self.known.read().principals.get(&identity.principal) {
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
        let known = self.known.read();
        match (&identity.unix, &identity.host) {
            (Some(unix), Some(host)) => {
                let host = known.principals.get(host).filter(|host| !host.disabled);
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
            _ => match known.principals.get(&identity.principal).filter(|own| !own.disabled) {
                Some(own) => known.person(own),
                None => Cred::nobody(),
            },
        }
    }

    /// What a principal is to the files when it proves who it is by itself; nobody without a record and an id.
    pub fn person(&self, name: &PrincipalName) -> Cred {
        let known = self.known.read();
        known
            .principals
            .get(name)
            .map_or_else(Cred::nobody, |own| known.person(own))
    }

    /// A principal's record.
    pub fn find(&self, name: &PrincipalName) -> Option<Principal> {
        self.known.read().principals.get(name).cloned()
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
            primary: None,
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
    fn groups_of_a_certificate_are_those_with_a_number() {
        let registry = registry(false, false);
        let group = |name: &str| GroupName::parse(name).unwrap();
        let alice = || {
            let cred = registry.cred(Some(&identity("alice", None)));
            (cred.gid, cred.groups)
        };
        registry.put(Principal {
            groups: vec![group("cell-admin"), group("dev"), group("staff")],
            primary: Some(group("staff")),
            ..principal("alice", Some(1001))
        });
        assert_eq!(alice(), (1001, vec![]), "no group has a number yet");
        for (name, id) in [("staff", 50), ("dev", 60), ("others", 70)] {
            registry.put_group(Group { name: group(name), id });
        }
        assert_eq!(alice(), (50, vec![60, 50]));
        registry.put_group(Group {
            name: group("dev"),
            id: 61,
        });
        assert_eq!(alice(), (50, vec![61, 50]));
        registry.remove_group(&group("dev"));
        registry.remove_group(&group("staff"));
        assert_eq!(alice(), (1001, vec![]));
        // Her uid is a number of strangers: she is not among them.
        registry.put_group(Group {
            name: group("others"),
            id: 1001,
        });
        assert_eq!(alice(), (NOBODY, vec![]));
        assert_eq!(
            registry.person(&PrincipalName::parse("mallory").unwrap()),
            Cred::nobody()
        );
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
