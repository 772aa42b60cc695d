//! What programs of this machine ask the daemon, over its socket. The kernel says who asks.
//!
//! | asks | who may |
//! |---|---|
//! | mount, unmount | root |
//! | where a file is, flush, mount points | whoever has come to the file: it is he who opened it. Servers judge the rest |
//! | login, logout, who am I | everybody for himself |
//! | what is mounted, which servers are silent | everybody |
//!
//! A descriptor is never read here, only asked which file it is, without asking whoever serves that: a file of our
//! own mounts would be asked of ourselves.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use baton_proto::v1::{client_reply, client_request};
use baton_proto::{FromWire, v1};
use baton_rpc::config::{CellFile, Paths};
use baton_rpc::local::{Line, Peer};
use baton_types::{CellName, Error, Kind, Result};
use parking_lot::Mutex;

use crate::attach::{Access, Honour, InUse, Options};
use crate::logins::{Files, Registered};
use crate::mounts::{Mounts, Plan};

mod about;

/// Conversations of one user at once: commands last milliseconds, and nobody needs the places of others.
const LINES_PER_USER: u32 = 16;
/// A reader who takes no answer for so long gets none.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the daemon tells; `None`: it is done, and there is no more to say.
type Told = Result<Option<client_reply::What>>;

/// What answers.
pub struct Control {
    /// What is mounted.
    pub mounts: Arc<Mounts>,
    /// Who has logged in.
    pub registered: Arc<Registered>,
    /// Where cells' files lie.
    pub paths: Paths,
    /// As whom a user calls in the cell of the machine's certificate, else in the only one.
    pub identity: IdentityOf,
}

/// As whom a user of this machine calls, and by which mechanism.
pub type IdentityOf = Box<dyn Fn(u32) -> Result<Option<(String, &'static str)>> + Send + Sync>;

impl Control {
    /// Answers at `socket` until the process ends. A socket that a daemon before this one left is replaced: this one
    /// has the lock.
    ///
    /// # Errors
    /// Naming the socket that cannot be made.
    pub fn listen(self, socket: &Path) -> Result<()> {
        let failed = |e| Error::io(socket.display().to_string(), e);
        if let Some(directory) = socket.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        match fs::remove_file(socket) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        let listener = UnixListener::bind(socket).map_err(failed)?;
        fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).map_err(failed)?;
        let control = Arc::new(self);
        std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || accept(&control, &listener))
            .map_err(failed)?;
        Ok(())
    }

    fn answer(&self, peer: Peer, request: v1::ClientRequest, descriptors: Vec<OwnedFd>) -> Told {
        use client_request::What;
        let what = request
            .what
            .ok_or_else(|| Error::new(Kind::Version, "question").because("this batond does not know it"))?;
        let descriptor = descriptors.into_iter().next();
        match what {
            What::Mount(mount) => self.mount(peer, mount),
            What::Unmount(unmount) => self.unmount(peer, unmount),
            What::Mounts(v1::ClientMounts {}) => Ok(Some(self.list())),
            What::Servers(v1::ClientServers {}) => Ok(Some(self.servers())),
            What::WhereIs(v1::ClientWhereIs {}) => self.at(descriptor)?.where_is(),
            What::Flush(v1::ClientFlush {}) => self.at(descriptor)?.flush(),
            What::LsMount(question) => self.at(descriptor)?.ls_mount(peer, &question),
            What::CrMount(question) => self.at(descriptor)?.cr_mount(peer, &question),
            What::DelMount(question) => self.at(descriptor)?.del_mount(peer, &question),
            What::Login(login) => self.login(peer, &login),
            What::Logout(v1::ClientLogout {}) => {
                self.registered.logout(peer.uid);
                self.tell_mounts(peer);
                self.who(peer)
            }
            What::WhoAmI(v1::ClientWhoAmI {}) => self.who(peer),
        }
    }

    fn mount(&self, peer: Peer, mount: v1::ClientMount) -> Told {
        root_only(peer, "mount")?;
        let source = match mount.source.as_slice() {
            [] => None,
            bytes => Some(address(bytes)?),
        };
        let honour = |is_wanted: bool| if is_wanted { Honour::Yes } else { Honour::No };
        let cell = CellName::from_wire(&mount.cell)?;
        CellFile::load(&self.paths, &cell)?; // a name that is mistyped is told at once, a server that is away is not
        self.mounts.mount(Plan {
            cell,
            directory: directory(mount.directory)?,
            options: Options {
                access: match mount.read_only {
                    true => Access::ReadOnly,
                    false => Access::ReadWrite,
                },
                suid: honour(mount.suid),
                dev: honour(mount.dev),
                exec: honour(!mount.no_exec),
            },
            source,
        })?;
        Ok(None)
    }

    fn unmount(&self, peer: Peer, unmount: v1::ClientUnmount) -> Told {
        root_only(peer, "unmount")?;
        let in_use = if unmount.force { InUse::Detach } else { InUse::Refuse };
        self.mounts.unmount(&directory(unmount.directory)?, in_use)?;
        Ok(None)
    }

    fn list(&self) -> client_reply::What {
        let mounts = self.mounts.list().into_iter().map(|plan| v1::ClientMount {
            cell: plan.cell.to_string().into_bytes(),
            directory: plan.directory.into_os_string().into_vec(),
            read_only: plan.options.access == Access::ReadOnly,
            suid: plan.options.suid == Honour::Yes,
            dev: plan.options.dev == Honour::Yes,
            no_exec: plan.options.exec == Honour::No,
            source: plan
                .source
                .map(|source| source.to_string())
                .unwrap_or_default()
                .into_bytes(),
        });
        client_reply::What::Mounts(v1::ClientMountList {
            mounts: mounts.collect(),
        })
    }

    /// Each server once, whichever of the mounts knows it.
    fn servers(&self) -> client_reply::What {
        let mut silent = std::collections::BTreeMap::new();
        for (cell, served) in self.mounts.served() {
            for server in served.locator().servers() {
                silent.entry((cell.clone(), server.name.to_string())).or_insert(false);
            }
            for name in served.silent() {
                silent.insert((cell.clone(), name), true);
            }
        }
        let servers = silent.into_iter().map(|((cell, name), silent)| v1::ClientServer {
            cell: cell.to_string().into_bytes(),
            name: name.into_bytes(),
            silent,
        });
        client_reply::What::Servers(v1::ClientServerList {
            servers: servers.collect(),
        })
    }

    fn login(&self, peer: Peer, login: &v1::ClientLogin) -> Told {
        let files = Files {
            authority: &login.authority,
            certificate: &login.certificate,
            key: &login.key,
        };
        let known = |cell: &CellName| CellFile::load(&self.paths, cell)?.anchor();
        let principal = self.registered.login(peer.uid, files, known)?;
        self.tell_mounts(peer);
        tracing::info!(uid = peer.uid, %principal, "logged in");
        self.who(peer)
    }

    /// What he asks from now on, on connections that are open too, he asks as who he is now.
    fn tell_mounts(&self, peer: Peer) {
        for (_, served) in self.mounts.served() {
            served.log_out(peer.uid);
        }
    }

    fn who(&self, peer: Peer) -> Told {
        let (principal, mech) = (self.identity)(peer.uid)?.unwrap_or_default();
        Ok(Some(client_reply::What::Identity(v1::ClientIdentity {
            principal: principal.into_bytes(),
            mech: mech.as_bytes().to_vec(),
        })))
    }
}

/// Takes callers in, each user's up to a number.
fn accept(control: &Arc<Control>, listener: &UnixListener) {
    let lines = Arc::new(Mutex::new(HashMap::<u32, u32>::new()));
    for stream in listener.incoming() {
        let begun = stream
            .map_err(|e| Error::io("control socket", e))
            .and_then(|stream| begin(control, &lines, stream));
        if let Err(error) = begun {
            tracing::warn!(%error, "a caller is turned away");
            std::thread::sleep(Duration::from_millis(10)); // without descriptors this would spin
        }
    }
}

fn begin(control: &Arc<Control>, lines: &Arc<Mutex<HashMap<u32, u32>>>, stream: UnixStream) -> Result<()> {
    let line = Line::new(stream);
    line.bound(PATIENCE)?;
    let peer = line.peer()?;
    {
        let mut lines = lines.lock();
        let count = lines.entry(peer.uid).or_default();
        if *count >= LINES_PER_USER {
            return Err(Error::new(Kind::Limit, format!("uid {}", peer.uid))
                .because(format!("{LINES_PER_USER} conversations are open")));
        }
        *count += 1;
    }
    let (control, lines) = (control.clone(), lines.clone());
    let talk = move || {
        if let Err(error) = converse(&control, peer, line) {
            tracing::debug!(%error, uid = peer.uid, "a conversation is broken off");
        }
        let mut lines = lines.lock();
        if let Some(count) = lines.get_mut(&peer.uid) {
            *count -= 1;
        }
        lines.retain(|_, count| *count > 0);
    };
    std::thread::Builder::new()
        .name("control-line".to_owned())
        .spawn(talk)
        .map(drop)
        .map_err(|e| Error::io("thread", e))
}

fn converse(control: &Control, peer: Peer, mut line: Line) -> Result<()> {
    while let Some((request, descriptors)) = line.receive::<v1::ClientRequest>()? {
        let reply = match control.answer(peer, request, descriptors) {
            Ok(what) => v1::ClientReply { failure: None, what },
            Err(error) => v1::ClientReply {
                failure: Some(v1::Failure::from(&error)),
                what: None,
            },
        };
        line.send(&reply, &[])?;
    }
    Ok(())
}

fn root_only(peer: Peer, what: &str) -> Result<()> {
    match peer.uid {
        0 => Ok(()),
        _ => Err(Error::new(Kind::Denied, what).because("root alone may do that")),
    }
}

fn directory(bytes: Vec<u8>) -> Result<PathBuf> {
    let path = PathBuf::from(OsString::from_vec(bytes));
    match path.is_absolute() && !path.as_os_str().as_bytes().contains(&0) {
        true => Ok(path),
        false => Err(Error::new(Kind::Invalid, path.display().to_string()).because("not an absolute path")),
    }
}

fn address(bytes: &[u8]) -> Result<IpAddr> {
    let text = String::from_utf8_lossy(bytes);
    text.parse().map_err(|_| {
        Error::new(Kind::Invalid, format!("address '{}'", text.escape_debug())).because("not an IP address")
    })
}

#[cfg(test)]
mod tests;
