//! Questions: lookups by every name a thing has, lists with their filters.

use super::*;

fn listed(state: &Fldb, filter: &Filter) -> Result<Vec<String>, String> {
    let list = state.list(Table::Fileset, filter).map_err(|e| says(&e))?;
    Ok(list
        .map(|record| match record {
            Record::Fileset(fileset) => fileset.name.to_string(),
            other => panic!("{other:?} in the list of filesets"),
        })
        .collect())
}

/// `fs1` has `agg1` and `agg2`, `fs2` has `agg1`.
fn filesets() -> Db {
    let mut db = Db::with_servers();
    db.by(&host("fs1", 1), report(1, 2, "agg2")).unwrap();
    db.done(create("zebra", "fs1", "agg1"));
    db.done(create("ant", "fs2", "agg1"));
    db.done(create("mole", "fs1", "agg2"));
    db
}

#[test]
fn fileset_is_found_by_any_of_its_three_ids_and_not_by_its_neighbours() {
    let mut db = filesets();
    db.done(delete("ant", "fs2", "agg1"));
    for (id, name) in [
        (0, None),
        (1, Some("zebra")),
        (2, Some("zebra")),
        (3, Some("zebra")),
        (4, None),
        (6, None),
        (7, Some("mole")),
        (9, Some("mole")),
        (10, None),
        (u64::MAX, None),
    ] {
        let found = db.state.fileset(&numbered(id)).ok().map(|f| f.name.to_string());
        assert_eq!(found.as_deref(), name, "{id}");
    }
    let missing = db.state.fileset(&numbered(4 << 32 | 4)).unwrap_err();
    assert_eq!(
        says(&missing),
        "NotFound: fileset 4,,4: no such thing; fts lsfldb lists them"
    );
}

#[test]
fn location_is_all_that_is_needed_to_dial() {
    let mut db = filesets();
    db.by(&host("fs2", 2), claim(2, 1, 2, Epoch::NONE)).unwrap();
    let location = db.state.locate(&named("zebra")).unwrap();
    assert_eq!(location.fileset, Some(db.fileset("zebra")));
    assert_eq!(location.aggregates, [db.aggregate("agg1")]);
    assert_eq!(location.servers, [db.server("fs1"), db.server("fs2")]);
    let location = db.state.locate_aggregate(aggregate_id(2)).unwrap();
    assert_eq!((location.fileset, location.servers), (None, vec![db.server("fs1")]));
    for error in [
        db.state.locate(&named("cat")).unwrap_err(),
        db.state.locate_aggregate(aggregate_id(3)).unwrap_err(),
    ] {
        assert!(says(&error).starts_with("NotFound: "), "{error}");
    }
}

#[test]
fn filesets_are_listed_by_name_as_far_as_they_are_wanted() {
    let mut db = filesets();
    db.done(Change::LockFileset { fileset: named("mole") });
    let all = Filter::default();
    let by = |change: fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        listed(&db.state, &filter)
    };
    assert_eq!(listed(&db.state, &all).unwrap(), ["ant", "mole", "zebra"]);
    assert_eq!(by(|f| f.entry = Some(of("fs1"))).unwrap(), ["mole", "zebra"]);
    assert_eq!(by(|f| f.aggregate = Some(on("agg1"))).unwrap(), ["ant", "zebra"]);
    assert_eq!(by(|f| f.fileset = Some(numbered(5))).unwrap(), ["ant"]);
    assert_eq!(
        by(|f| (f.entry, f.aggregate) = (Some(of("fs1")), Some(AggregateRef::Number(1)))).unwrap(),
        ["zebra"]
    );
    assert_eq!(
        by(|f| (f.fileset, f.entry) = (Some(named("ant")), Some(of("fs1")))).unwrap(),
        [""; 0],
        "it is there, but not there"
    );
    let until = db.fileset("mole").lock.unwrap().until;
    for (at, locked) in [(db.date, &["mole"][..]), (until, &[])] {
        let filter = Filter {
            locked_at: Some(at),
            ..Filter::default()
        };
        assert_eq!(listed(&db.state, &filter).unwrap(), locked);
    }
}

#[test]
fn filter_that_names_nothing_is_an_error() {
    let db = filesets();
    let filters = [
        Filter {
            fileset: Some(named("cat")),
            ..Filter::default()
        },
        Filter {
            entry: Some(of("fs9")),
            ..Filter::default()
        },
        Filter {
            aggregate: Some(on("agg9")),
            ..Filter::default()
        },
    ];
    for filter in filters {
        assert!(
            listed(&db.state, &filter).unwrap_err().starts_with("NotFound: "),
            "{filter:?}"
        );
    }
}

#[test]
fn events_are_listed_from_after_an_index() {
    let db = filesets();
    let after = |after| {
        let filter = Filter {
            after,
            ..Filter::default()
        };
        let list = db.state.list(Table::Event, &filter).unwrap();
        list.map(|record| record.key()).collect::<Vec<_>>()
    };
    let last = db.state.applied();
    assert_eq!(after(last - 2), [Key::Event(last - 1), Key::Event(last)]);
    assert_eq!((after(last), after(u64::MAX)), (Vec::new(), Vec::new()));
    assert_eq!(after(0).len(), db.events().len());
}

#[test]
fn everything_else_is_found_by_its_names() {
    let db = filesets();
    assert_eq!(
        db.state.aggregate(&AggregateRef::Number(2)).unwrap(),
        db.aggregate("agg2")
    );
    assert_eq!(db.state.fileset_count(), 3);
    assert_eq!(db.state.members().count(), 1);
    assert_eq!(db.state.groups(&person("alice")), db.groups("alice"));
    assert_eq!(db.state.groups(&Who::Nobody), []);
    assert!(db.state.principal_by_id(1).is_none());
}
