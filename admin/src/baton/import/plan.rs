//! What the files say against what the registry says: a function that asks nobody.
//!
//! Groups come first: whoever is imported may be in those that stand afterwards, and in no others.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::change::ImportedPerson;
use baton_types::limits::GROUPS_OF_PRINCIPAL_MAX;
use baton_types::record::{Group, Principal, groups};
use baton_types::{GroupName, PrincipalName};

use super::files::{self, Bad, Lines};

/// The uid and gid of Linux's nobody.
const NOBODY: u32 = 65_534;

/// What is in the files.
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub passwd: Option<Lines<files::Person>>,
    pub group: Option<Lines<files::Group>>,
}

/// Whose lines are meant.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// People from this uid on.
    pub min_uid: u32,
    /// People up to this uid.
    pub max_uid: u32,
    /// Groups from this gid on, and those that are the primary one of somebody who is imported.
    pub min_gid: u32,
}

/// What is in the registry.
#[derive(Clone, Debug, Default)]
pub struct Known {
    people: BTreeMap<PrincipalName, Principal>,
    uids: BTreeMap<u32, PrincipalName>,
    groups: BTreeMap<GroupName, u32>,
    gids: BTreeMap<u32, GroupName>,
}

impl Known {
    pub fn of(people: Vec<Principal>, groups: Vec<Group>) -> Known {
        let uid = |p: &Principal| p.id.map(|id| (id, p.name.clone()));
        Known {
            uids: people.iter().filter_map(uid).collect(),
            people: people.into_iter().map(|p| (p.name.clone(), p)).collect(),
            gids: groups.iter().map(|g| (g.id, g.name.clone())).collect(),
            groups: groups.into_iter().map(|g| (g.name, g.id)).collect(),
        }
    }

    pub fn person(&self, name: &PrincipalName) -> Option<&Principal> {
        self.people.get(name)
    }
}

/// Lines that nothing is done for, and that nothing is wrong with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Accounts and groups of the machine: below the least number that counts.
    pub system: usize,
    /// Above the largest.
    pub beyond: usize,
    /// With a number that nobody can have.
    pub reserved: usize,
    /// That stand for something else.
    pub elsewhere: usize,
    /// Members of groups who are nobody of the people here.
    pub strangers: usize,
}

/// A line that cannot be done, with the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub file: &'static str,
    pub line: usize,
    pub what: String,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub groups: Vec<Group>,
    /// Only what is new of each: groups he is in already are not among his.
    pub people: Vec<ImportedPerson>,
    /// People and groups that are as the files say.
    pub unchanged: usize,
    pub skipped: Skipped,
    pub conflicts: Vec<Conflict>,
    pub notes: Vec<String>,
}

const PASSWD: &str = "passwd";
const GROUP: &str = "group";

/// Compares.
pub fn plan(given: &Given, bounds: Bounds, known: &Known) -> Plan {
    let mut planner = Planner {
        known,
        plan: Plan::default(),
        people: BTreeMap::new(),
        refused: BTreeSet::new(),
        uids: BTreeMap::new(),
        groups: BTreeMap::new(),
        gids: BTreeMap::new(),
        refused_gids: BTreeSet::new(),
    };
    if let Some(passwd) = &given.passwd {
        planner.lines(PASSWD, &passwd.bad, passwd.elsewhere);
        passwd.rows.iter().for_each(|row| planner.person(row, bounds));
    }
    if let Some(group) = &given.group {
        planner.lines(GROUP, &group.bad, group.elsewhere);
        let primary: BTreeSet<u32> = planner.people.values().filter_map(|p| p.gid).collect();
        for row in &group.rows {
            planner.group(row, bounds, &primary);
        }
    }
    planner.primaries(given.group.is_some());
    planner.finish()
}

/// Somebody who is to be in the registry, or is.
struct Wanted {
    /// 0 if he is in no passwd line.
    line: usize,
    uid: Option<u32>,
    gid: Option<u32>,
    primary: Option<GroupName>,
    groups: BTreeSet<GroupName>,
}

struct Planner<'a> {
    known: &'a Known,
    plan: Plan,
    people: BTreeMap<PrincipalName, Wanted>,
    /// Names in passwd lines that are not wanted: they get into no group by way of another file.
    refused: BTreeSet<String>,
    /// By which line.
    uids: BTreeMap<u32, (PrincipalName, usize)>,
    /// Those that may have members, and by which line.
    groups: BTreeMap<GroupName, (u32, usize)>,
    gids: BTreeMap<u32, GroupName>,
    /// Of group lines with a conflict: whose number that is nobody can say.
    refused_gids: BTreeSet<u32>,
}

impl Planner<'_> {
    fn lines(&mut self, file: &'static str, bad: &[Bad], elsewhere: usize) {
        for Bad { line, why } in bad {
            self.conflict(file, *line, format!("{why}; mend the line, or take it out"));
        }
        self.plan.skipped.elsewhere += elsewhere;
    }

    fn conflict(&mut self, file: &'static str, line: usize, what: String) {
        self.plan.conflicts.push(Conflict { file, line, what });
    }

    fn person(&mut self, row: &files::Person, bounds: Bounds) {
        let skipped = &mut self.plan.skipped;
        match row.uid {
            0 | NOBODY | u32::MAX => skipped.reserved += 1,
            uid if uid < bounds.min_uid => skipped.system += 1,
            uid if uid > bounds.max_uid => skipped.beyond += 1,
            _ => match self.wanted(row) {
                Ok(None) => return,
                Ok(Some(name)) => {
                    self.uids.insert(row.uid, (name.clone(), row.line));
                    let wanted = Wanted {
                        line: row.line,
                        uid: Some(row.uid),
                        gid: Some(row.gid),
                        primary: None,
                        groups: BTreeSet::new(),
                    };
                    self.people.insert(name, wanted);
                    return;
                }
                Err(what) => self.conflict(PASSWD, row.line, what),
            },
        }
        // A second line of somebody who is wanted takes nothing from the first.
        if !self.people.contains_key(row.name.as_str()) {
            self.refused.insert(row.name.clone());
        }
    }

    /// Its name, if the registry and the lines before let it have its uid; none if it stands there twice.
    fn wanted(&self, row: &files::Person) -> Result<Option<PrincipalName>, String> {
        let (line, uid) = (row.line, row.uid);
        let name = PrincipalName::parse(&row.name).map_err(|error| format!("{error}; take line {line} out"))?;
        if name.as_str().contains('/') {
            return Err(format!(
                "'{name}' has a '/': that is no name of a person; take line {line} out"
            ));
        }
        if let Some(before) = self.people.get(&name) {
            return match before.uid == Some(uid) && before.gid == Some(row.gid) {
                true => Ok(None),
                false => Err(format!(
                    "{name} is on line {} with other numbers; take one of the two out",
                    before.line
                )),
            };
        }
        if let Some((other, before)) = self.uids.get(&uid) {
            return Err(format!(
                "uid {uid} is {other}'s by line {before}; give {name} another, or take line {line} out"
            ));
        }
        match self.known.people.get(&name).map(|known| known.id) {
            Some(Some(known)) if known == uid => return Ok(Some(name)),
            Some(known) => {
                let known = known.map_or_else(|| "none".to_owned(), |id| id.to_string());
                return Err(format!(
                    "uid of {name} is {known} in the registry, and {uid} here; nobody's uid changes: mend the line, and \
                     chown what is {uid}'s"
                ));
            }
            None => {}
        }
        match self.known.uids.get(&uid) {
            Some(other) => Err(format!(
                "uid {uid} is {other}'s in the registry; give {name} another, or take line {line} out"
            )),
            None => Ok(Some(name)),
        }
    }

    fn group(&mut self, row: &files::Group, bounds: Bounds, primary: &BTreeSet<u32>) {
        let skipped = &mut self.plan.skipped;
        match row.gid {
            0 | NOBODY | u32::MAX => skipped.reserved += 1,
            gid if gid < bounds.min_gid && !primary.contains(&gid) => skipped.system += 1,
            _ => match self.wanted_group(row) {
                Ok(name) => self.members(&name, &row.members),
                Err(what) => {
                    self.refused_gids.insert(row.gid);
                    self.conflict(GROUP, row.line, what);
                }
            },
        }
    }

    fn wanted_group(&mut self, row: &files::Group) -> Result<GroupName, String> {
        let (line, gid) = (row.line, row.gid);
        let name = GroupName::parse(&row.name).map_err(|error| format!("{error}; take line {line} out"))?;
        if groups::is_administrators(&name) {
            return Err(format!(
                "members of {name} administrate the cell, and no import makes an administrator; one by one: baton cell \
                 principal NAME --groups ..."
            ));
        }
        match self.groups.get(&name) {
            // Long groups stand on several lines.
            Some((before, _)) if *before == gid => return Ok(name),
            Some((before, first)) => {
                return Err(format!(
                    "gid of {name} is {before} by line {first}, and {gid} here; mend one of the two"
                ));
            }
            None => {}
        }
        if let Some((other, (_, before))) = self.gids.get(&gid).and_then(|other| self.groups.get_key_value(other)) {
            return Err(format!(
                "gid {gid} is group {other}'s by line {before}; give {name} another, or take line {line} out"
            ));
        }
        match self.known.groups.get(&name) {
            Some(known) if *known == gid => {}
            Some(known) => {
                return Err(format!(
                    "gid of {name} is {known} in the registry, and {gid} here; mend the line, or: baton cell group {name} \
                     --id {gid}"
                ));
            }
            None => {
                if let Some(other) = self.known.gids.get(&gid) {
                    return Err(format!(
                        "gid {gid} is group {other}'s in the registry; give {name} another, or: baton cell group {other} \
                         --id OTHER"
                    ));
                }
            }
        }
        self.groups.insert(name.clone(), (gid, line));
        self.gids.insert(gid, name.clone());
        Ok(name)
    }

    fn members(&mut self, group: &GroupName, members: &[String]) {
        for member in members {
            if let Some(wanted) = self.people.get_mut(member.as_str()) {
                wanted.groups.insert(group.clone());
                continue;
            }
            let known = self.known.people.get_key_value(member.as_str());
            match known.filter(|(name, _)| name.as_host().is_none() && !self.refused.contains(member)) {
                Some((name, _)) => {
                    let wanted = Wanted {
                        line: 0,
                        uid: None,
                        gid: None,
                        primary: None,
                        groups: BTreeSet::from([group.clone()]),
                    };
                    self.people.insert(name.clone(), wanted);
                }
                None => self.plan.skipped.strangers += 1,
            }
        }
    }

    /// The primary group of each, by its number.
    fn primaries(&mut self, has_groups: bool) {
        let (mut unknown, mut conflicts) = (Vec::new(), Vec::new());
        for (name, wanted) in &mut self.people {
            let Some(gid) = wanted.gid else { continue };
            let known = self
                .known
                .gids
                .get(&gid)
                .filter(|group| !groups::is_administrators(group));
            let is_doubtful = self.refused_gids.contains(&gid);
            let Some(group) = self.gids.get(&gid).or(known.filter(|_| !is_doubtful)) else {
                match has_groups {
                    true if is_doubtful => {} // that line was named
                    true => conflicts.push((
                        wanted.line,
                        format!("gid {gid} of {name} is of no group; without one he has his own: add the group's line"),
                    )),
                    false => unknown.push(format!("{name} ({gid})")),
                }
                continue;
            };
            let before = self.known.people.get(name).and_then(|known| known.primary.as_ref());
            match before {
                Some(before) if before != group => conflicts.push((
                    wanted.line,
                    format!(
                        "primary group of {name} is {before} in the registry, and {group} here; mend the line, or: baton \
                         cell principal {name} --primary {group}"
                    ),
                )),
                Some(_) => {}
                None => wanted.primary = Some(group.clone()),
            }
            wanted.groups.insert(group.clone());
        }
        for (line, what) in conflicts {
            self.conflict(PASSWD, line, what);
        }
        if let Some(first) = unknown.first() {
            self.plan.notes.push(format!(
                "the registry has no group for the gid of {}, {first} among them; give the group file as well: -group FILE",
                crate::output::count(unknown.len(), "principal")
            ));
        }
    }

    fn finish(mut self) -> Plan {
        for (name, (gid, _)) in &self.groups {
            match self.known.groups.contains_key(name) {
                true => self.plan.unchanged += 1,
                false => self.plan.groups.push(Group {
                    name: name.clone(),
                    id: *gid,
                }),
            }
        }
        for (name, wanted) in std::mem::take(&mut self.people) {
            let known = self.known.people.get(&name);
            let is_in = |group: &GroupName| known.is_some_and(|known| known.groups.contains(group));
            let new: Vec<GroupName> = wanted.groups.into_iter().filter(|group| !is_in(group)).collect();
            let count = known.map_or(0, |known| known.groups.len()) + new.len();
            if count > GROUPS_OF_PRINCIPAL_MAX {
                let what =
                    format!("{name} would be in {count} groups, {GROUPS_OF_PRINCIPAL_MAX} at most; take some out");
                self.conflict(GROUP, 0, what);
                continue;
            }
            if known.is_some() && new.is_empty() && wanted.primary.is_none() {
                self.plan.unchanged += 1;
                continue;
            }
            self.plan.people.push(ImportedPerson {
                id: wanted.uid,
                primary: wanted.primary,
                groups: new,
                name,
            });
        }
        self.plan
            .conflicts
            .sort_by_key(|conflict| (conflict.file == GROUP, conflict.line));
        self.plan
    }
}
