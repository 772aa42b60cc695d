//! A program that plays file servers: each registers, claims and beats under a certificate of its own, by the same
//! calls and over the same connections as a real one. What they do not have is disks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use baton_proto::v1;
use baton_rpc::config::{PORT_FLDB, Paths};
use baton_rpc::{Dialer, FldbClient, Identity, Target};
use baton_security::{Authority, Credential, HostTls, Key, Place, Request, Subject, Wire};
use baton_tests::cell::{Cell, Role};
use baton_types::beat::{Beat, Port, PortState};
use baton_types::change::{Change, Takeover};
use baton_types::limits::BEAT_MICROS;
use baton_types::{Address, AggregateId, EntryName, Epoch, Incarnation};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::fill::{Layout, Made};

/// Between two beats.
const BEAT: Duration = Duration::from_micros(BEAT_MICROS);
/// Servers that register or dial at the same time.
const AT_ONCE: usize = 32;
/// Beats on their way to one member.
const WAITING: usize = 4;
/// For a connection.
const DIAL: Duration = Duration::from_secs(20);
/// Seconds that the certificates are good for: longer than any bench takes.
const SECONDS: u64 = 86_400;

/// All servers, until this is dropped.
pub struct Players {
    players: Vec<Arc<Player>>,
    /// Their beats.
    tasks: JoinSet<()>,
}

/// One server.
pub struct Player {
    /// What it is.
    pub made: Made,
    tls: Arc<HostTls>,
    client: FldbClient,
    run: Mutex<Incarnation>,
    is_silent: AtomicBool,
    disks: Arc<Disks>,
}

/// What stands in the slots of disks, as far as beats tell of it. All that one server owns in the beginning has one
/// owner at a time.
struct Disks {
    /// Whose each server's first aggregates are now.
    owners: Vec<AtomicUsize>,
    /// How often each server has written its slots.
    beats: Vec<AtomicU64>,
}

impl Players {
    /// The servers of `layout`, with certificates under `directory`.
    ///
    /// # Errors
    /// When the authority's key is not where the cell was made.
    pub async fn certified(cell: &Cell, layout: &Layout, directory: &Path) -> Result<Players> {
        let authority = Authority::load(&Paths::under(cell.places().root("fl1")).pki())?;
        let disks = Arc::new(Disks {
            owners: (0..layout.servers).map(AtomicUsize::new).collect(),
            beats: (0..layout.servers).map(|_| AtomicU64::new(0)).collect(),
        });
        std::fs::create_dir_all(directory)?;
        let mut players = Vec::new();
        for made in layout.servers()? {
            let tls = certify(&authority, &made, directory)?;
            let client = FldbClient::new(&cell.file()?, Identity::Host(tls.clone()), &Cell::clock())?;
            players.push(Arc::new(Player {
                made,
                tls,
                client,
                run: Mutex::new(Incarnation(Uuid::nil())),
                is_silent: AtomicBool::new(false),
                disks: disks.clone(),
            }));
            tokio::task::yield_now().await;
        }
        Ok(Players {
            players,
            tasks: JoinSet::new(),
        })
    }

    /// The server of this number.
    pub fn player(&self, number: usize) -> &Arc<Player> {
        &self.players[number]
    }

    /// Every server registers and claims what is its own.
    ///
    /// # Errors
    /// What the database says.
    pub async fn register(&self) -> Result<()> {
        let (mut tasks, turns) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
        for player in &self.players {
            let (player, turns) = (player.clone(), turns.clone());
            tasks.spawn(async move {
                let _turn = turns.acquire().await?;
                player.register().await?;
                player.claim().await
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// Every server beats to every member from now on.
    ///
    /// # Errors
    /// When a member has no address.
    pub fn beat(&mut self, cell: &Cell) -> Result<()> {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut targets = Vec::new();
        for member in cell.named(Role::Flserver) {
            targets.push(Target {
                name: Some(EntryName::parse(&member)?),
                address: Address::parse(&cell.machine(&member)?.address.to_string())?,
            });
        }
        for (number, player) in self.players.iter().enumerate() {
            let mut lines = Vec::new();
            for target in &targets {
                let (send, beats) = mpsc::channel(WAITING);
                lines.push(send);
                self.tasks
                    .spawn(line(player.clone(), target.clone(), beats, turns.clone()));
            }
            self.tasks.spawn(heart(player.clone(), number, lines));
        }
        Ok(())
    }

    /// What server `of` owned in the beginning is owned by `by` now.
    pub fn owned(&self, of: usize, by: usize) {
        self.players[of].disks.owners[of].store(by, Ordering::Relaxed);
    }
}

impl Player {
    /// Begins a new run, and says so.
    ///
    /// # Errors
    /// What the database says.
    pub async fn register(&self) -> Result<()> {
        let run = Incarnation(Uuid::new_v4());
        let change = Change::RegisterServer {
            id: self.made.id,
            name: self.made.name.clone(),
            addresses: vec![self.made.address.clone()],
            incarnation: run,
            beats: true,
        };
        self.client
            .change(change)
            .await
            .with_context(|| self.made.name.to_string())?;
        *self.run.lock() = run;
        self.is_silent.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn claim(&self) -> Result<()> {
        for (aggregate, _) in &self.made.own {
            let change = Change::Claim {
                aggregate: *aggregate,
                server: self.made.id,
                incarnation: *self.run.lock(),
                disk_epoch: Epoch::NONE,
                takeover: Takeover::Planned,
            };
            self.client
                .change(change)
                .await
                .with_context(|| self.made.name.to_string())?;
        }
        Ok(())
    }

    /// Beats no more, and writes no slots; nobody says so.
    pub fn fall_silent(&self) {
        self.is_silent.store(true, Ordering::Relaxed);
    }

    /// Its guard says that it has ended.
    ///
    /// # Errors
    /// When no member hears it.
    pub async fn attest(&self) -> Result<()> {
        let run = *self.run.lock();
        self.client.attest(self.made.id, run).await?;
        Ok(())
    }

    fn next_beat(&self, number: usize) -> Beat {
        let sequence = self.disks.beats[number].fetch_add(1, Ordering::Relaxed) + 1;
        let port = |aggregate: AggregateId, of: usize| {
            let owner = self.disks.owners[of].load(Ordering::Relaxed);
            Port {
                aggregate,
                newest: Epoch::NONE,
                disk_beat: self.disks.beats[owner].load(Ordering::Relaxed),
                state: PortState::Good,
            }
        };
        let own = self.made.own.iter().map(|(id, _)| port(*id, number));
        let reached = self.made.reached.iter().map(|(id, _)| port(*id, number ^ 1));
        Beat {
            server: self.made.id,
            incarnation: *self.run.lock(),
            sequence,
            gate_micros: 0,
            ports: own.chain(reached).collect(),
            clients: 0,
            buddies: Vec::new(), // nobody asks a server that has no port
        }
    }
}

/// A machine's certificate, as joining would make it.
fn certify(authority: &Authority, made: &Made, directory: &Path) -> Result<Arc<HostTls>> {
    let key = Key::generate()?;
    let request = Request::parse(&key.request()?)?;
    let subject = Subject::Host {
        name: made.name.clone(),
        server: Some(made.id),
    };
    let certificate = authority.issue(&request, &subject, Cell::clock().date(), SECONDS)?;
    let credential = Credential::new(authority.anchor().clone(), certificate, key)?;
    let place = Place::host(directory.join(made.name.as_str()));
    credential.save(&place)?;
    Ok(Arc::new(HostTls::load(place, Cell::clock())?))
}

/// Five times a second one beat for all members.
async fn heart(player: Arc<Player>, number: usize, lines: Vec<mpsc::Sender<v1::BeatRequest>>) {
    sleep(BEAT.mul_f64(rand::random())).await;
    let mut again = interval(BEAT);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        again.tick().await;
        if player.is_silent.load(Ordering::Relaxed) {
            continue;
        }
        let beat = v1::BeatRequest::from(player.next_beat(number));
        for line in &lines {
            drop(line.try_send(beat.clone())); // an older one on its way says the same
        }
    }
}

/// The beats of one server to one member, dialled anew whenever that ends.
async fn line(player: Arc<Player>, target: Target, mut beats: mpsc::Receiver<v1::BeatRequest>, turns: Arc<Semaphore>) {
    let dialer = Dialer::new(player.tls.client(Wire::Control), None, PORT_FLDB);
    loop {
        let connection = {
            let Ok(_turn) = turns.acquire().await else { return };
            dialer.connect(&target, Instant::now() + DIAL).await
        };
        if let Ok(connection) = connection {
            let (send, stream) = mpsc::channel(WAITING);
            let Some(first) = beats.recv().await else { return };
            drop(send.try_send(first));
            if let Ok(answers) = connection.fldb().beat(ReceiverStream::new(stream)).await {
                let mut answers = answers.into_inner();
                loop {
                    tokio::select! {
                        beat = beats.recv() => match beat {
                            Some(beat) => drop(send.try_send(beat)),
                            None => return,
                        },
                        answer = answers.message() => if !matches!(answer, Ok(Some(_))) { break },
                    }
                }
            }
        }
        sleep(BEAT).await;
    }
}
