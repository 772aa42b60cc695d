//! The direction of imports between our crates: down, never sideways.

use super::Finding;

/// Each crate and those of ours that it may import, for itself and for its tests.
///
/// `bench` stands on `tests` for the harness that starts a cell; `fuzz` reaches every decoder below the top.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("baton-types", &[]),
    ("baton-models", &[]),
    ("baton-proto", &["baton-types"]),
    ("baton-aggregate", &["baton-types"]),
    ("baton-security", &["baton-types"]),
    ("baton-rpc", RPC),
    ("baton-flserver", PART),
    ("baton-fileserver", PART_WITH_STORE),
    ("baton-client-fuse", PART),
    ("baton-admin", PART_WITH_STORE),
    ("baton-tests", TOP),
    ("baton-bench", TOP_WITH_HARNESS),
    ("baton-fuzz", TOP),
    ("xtask", &[]),
];

const RPC: &[&str] = &["baton-types", "baton-proto", "baton-security"];
const PART: &[&str] = &["baton-types", "baton-proto", "baton-security", "baton-rpc"];
const PART_WITH_STORE: &[&str] = &[
    "baton-types",
    "baton-proto",
    "baton-security",
    "baton-rpc",
    "baton-aggregate",
];
const TOP: &[&str] = &[
    "baton-types",
    "baton-proto",
    "baton-security",
    "baton-rpc",
    "baton-aggregate",
    "baton-flserver",
    "baton-fileserver",
    "baton-client-fuse",
    "baton-admin",
];
const TOP_WITH_HARNESS: &[&str] = &[
    "baton-types",
    "baton-proto",
    "baton-security",
    "baton-rpc",
    "baton-aggregate",
    "baton-flserver",
    "baton-fileserver",
    "baton-client-fuse",
    "baton-admin",
    "baton-tests",
];

/// What is wrong with the imports of the crate `name`, whose Cargo.toml is `manifest` at `path`.
pub fn check<'a>(name: &str, imported: impl Iterator<Item = &'a str>, path: &str, manifest: &str) -> Vec<Finding> {
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(importer, _)| *importer == name) else {
        return vec![Finding {
            path: path.to_owned(),
            line: line_of(manifest, "name"),
            what: format!("{name} has no place in the direction of imports"),
            way_out: "give it one in xtask/src/tidy/imports.rs, or make it a module",
        }];
    };
    let is_ours = |imported: &&str| MAY_IMPORT.iter().any(|(importer, _)| importer == imported);
    let wrong = imported.filter(is_ours).filter(|imported| !allowed.contains(imported));
    wrong
        .map(|imported| Finding {
            path: path.to_owned(),
            line: line_of(manifest, imported),
            what: format!("{name} imports {imported}, which is not below it"),
            way_out: "move what both need down to a crate that both may import",
        })
        .collect()
}

/// The first line of `manifest` that sets `key`.
fn line_of(manifest: &str, key: &str) -> usize {
    let sets = |line: &str| {
        line.strip_prefix(key)
            .is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
    };
    manifest.lines().position(sets).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, imported: &[&str]) -> Vec<String> {
        let manifest = format!(
            "[package]\nname = \"{name}\"\n\n[dependencies]\n{}.workspace = true\n",
            imported[0]
        );
        check(name, imported.iter().copied(), "x/Cargo.toml", &manifest)
            .iter()
            .map(Finding::to_string)
            .collect()
    }

    #[test]
    fn downwards_is_allowed_and_others_crates_are_nobodys_business() {
        assert!(found("baton-rpc", &["baton-types", "baton-proto", "tokio"]).is_empty());
        assert!(found("baton-fileserver", &["baton-aggregate"]).is_empty());
        assert!(found("baton-bench", &["baton-tests", "baton-flserver"]).is_empty());
    }

    #[test]
    fn upwards_and_sideways_are_found_in_their_line() {
        assert_eq!(
            found("baton-types", &["baton-proto"]),
            [
                "x/Cargo.toml:5: baton-types imports baton-proto, which is not below it; \
              move what both need down to a crate that both may import"
            ]
        );
        assert_eq!(found("baton-proto", &["baton-security"]).len(), 1);
        assert_eq!(found("baton-fileserver", &["baton-flserver"]).len(), 1);
        assert_eq!(found("baton-tests", &["baton-bench"]).len(), 1);
    }

    #[test]
    fn store_is_seen_by_few() {
        for name in ["baton-rpc", "baton-flserver", "baton-client-fuse", "baton-security"] {
            assert_eq!(found(name, &["baton-aggregate"]).len(), 1, "{name}");
        }
        assert_eq!(found("xtask", &["baton-types"]).len(), 1);
    }

    #[test]
    fn new_crate_needs_a_place() {
        let found = found("baton-misc", &["tokio"]);
        assert!(
            found.len() == 1 && found[0].starts_with("x/Cargo.toml:2: baton-misc has no place"),
            "{found:?}"
        );
    }

    #[test]
    fn table_itself_points_down_only() {
        for (index, (importer, allowed)) in MAY_IMPORT.iter().enumerate() {
            for imported in *allowed {
                let below = MAY_IMPORT[..index].iter().any(|(name, _)| name == imported);
                assert!(below, "{importer} imports {imported}");
            }
        }
    }
}
