//! Whom there is to ask.

use baton_types::record::Member;
use baton_types::{Address, EntryName};

use crate::dial::Target;

/// The members that are known, by their own records and by what was known before the first of those came.
#[derive(Debug)]
pub(super) struct Known {
    records: Vec<Member>,
    given: Vec<Target>,
    /// Where this client begins, so that not all clients ask the same member first.
    start: usize,
}

impl Known {
    /// Only addresses: any machine of the cell may answer there.
    pub(super) fn addresses(addresses: Vec<Address>) -> Known {
        Known::targets(
            addresses
                .into_iter()
                .map(|address| Target { name: None, address })
                .collect(),
        )
    }

    /// Names too.
    pub(super) fn targets(given: Vec<Target>) -> Known {
        Known {
            records: Vec::new(),
            given,
            start: rand::random_range(0..usize::MAX),
        }
    }

    pub(super) fn records(&self) -> &[Member] {
        &self.records
    }

    /// The database says that these are its members.
    pub(super) fn learn(&mut self, records: Vec<Member>) {
        if !records.is_empty() {
            self.records = records;
        }
    }

    /// Everywhere to ask: every member's best address first, then their second, then what was given besides.
    pub(super) fn all(&self) -> Vec<Target> {
        let mut ranked = Vec::new();
        let first = self.start % self.records.len().max(1);
        let (before, after) = self.records.split_at(first);
        for member in after.iter().chain(before) {
            for (rank, address) in member.addresses.iter().enumerate() {
                ranked.push((rank, target(&member.name, address)));
            }
        }
        ranked.sort_by_key(|(rank, _)| *rank); // stable: the members keep their order
        let mut targets: Vec<Target> = ranked.into_iter().map(|(_, target)| target).collect();
        let first = self.start % self.given.len().max(1);
        let (before, after) = self.given.split_at(first);
        for given in after.iter().chain(before) {
            if targets.iter().all(|known| known.address != given.address) {
                targets.push(given.clone());
            }
        }
        targets
    }
}

fn target(name: &EntryName, address: &Address) -> Target {
    Target {
        name: Some(name.clone()),
        address: address.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn member(number: u64, addresses: &[&str]) -> Member {
        Member {
            number,
            name: EntryName::parse(&format!("fl{number}")).unwrap(),
            addresses: addresses.iter().map(|text| address(text)).collect(),
            issuer: false,
        }
    }

    #[test]
    fn best_addresses_come_first_and_given_ones_last() {
        let mut known = Known::addresses(vec![address("a"), address("old")]);
        known.start = 0;
        assert_eq!(known.all().len(), 2);
        known.learn(vec![member(1, &["a", "a2"]), member(2, &["b"])]);
        let order: Vec<_> = known.all().iter().map(|target| target.to_string()).collect();
        assert_eq!(order, ["fl1 (a)", "fl2 (b)", "fl1 (a2)", "old"]);
        known.start = 1;
        let order: Vec<_> = known.all().iter().map(|target| target.to_string()).collect();
        assert_eq!(order, ["fl2 (b)", "fl1 (a)", "fl1 (a2)", "old"]);
        known.learn(Vec::new());
        assert_eq!(known.records().len(), 2, "no members at all is no news");
    }
}
