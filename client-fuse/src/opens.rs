//! Files that programs have open, and whether their server knows.
//!
//! | the server is | when | so |
//! |---|---|---|
//! | unaware | the client is alone in the fileset | it is told with an unlink what to keep |
//! | busy | it is being told of an open or a close | who comes now waits: two words must not overtake one another |
//! | told | others are there, or the file lost its last name | it is told when the last program closes the file |
//!
//! While a name is taken away that its server was told nobody holds open, an open of that file waits: it would get a
//! file that is gone.

use std::collections::HashMap;

use baton_types::call::Keep;
use baton_types::{Fid, FilesetId};
use parking_lot::{Condvar, Mutex};

/// What is done when the reason to wait is over.
pub type Again = Box<dyn FnOnce() + Send>;

/// All open files of one mount.
#[derive(Default)]
pub struct Opens {
    files: Mutex<HashMap<Fid, File>>,
    /// A server that was busy is not any more.
    quiet: Condvar,
}

#[derive(Default)]
struct File {
    /// Programs' opens.
    count: u32,
    server: Server,
    /// Names being taken away that the server was told nobody holds open.
    leaving: u32,
    waiting: Vec<Again>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Server {
    #[default]
    Unaware,
    Busy,
    Told,
}

/// Whether a server is to be told of opens at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// Others may take the file's names away.
    AtOnce,
    /// Nobody else is there.
    IfAsked,
}

/// What an open or a close leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing more.
    Done,
    /// The server is to be told, and [`Opens::told`] called with its answer.
    Tell,
    /// It has to wait and will be tried again.
    Later,
}

/// What came of telling the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It knows.
    Known,
    /// It does not: it was told of the last close, or refused.
    Unknown,
}

impl Opens {
    /// A program opens `fid`. `again` is kept if that has to wait.
    pub fn open(&self, fid: Fid, tell: Tell, again: impl FnOnce() + Send + 'static) -> Next {
        let mut files = self.files.lock();
        let file = files.entry(fid).or_default();
        if file.leaving > 0 || file.server == Server::Busy {
            file.waiting.push(Box::new(again));
            return Next::Later;
        }
        file.count += 1;
        match (file.server, tell) {
            (Server::Unaware, Tell::AtOnce) => {
                file.server = Server::Busy;
                Next::Tell
            }
            _ => Next::Done,
        }
    }

    /// A program has opened `fid`, which it has just made: there is nothing to wait for.
    pub fn made(&self, fid: Fid, tell: Tell) -> Next {
        let mut files = self.files.lock();
        let file = files.entry(fid).or_default();
        file.count += 1;
        match (file.server, tell) {
            (Server::Unaware, Tell::AtOnce) => {
                file.server = Server::Busy;
                Next::Tell
            }
            _ => Next::Done,
        }
    }

    /// A program closes `fid`, or its open was refused.
    pub fn close(&self, fid: Fid) -> Next {
        let mut files = self.files.lock();
        let Some(file) = files.get_mut(&fid) else {
            return Next::Done;
        };
        file.count = file.count.saturating_sub(1);
        if file.count == 0 && file.server == Server::Told {
            file.server = Server::Busy;
            return Next::Tell;
        }
        Self::drop_unused(&mut files, fid);
        Next::Done
    }

    /// The server was told of an open or a close. Says whether it is to be told of a close now.
    pub fn told(&self, fid: Fid, outcome: Outcome) -> Next {
        let mut files = self.files.lock();
        let Some(file) = files.get_mut(&fid) else {
            return Next::Done;
        };
        file.server = match (outcome, file.count) {
            (Outcome::Known, 0) => return Next::Tell, // the last program closed it meanwhile: still busy
            (Outcome::Known, _) => Server::Told,
            (Outcome::Unknown, _) => Server::Unaware,
        };
        let waiting = std::mem::take(&mut file.waiting);
        Self::drop_unused(&mut files, fid);
        self.quiet.notify_all();
        drop(files);
        waiting.into_iter().for_each(|again| again());
        Next::Done
    }

    /// A name of `fid` is about to be taken away: what the server is told.
    pub fn keep(&self, fid: Fid) -> Keep {
        let mut files = self.files.lock();
        let file = files.entry(fid).or_default();
        if file.count == 0 {
            file.leaving += 1;
            return Keep::Closed;
        }
        if file.server == Server::Unaware {
            file.server = Server::Told;
        }
        Keep::Open
    }

    /// What [`Opens::keep`] was asked for is over.
    pub fn kept(&self, fid: Fid, keep: Keep) {
        let mut files = self.files.lock();
        let (Some(file), Keep::Closed) = (files.get_mut(&fid), keep) else {
            return;
        };
        file.leaving = file.leaving.saturating_sub(1);
        let waiting = match file.leaving {
            0 => std::mem::take(&mut file.waiting),
            _ => Vec::new(),
        };
        Self::drop_unused(&mut files, fid);
        drop(files);
        waiting.into_iter().for_each(|again| again());
    }

    /// The server keeps `fid`, which lost its last name, as open for us. If nobody has it open, it is to be told so; and
    /// who opens it from now on waits for that word: a close that came after his open would take the file from him.
    pub fn kept_for_us(&self, fid: Fid) -> Next {
        let mut files = self.files.lock();
        let file = files.entry(fid).or_default();
        match (file.server, file.count) {
            (Server::Busy | Server::Told, _) => Next::Done,
            (Server::Unaware, 0) => {
                file.server = Server::Busy;
                Next::Tell
            }
            (Server::Unaware, _) => {
                file.server = Server::Told;
                Next::Done
            }
        }
    }

    /// The open files of a fileset: its server is to be told of each, again of those it was told of, too. It may have
    /// forgotten.
    pub fn to_tell(&self, fileset: FilesetId) -> Vec<Fid> {
        let mut files = self.files.lock();
        let of_it = files.iter_mut().filter(|(fid, _)| fid.fileset == fileset);
        of_it
            .filter(|(_, file)| file.count > 0 && file.server != Server::Busy)
            .map(|(fid, file)| {
                file.server = Server::Busy;
                *fid
            })
            .collect()
    }

    /// Waits until the server was told of all that it is just being told of in a fileset.
    pub fn wait_until_told(&self, fileset: FilesetId) {
        let mut files = self.files.lock();
        let is_busy = |file: Option<&File>| file.is_some_and(|file| file.server == Server::Busy);
        let of_it = files.keys().filter(|fid| fid.fileset == fileset);
        let busy: Vec<Fid> = of_it.filter(|fid| is_busy(files.get(fid))).copied().collect();
        for fid in busy {
            while is_busy(files.get(&fid)) {
                self.quiet.wait(&mut files);
            }
        }
    }

    /// The open files of a fileset that its server knows of, or is just being told of.
    pub fn known(&self, fileset: FilesetId) -> Vec<Fid> {
        let files = self.files.lock();
        let of_it = files.iter().filter(|(fid, _)| fid.fileset == fileset);
        of_it
            .filter(|(_, file)| file.server != Server::Unaware)
            .map(|(fid, _)| *fid)
            .collect()
    }

    /// The server has forgotten all that it knew of a fileset.
    pub fn lost(&self, fileset: FilesetId) {
        let mut files = self.files.lock();
        for (_, file) in files.iter_mut().filter(|(fid, _)| fid.fileset == fileset) {
            if file.server == Server::Told {
                file.server = Server::Unaware;
            }
        }
    }

    /// Whether a program has a file of the fileset open.
    pub fn any(&self, fileset: FilesetId) -> bool {
        self.files.lock().keys().any(|fid| fid.fileset == fileset)
    }

    fn drop_unused(files: &mut HashMap<Fid, File>, fid: Fid) {
        let is_unused = |file: &File| {
            file.count == 0 && file.leaving == 0 && file.server != Server::Busy && file.waiting.is_empty()
        };
        if files.get(&fid).is_some_and(is_unused) {
            files.remove(&fid);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use baton_types::Vnode;

    use super::*;

    const FILE: Fid = Fid {
        fileset: FilesetId(12),
        vnode: Vnode::ROOT,
        unique: 3,
    };

    fn never() {
        unreachable!("nothing to wait for");
    }

    #[test]
    fn alone_the_server_hears_of_nothing() {
        let opens = Opens::default();
        assert_eq!(opens.open(FILE, Tell::IfAsked, never), Next::Done);
        assert_eq!(opens.open(FILE, Tell::IfAsked, never), Next::Done);
        assert!(opens.known(FILE.fileset).is_empty());
        assert_eq!(opens.close(FILE), Next::Done);
        assert!(opens.any(FILE.fileset));
        assert_eq!(opens.close(FILE), Next::Done);
        assert!(!opens.any(FILE.fileset));
    }

    #[test]
    fn among_others_it_hears_of_the_first_open_and_the_last_close() {
        let opens = Opens::default();
        assert_eq!(opens.open(FILE, Tell::AtOnce, never), Next::Tell);
        assert_eq!(opens.told(FILE, Outcome::Known), Next::Done);
        assert_eq!(opens.open(FILE, Tell::AtOnce, never), Next::Done);
        assert_eq!(opens.close(FILE), Next::Done);
        assert_eq!(opens.close(FILE), Next::Tell);
        assert_eq!(opens.told(FILE, Outcome::Unknown), Next::Done);
        assert!(!opens.any(FILE.fileset));
    }

    #[test]
    fn an_open_waits_for_the_word_before_it() {
        let opens = Opens::default();
        let (tell, hear) = mpsc::channel();
        assert_eq!(opens.open(FILE, Tell::AtOnce, never), Next::Tell);
        assert_eq!(opens.close(FILE), Next::Done, "the server is being told of the open");
        assert_eq!(
            opens.open(FILE, Tell::AtOnce, move || tell.send(()).unwrap()),
            Next::Later
        );
        assert_eq!(opens.told(FILE, Outcome::Known), Next::Tell, "of the close");
        assert!(hear.try_recv().is_err());
        assert_eq!(opens.told(FILE, Outcome::Unknown), Next::Done);
        assert!(hear.try_recv().is_ok());
    }

    #[test]
    fn a_file_that_is_open_is_kept_and_its_server_told_of_the_close() {
        let opens = Opens::default();
        opens.open(FILE, Tell::IfAsked, never);
        assert_eq!(opens.keep(FILE), Keep::Open);
        opens.kept(FILE, Keep::Open);
        assert_eq!(opens.known(FILE.fileset), [FILE]);
        assert_eq!(opens.close(FILE), Next::Tell);
    }

    #[test]
    fn an_open_waits_while_the_last_name_goes() {
        let opens = Opens::default();
        let (tell, hear) = mpsc::channel();
        assert_eq!(opens.keep(FILE), Keep::Closed);
        assert_eq!(
            opens.open(FILE, Tell::IfAsked, move || tell.send(()).unwrap()),
            Next::Later
        );
        opens.kept(FILE, Keep::Closed);
        assert!(hear.try_recv().is_ok());
        assert!(!opens.any(FILE.fileset));
    }

    #[test]
    fn a_close_of_what_nobody_has_open_is_not_overtaken_by_an_open() {
        let opens = Opens::default();
        let (tell, hear) = mpsc::channel();
        assert_eq!(opens.kept_for_us(FILE), Next::Tell);
        let again = move || tell.send(()).unwrap();
        assert_eq!(opens.open(FILE, Tell::AtOnce, again), Next::Later);
        assert!(hear.try_recv().is_err());
        assert_eq!(opens.told(FILE, Outcome::Unknown), Next::Done);
        assert!(hear.try_recv().is_ok(), "it asks now, and hears that the file is gone");
        // Who had it open before closes it himself.
        assert_eq!(opens.open(FILE, Tell::IfAsked, never), Next::Done);
        assert_eq!(opens.kept_for_us(FILE), Next::Done);
        assert_eq!(opens.close(FILE), Next::Tell);
    }

    #[test]
    fn when_others_come_the_server_is_told_once_of_each() {
        let opens = Opens::default();
        opens.open(FILE, Tell::IfAsked, never);
        assert_eq!(opens.to_tell(FILE.fileset), [FILE]);
        assert!(opens.to_tell(FILE.fileset).is_empty());
        opens.told(FILE, Outcome::Known);
        assert_eq!(opens.known(FILE.fileset), [FILE]);
        assert_eq!(opens.to_tell(FILE.fileset), [FILE], "another time, it is told again");
        opens.told(FILE, Outcome::Known);
        opens.lost(FILE.fileset);
        assert_eq!(opens.to_tell(FILE.fileset), [FILE]);
    }
}
