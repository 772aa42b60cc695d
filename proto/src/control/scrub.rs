//! Scrubs of an aggregate, to the wire and back.

use std::time::Duration;

use baton_types::control::{Damage, ScrubEnd, ScrubPass, ScrubReport, ScrubWish, Scrubbed};
use baton_types::{Error, FileName, FilesetId, Kind, Result, Timestamp};

use crate::v1;
use crate::wire::{FromWire, bytes, free_text};

/// Damage in one piece of a list: with paths of 4 KiB still less than a message may have.
const PIECE: usize = 40;

/// What is wished, as numbers.
pub fn wish_to_wire(wish: ScrubWish) -> (u32, u64) {
    match wish {
        ScrubWish::Start(rate) => (1, rate.unwrap_or(0)),
        ScrubWish::Stop => (2, 0),
        ScrubWish::Look => (3, 0),
    }
}

impl TryFrom<&v1::ScrubRequest> for ScrubWish {
    type Error = Error;

    fn try_from(ask: &v1::ScrubRequest) -> Result<ScrubWish> {
        match ask.wish {
            1 => Ok(ScrubWish::Start((ask.rate > 0).then_some(ask.rate))),
            2 => Ok(ScrubWish::Stop),
            3 => Ok(ScrubWish::Look),
            wish => Err(Error::new(Kind::Version, "scrub").because(format!("its wish is {wish}"))),
        }
    }
}

impl From<Damage> for v1::Damage {
    fn from(damage: Damage) -> v1::Damage {
        let (fileset, name) = damage.fileset.map_or((0, Vec::new()), |(id, name)| (id.0, bytes(name)));
        let range = damage.range.unwrap_or(0..0);
        v1::Damage {
            what: damage.what,
            fileset,
            name,
            snapshot: damage.snapshot.map(|name| name.as_bytes().to_vec()).unwrap_or_default(),
            vnode: damage.vnode,
            path: damage.path,
            start: range.start,
            end: range.end,
            reason: damage.reason,
        }
    }
}

impl TryFrom<v1::Damage> for Damage {
    type Error = Error;

    fn try_from(damage: v1::Damage) -> Result<Damage> {
        let fileset = match damage.fileset {
            0 => None,
            id => Some((FilesetId(id), FromWire::from_wire(&damage.name)?)),
        };
        let snapshot = Some(damage.snapshot).filter(|name| !name.is_empty());
        Ok(Damage {
            what: free_text(damage.what, "damage")?,
            fileset,
            snapshot: snapshot.map(|name| FileName::parse(&name)).transpose()?,
            vnode: damage.vnode,
            path: damage.path,
            range: (damage.end > 0).then_some(damage.start..damage.end),
            reason: free_text(damage.reason, "damage")?,
        })
    }
}

/// A pass without its damage.
fn summary(pass: &ScrubPass) -> v1::ScrubPass {
    let (end, reason) = match &pass.end {
        ScrubEnd::Underway => (1, ""),
        ScrubEnd::Finished => (2, ""),
        ScrubEnd::Stopped => (3, ""),
        ScrubEnd::Failed(reason) => (4, reason.as_str()),
    };
    v1::ScrubPass {
        began: pass.began.0,
        ended: pass.ended.0,
        end,
        reason: reason.to_owned(),
        bytes: pass.scrubbed.bytes,
        more: pass.scrubbed.more,
        damages: Vec::new(),
    }
}

impl TryFrom<v1::ScrubPass> for ScrubPass {
    type Error = Error;

    fn try_from(pass: v1::ScrubPass) -> Result<ScrubPass> {
        let end = match pass.end {
            1 => ScrubEnd::Underway,
            2 => ScrubEnd::Finished,
            3 => ScrubEnd::Stopped,
            4 => ScrubEnd::Failed(free_text(pass.reason, "scrub")?),
            end => return Err(Error::new(Kind::Version, "scrub").because(format!("its end is {end}"))),
        };
        Ok(ScrubPass {
            began: Timestamp(pass.began),
            ended: Timestamp(pass.ended),
            scrubbed: Scrubbed {
                bytes: pass.bytes,
                more: pass.more,
                is_finished: end == ScrubEnd::Finished,
                damages: pass.damages.into_iter().map(TryInto::try_into).collect::<Result<_>>()?,
            },
            end,
        })
    }
}

/// A report, in messages of a bounded size.
pub fn scrub_to_wire(report: &ScrubReport) -> Vec<v1::ScrubReply> {
    let last_is_finished = report.last == report.finished && report.last.is_some();
    let finished = report.finished.as_ref().filter(|_| !last_is_finished);
    let mut pieces = vec![v1::ScrubReply {
        rate: report.rate,
        every_seconds: report.every.map_or(0, |every| every.as_secs()),
        last: report.last.as_ref().map(summary),
        finished: finished.map(summary),
        last_is_finished,
    }];
    let piece = |damages: &[Damage]| {
        Some(v1::ScrubPass {
            damages: damages.iter().cloned().map(Into::into).collect(),
            ..v1::ScrubPass::default()
        })
    };
    let damages = |pass: Option<&ScrubPass>| pass.map(|pass| pass.scrubbed.damages.clone()).unwrap_or_default();
    pieces.extend(
        damages(report.last.as_ref())
            .chunks(PIECE)
            .map(|damages| v1::ScrubReply {
                last: piece(damages),
                ..v1::ScrubReply::default()
            }),
    );
    pieces.extend(damages(finished).chunks(PIECE).map(|damages| v1::ScrubReply {
        finished: piece(damages),
        ..v1::ScrubReply::default()
    }));
    pieces
}

/// Pieces of a report, as they come.
#[derive(Default)]
pub struct ScrubPieces(Option<v1::ScrubReply>);

impl ScrubPieces {
    /// Adds one.
    pub fn add(&mut self, piece: v1::ScrubReply) {
        let Some(first) = &mut self.0 else {
            self.0 = Some(piece);
            return;
        };
        for (pass, more) in [(&mut first.last, piece.last), (&mut first.finished, piece.finished)] {
            if let (Some(pass), Some(more)) = (pass, more) {
                pass.damages.extend(more.damages);
            }
        }
    }

    /// The report.
    ///
    /// # Errors
    /// `Invalid` if there was none, or a field is none; `Version` for what only a newer server says.
    pub fn report(self) -> Result<ScrubReport> {
        let missing = || Error::new(Kind::Invalid, "scrub").because("the answer is empty");
        let reply = self.0.ok_or_else(missing)?;
        let last = reply.last.map(ScrubPass::try_from).transpose()?;
        let finished = match reply.last_is_finished {
            true => last.clone(),
            false => reply.finished.map(TryInto::try_into).transpose()?,
        };
        Ok(ScrubReport {
            rate: reply.rate,
            every: (reply.every_seconds > 0).then(|| Duration::from_secs(reply.every_seconds)),
            last,
            finished,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(end: ScrubEnd, count: u64) -> ScrubPass {
        let damage = |vnode: u64| Damage {
            what: "data".to_owned(),
            fileset: (vnode > 0).then(|| (FilesetId(7), "user.ito".parse().unwrap())),
            snapshot: (vnode > 1).then(|| FileName::parse(b"monday").unwrap()),
            vnode,
            path: (vnode > 2).then(|| vec![b'a'; vnode as usize % 5]),
            range: (vnode > 3).then_some(0..vnode),
            reason: "rot".to_owned(),
        };
        ScrubPass {
            began: Timestamp(1),
            ended: Timestamp(2),
            scrubbed: Scrubbed {
                bytes: 3,
                damages: (0..count).map(damage).collect(),
                more: 4,
                is_finished: end == ScrubEnd::Finished,
            },
            end,
        }
    }

    #[test]
    fn report_comes_back_as_it_was_told_whatever_it_has() {
        let finished = pass(ScrubEnd::Finished, 81);
        for (last, finished) in [
            (None, None),
            (Some(finished.clone()), Some(finished.clone())),
            (Some(pass(ScrubEnd::Underway, 0)), None),
            (Some(pass(ScrubEnd::Stopped, 40)), Some(finished.clone())),
            (Some(pass(ScrubEnd::Failed("Io".to_owned()), 7)), Some(finished)),
        ] {
            let report = ScrubReport {
                rate: 5,
                every: last.is_some().then(|| Duration::from_secs(60)),
                last,
                finished,
            };
            let mut pieces = ScrubPieces::default();
            for piece in scrub_to_wire(&report) {
                let passes = [&piece.last, &piece.finished];
                let damages = passes.map(|pass| pass.as_ref().map_or(0, |pass| pass.damages.len()));
                assert!(damages.iter().sum::<usize>() <= PIECE);
                pieces.add(piece);
            }
            assert_eq!(pieces.report().unwrap(), report);
        }
    }

    #[test]
    fn wish_comes_back_as_it_was_told() {
        for told in [
            ScrubWish::Start(None),
            ScrubWish::Start(Some(9)),
            ScrubWish::Stop,
            ScrubWish::Look,
        ] {
            let (wish, rate) = wish_to_wire(told);
            let ask = v1::ScrubRequest {
                wish,
                rate,
                ..v1::ScrubRequest::default()
            };
            assert_eq!(ScrubWish::try_from(&ask).unwrap(), told);
        }
        assert_eq!(
            ScrubWish::try_from(&v1::ScrubRequest::default()).unwrap_err().kind,
            Kind::Version
        );
    }
}
