//! The other end of a watch: what has been heard, and from where to go on after a break.
//!
//! Fed with what arrives, it passes on [`News`] in order and refuses what cannot be: an index that goes
//! back, or a change in the middle of the whole.

use baton_proto::v1::{WatchReply, watch_reply::Reply};
use baton_types::record::{Changed, Record};
use baton_types::{Error, Kind, Result};

/// Something a watcher learns.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// Forget everything: the whole state follows as `Put`s, up to `Complete`.
    Forget,
    /// A piece of the whole.
    Put(Vec<Record>),
    /// The whole is there; it is the state at this index.
    Complete(u64),
    /// One index's change.
    Changed(Changed),
    /// Nothing of interest changed up to this index.
    Reached(u64),
}

/// Where a watcher stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Follower {
    index: u64,
    whole: Option<u64>,
}

impl Follower {
    /// The index to resume after: 0 until the whole state has been heard once.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Takes one message.
    ///
    /// # Errors
    /// `Damaged` if it cannot follow what came before; the stream is then to be opened anew, from `index`.
    pub fn take(&mut self, reply: WatchReply) -> Result<Vec<News>> {
        let lost = |why: &str| Err(Error::new(Kind::Damaged, "watch stream").because(why.to_owned()));
        match (reply.reply, self.whole) {
            (Some(Reply::Whole(piece)), None) => {
                self.whole = Some(piece.index);
                Ok(vec![News::Forget, News::Put(records(piece.records)?)])
            }
            (Some(Reply::Whole(piece)), Some(index)) if piece.index == index => {
                Ok(vec![News::Put(records(piece.records)?)])
            }
            (Some(Reply::WholeEnd(index)), Some(begun)) if index == begun => {
                self.whole = None;
                self.index = index;
                Ok(vec![News::Complete(index)])
            }
            (Some(Reply::Changed(changed)), None) if changed.index > self.index => {
                let changed = Changed::try_from(changed)?;
                self.index = changed.index;
                Ok(vec![News::Changed(changed)])
            }
            (Some(Reply::Reached(index)), None) if index >= self.index => {
                self.index = index;
                Ok(vec![News::Reached(index)])
            }
            (Some(Reply::Changed(_) | Reply::Reached(_)), None) => lost("it went back"),
            (Some(_), _) => lost("a piece of the whole state is missing"),
            (None, _) => lost("a message this version does not know"),
        }
    }

    /// The stream broke: a whole that was half heard has to be heard again.
    pub fn broken(&mut self) {
        if self.whole.take().is_some() {
            self.index = 0;
        }
    }
}

fn records(wire: Vec<baton_proto::v1::Record>) -> Result<Vec<Record>> {
    wire.into_iter().map(Record::try_from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_proto::v1;

    fn reply(reply: Reply) -> WatchReply {
        WatchReply { reply: Some(reply) }
    }

    fn changed(index: u64) -> WatchReply {
        reply(Reply::Changed(v1::Changed {
            index,
            put: Vec::new(),
            gone: Vec::new(),
        }))
    }

    fn piece(index: u64) -> WatchReply {
        reply(Reply::Whole(v1::ListReply {
            index,
            records: Vec::new(),
        }))
    }

    #[test]
    fn the_whole_then_changes_then_a_resume() {
        let mut follower = Follower::default();
        assert_eq!(follower.take(piece(7)).unwrap(), [News::Forget, News::Put(Vec::new())]);
        assert_eq!(follower.take(piece(7)).unwrap(), [News::Put(Vec::new())]);
        assert_eq!(follower.take(reply(Reply::WholeEnd(7))).unwrap(), [News::Complete(7)]);
        follower.take(changed(9)).unwrap();
        follower.take(reply(Reply::Reached(12))).unwrap();
        assert_eq!(follower.index(), 12);
        follower.broken();
        assert_eq!(follower.index(), 12);
    }

    #[test]
    fn what_goes_back_or_is_torn_is_refused() {
        let mut follower = Follower::default();
        follower.take(changed(9)).unwrap();
        assert!(follower.take(changed(9)).is_err());
        assert!(follower.take(reply(Reply::Reached(8))).is_err());
        follower.take(piece(11)).unwrap();
        assert!(follower.take(changed(12)).is_err());
        assert!(follower.take(piece(12)).is_err());
        follower.broken();
        assert_eq!(follower.index(), 0, "half a state is no state to go on from");
    }
}
