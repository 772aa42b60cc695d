//! The simulation's own proof: a register on three replicas, small enough to be read whole.
//!
//! One writer stores version after version; a version is acknowledged when two of three replicas said that they
//! have it. One reader asks all and believes the newest of two answers. The invariant: a read sees at least what
//! was acknowledged before it began. A replica that answers before its sync breaks it, and is found out.
//! The protocol is no part of Baton; what is shown is that the scheduler's crashes, cuts and losses bite.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::{Core, Time};

use super::{Input, Node, Output, Seed, Sim, Simulated, Targets, Trace, Violation};

const REPLICAS: usize = 3;
const MAJORITY: usize = 2;
const WRITER: usize = 3;
const READER: usize = 4;
const NODES: usize = 5;

/// Versions that the writer stores.
const WRITES: u64 = 40;
/// Time between two writes, between two reads, and until an unanswered message is sent again, in microseconds.
const PAUSE: Time = 20_000;
/// Faults end here; then both clients must come to their ends.
const FAULTS_UNTIL: Time = 1_000_000;
/// Enough for 40 writes on a healthy network, most of them with a slow message or sync.
const UNTIL: Time = 4_000_000;

/// When a replica answers a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// After the sync, as it must.
    SyncFirst,
    /// At once: what the answer promised dies with the power.
    AnswerFirst,
}

/// What the nodes say to one another.
#[derive(Clone, Debug)]
pub enum Message {
    /// Store this version.
    Write(u64),
    /// This version is stored.
    Written(u64),
    /// What is the newest version? The number tells one question from the next.
    Read(u64),
    /// The answer to a question, and the newest version.
    Newest(u64, u64),
}

/// A version and its complement: a torn write is seen to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    version: u64,
    check: u64,
}

impl Record {
    fn new(version: u64) -> Record {
        Record {
            version,
            check: !version,
        }
    }

    fn is_sound(&self) -> bool {
        self.check == !self.version
    }
}

type ToyInput = Input<Message, Record>;
type ToyOutput = Output<Message, Record>;

/// One node: a replica or one of the two clients.
pub enum Toy {
    /// Keeps the register.
    Replica(Replica),
    /// Stores versions.
    Writer(Writer),
    /// Reads them.
    Reader(Reader),
}

impl Toy {
    fn new(node: usize, habit: Habit) -> Toy {
        match node {
            WRITER => Toy::Writer(Writer::default()),
            READER => Toy::Reader(Reader::default()),
            _ => Toy::Replica(Replica {
                habit,
                records: 0,
                newest: 0,
                durable: 0,
                owed: Vec::new(),
            }),
        }
    }
}

impl Core for Toy {
    type Event = ToyInput;
    type Action = ToyOutput;

    fn step(&mut self, _now: Time, event: ToyInput) -> Vec<ToyOutput> {
        match self {
            Toy::Replica(replica) => replica.step(event),
            Toy::Writer(writer) => writer.step(event),
            Toy::Reader(reader) => reader.step(event),
        }
    }
}

impl Simulated for Toy {
    type Message = Message;
    type Record = Record;

    fn event(input: ToyInput) -> ToyInput {
        input
    }

    fn output(action: ToyOutput) -> ToyOutput {
        action
    }

    fn torn(record: &Record, seed: &mut Seed) -> Option<Record> {
        let garbage = seed.draw();
        seed.chance(300).then_some(Record {
            version: garbage,
            check: record.check,
        })
    }
}

/// Keeps the newest version it was given.
pub struct Replica {
    habit: Habit,
    /// Records on its disk.
    records: usize,
    newest: u64,
    /// The newest that it takes for durable.
    durable: u64,
    /// Answers that wait for a sync: after how many records, to whom, which version.
    owed: Vec<(usize, usize, u64)>,
}

impl Replica {
    fn step(&mut self, input: ToyInput) -> Vec<ToyOutput> {
        match input {
            Input::Start { records } => self.start(&records),
            Input::Received {
                from,
                body: Message::Write(version),
            } => self.write(from, version),
            Input::Received {
                from,
                body: Message::Read(turn),
            } => {
                vec![Output::Send {
                    to: from,
                    body: Message::Newest(turn, self.durable),
                }]
            }
            Input::Synced { upto } => self.synced(upto),
            // A failed disk ends the life: nothing is owed any more, and nobody is answered until the next.
            Input::DiskFailed => {
                self.owed.clear();
                vec![]
            }
            Input::Received {
                body: Message::Written(_) | Message::Newest(..),
                ..
            }
            | Input::Tick => vec![],
        }
    }

    fn start(&mut self, records: &[Record]) -> Vec<ToyOutput> {
        self.records = records.iter().take_while(|record| record.is_sound()).count();
        let newest = records[..self.records].iter().map(|record| record.version).max();
        (self.newest, self.durable) = (newest.unwrap_or(0), newest.unwrap_or(0));
        match self.records < records.len() {
            true => vec![Output::DropTail { count: self.records }],
            false => vec![],
        }
    }

    fn write(&mut self, from: usize, version: u64) -> Vec<ToyOutput> {
        let mut outputs = Vec::new();
        if version > self.newest {
            self.newest = version;
            self.records += 1;
            outputs.push(Output::Append {
                record: Record::new(version),
            });
        }
        if self.habit == Habit::AnswerFirst {
            self.durable = self.durable.max(version);
        }
        if version <= self.durable {
            outputs.push(Output::Send {
                to: from,
                body: Message::Written(version),
            });
        } else {
            self.owed.push((self.records, from, version));
        }
        outputs
    }

    fn synced(&mut self, upto: usize) -> Vec<ToyOutput> {
        let mut outputs = Vec::new();
        self.owed.retain(|(records, to, version)| {
            if *records > upto {
                return true;
            }
            self.durable = self.durable.max(*version);
            outputs.push(Output::Send {
                to: *to,
                body: Message::Written(*version),
            });
            false
        });
        outputs
    }
}

/// Stores one version after the other, each until a majority has it.
#[derive(Default)]
pub struct Writer {
    acknowledged: u64,
    heard: BTreeSet<usize>,
}

impl Writer {
    fn step(&mut self, input: ToyInput) -> Vec<ToyOutput> {
        match input {
            Input::Received {
                from,
                body: Message::Written(version),
            } if version == self.acknowledged + 1 => {
                self.heard.insert(from);
                if self.heard.len() == MAJORITY {
                    self.acknowledged = version;
                    self.heard.clear();
                }
                vec![]
            }
            Input::Start { .. } | Input::Tick if self.acknowledged < WRITES => {
                ask_all(&Message::Write(self.acknowledged + 1))
            }
            Input::Received { .. } | Input::Start { .. } | Input::Tick => vec![],
            Input::Synced { .. } | Input::DiskFailed => unreachable!("the writer has no disk"),
        }
    }
}

/// Asks again and again what the newest version is.
#[derive(Default)]
pub struct Reader {
    /// The question that is open.
    turn: u64,
    answers: BTreeMap<usize, u64>,
    /// The last question that a majority answered, and what it came to.
    read: (u64, u64),
}

impl Reader {
    fn step(&mut self, input: ToyInput) -> Vec<ToyOutput> {
        match input {
            Input::Received {
                from,
                body: Message::Newest(turn, version),
            } if turn == self.turn => {
                self.answers.insert(from, version);
                if self.answers.len() == MAJORITY {
                    self.read = (turn, self.answers.values().copied().max().unwrap_or(0));
                }
                vec![]
            }
            Input::Start { .. } | Input::Tick => {
                self.turn += 1;
                self.answers.clear();
                ask_all(&Message::Read(self.turn))
            }
            Input::Received { .. } => vec![],
            Input::Synced { .. } | Input::DiskFailed => unreachable!("the reader has no disk"),
        }
    }
}

fn ask_all(body: &Message) -> Vec<ToyOutput> {
    let sends = (0..REPLICAS).map(|to| Output::Send { to, body: body.clone() });
    sends.chain([Output::WakeIn(PAUSE)]).collect()
}

/// What an outside observer knows: how far the writer was when the open question was asked.
#[derive(Default)]
struct Oracle {
    turn: u64,
    acknowledged: u64,
}

impl Oracle {
    fn check(&mut self, nodes: &[Node<Toy>], moved: usize) -> Result<(), String> {
        let (Toy::Writer(writer), Toy::Reader(reader)) = (nodes[WRITER].core(), nodes[READER].core()) else {
            return Ok(());
        };
        if moved != READER {
            return Ok(());
        }
        if reader.turn > self.turn {
            (self.turn, self.acknowledged) = (reader.turn, writer.acknowledged);
        }
        let (turn, version) = reader.read;
        if turn == self.turn && version < self.acknowledged {
            let wanted = self.acknowledged;
            return Err(format!(
                "version {wanted} was acknowledged, and a read begun after that saw {version}"
            ));
        }
        Ok(())
    }
}

/// One history of the register as it should be.
///
/// # Errors
/// A read that missed an acknowledged write, or clients that do not come to an end after the faults.
pub fn history(seed: u64) -> Result<Trace, Violation> {
    history_of(seed, Habit::SyncFirst)
}

/// One history of the register with replicas that answer too early: what a violation looks like.
///
/// # Errors
/// As [`history`]; under many seeds it does find something.
pub fn history_of_broken(seed: u64) -> Result<Trace, Violation> {
    history_of(seed, Habit::AnswerFirst)
}

fn history_of(seed: u64, habit: Habit) -> Result<Trace, Violation> {
    let mut sim = Sim::new(seed, NODES, move |node| Toy::new(node, habit));
    for affliction in (Targets {
        nodes: NODES,
        mortal: 0..REPLICAS,
    })
    .afflictions(sim.seed(), FAULTS_UNTIL)
    {
        sim.afflict(affliction);
    }
    let mut oracle = Oracle::default();
    sim.run(FAULTS_UNTIL, |nodes, moved| oracle.check(nodes, moved))?;
    sim.network().heal();
    sim.run(UNTIL, |nodes, moved| oracle.check(nodes, moved))?;
    match (sim.nodes()[WRITER].core(), sim.nodes()[READER].core()) {
        (
            Toy::Writer(Writer {
                acknowledged: WRITES, ..
            }),
            Toy::Reader(Reader { read: (_, WRITES), .. }),
        ) => Ok(sim.into_trace()),
        _ => Err(sim
            .trace()
            .violation("long after the last fault a client had not come to its end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_trace() {
        let hashes: Vec<u64> = (0..100).map(|seed| history(seed).unwrap().hash()).collect();
        for (seed, hash) in (0..).zip(&hashes) {
            assert_eq!(history(seed).unwrap().hash(), *hash, "seed {seed}");
        }
        assert_eq!(
            hashes.iter().collect::<BTreeSet<_>>().len(),
            hashes.len(),
            "two seeds went the same way"
        );
    }

    #[test]
    fn replica_that_answers_before_its_sync_is_caught_by_a_seed_that_replays() {
        let caught: Vec<Violation> = (0..300).filter_map(|seed| history_of_broken(seed).err()).collect();
        assert!(
            caught.len() >= 3,
            "only {} of 300 histories found the lost write",
            caught.len()
        );
        for violation in caught {
            assert!(violation.what.contains("was acknowledged"), "{violation}");
            assert_eq!(history_of_broken(violation.seed).err(), Some(violation));
        }
    }
}
