//! Commit on sharing (I5): what a client is shown of another one's changes is durable when it is shown.
//!
//! For each fileset two places in history are enough: the last change of the client that changed it last, and the last
//! one of all others. A change is announced before it is made, so that no reader sees it unannounced.

use std::collections::HashMap;

use baton_types::{ClientId, FilesetId};
use parking_lot::Mutex;

/// The last changes of each fileset of an aggregate.
#[derive(Default)]
pub struct Sharing {
    filesets: Mutex<HashMap<FilesetId, Last>>,
}

#[derive(Default)]
struct Last {
    /// Changes that are being made.
    running: usize,
    client: Option<ClientId>,
    lsn: u64,
    /// Of all other clients.
    others: u64,
}

/// What an answer has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It shows nothing after this.
    UpTo(u64),
    /// It may show anything that is in the log.
    All,
}

impl Sharing {
    /// Somebody is about to change something.
    pub fn begin(&self, fileset: FilesetId) {
        self.filesets.lock().entry(fileset).or_default().running += 1;
    }

    /// `client` has changed something at `lsn`; 0: nothing after all.
    pub fn end(&self, fileset: FilesetId, client: ClientId, lsn: u64) {
        let mut filesets = self.filesets.lock();
        let last = filesets.entry(fileset).or_default();
        last.running = last.running.saturating_sub(1);
        if last.client == Some(client) {
            last.lsn = last.lsn.max(lsn);
        } else if lsn > 0 {
            last.others = last.others.max(last.lsn);
            (last.client, last.lsn) = (Some(client), lsn);
        }
    }

    /// What of others' changes `client` has seen by now, at most.
    pub fn seen_by(&self, fileset: FilesetId, client: ClientId) -> Seen {
        match self.filesets.lock().get(&fileset) {
            None => Seen::UpTo(0),
            Some(last) if last.running > 0 => Seen::All,
            Some(last) if last.client == Some(client) => Seen::UpTo(last.others),
            Some(last) => Seen::UpTo(last.lsn.max(last.others)),
        }
    }

    /// Everything up to `durable` is: what lies before needs no memory.
    pub fn forget(&self, durable: u64) {
        let keeps = |last: &mut Last| last.running > 0 || last.lsn > durable || last.others > durable;
        self.filesets.lock().retain(|_, last| keeps(last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: FilesetId = FilesetId(4);

    #[test]
    fn nobody_waits_for_his_own_changes_and_everybody_for_those_of_others() {
        let [a, b, c] = [(); 3].map(|()| ClientId::random());
        let sharing = Sharing::default();
        assert_eq!(sharing.seen_by(HERE, a), Seen::UpTo(0));
        sharing.begin(HERE);
        assert_eq!(sharing.seen_by(HERE, b), Seen::All);
        sharing.end(HERE, a, 10);
        assert_eq!(
            (sharing.seen_by(HERE, a), sharing.seen_by(HERE, b)),
            (Seen::UpTo(0), Seen::UpTo(10))
        );
        for (client, lsn) in [(b, 11), (a, 12), (a, 13)] {
            sharing.begin(HERE);
            sharing.end(HERE, client, lsn);
        }
        let seen = [a, b, c].map(|client| sharing.seen_by(HERE, client));
        assert_eq!(seen, [Seen::UpTo(11), Seen::UpTo(13), Seen::UpTo(13)]);
        sharing.begin(HERE);
        sharing.end(HERE, c, 0);
        assert_eq!(
            sharing.seen_by(HERE, c),
            Seen::UpTo(13),
            "a refusal that has no place changes nothing"
        );
        sharing.forget(12);
        assert_eq!(sharing.seen_by(HERE, c), Seen::UpTo(13));
        sharing.forget(13);
        assert_eq!(sharing.seen_by(HERE, c), Seen::UpTo(0));
    }
}
