//! `Plan`: what kind of history it will be, drawn before it begins.

use baton_flserver::store::Lie;
use baton_types::Time;

use crate::sim::{Affliction, Seed, Targets};

/// Faults end here; then everything must come to its end.
pub(super) const FAULTS_UNTIL: Time = 2_000_000;

/// What is going to happen to the group as a whole.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Members that the group is to have.
    pub(super) members: u64,
    /// Whether it has them all before anything breaks.
    pub(super) growth: Growth,
    /// A member that leaves, and when; another one takes its place.
    pub(super) leaves: Option<(u64, Time, Leaving)>,
    /// When the leader hands over on purpose.
    pub(super) hand_overs: Vec<Time>,
    /// What goes wrong besides.
    pub(super) afflictions: Vec<Affliction>,
    /// Entries between two snapshots: so few that a member that was away needs one.
    pub(super) snapshot_every: u64,
    /// A promise that every disk breaks at each crash.
    pub(super) lie: Option<Lie>,
    /// Restarted leaders lead on.
    pub(super) leader_restore: bool,
}

/// Whether the group comes to its size in peace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    Calm,
    UnderFaults,
}

/// How a member leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// Its machine burns down first.
    Lost,
    /// It is taken out of the group while it runs, and goes on running.
    Retired,
}

impl Plan {
    /// A group of `members`, and nothing goes wrong.
    pub(super) fn calm(members: u64) -> Plan {
        Plan {
            members,
            growth: Growth::Calm,
            leaves: None,
            hand_overs: Vec::new(),
            afflictions: Vec::new(),
            snapshot_every: 1_000,
            lie: None,
            leader_restore: false,
        }
    }

    /// A plan drawn from `seed`.
    pub(super) fn drawn(seed: &mut Seed) -> Plan {
        let members = if seed.chance(200) { 5 } else { 3 };
        let count = usize::try_from(members).unwrap_or_default();
        let targets = Targets {
            nodes: count,
            mortal: 0..count,
        };
        Plan {
            growth: if seed.chance(250) {
                Growth::UnderFaults
            } else {
                Growth::Calm
            },
            leaves: seed.chance(200).then(|| {
                let leaving = *seed.pick(&[Leaving::Lost, Leaving::Lost, Leaving::Retired]);
                (seed.between(2, members), seed.below(FAULTS_UNTIL / 2), leaving)
            }),
            hand_overs: (0..seed.below(3)).map(|_| seed.below(FAULTS_UNTIL)).collect(),
            afflictions: targets.afflictions(seed, FAULTS_UNTIL),
            snapshot_every: seed.between(10, 100),
            ..Plan::calm(members)
        }
    }

    /// The same, with disks that lie.
    #[must_use]
    pub fn with_lie(self, lie: Lie) -> Plan {
        Plan { lie: Some(lie), ..self }
    }

    /// The same, and who led before a restart leads after it.
    #[must_use]
    pub fn with_leader_restore(self) -> Plan {
        Plan {
            leader_restore: true,
            ..self
        }
    }
}
