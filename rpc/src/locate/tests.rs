//! What the tables make of news.

use baton_types::record::{Changed, Site, VersionState};
use uuid::Uuid;

use super::*;

fn fileset(number: u64, name: &str, aggregate: u128) -> Fileset {
    Fileset {
        id: FilesetId(number * FilesetId::STEP),
        name: name.parse().unwrap(),
        rw: VersionState::Valid,
        ro: VersionState::Invalid,
        backup: VersionState::Invalid,
        sites: vec![Site {
            entry: 1,
            aggregate: AggregateId(Uuid::from_u128(aggregate)),
            versions: Site::RW,
        }],
        quota_bytes: 0,
        quota_files: 0,
        lock: None,
    }
}

fn put(record: Fileset) -> News {
    changed(vec![Record::Fileset(record)], Vec::new())
}

fn changed(put: Vec<Record>, gone: Vec<Key>) -> News {
    News::Changed(Changed { index: 9, put, gone })
}

fn whole(tables: &mut Tables, records: Vec<Record>) -> Vec<FilesetId> {
    assert!(tables.hear(News::Forget).is_empty());
    assert!(tables.hear(News::Put(records)).is_empty());
    tables.hear(News::Complete(5))
}

/// What is known: names, with their aggregates.
fn known(tables: &Tables) -> Vec<(&str, u128)> {
    let of = |fileset: &'_ Fileset| tables.aggregate_of(fileset.id).map(|id| id.0.as_u128());
    let all = tables.filesets.values();
    all.map(|fileset| (fileset.name.as_str(), of(fileset).unwrap_or_default()))
        .collect()
}

#[test]
fn of_filesets_only_those_are_followed_that_somebody_asked_for() {
    let mut tables = Tables::default();
    assert!(whole(&mut tables, Vec::new()).is_empty());
    tables.put(Record::Fileset(fileset(1, "home.alice", 7)));
    tables.hear(put(fileset(2, "home.bob", 7)));
    assert_eq!(known(&tables), [("home.alice", 7)]);
    tables.hear(put(fileset(1, "home.alice", 8)));
    assert_eq!(known(&tables), [("home.alice", 8)], "it has moved");
    tables.hear(put(fileset(1, "home.alicia", 8)));
    tables.hear(put(fileset(3, "home.alicia", 9)));
    assert_eq!(
        known(&tables),
        [("home.alicia", 8), ("home.alicia", 9)],
        "who has a name that is in use here is followed too"
    );
    assert_eq!(tables.names.values().collect::<Vec<_>>(), [&fileset(3, "x", 0).id]);
    tables.hear(changed(Vec::new(), vec![Key::Fileset(fileset(1, "x", 0).id)]));
    assert_eq!(known(&tables), [("home.alicia", 9)]);
    assert_eq!(tables.index, 9);
}

#[test]
fn what_may_have_changed_meanwhile_stays_in_use_and_is_to_be_asked_for() {
    let mut tables = Tables::default();
    tables.put(Record::Fileset(fileset(1, "home.alice", 7)));
    tables.put(Record::Fileset(fileset(2, "home.bob", 7)));
    // A member of an older version sends filesets too: they are news, and not in doubt.
    let doubtful = whole(&mut tables, vec![Record::Fileset(fileset(2, "home.bob", 8))]);
    assert_eq!(doubtful, [fileset(1, "x", 0).id]);
    assert_eq!(known(&tables), [("home.alice", 7), ("home.bob", 8)]);
    assert_eq!(tables.index, 5);
}
