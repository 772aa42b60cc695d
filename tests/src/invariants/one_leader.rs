//! A term has one leader.

use std::collections::BTreeMap;

use super::Verdict;

/// Who led when.
#[derive(Debug, Default)]
pub struct OneLeader {
    leaders: BTreeMap<u64, u64>,
}

impl OneLeader {
    /// `member` speaks as the leader of `term`.
    ///
    /// # Errors
    /// Another one did.
    pub fn leads(&mut self, term: u64, member: u64) -> Verdict {
        let first = *self.leaders.entry(term).or_insert(member);
        if first != member {
            return Err(format!(
                "two leaders in term {term}: member {first} and member {member}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_leader_of_a_term_is_noticed() {
        let mut leaders = OneLeader::default();
        leaders.leads(1, 1).unwrap();
        leaders.leads(1, 1).unwrap();
        leaders.leads(2, 3).unwrap();
        assert!(leaders.leads(1, 2).is_err());
    }
}
