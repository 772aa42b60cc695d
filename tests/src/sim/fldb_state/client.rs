//! A client: one change at a time, asked for again, anywhere, until it is answered or given up.

use baton_types::change::{Change, ChangeSession, Proposal, Who};
use baton_types::{Kind, Time, Timestamp};

use super::{Message, REPLICAS, Wake, World, changes};
use crate::invariants::i06_done_once::{Name, Told};

/// How long an answer is waited for.
const PATIENCE: (Time, Time) = (15_000, 60_000);
/// Tries before a client gives up, while things go wrong.
const TRIES_MAX: u32 = 6;

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    session: ChangeSession,
    sequence: u32,
    /// Where its session begins; none before it has asked for that.
    born: Option<u64>,
    asked: Option<Asked>,
    /// Changes it has yet to ask for.
    left: u32,
    /// Counts its turns: a timer of an earlier one is void.
    turn: u64,
}

/// A change under way.
#[derive(Debug)]
struct Asked {
    who: Who,
    change: Change,
    tries: u32,
}

impl Client {
    pub fn new(changes: u32) -> Client {
        Client {
            session: ChangeSession([0; 16]),
            sequence: 0,
            born: None,
            asked: None,
            left: changes,
            turn: 0,
        }
    }

    /// True when it has nothing more to ask for.
    pub fn is_done(&self) -> bool {
        self.left == 0 && self.asked.is_none()
    }

    fn named(&self) -> Name {
        (self.session, self.sequence)
    }
}

impl World {
    fn client(&mut self, node: usize) -> &mut Client {
        &mut self.clients[node - REPLICAS]
    }

    /// Its timer rang: nothing came back, or it is time for something new.
    pub(super) fn client_wakes(&mut self, node: usize, turn: u64) {
        let client = self.client(node);
        if client.turn != turn || client.is_done() {
            return;
        }
        if let Some(asked) = &mut client.asked {
            asked.tries += 1;
            let tries = asked.tries;
            if tries > TRIES_MAX && self.seed.chance(300) {
                self.give_up(node);
            }
        }
        self.ask(node);
    }

    /// Sends what there is to send, somewhere.
    fn ask(&mut self, node: usize) {
        if self.client(node).is_done() {
            return;
        }
        let member = self.seed.index(REPLICAS);
        let body = match self.client(node).born {
            None => Message::Greet,
            Some(born) => {
                self.choose(node);
                Message::Propose(self.proposal(node, born))
            }
        };
        self.send(node, member, body);
        self.wait(node, PATIENCE);
    }

    /// Takes up a new change if none is under way.
    fn choose(&mut self, node: usize) {
        if self.client(node).asked.is_some() {
            return;
        }
        let head = self.oracles.agreed.head();
        let newest = self.oracles.agreed.state(head).cloned().unwrap_or_default();
        let (who, change) = changes::drawn(&mut self.seed, &newest);
        let client = self.client(node);
        client.left -= 1;
        client.sequence += 1;
        client.asked = Some(Asked { who, change, tries: 0 });
    }

    fn proposal(&mut self, node: usize, born: u64) -> Box<Proposal> {
        let client = self.client(node);
        let (session, sequence) = client.named();
        let asked = client.asked.as_ref();
        let (who, change) = asked
            .map(|asked| (asked.who.clone(), asked.change.clone()))
            .expect("it was chosen");
        Box::new(Proposal {
            session,
            sequence,
            born,
            date: Timestamp::default(),
            who,
            change,
        })
    }

    fn wait(&mut self, node: usize, (low, high): (Time, Time)) {
        let delay = self.seed.between(low, high);
        let client = self.client(node);
        client.turn += 1;
        let turn = client.turn;
        self.wake(delay, node, Wake::Client(turn));
    }

    /// It will never know. Its next change may be of the same session, which has gone on then.
    fn give_up(&mut self, node: usize) {
        self.seen.given_up += 1;
        self.client(node).asked = None;
        if self.seed.chance(500) {
            self.client(node).born = None;
        }
    }

    /// Where a member's state stands: a new session begins there.
    pub(super) fn greeted(&mut self, node: usize, applied: u64) {
        let session = ChangeSession(u128::from(self.seed.draw()).to_le_bytes());
        let client = self.client(node);
        if client.born.is_some() {
            return;
        }
        client.born = Some(applied);
        client.session = session;
        client.sequence = u32::from(client.asked.is_some());
        self.ask(node);
    }

    /// A member knows of no leader: somebody else, or later.
    pub(super) fn no_leader(&mut self, node: usize, named: Name) {
        if self.client(node).named() == named && self.client(node).asked.is_some() {
            self.wait(node, (1_000, 20_000));
        }
    }

    /// An answer, or one more copy of it.
    pub(super) fn answered(&mut self, node: usize, named: Name, told: &Told) -> Result<(), String> {
        self.oracles.once.told(named, told)?;
        let client = self.client(node);
        if client.named() != named {
            return Ok(());
        }
        let Some(asked) = client.asked.take() else {
            return Ok(());
        };
        match told {
            Err(error) if error.kind == Kind::SessionLost => {
                client.born = None;
                let is_sure = asked.tries == 0;
                self.seen.sessions_lost += 1;
                if is_sure {
                    self.client(node).asked = Some(asked); // it was never sent before: a new session may do it
                }
            }
            Ok((index, _)) => {
                self.oracles.answers.answered(named, *index)?;
                self.seen.done += 1;
            }
            Err(_) => self.seen.refused += 1,
        }
        if self.seed.chance(100) {
            self.client(node).born = None;
        }
        self.wait(node, (100, 10_000));
        Ok(())
    }
}
