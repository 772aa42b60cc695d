//! What the driver promises, shown on a core that writes down what it is told.

use std::collections::BTreeSet;

use baton_types::Core;

use super::*;
use crate::sim::Targets;

/// Sends each of its numbers to all others, keeps it on disk, and remembers everything that it hears.
#[derive(Default)]
struct Diary {
    node: usize,
    heard: Vec<(Time, Input<u64, u64>)>,
    next: u64,
}

const NODES: usize = 3;
const PAUSE: Time = 1_000;

impl Core for Diary {
    type Event = Input<u64, u64>;
    type Action = Output<u64, u64>;

    fn step(&mut self, now: Time, event: Self::Event) -> Vec<Self::Action> {
        let acts = matches!(event, Input::Start { .. } | Input::Tick);
        self.heard.push((now, event));
        assert!(self.next < 100_000, "too many");
        if !acts {
            return vec![];
        }
        self.next += 1;
        let sends = (0..NODES)
            .filter(|to| *to != self.node)
            .map(|to| Output::Send { to, body: self.next });
        sends
            .chain([Output::Append { record: self.next }, Output::WakeIn(PAUSE)])
            .collect()
    }
}

impl Simulated for Diary {
    type Message = u64;
    type Record = u64;

    fn event(input: Input<u64, u64>) -> Input<u64, u64> {
        input
    }

    fn output(action: Output<u64, u64>) -> Output<u64, u64> {
        action
    }
}

fn diaries(number: u64) -> Sim<Diary> {
    Sim::new(number, NODES, |node| Diary {
        node,
        ..Diary::default()
    })
}

fn run(sim: &mut Sim<Diary>, until: Time) {
    sim.run(until, |_, _| Ok(())).unwrap();
}

fn afflicted(number: u64, fault: Fault, begin: Time, end: Time) -> Sim<Diary> {
    let mut sim = diaries(number);
    sim.afflict(Affliction { fault, begin, end });
    sim
}

/// How many messages `node` heard from each other one.
fn heard(sim: &Sim<Diary>, node: usize) -> [usize; NODES] {
    let mut counts = [0; NODES];
    for (_, input) in &sim.nodes()[node].core().heard {
        if let Input::Received { from, .. } = input {
            counts[*from] += 1;
        }
    }
    counts
}

#[test]
fn same_seed_gives_the_same_trace_and_others_do_not() {
    let hash = |number| {
        let mut sim = diaries(number);
        for affliction in (Targets {
            nodes: NODES,
            mortal: 0..NODES,
        })
        .afflictions(sim.seed(), 200_000)
        {
            sim.afflict(affliction);
        }
        run(&mut sim, 300_000);
        assert!(
            sim.nodes().iter().all(|node| node.state() == State::Up),
            "a fault has not ended"
        );
        sim.into_trace().hash()
    };
    let hashes: BTreeSet<u64> = (0..200).map(hash).collect();
    assert_eq!(hashes.len(), 200);
    assert_eq!((0..200).map(hash).collect::<BTreeSet<_>>(), hashes);
}

#[test]
fn cut_link_delivers_nothing_that_way() {
    for number in 0..50 {
        let mut sim = afflicted(number, Fault::CutOneWay { from: 0, to: 1 }, 0, 500_000);
        run(&mut sim, 400_000);
        assert_eq!(heard(&sim, 1)[0], 0);
        assert!(heard(&sim, 0)[1] > 100 && heard(&sim, 2)[0] > 100);
        run(&mut sim, 700_000);
        assert!(heard(&sim, 1)[0] > 50, "the link was mended");
    }
}

#[test]
fn partition_cuts_both_ways_between_its_sides_only() {
    let mut sim = afflicted(
        1,
        Fault::Partition {
            side: BTreeSet::from([2]),
        },
        0,
        500_000,
    );
    run(&mut sim, 400_000);
    assert_eq!(
        (heard(&sim, 2), heard(&sim, 0)[2], heard(&sim, 1)[2]),
        ([0; NODES], 0, 0)
    );
    assert!(heard(&sim, 0)[1] > 100);
}

#[test]
fn message_under_way_is_lost_when_the_link_is_cut_before_it_arrives() {
    for number in 0..50 {
        let mut sim = diaries(number);
        run(&mut sim, 50_000);
        let before = heard(&sim, 1)[0];
        sim.network().cut(0, 1);
        run(&mut sim, 200_000);
        assert_eq!(heard(&sim, 1)[0], before);
    }
}

#[test]
fn reborn_node_gets_what_its_disk_kept_and_no_late_call_back() {
    let mut lost = 0;
    for number in 0..100 {
        let mut sim = afflicted(number, Fault::Crash { node: 0 }, 100_000, 100_001);
        run(&mut sim, 99_999);
        let (durable, written) = (
            sim.nodes()[0].disk().durable().len(),
            sim.nodes()[0].disk().records().len(),
        );
        run(&mut sim, 100_001);

        let reborn = &sim.nodes()[0];
        assert_eq!((reborn.life(), reborn.state()), (1, State::Up));
        let Input::Start { records } = &reborn.core().heard[0].1 else {
            panic!("{:?}", reborn.core().heard)
        };
        assert!((durable..=written).contains(&records.len()));
        let kept = records.len();
        lost += written - kept;

        // Syncs of the life before would speak of records that this disk no longer has.
        run(&mut sim, 110_000);
        let appended = sim.nodes()[0].disk().records().len();
        let synced = sim.nodes()[0].core().heard.iter().filter_map(|(_, input)| match input {
            Input::Synced { upto } => Some(*upto),
            _ => None,
        });
        assert!(synced.into_iter().all(|upto| (kept + 1..=appended).contains(&upto)));
        let ticks = sim.nodes()[0]
            .core()
            .heard
            .iter()
            .filter(|(_, input)| matches!(input, Input::Tick))
            .count();
        assert!(
            (9..=11).contains(&ticks),
            "{ticks} ticks in 10 ms: a timer of the life before went on"
        );
    }
    assert!(lost > 50, "only {lost} unsynced writes were lost in 100 power cuts");
}

#[test]
fn dead_node_hears_nothing() {
    let mut sim = afflicted(4, Fault::Crash { node: 1 }, 50_000, 500_000);
    run(&mut sim, 400_000);
    assert_eq!(sim.nodes()[1].state(), State::Down);
    assert!(sim.nodes()[1].core().heard.is_empty());
}

#[test]
fn stopped_node_hears_everything_late_and_in_order() {
    let mut sim = afflicted(5, Fault::Stop { node: 1 }, 50_000, 300_000);
    run(&mut sim, 50_000);
    let before = sim.nodes()[1].core().heard.len();
    run(&mut sim, 299_999);
    assert_eq!(
        (sim.nodes()[1].state(), sim.nodes()[1].core().heard.len()),
        (State::Stopped, before)
    );
    run(&mut sim, 300_000);
    let after = &sim.nodes()[1].core().heard;
    assert!(after.len() > before + 100, "what had waited came at once");
    assert!(after.is_sorted_by_key(|(now, _)| *now));
    assert_eq!(sim.nodes()[1].life(), 0);
}

#[test]
fn disk_of_a_stopped_node_goes_on() {
    let mut sim = afflicted(5, Fault::Stop { node: 1 }, 50_000, 900_000);
    run(&mut sim, 800_000);
    let disk = sim.nodes()[1].disk();
    assert_eq!(disk.durable().len(), disk.records().len());
}

#[test]
fn failed_disk_says_so_until_the_restart() {
    let mut sim = afflicted(6, Fault::DiskError { node: 2 }, 50_000, 100_000);
    run(&mut sim, 50_000);
    let durable = sim.nodes()[2].disk().durable().len();
    run(&mut sim, 99_999);
    assert_eq!(sim.nodes()[2].disk().durable().len(), durable);
    let failures = sim.nodes()[2]
        .core()
        .heard
        .iter()
        .filter(|(_, input)| matches!(input, Input::DiskFailed));
    assert!(failures.count() > 30);
    run(&mut sim, 200_000);
    assert_eq!(sim.nodes()[2].life(), 1);
    assert!(sim.nodes()[2].disk().durable().len() > durable);
}

#[test]
fn clocks_of_nodes_differ_and_timers_follow_them() {
    let mut sim = diaries(7);
    run(&mut sim, 1_000_000);
    let starts: BTreeSet<Time> = sim
        .nodes()
        .iter()
        .map(|node| node.core().heard[0].0 / 1_000_000)
        .collect();
    assert_eq!(starts.len(), NODES, "by seconds, though all started within one");
    for node in sim.nodes() {
        let ticks: Vec<Time> = node
            .core()
            .heard
            .iter()
            .filter(|(_, input)| matches!(input, Input::Tick))
            .map(|(now, _)| *now)
            .collect();
        assert!(
            ticks
                .windows(2)
                .all(|pair| (PAUSE..PAUSE + 5).contains(&(pair[1] - pair[0])))
        );
    }
}

#[test]
fn broken_invariant_and_panic_come_with_seed_and_history() {
    let mut sim = diaries(8);
    let violation = sim.run(100_000, |nodes, moved| match nodes[moved].core().next {
        5 => Err(format!("node {moved} counted to five")),
        _ => Ok(()),
    });
    let violation = violation.unwrap_err();
    assert_eq!(violation.seed, 8);
    assert!(violation.what.ends_with("counted to five"));
    assert!(
        violation
            .lines
            .iter()
            .any(|line| line.contains("-> Append { record: 5 }")),
        "{violation}"
    );

    let mut sim = Sim::new(9, NODES, |node| Diary {
        node,
        next: 99_999,
        ..Diary::default()
    });
    let violation = sim.run(100_000, |_, _| Ok(())).unwrap_err();
    assert!(
        violation.what.starts_with("too many (") && !violation.lines.is_empty(),
        "{violation}"
    );
}
