//! Lines of files, good and bad; what becomes of them; and how they are given in parts.

use baton_types::record::Principal;
use proptest::prelude::*;

use super::files::{Bad, Lines, Person};
use super::*;

const BOUNDS: Bounds = Bounds {
    min_uid: 1_000,
    max_uid: u32::MAX - 1,
    min_gid: 1_000,
};

fn given(passwd: &str, group: &str) -> Given {
    Given {
        passwd: Some(people(passwd.as_bytes())),
        group: Some(groups(group.as_bytes())),
    }
}

fn principal(name: &str, id: Option<u32>, groups: &[&str], primary: Option<&str>) -> Principal {
    Principal {
        name: name.parse().unwrap(),
        id,
        groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        primary: primary.map(|group| group.parse().unwrap()),
        disabled: false,
        may_assert_users: false,
        may_assert_root: false,
    }
}

fn group_of(name: &str, id: u32) -> Group {
    Group {
        name: name.parse().unwrap(),
        id,
    }
}

/// All that is said of the files, for a registry.
fn says(given: &Given, bounds: Bounds, known: &Known) -> String {
    output(&plan(given, bounds, known), known, Carry::Nothing).text
}

/// The registry after a plan was carried out, as the location database does it.
fn after(plan: &Plan, people: &[Principal], groups: &[Group]) -> Known {
    let mut people = people.to_vec();
    for new in &plan.people {
        let at = people
            .iter()
            .position(|known| known.name == new.name)
            .unwrap_or_else(|| {
                people.push(principal(new.name.as_str(), new.id, &[], None));
                people.len() - 1
            });
        people[at].groups.extend(new.groups.clone());
        people[at].primary = new.primary.clone().or(people[at].primary.take());
    }
    Known::of(people, [groups, &plan.groups].concat())
}

#[test]
fn lines_are_read_whatever_ends_them() {
    let read = people(b"# people\n\nalice:x:1000:50:Alice,,,:/home/alice:/bin/sh\r\n  \nbob:*:1001:50:B\xf6b:/:");
    let person = |line, name: &str, uid| Person {
        line,
        name: name.to_owned(),
        uid,
        gid: 50,
    };
    let expected = Lines {
        rows: vec![person(3, "alice", 1_000), person(5, "bob", 1_001)],
        bad: Vec::new(),
        elsewhere: 0,
    };
    assert_eq!(read, expected);
    let read = groups(b"staff:x:50:alice, bob,,\ndev::60:\n");
    let members: Vec<&[String]> = read.rows.iter().map(|row| row.members.as_slice()).collect();
    assert_eq!(members, [&["alice".to_owned(), "bob".to_owned()][..], &[]]);
}

#[test]
fn lines_that_make_no_sense_are_named_and_the_others_read() {
    let read = people(
        b"garbage\nalice:x:1000:50:A:/:/bin/sh:extra\n:x:1:1:::\nbob:x:abc:50:::\nbob:x:+5:50:::\ncarol:x:4294967296:50:::\n\
          dave:x:1:-1:::\n\xff\xfe:x:1:1:::\n\0\0\0\n+::::::\n+@staff\n-mallory:x:0:0:::\nerin:x:1004:50:::\n",
    );
    let names: Vec<&str> = read.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!((names, read.elsewhere), (vec!["erin"], 3));
    let bad: Vec<String> = read
        .bad
        .iter()
        .map(|Bad { line, why }| format!("{line}: {why}"))
        .collect();
    assert_eq!(
        bad,
        [
            "1: 1 field with ':' between them, not 7",
            "2: 8 fields with ':' between them, not 7",
            "3: no name",
            "4: uid 'abc' is no number of 32 bits",
            "5: uid '+5' is no number of 32 bits",
            "6: uid '4294967296' is no number of 32 bits",
            "7: gid '-1' is no number of 32 bits",
            "8: name '\\xff\\xfe' is not UTF-8",
            "9: 1 field with ':' between them, not 7",
        ]
    );
    assert_eq!(groups(b"staff:x:50\n").bad.len(), 1);
}

#[test]
fn files_of_a_machine_become_principals_and_groups() {
    let passwd = "root:x:0:0:root:/root:/bin/bash\n\
                  daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
                  alice:x:1000:1000:Alice:/home/alice:/bin/bash\n\
                  bob:x:1001:100:Bob:/home/bob:/bin/bash\n\
                  nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
                  +::::::\n";
    let group = "root:x:0:\nsudo:x:27:alice\nusers:x:100:\nalice:x:1000:\ndev:x:2000:alice,bob,daemon,ghost\nnogroup:x:65534:\n";
    let known = Known::default();
    assert_eq!(
        says(&given(passwd, group), BOUNDS, &known),
        "Would make group alice: gid 1000\n\
         Would make group dev: gid 2000\n\
         Would make group users: gid 100\n\
         Would make principal alice: uid 1000, groups dev, alice (primary)\n\
         Would make principal bob: uid 1001, groups dev, users (primary)\n\
         2 principals and 3 groups to be made, 0 added to groups, 0 unchanged, 0 conflicts\n\
         Lines left out: 2 of the system, 4 with a number nobody can have, 1 that stand for what is in no file\n\
         Members left out who are none of the principals: 2\n"
    );
    let narrow = Bounds {
        max_uid: 1_000,
        ..BOUNDS
    };
    let plan = plan(&given(passwd, group), narrow, &known);
    assert_eq!((plan.people.len(), plan.skipped.beyond), (1, 1));
    assert!(
        !plan.groups.iter().any(|group| group.name.as_str() == "users"),
        "nobody needs it"
    );
}

#[test]
fn second_time_there_is_nothing_to_do() {
    let files = given(
        "alice:x:1000:50:::\nbob:x:1001:1001:::\ncarol:x:1002:50:::\n",
        "staff:x:50:alice\nbob:x:1001:\ndev:x:2000:dave,bob\nadmin:x:2001:\n",
    );
    let people = [
        principal("alice", Some(1_000), &["cell-admin"], None),
        principal("dave", Some(7), &[], None),
        principal("hosts/fs1", None, &[], None),
    ];
    let first = plan(&files, BOUNDS, &Known::of(people.to_vec(), Vec::new()));
    assert_eq!(
        (first.people.len(), first.groups.len(), &*first.conflicts),
        (4, 4, &[][..])
    );
    let known = after(&first, &people, &[]);
    let second = plan(&files, BOUNDS, &known);
    assert_eq!((batches(&second, &known), second.unchanged), (Vec::new(), 8));
    // What only a group file says is told of those who are there.
    let groups_only = Given {
        passwd: None,
        ..given("", "ops:x:3000:dave,hosts/fs1,ghost\n")
    };
    assert_eq!(
        says(&groups_only, BOUNDS, &known),
        "Would make group ops: gid 3000\n\
         Would add dave to group ops\n\
         0 principals and 1 group to be made, 1 added to groups, 0 unchanged, 0 conflicts\n\
         Members left out who are none of the principals: 2\n"
    );
    let people_only = Given {
        group: None,
        ..given("erin:x:1005:50:::\nfred:x:1006:51:::\n", "")
    };
    let said = says(&people_only, BOUNDS, &known);
    assert!(
        said.contains("principal erin: uid 1005, group staff (primary)\n"),
        "{said}"
    );
    assert!(
        said.contains("Note: the registry has no group for the gid of 1 principal, fred (51) among them"),
        "{said}"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one line for each conflict")]
fn each_conflict_is_named_with_its_line_and_the_way_out() {
    let known = Known::of(
        vec![
            principal("alice", Some(1_000), &["users"], Some("users")),
            principal("bob", Some(1_001), &[], None),
            principal("hosts/fs1", None, &[], None),
        ],
        vec![group_of("staff", 50), group_of("users", 100)],
    );
    let passwd = [
        "alice:x:1000:60:::", // another primary group
        "bob:x:1005:60:::",
        "carol:x:1001:60:::",
        "dave:x:1006:60:::",
        "dave:x:1006:60:::", // the same again
        "dave:x:1007:60:::",
        "toor:x:1006:60:::",
        "desk$:x:1008:60:::",
        "hosts/fs1:x:1009:60:::",
        "erin:x:1010:61:::",
        "fred:x:1011:62:::",
        "garbage",
    ];
    let group = [
        "dev:x:60:bob,carol",
        "staff:x:61:dave",
        "ops:x:50:dave",
        "dev:x:63:dave",
        "twin:x:60:dave",
        "operator:x:1037:dave",
        "sys.admin:x:1038:dave",
        "bad name:x:1039:",
        "dev:x:60:fred", // long groups stand on several lines
    ];
    let files = given(&passwd.join("\n"), &group.join("\n"));
    let bounds = Bounds { min_gid: 50, ..BOUNDS };
    assert_eq!(
        says(&files, bounds, &known),
        "Would make group dev: gid 60\n\
         Would make group sys.admin: gid 1038\n\
         Would add alice to group dev\n\
         Would make principal dave: uid 1006, groups sys.admin, dev (primary)\n\
         Would make principal erin: uid 1010\n\
         Would make principal fred: uid 1011, group dev\n\
         Conflict: passwd line 1: primary group of alice is users in the registry, and dev here; mend the line, or: baton \
         cell principal alice --primary dev\n\
         Conflict: passwd line 2: uid of bob is 1001 in the registry, and 1005 here; nobody's uid changes: mend the line, \
         and chown what is 1005's\n\
         Conflict: passwd line 3: uid 1001 is bob's in the registry; give carol another, or take line 3 out\n\
         Conflict: passwd line 6: dave is on line 4 with other numbers; take one of the two out\n\
         Conflict: passwd line 7: uid 1006 is dave's by line 4; give toor another, or take line 7 out\n\
         Conflict: passwd line 8: principal name 'desk$': '$' is not allowed; use letters, digits, '.', '_' and '-'; take \
         line 8 out\n\
         Conflict: passwd line 9: 'hosts/fs1' has a '/': that is no name of a person; take line 9 out\n\
         Conflict: passwd line 11: gid 62 of fred is of no group; without one he has his own: add the group's line\n\
         Conflict: passwd line 12: 1 field with ':' between them, not 7; mend the line, or take it out\n\
         Conflict: group line 2: gid of staff is 50 in the registry, and 61 here; mend the line, or: baton cell group staff \
         --id 61\n\
         Conflict: group line 3: gid 50 is group staff's in the registry; give ops another, or: baton cell group staff --id \
         OTHER\n\
         Conflict: group line 4: gid of dev is 60 by line 1, and 63 here; mend one of the two\n\
         Conflict: group line 5: gid 60 is group dev's by line 1; give twin another, or take line 5 out\n\
         Conflict: group line 6: members of operator administrate the cell, and no import makes an administrator; one by \
         one: baton cell principal NAME --groups ...\n\
         Conflict: group line 8: group name 'bad name': ' ' is not allowed; use letters, digits, '.', '_' and '-'; take \
         line 8 out\n\
         3 principals and 2 groups to be made, 1 added to groups, 0 unchanged, 15 conflicts\n\
         Members left out who are none of the principals: 2\n",
        "bob and carol get into no group: who they are is in doubt"
    );
    let plan = plan(&files, bounds, &known);
    assert_eq!(output(&plan, &known, Carry::Out).exit, Exit::Partly as u8);
    assert_eq!(output(&plan, &known, Carry::Out).json["conflicts"][0]["line"], 1);
}

#[test]
fn many_are_given_in_parts_that_a_change_may_hold() {
    let passwd: String = (0..10_000)
        .map(|n| format!("user{n}:x:{}:50:::\n", 1_000 + n))
        .collect();
    let files = given(&passwd, "staff:x:50:\n");
    let plan = plan(&files, BOUNDS, &Known::default());
    let all = batches(&plan, &Known::default());
    assert_eq!(
        (all.len(), all[0].groups.len(), all[1].rows()),
        (41, 1, IMPORT_ROWS_MAX)
    );
    assert_eq!(all.iter().map(Import::rows).sum::<usize>(), 10_001);

    // People in a thousand groups each: what a change leaves behind is bounded as well.
    let long: Vec<String> = (0..1_000).map(|number| format!("{number:064}")).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let people = ["alice", "bob", "carol"].map(|name| principal(name, Some(7), &long, None));
    let known = Known::of(people.to_vec(), Vec::new());
    let files = given("", "ops:x:3000:alice,bob,carol\n");
    let plan = super::plan(&files, BOUNDS, &known);
    let rows: Vec<usize> = batches(&plan, &known).iter().map(Import::rows).collect();
    assert_eq!(rows, [1, 2, 1]);
}

proptest! {
    /// Whatever stands in the files, each line is one of the rows, is named, or is counted; what is to be done can be
    /// done; and when it was, there is nothing left of it.
    #[test]
    fn prop_any_files_are_read_and_nothing_is_left_to_do(
        passwd in "(([a-d]{1,2}|\\PC)(:|::|:x:)(1[0-2]{3}|[0-9]{0,6}):(50|51|1000):::(:|)(\n|\r\n)){0,12}",
        group in "(([e-g]|operator|\\PC):(|x):(50|51|1[0-9]{3}):([a-d]{1,2},){0,3}(\n|\r\n)){0,8}",
        noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let lines = |bytes: &[u8]| bytes.split(|b| *b == b'\n').filter(|line| {
            !line.trim_ascii().is_empty() && line.trim_ascii_start().first() != Some(&b'#')
        }).count();
        let passwd = [passwd.as_bytes(), &noise].concat();
        let group = [group.as_bytes(), &noise].concat();
        let (read, grouped) = (people(&passwd), groups(&group));
        prop_assert_eq!(read.rows.len() + read.bad.len() + read.elsewhere, lines(&passwd));
        prop_assert_eq!(grouped.rows.len() + grouped.bad.len() + grouped.elsewhere, lines(&group));

        let given = Given { passwd: Some(read), group: Some(grouped) };
        let before = [principal("a", Some(1_000), &["e"], Some("e")), principal("bb", Some(1_111), &[], None)];
        let first = plan(&given, BOUNDS, &Known::of(before.to_vec(), vec![group_of("e", 51)]));
        for batch in batches(&first, &Known::of(before.to_vec(), Vec::new())) {
            batch.check(0).unwrap();
        }
        let known = after(&first, &before, &[group_of("e", 51)]);
        let second = plan(&given, BOUNDS, &known);
        prop_assert_eq!((&second.people, &second.groups), (&Vec::new(), &Vec::new()));
        // In other words, it may be: what was made meanwhile is what a line is now in conflict with.
        let lines = |plan: &Plan| plan.conflicts.iter().map(|it| (it.file, it.line)).collect::<Vec<_>>();
        prop_assert_eq!(lines(&second), lines(&first));
    }
}
