//! Numbers of groups, and people and groups out of the files of a machine.
//!
//! What an import finds as it should be it leaves alone, so that one given twice does nothing the second time. It never
//! takes anything away, never changes a number, and never makes an administrator: a group of that name in a file is
//! another one.

use baton_types::change::{Import, ImportedPerson};
use baton_types::record::{Group, Principal, Record, groups};
use baton_types::{Error, GroupName, Kind, Result};

use super::cell::machine;
use super::draft::Draft;
use super::registry::{is_among, sorted, usable};

impl Draft<'_> {
    /// A group gets a number, or has none any more.
    pub(super) fn edit_group(&mut self, name: &GroupName, id: Option<u32>) -> Result<Option<Record>> {
        let on = format!("group {name}");
        let Some(id) = id else {
            if !self.state.groups.contains_key(name) {
                return Err(Error::new(Kind::NotFound, on)
                    .because("it has no id")
                    .remedy("baton cell groups lists those that have one"));
            }
            self.drop_group(name);
            self.tell(on);
            return Ok(None);
        };
        self.free_gid(id, name)?;
        self.tell(format!("{on}: id {id}"));
        Ok(Some(self.put_group(Group { name: name.clone(), id })))
    }

    /// Says whether the group `name` may have the gid `id`.
    fn free_gid(&self, id: u32, name: &GroupName) -> Result<()> {
        usable(id)?;
        match self.state.group_ids.get(&id) {
            Some(owner) if owner != name => {
                Err(Error::new(Kind::Exists, format!("id {id}")).because(format!("it is group {owner}'s")))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn import(&mut self, import: &Import) -> Result<()> {
        import.check(0)?;
        let mut groups = 0;
        for group in &import.groups {
            groups += usize::from(self.import_group(group)?);
        }
        let (mut people, mut bytes) = (0, 0);
        for person in &import.people {
            let before = self.state.principals.get(&person.name).cloned();
            let after = self.imported(person, before.as_ref())?;
            bytes += person.bytes(&after.groups);
            if before.as_ref() != Some(&after) {
                self.put_principal(after);
                people += 1;
            }
        }
        import.check(bytes)?;
        if groups + people > 0 {
            self.tell(format!("principals: {people}, groups: {groups}"));
        }
        Ok(())
    }

    /// True if it is new.
    fn import_group(&mut self, group: &Group) -> Result<bool> {
        not_administrators(&group.name)?;
        match self.state.groups.get(&group.name) {
            Some(known) if known.id == group.id => return Ok(false),
            Some(known) => {
                return Err(Error::new(Kind::Exists, format!("group {}", group.name))
                    .because(format!("its id is {}", known.id)));
            }
            None => {}
        }
        self.free_gid(group.id, &group.name)?;
        self.put_group(group.clone());
        Ok(true)
    }

    /// What becomes of a person's record.
    fn imported(&self, person: &ImportedPerson, before: Option<&Principal>) -> Result<Principal> {
        let on = || format!("principal {}", person.name);
        if person.name.as_host().is_some() {
            return Err(Error::new(Kind::Invalid, on()).because("names under hosts/ are machines'"));
        }
        let mut principal = match (before, person.id) {
            (Some(known), Some(id)) if known.id != Some(id) => {
                let known = known.id.map_or_else(|| "none".to_owned(), |id| id.to_string());
                return Err(Error::new(Kind::Exists, on()).because(format!("its id is {known}")));
            }
            (Some(known), _) => known.clone(),
            (None, Some(id)) => {
                self.free_id(id, &person.name)?;
                Principal {
                    id: Some(id),
                    ..machine(person.name.clone())
                }
            }
            (None, None) => return Err(Error::new(Kind::NotFound, on()).remedy("baton cell principals lists them")),
        };
        for group in &person.groups {
            not_administrators(group)?;
        }
        principal.groups = sorted([principal.groups, person.groups.clone()].concat())?;
        if let Some(primary) = &person.primary {
            if let Some(known) = principal.primary.as_ref().filter(|known| *known != primary) {
                return Err(Error::new(Kind::Exists, on()).because(format!("its primary group is {known}")));
            }
            is_among(&principal, primary)?;
            principal.primary = Some(primary.clone());
        }
        Ok(principal)
    }
}

fn not_administrators(group: &GroupName) -> Result<()> {
    if groups::is_administrators(group) {
        return Err(Error::new(Kind::Invalid, format!("group {group}"))
            .because("its members administrate the cell, and no import makes an administrator")
            .remedy("one by one: baton cell principal NAME --groups ..."));
    }
    Ok(())
}
