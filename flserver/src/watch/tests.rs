//! What a watcher hears, as transcripts: `1: changed 5 Cell Event` is told to watcher 1.

mod many;

use baton_proto::v1::watch_reply::Reply;
use baton_types::change::{Change, ChangeSession, Proposal, Who};
use baton_types::limits::CHUNK_BYTES_MAX;
use baton_types::record::Record;
use baton_types::{CellId, GroupName, PrincipalName, Timestamp};
use prost::Message;

use super::*;
use crate::state::{self, Committed, Filter};

/// A hub with the state behind it.
struct Hub {
    watch: Watch,
    state: Fldb,
    sequence: u32,
}

impl Hub {
    /// A hub that keeps three changes, in a cell whose first change has been applied.
    fn new() -> Hub {
        let (watch, state) = (Watch::new(Fldb::default(), 3), Fldb::default());
        let mut hub = Hub {
            watch,
            state,
            sequence: 0,
        };
        let genesis = Change::Genesis {
            cell_id: CellId::random(),
            cell: "example.org".parse().unwrap(),
            administrator: "alice".parse().unwrap(),
            administrator_id: 1_000,
            member: "fl1".parse().unwrap(),
            addresses: vec!["fl1".parse().unwrap()],
        };
        hub.apply(Who::Database, genesis);
        hub
    }

    /// What the state machine makes of one entry.
    fn step(&mut self, committed: Committed) -> Arc<Changed> {
        let actions = self.state.step(0, committed);
        let changed = actions.into_iter().find_map(|action| match action {
            state::Action::Changed(changed) => Some(Arc::new(changed)),
            state::Action::Answer { .. } => None,
        });
        changed.unwrap()
    }

    fn apply(&mut self, who: Who, change: Change) -> Vec<String> {
        self.sequence += 1;
        let proposal = Proposal {
            session: ChangeSession([1; 16]),
            sequence: self.sequence,
            born: 0,
            date: Timestamp(0),
            who,
            change,
        };
        let changed = self.step(Committed::Change(self.state.applied() + 1, Box::new(proposal)));
        self.tell(Event::Applied(changed, self.state.clone()))
    }

    /// A change of the tables Cell and Event.
    fn set(&mut self, description: &str) -> Vec<String> {
        let change = Change::SetCell {
            key: "description".to_owned(),
            value: description.to_owned(),
        };
        self.apply(alice(), change)
    }

    /// A change of the tables Principal and Event.
    fn add(&mut self, name: &str, groups: Vec<GroupName>) -> Vec<String> {
        let change = Change::EditPrincipal {
            name: name.parse().unwrap(),
            create: Some(None),
            groups: Some(groups),
            primary: None,
            disabled: None,
            may_assert_users: None,
            may_assert_root: None,
        };
        self.apply(alice(), change)
    }

    /// An entry of Raft's own.
    fn nothing(&mut self) -> Vec<String> {
        let changed = self.step(Committed::Nothing(self.state.applied() + 1));
        self.tell(Event::Applied(changed, self.state.clone()))
    }

    /// A snapshot arrives that is `entries` further.
    fn install(&mut self, entries: u64) -> Vec<String> {
        for _ in 0..entries {
            self.step(Committed::Nothing(self.state.applied() + 1));
        }
        self.tell(Event::Installed(self.state.clone()))
    }

    fn subscribe(&mut self, watcher: WatcherId, tables: &[Table], after: u64, credit: u32) -> Vec<String> {
        let tables = tables.iter().copied().collect();
        self.tell(Event::Subscribe {
            watcher,
            tables,
            changes_only: Tables::default(),
            after,
            credit,
        })
    }

    fn credit(&mut self, watcher: WatcherId, count: u32) -> Vec<String> {
        self.tell(Event::Credit(watcher, count))
    }

    fn tell(&mut self, event: Event) -> Vec<String> {
        let actions = self.watch.step(0, event);
        actions.iter().map(shown).collect()
    }
}

fn alice() -> Who {
    Who::Principal {
        name: PrincipalName::parse("alice").unwrap(),
        mech: "cert".to_owned(),
    }
}

fn shown(action: &Action) -> String {
    match action {
        Action::Whole(id, tables, state) => {
            let tables = Table::ALL.into_iter().filter(|table| tables.contains(*table));
            format!("{id}: whole {} {}", state.applied(), joined(tables))
        }
        Action::Changed(id, changed) => {
            let gone = changed.gone.iter().map(|key| key.table());
            let tables = changed.put.iter().map(|record| record.key().table()).chain(gone);
            format!("{id}: changed {} {}", changed.index, joined(tables))
        }
        Action::Reached(id, index) => format!("{id}: reached {index}"),
    }
}

fn joined(tables: impl Iterator<Item = Table>) -> String {
    tables.map(|table| format!("{table:?}")).collect::<Vec<_>>().join(" ")
}

const CELL: &[Table] = &[Table::Cell];
const ALL: &[Table] = &Table::ALL;
const NOTHING: [&str; 0] = [];

#[test]
fn newcomer_gets_the_whole_and_then_every_change() {
    let mut hub = Hub::new();
    let everything = "Cell Member Server Entry Aggregate Fileset Principal Invitation Event Tenure Group";
    assert_eq!(hub.subscribe(1, ALL, 0, 9), [format!("1: whole 1 {everything}")]);
    assert_eq!(hub.set("a"), ["1: changed 2 Cell Event"]);
    assert_eq!(hub.add("bob", Vec::new()), ["1: changed 3 Principal Event"]);
    assert_eq!(hub.nothing(), NOTHING);
}

#[test]
fn of_changes_only_there_is_nothing_in_the_whole() {
    let mut hub = Hub::new();
    let event = Event::Subscribe {
        watcher: 1,
        tables: [Table::Cell, Table::Event].into_iter().collect(),
        changes_only: [Table::Event].into_iter().collect(),
        after: 0,
        credit: 9,
    };
    assert_eq!(hub.tell(event), ["1: whole 1 Cell"]);
    assert_eq!(hub.set("a"), ["1: changed 2 Cell Event"]);
    assert_eq!(hub.install(3), ["1: whole 5 Cell"], "nor when it begins anew");
    assert_eq!(hub.set("b"), ["1: changed 6 Cell Event"]);
}

#[test]
fn newcomer_gets_the_whole_also_where_the_ring_goes_back_to_the_beginning() {
    let mut watch = Watch::new(Fldb::default(), 100);
    let event = Event::Subscribe {
        watcher: 1,
        tables: Tables::ALL,
        changes_only: Tables::default(),
        after: 0,
        credit: 0,
    };
    assert!(watch.step(0, event).is_empty(), "without credit nothing is sent");
    let mut state = Fldb::default();
    for index in 1..=3 {
        state.step(0, Committed::Nothing(index));
        let changed = Arc::new(Changed {
            index,
            ..Changed::default()
        });
        assert!(watch.step(0, Event::Applied(changed, state.clone())).is_empty());
    }
    let actions = watch.step(0, Event::Credit(1, 1));
    assert!(matches!(&actions[..], [Action::Whole(1, Tables::ALL, state)] if state.applied() == 3));
}

#[test]
fn returning_watcher_gets_what_it_missed() {
    let mut hub = Hub::new();
    hub.set("a");
    hub.add("bob", Vec::new());
    hub.set("b");
    assert_eq!(hub.subscribe(1, CELL, 2, 9), ["1: changed 4 Cell"]);
    assert_eq!(hub.subscribe(2, CELL, 1, 9), ["2: changed 2 Cell", "2: changed 4 Cell"]);
    assert_eq!(hub.subscribe(3, CELL, 4, 9), NOTHING);
    assert_eq!(
        hub.set("c"),
        ["1: changed 5 Cell", "2: changed 5 Cell", "3: changed 5 Cell"]
    );
}

#[test]
fn watcher_that_was_away_too_long_gets_the_whole() {
    let mut hub = Hub::new();
    for description in ["a", "b", "c", "d"] {
        hub.set(description);
    }
    // Index 5; the changes 3, 4 and 5 are kept.
    assert_eq!(hub.subscribe(1, CELL, 1, 9), ["1: whole 5 Cell"]);
    assert_eq!(
        hub.subscribe(2, CELL, 2, 9),
        ["2: changed 3 Cell", "2: changed 4 Cell", "2: changed 5 Cell"]
    );
}

#[test]
fn credit_pays_for_messages_and_only_for_what_is_wanted() {
    let mut hub = Hub::new();
    assert_eq!(hub.subscribe(1, CELL, 0, 2), ["1: whole 1 Cell"]);
    assert_eq!(hub.set("a"), ["1: changed 2 Cell"]);
    assert_eq!(hub.set("b"), NOTHING, "its credit is used up");
    assert_eq!(hub.add("bob", Vec::new()), NOTHING);
    assert_eq!(hub.set("c"), NOTHING);
    assert_eq!(hub.credit(1, 1), ["1: changed 3 Cell"]);
    assert_eq!(hub.credit(1, 2), ["1: changed 5 Cell"], "index 4 is none of its tables");
    assert_eq!(hub.set("d"), ["1: changed 6 Cell"]);
    assert_eq!(hub.credit(1, u32::MAX), NOTHING);
    assert_eq!(hub.credit(1, u32::MAX), NOTHING, "no count runs over");
    assert_eq!(hub.credit(7, 1), NOTHING, "nobody there");
}

#[test]
fn slow_watcher_falls_out_of_the_ring_and_gets_the_whole_when_it_pays() {
    let mut hub = Hub::new();
    hub.subscribe(1, CELL, 1, 1);
    assert_eq!(hub.set("a"), ["1: changed 2 Cell"]);
    for description in ["b", "c", "d"] {
        assert_eq!(hub.set(description), NOTHING);
    }
    assert_eq!(hub.watch.ring.len(), 3);
    hub.set("e");
    assert_eq!(hub.credit(1, 2), ["1: whole 6 Cell"]);
    assert_eq!(hub.set("f"), ["1: changed 7 Cell"]);
}

#[test]
fn whole_of_a_jumped_state_ends_where_the_changes_go_on() {
    let mut hub = Hub::new();
    hub.subscribe(1, CELL, 1, 9);
    hub.subscribe(2, CELL, 30, 9);
    assert_eq!(hub.install(9), ["1: whole 10 Cell"]);
    assert_eq!(hub.install(0), NOTHING, "the same snapshot again");
    assert_eq!(hub.set("a"), ["1: changed 11 Cell"]);
    assert_eq!(hub.subscribe(3, CELL, 10, 9), ["3: changed 11 Cell"]);
    assert_eq!(
        hub.subscribe(4, CELL, 9, 9),
        ["4: whole 11 Cell"],
        "the ring begins at the snapshot"
    );
}

#[test]
fn watcher_from_a_faster_member_waits_until_this_one_gets_there() {
    let mut hub = Hub::new();
    assert_eq!(hub.subscribe(1, CELL, 4, 9), NOTHING);
    assert_eq!(hub.set("a"), NOTHING);
    assert_eq!(hub.tell(Event::Tick), ["1: reached 4"], "it never hears a lower index");
    assert_eq!(hub.set("b"), NOTHING);
    assert_eq!(hub.set("c"), NOTHING, "index 4, which it knows");
    assert_eq!(hub.set("d"), ["1: changed 5 Cell"]);
}

#[test]
fn tick_tells_how_far_each_watcher_with_credit_has_come() {
    let mut hub = Hub::new();
    hub.subscribe(1, CELL, 1, 2);
    hub.subscribe(2, &[Table::Server], 1, 1);
    hub.subscribe(3, CELL, 1, 0);
    assert_eq!(hub.set("a"), ["1: changed 2 Cell"]);
    assert_eq!(hub.tell(Event::Tick), ["1: reached 2", "2: reached 2"]);
    assert_eq!(hub.tell(Event::Tick), NOTHING, "nobody has credit left");
    hub.nothing();
    assert_eq!(hub.credit(1, 1), NOTHING);
    assert_eq!(hub.tell(Event::Tick), ["1: reached 3"]);
}

#[test]
fn change_is_cut_down_to_the_tables_of_each() {
    let mut hub = Hub::new();
    for (watcher, tables) in [(1, &[Table::Principal][..]), (2, &[Table::Event]), (3, ALL), (4, &[])] {
        hub.subscribe(watcher, tables, 1, 9);
    }
    assert_eq!(
        hub.add("bob", Vec::new()),
        [
            "1: changed 2 Principal",
            "2: changed 2 Event",
            "3: changed 2 Principal Event"
        ]
    );
    assert_eq!(hub.set("a"), ["2: changed 3 Event", "3: changed 3 Cell Event"]);
}

#[test]
fn who_left_is_forgotten() {
    let mut hub = Hub::new();
    hub.subscribe(1, CELL, 1, 9);
    hub.subscribe(2, CELL, 1, 9);
    assert_eq!(hub.tell(Event::Gone(1)), NOTHING);
    assert_eq!(hub.tell(Event::Gone(1)), NOTHING, "twice is once");
    assert_eq!(
        (hub.watch.watchers(), hub.set("a")),
        (1, vec!["2: changed 2 Cell".to_owned()])
    );
    assert_eq!(
        hub.subscribe(1, CELL, 0, 9),
        ["1: whole 2 Cell"],
        "its number may be used again"
    );
}

#[test]
fn stuck_watchers_cost_no_memory_however_much_changes() {
    let mut hub = Hub::new();
    for watcher in 0..10 {
        hub.subscribe(watcher, ALL, 1, 0);
    }
    for step in 0..1_000 {
        assert_eq!(hub.set(&format!("{step}")), NOTHING);
        assert!(hub.watch.ring.len() <= 3 && hub.watch.watchers() == 10);
    }
    assert_eq!(hub.watch.trimmed + 3, hub.state.applied());
    assert_eq!(hub.credit(5, 9).len(), 1, "the whole is one message");
}

#[test]
fn ring_of_no_length_gives_the_whole_to_who_is_not_at_the_head() {
    let mut hub = Hub::new();
    hub.watch = Watch::new(hub.state.clone(), 0);
    hub.subscribe(1, CELL, 1, 1);
    assert_eq!(hub.set("a"), ["1: changed 2 Cell"]);
    assert_eq!(hub.set("b"), NOTHING, "its credit is used up");
    assert_eq!(hub.credit(1, 1), ["1: whole 3 Cell"]);
}

#[test]
#[should_panic(expected = "changes come in the order of the log, without a gap")]
fn gap_in_the_changes_ends_the_process() {
    let mut hub = Hub::new();
    hub.step(Committed::Nothing(2));
    let changed = hub.step(Committed::Nothing(3));
    hub.tell(Event::Applied(changed, hub.state.clone()));
}

#[test]
#[should_panic(expected = "a snapshot at 0 after 1: the state went backwards")]
fn snapshot_of_an_older_state_ends_the_process() {
    Hub::new().tell(Event::Installed(Fldb::default()));
}

/// The pieces that `state` is sent in, and the index at their end.
fn sent(state: &Fldb, tables: &[Table]) -> (Vec<Vec<Record>>, u64) {
    let (mut whole, mut end) = (Vec::new(), None);
    for message in pieces(state, tables.iter().copied().collect()) {
        assert_eq!(end, None, "nothing comes after the end");
        let bytes = message.encoded_len();
        match message.reply.unwrap() {
            Reply::Whole(piece) => {
                assert_eq!(piece.index, state.applied());
                assert!(bytes <= CHUNK_BYTES_MAX || piece.records.len() == 1, "{bytes} bytes");
                whole.push(piece.records.into_iter().map(|r| r.try_into().unwrap()).collect());
            }
            Reply::WholeEnd(index) => end = Some(index),
            other => panic!("{other:?}"),
        }
    }
    (whole, end.unwrap())
}

#[test]
fn whole_travels_in_pieces_of_bounded_size() {
    let mut hub = Hub::new();
    let groups = |length: usize, count| {
        let name = |number| format!("{number:0length$}").parse().unwrap();
        (0..count).map(name).collect::<Vec<GroupName>>()
    };
    for number in 0..40 {
        hub.add(&format!("p{number:02}"), groups(60, 100));
    }
    hub.add("p40", groups(64, 1_024)); // more than a piece by itself
    hub.add("p41", Vec::new());
    let (whole, end) = sent(&hub.state, &[Table::Principal, Table::Cell]);
    assert_eq!(end, 43);
    assert_eq!(whole.iter().map(Vec::len).collect::<Vec<_>>(), [13, 10, 10, 10, 1, 1]);
    let tables = [Table::Cell, Table::Principal].map(|table| hub.state.list(table, &Filter::default()).unwrap());
    let all: Vec<Record> = tables.into_iter().flatten().collect();
    assert_eq!(whole.concat(), all);
}

#[test]
fn whole_of_nothing_is_one_empty_piece_and_the_end() {
    assert_eq!(sent(&Fldb::default(), ALL), (vec![Vec::new()], 0));
    assert_eq!(sent(&Hub::new().state, &[Table::Server]), (vec![Vec::new()], 1));
}

#[test]
fn list_keeps_its_order_and_filter() {
    let mut hub = Hub::new();
    hub.set("a");
    let filter = Filter {
        after: 1,
        ..Filter::default()
    };
    let list: Vec<_> = list_pieces(&hub.state, vec![Table::Event, Table::Cell], filter).collect();
    let keys: Vec<_> = list[0]
        .records
        .iter()
        .map(|r| Record::try_from(r.clone()).unwrap().key().table())
        .collect();
    assert_eq!(
        (list.len(), list[0].index, keys),
        (1, 2, vec![Table::Event, Table::Cell])
    );
}
