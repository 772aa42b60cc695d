//! Small changes for the tests of the oracles.

use baton_flserver::state::Committed;
use baton_types::change::{Change, ChangeSession, Proposal, Who};
use baton_types::{Address, CellId, CellName, EntryName, PrincipalName, Timestamp};
use uuid::Uuid;

/// The cell's first change, at `index`.
pub(super) fn genesis(index: u64) -> Committed {
    let change = Change::Genesis {
        cell_id: CellId(Uuid::from_u128(1)),
        cell: CellName::parse("example.org").unwrap(),
        administrator: PrincipalName::parse("admin").unwrap(),
        administrator_id: 1_000,
        member: EntryName::parse("fl1").unwrap(),
        addresses: vec![Address::parse("127.0.0.1").unwrap()],
    };
    Committed::Change(index, Box::new(of(ChangeSession([0; 16]), 1, Who::Database, change)))
}

/// The administrator's change number `sequence` at `index`: another description of the cell.
pub(super) fn set(index: u64, sequence: u32, value: &str) -> Committed {
    Committed::Change(index, Box::new(proposal(sequence, value)))
}

/// The same, not yet in any log.
pub(super) fn proposal(sequence: u32, value: &str) -> Proposal {
    let who = Who::Principal {
        name: PrincipalName::parse("admin").unwrap(),
        mech: "cert".to_owned(),
    };
    let change = Change::SetCell {
        key: "description".to_owned(),
        value: value.to_owned(),
    };
    of(ChangeSession([1; 16]), sequence, who, change)
}

fn of(session: ChangeSession, sequence: u32, who: Who, change: Change) -> Proposal {
    Proposal {
        session,
        sequence,
        born: 0,
        date: Timestamp(0),
        who,
        change,
    }
}
