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
    heard: Heard,
    /// The highest index it ever stood at: a member that is behind may not take it back there.
    floor: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Heard {
    #[default]
    Nothing,
    /// Some of the state at this index.
    Part(u64),
    /// Everything up to this index.
    All(u64),
}

impl Follower {
    /// One who has heard everything up to `index`; 0 is one who has heard nothing.
    pub fn after(index: u64) -> Follower {
        let heard = if index == 0 { Heard::Nothing } else { Heard::All(index) };
        Follower { heard, floor: index }
    }

    /// The index to resume after: 0 until the whole state has been heard once.
    pub fn index(&self) -> u64 {
        match self.heard {
            Heard::Nothing | Heard::Part(_) => 0,
            Heard::All(index) => index,
        }
    }

    /// Takes one message.
    ///
    /// # Errors
    /// `Damaged` if it cannot follow what came before; the stream is then to be opened anew, from `index`,
    /// and better at another member.
    pub fn take(&mut self, reply: WatchReply) -> Result<Vec<News>> {
        let lost = |why: &str| Err(Error::new(Kind::Damaged, "watch stream").because(why.to_owned()));
        match (reply.reply, self.heard) {
            (Some(Reply::Whole(piece)), Heard::Part(index)) if piece.index == index => {
                Ok(vec![News::Put(records(piece.records)?)])
            }
            (Some(Reply::Whole(piece)), Heard::Nothing | Heard::All(_)) if piece.index >= self.floor => {
                let records = records(piece.records)?;
                self.heard = Heard::Part(piece.index);
                Ok(vec![News::Forget, News::Put(records)])
            }
            (Some(Reply::WholeEnd(index)), Heard::Part(begun)) if index == begun => {
                self.stand_at(index);
                Ok(vec![News::Complete(index)])
            }
            (Some(Reply::Changed(changed)), Heard::All(before)) if changed.index > before => {
                let changed = Changed::try_from(changed)?;
                self.stand_at(changed.index);
                Ok(vec![News::Changed(changed)])
            }
            (Some(Reply::Reached(index)), Heard::All(before)) if index >= before => {
                self.stand_at(index);
                Ok(vec![News::Reached(index)])
            }
            (None, _) => lost("a message this version does not know"),
            (Some(_), Heard::Part(_)) | (Some(Reply::WholeEnd(_)), _) => lost("a piece of the whole state is missing"),
            (Some(Reply::Changed(_) | Reply::Reached(_)), Heard::Nothing) => lost("a change without a state before it"),
            (Some(Reply::Whole(_) | Reply::Changed(_) | Reply::Reached(_)), _) => lost("it went back"),
        }
    }

    /// The stream broke: a whole that was half heard has to be heard again.
    pub fn broken(&mut self) {
        if let Heard::Part(_) = self.heard {
            self.heard = Heard::Nothing;
        }
    }

    fn stand_at(&mut self, index: u64) {
        (self.heard, self.floor) = (Heard::All(index), index);
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

    fn whole(follower: &mut Follower, index: u64) {
        follower.take(piece(index)).unwrap();
        follower.take(reply(Reply::WholeEnd(index))).unwrap();
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
        follower.take(changed(13)).unwrap();
        assert_eq!(follower.index(), 13);
    }

    #[test]
    fn what_cannot_follow_is_refused_with_its_reason() {
        let said = |follower: &mut Follower, reply| {
            let error = follower.take(reply).unwrap_err();
            assert_eq!(error.kind, Kind::Damaged);
            error.reason
        };
        let mut follower = Follower::default();
        assert_eq!(said(&mut follower, changed(9)), "a change without a state before it");
        assert_eq!(
            said(&mut follower, reply(Reply::WholeEnd(9))),
            "a piece of the whole state is missing"
        );
        whole(&mut follower, 9);
        assert_eq!(said(&mut follower, changed(9)), "it went back");
        assert_eq!(said(&mut follower, reply(Reply::Reached(8))), "it went back");
        assert_eq!(
            said(&mut follower, WatchReply::default()),
            "a message this version does not know"
        );
        follower.take(piece(11)).unwrap();
        for torn in [
            changed(12),
            piece(12),
            reply(Reply::WholeEnd(12)),
            reply(Reply::Reached(12)),
        ] {
            assert_eq!(said(&mut follower, torn), "a piece of the whole state is missing");
        }
    }

    #[test]
    fn half_a_state_is_none_to_go_on_from_nor_a_way_back() {
        let mut follower = Follower::default();
        whole(&mut follower, 9);
        follower.take(piece(11)).unwrap();
        assert_eq!(follower.index(), 0, "its old state is forgotten");
        follower.broken();
        assert_eq!(follower.index(), 0);
        assert!(follower.take(changed(12)).is_err());
        assert!(follower.take(piece(8)).is_err(), "it stood at 9 already");
        whole(&mut follower, 9);
        assert_eq!(follower.index(), 9);
    }
}
