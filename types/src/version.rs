//! What both ends of a connection say first: which versions and features they speak.
//!
//! Version N talks to N−1; fields and operations are only added. What is not understood by both is not used.

use serde::{Deserialize, Serialize};

use crate::{Error, Kind, Result};

/// The version this build speaks.
pub const PROTOCOL_VERSION: u32 = 1;
/// The oldest version it still understands.
pub const PROTOCOL_VERSION_OLDEST: u32 = 1;

/// A set of optional abilities, one bit each. None is defined yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Features(pub u64);

impl Features {
    /// Those both sides have.
    #[must_use]
    pub fn common(self, other: Features) -> Features {
        Features(self.0 & other.0)
    }
}

/// The first words of either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest version understood.
    pub oldest: u32,
    /// The newest version spoken.
    pub newest: u32,
    /// Optional abilities.
    pub features: Features,
}

impl Hello {
    /// What this build says.
    pub const OURS: Hello = Hello {
        oldest: PROTOCOL_VERSION_OLDEST,
        newest: PROTOCOL_VERSION,
        features: Features(0),
    };

    /// The version and features to use with a peer that said `theirs`.
    ///
    /// # Errors
    /// `Version` when no version is understood by both, naming both ranges.
    pub fn agree(self, theirs: Hello) -> Result<(u32, Features)> {
        let newest = self.newest.min(theirs.newest);
        if newest < self.oldest || newest < theirs.oldest || theirs.oldest > theirs.newest {
            return Err(Error::new(Kind::Version, "protocol")
                .because(format!(
                    "this side speaks versions {} to {}, the other {} to {}",
                    self.oldest, self.newest, theirs.oldest, theirs.newest
                ))
                .remedy("upgrade the older side first; neighbouring versions work together"));
        }
        Ok((newest, self.features.common(theirs.features)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(oldest: u32, newest: u32, features: u64) -> Hello {
        Hello {
            oldest,
            newest,
            features: Features(features),
        }
    }

    #[test]
    fn neighbours_agree_on_the_older_version_and_common_features() {
        let (version, features) = hello(1, 2, 0b110).agree(hello(2, 3, 0b011)).unwrap();
        assert_eq!((version, features), (2, Features(0b010)));
    }

    #[test]
    fn strangers_are_told_both_ranges() {
        let error = hello(1, 1, 0).agree(hello(2, 3, 0)).unwrap_err();
        assert_eq!(error.kind, Kind::Version);
        assert!(error.to_string().contains("1 to 1, the other 2 to 3"), "{error}");
        assert!(
            hello(1, 2, 0).agree(hello(2, 1, 0)).is_err(),
            "a range upside down is no range"
        );
    }
}
