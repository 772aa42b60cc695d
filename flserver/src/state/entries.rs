//! Server entries: what administrators edit and read, found by address as in DFS.
//!
//! An edit takes exactly the address it names. `-changeaddr` to an address that any entry owns is
//! refused: that is why the swap of two servers took a dummy, and it still does.

use baton_types::change::{AddressEdit, Change, OwnerEdit};
use baton_types::limits::{ADDRESSES_MAX, ENTRY_NAME_BYTES_MAX};
use baton_types::record::{Record, ServerEntry};
use baton_types::{Address, EntryName, Error, GroupName, Kind, PrincipalName, Result};

use super::draft::Draft;

impl Draft<'_> {
    pub(super) fn create_entry(
        &mut self,
        address: &Address,
        principal: &PrincipalName,
        quota: u32,
        owner: Option<&GroupName>,
    ) -> Result<Record> {
        self.unused(address)?;
        self.known(principal)?;
        let number = self.next_entry();
        let entry = ServerEntry {
            number,
            name: self.free_name(address.host(), number)?,
            addresses: vec![address.clone()],
            principal: principal.clone(),
            owner: owner.cloned(),
            quota,
            uses: 0,
        };
        self.tell(format!("server entry {address}"));
        Ok(self.put_entry(entry))
    }

    pub(super) fn delete_entry(&mut self, address: &Address) -> Result<()> {
        let entry = self.state.entry(address)?;
        if entry.uses > 0 {
            return Err(Error::new(Kind::Busy, format!("server entry {address}"))
                .because(format!("{} fileset versions refer to it", entry.uses))
                .remedy(format!(
                    "move or delete them first; fts lsfldb -server {address} lists them"
                )));
        }
        self.drop_entry(entry.number);
        self.tell(format!("server entry {address}"));
        Ok(())
    }

    /// A number that no entry had.
    pub(super) fn next_entry(&mut self) -> u32 {
        let number = self.state.next.entry;
        self.state.next.entry += 1;
        number
    }

    /// `host` as far as it fits a name; if another entry is called so, with the new one's number behind it.
    pub(super) fn free_name(&self, host: &str, number: u32) -> Result<EntryName> {
        let host = host.replace(':', "-");
        let host = host.trim_start_matches('-');
        let cut = |room: usize| &host[..host.floor_char_boundary(room)];
        let name = EntryName::parse(cut(ENTRY_NAME_BYTES_MAX))?;
        let is_taken = |name: &EntryName| self.state.entries.values().any(|entry| entry.name == *name);
        if !is_taken(&name) {
            return Ok(name);
        }
        let suffix = format!("-{number}");
        let name = EntryName::parse(&format!("{}{suffix}", cut(ENTRY_NAME_BYTES_MAX - suffix.len())))?;
        if is_taken(&name) {
            return Err(Error::new(Kind::Exists, format!("server entry {name}")).remedy("use another of its addresses"));
        }
        Ok(name)
    }

    pub(super) fn edit_entry(&mut self, change: &Change) -> Result<Record> {
        let Change::EditServerEntry {
            address,
            addresses,
            principal,
            quota,
            owner,
        } = change
        else {
            unreachable!("routed by Draft::run")
        };
        let mut entry = self.state.entry(address)?;
        if let Some(principal) = principal {
            self.known(principal)?;
            entry.principal = principal.clone();
        }
        entry.quota = quota.unwrap_or(entry.quota);
        match owner {
            Some(OwnerEdit::Set(group)) => entry.owner = Some(group.clone()),
            Some(OwnerEdit::Clear) => entry.owner = None,
            None => {}
        }
        if let Some(edit) = addresses {
            self.edit_addresses(&mut entry, address, edit)?;
        }
        self.tell(format!("server entry {address}"));
        Ok(self.put_entry(entry))
    }

    fn edit_addresses(&self, entry: &mut ServerEntry, address: &Address, edit: &AddressEdit) -> Result<()> {
        let refuse = |kind, why: String, way_out: String| {
            let error = Error::new(kind, format!("server entry {address}")).because(why);
            Err(error.remedy(way_out))
        };
        match edit {
            AddressEdit::Add(new) => {
                self.unused(new)?;
                if entry.addresses.len() >= ADDRESSES_MAX {
                    return refuse(
                        Kind::Limit,
                        format!("it has {ADDRESSES_MAX} addresses already"),
                        "take one away first: fts edserverentry ADDRESS -rmaddr".to_owned(),
                    );
                }
                entry.addresses.push(new.clone());
            }
            AddressEdit::ChangeTo(new) => {
                self.unused(new)?;
                for old in entry.addresses.iter_mut().filter(|old| *old == address) {
                    *old = new.clone();
                }
            }
            AddressEdit::Remove => {
                if entry.addresses.len() == 1 {
                    return refuse(
                        Kind::Invalid,
                        "this is its last address, and nothing else finds it".to_owned(),
                        format!(
                            "give it another instead: fts edserverentry {address} -changeaddr OTHER; or take the entry \
                             away: fts delserverentry {address}"
                        ),
                    );
                }
                entry.addresses.retain(|old| old != address);
            }
        }
        Ok(())
    }

    /// Every address belongs to one entry only.
    fn unused(&self, address: &Address) -> Result<()> {
        match self
            .state
            .entry_addresses
            .get(address)
            .and_then(|number| self.state.entries.get(number))
        {
            None => Ok(()),
            Some(other) => Err(Error::new(Kind::Exists, format!("address {address}"))
                .because(format!(
                    "it belongs to server entry {} ({})",
                    other.name, other.principal
                ))
                .remedy("give that entry another address first: fts edserverentry ADDRESS -changeaddr OTHER")),
        }
    }

    /// DFS asked the registry whether the principal exists, never whether it is unique.
    fn known(&self, principal: &PrincipalName) -> Result<()> {
        if self.state.principals.contains_key(principal) {
            return Ok(());
        }
        Err(Error::new(Kind::NotFound, format!("principal {principal}"))
            .because("the registry does not know it")
            .remedy("invite the machine first: baton cell invite HOST"))
    }
}
