//! Transcripts of the protocol, in `testdata/fence`: what happens, `----`, what is to be done.
//!
//! A slot is written `9/b own 9.2`: epoch 9 of server b, OWN, naming root 2 of epoch 9; `9/b'` is another run of b,
//! `9/b^` another boot of its host, `?3` the third place, unreadable. Places not mentioned are as at birth. A root is
//! `9.2@B`, in place B of its own head; `9.2@4B` stands in head 4. `BATON_UPDATE_TESTDATA=1` writes them anew.

use std::fmt::Write as _;
use std::path::Path;

use baton_types::{AggregateId, AggregateName, Epoch, Error, Incarnation, ServerId, Timestamp};
use uuid::Uuid;

use super::{Action, Base, Event, Found, Grant, Ownership, Reading, Ring, Slots, Then};
use crate::format::{Geometry, Lsn, Root, RootKind, RootName, RootPlace, Segment, Slot, SlotState};

fn transcript(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/fence").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut play = Play::default();
    let mut happened = String::new();
    for part in text.split_inclusive("\n\n") {
        let input = part.split("----\n").next().unwrap();
        writeln!(happened, "{}\n----", input.trim_end()).unwrap();
        for line in input
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        {
            let action = play.line(line).unwrap_or_else(|| panic!("{name}: cannot read: {line}"));
            writeln!(happened, "{}", shown(&action)).unwrap();
        }
        happened.push('\n');
    }
    let happened = format!("{}\n", happened.trim_end());
    if std::env::var_os("BATON_UPDATE_TESTDATA").is_some() {
        std::fs::write(&path, &happened).unwrap();
    }
    assert!(text == happened, "{name} happened otherwise:\n{happened}");
}

/// One epoch after the other, as a transcript tells it.
#[derive(Default)]
struct Play {
    core: Option<Ownership>,
    reading: Option<Reading>,
}

impl Play {
    fn line(&mut self, line: &str) -> Option<Action> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        if verb == "claim" {
            let name = AggregateName::parse("agg1").unwrap();
            self.core = Some(Ownership::new(aggregate(), name, grant(rest)?));
        }
        let core = self.core.as_mut()?;
        let root = |seq, kind| {
            Box::new(root(
                RootName {
                    epoch: core.grant().epoch,
                    seq,
                },
                kind,
            ))
        };
        let event = match verb {
            "claim" => Event::Claim(Timestamp(1)),
            "written" => Event::Written,
            "slots" => Event::Slots(self.reading?, slots(rest)?),
            "roots" => Event::Roots(rest.split_whitespace().map(found).collect::<Option<_>>()?),
            "seal" => Event::Seal(root(0, RootKind::Seal)),
            "look" => Event::Look,
            "root" => Event::Root(root(rest.parse().ok()?, RootKind::Checkpoint)),
            "beat" => Event::Beat(Timestamp(2)),
            "detach" => Event::Detach(Timestamp(3)),
            "thaw" => Event::Thaw(Timestamp(4)),
            "failed" => Event::Failed(Error::io("device", std::io::Error::from_raw_os_error(5))),
            _ => return None,
        };
        let action = core.step(event);
        if let Action::ReadSlots(reading) = action {
            self.reading = Some(reading);
        }
        Some(action)
    }
}

fn aggregate() -> AggregateId {
    AggregateId(Uuid::from_u128(1))
}

/// `9 by b`, `9 by b, vouched`, `9 by b, ended 1 2`.
fn grant(text: &str) -> Option<Grant> {
    let (text, ring) = match text.split_once(", ") {
        Some((text, "vouched")) => (text, Ring::Vouched),
        Some((text, ended)) => {
            let epochs = ended.strip_prefix("ended ")?.split(' ').map(epoch_of);
            (text, Ring::Ended(epochs.collect::<Option<_>>()?))
        }
        None => (text, Ring::Shown),
    };
    let (epoch, who) = text.split_once(" by ")?;
    let (server, incarnation, boot) = ids(epoch_of(epoch)?, who)?;
    Some(Grant {
        epoch: epoch_of(epoch)?,
        server,
        incarnation,
        boot,
        principal: format!("fs-{}", &who[..1]),
        ring,
    })
}

fn epoch_of(text: &str) -> Option<Epoch> {
    let (era, count) = text.split_once(':').unwrap_or(("0", text));
    Some(Epoch::new(era.parse().ok()?, count.parse().ok()?))
}

fn ids(epoch: Epoch, who: &str) -> Option<(ServerId, Incarnation, Uuid)> {
    let server = u128::from(*who.as_bytes().first()?);
    let run = u128::from(epoch.0) << 64 | server << 8 | u128::from(who.ends_with('\''));
    Some((
        ServerId(Uuid::from_u128(server)),
        Incarnation(Uuid::from_u128(run)),
        Uuid::from_u128(u128::from(who.ends_with('^'))),
    ))
}

fn slots(text: &str) -> Option<Result<Slots, Error>> {
    if text == "fail" {
        return Some(Err(Error::io("device", std::io::Error::from_raw_os_error(5))));
    }
    let birth = Slot::at_birth(aggregate(), Timestamp(0));
    let mut seen = std::array::from_fn(|_| Some(birth.clone()));
    for part in text.split(", ").filter(|part| !part.is_empty()) {
        if let Some(place) = part.strip_prefix('?') {
            seen[place.parse::<usize>().ok()?] = None;
            continue;
        }
        let (part, place) = match part.split_once(" at ") {
            Some((part, place)) => (part, Some(place.parse().ok()?)),
            None => (part, None),
        };
        let slot = slot(part)?;
        let place = place.unwrap_or(Geometry::ring_index(slot.epoch));
        seen[place] = Some(slot);
    }
    Some(Ok(Slots::new(seen)))
}

fn slot(text: &str) -> Option<Slot> {
    let [who, state, root]: [&str; 3] = text.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let (epoch, who) = who.split_once('/')?;
    let (server, incarnation, boot) = ids(epoch_of(epoch)?, who)?;
    Some(Slot {
        epoch: epoch_of(epoch)?,
        server,
        incarnation,
        boot,
        principal: format!("fs-{}", &who[..1]),
        state: match state {
            "claimed" => SlotState::Claimed,
            "own" => SlotState::Own,
            "detached" => SlotState::Detached,
            _ => return None,
        },
        root: root_name(root)?,
        ..Slot::at_birth(aggregate(), Timestamp(0))
    })
}

fn root_name(text: &str) -> Option<RootName> {
    let (epoch, seq) = text.split_once('.')?;
    Some(RootName {
        epoch: epoch_of(epoch)?,
        seq: seq.parse().ok()?,
    })
}

fn found(text: &str) -> Option<Found> {
    let (name, place) = text.split_once('@')?;
    let name = root_name(name)?;
    let (head, place) = match place.strip_prefix(|digit: char| digit.is_ascii_digit()) {
        Some(rest) => (place[..1].parse().ok()?, rest),
        None => (Geometry::ring_index(name.epoch), place),
    };
    let place = match place {
        "A" => RootPlace::A,
        "B" => RootPlace::B,
        _ => return None,
    };
    Some(Found {
        place: (head, place),
        root: root(name, RootKind::Checkpoint),
    })
}

fn root(name: RootName, kind: RootKind) -> Root {
    Root {
        aggregate: aggregate(),
        epoch: name.epoch,
        seq: name.seq,
        generation: 0,
        lsn: Lsn(0),
        kind,
        device_bytes: 0,
        high_water: Segment(0),
        system: None,
        space: None,
        residue: None,
        pending: [None; 2],
        chain: Vec::new(),
        open: Vec::new(),
        log_reserve: Vec::new(),
        inherited: Vec::new(),
        quarantine: Vec::new(),
        history: Vec::new(),
    }
}

fn shown(action: &Action) -> String {
    match action {
        Action::ReadSlots(Reading { why, again: 0 }) => format!("read slots: {why:?}"),
        Action::ReadSlots(Reading { why, again }) => format!("read slots: {why:?}, again {again}"),
        Action::ReadRoots => "read roots".to_owned(),
        Action::WriteSlot(slot, then) => format!(
            "write slot of epoch {}: {:?}, names {}, beat {}, {}",
            slot.epoch,
            slot.state,
            slot.root,
            slot.beat,
            match then {
                Then::Flush => "flush",
                Then::GoOn => "go on",
            }
        ),
        Action::WriteRoot(place, root) => format!("write {} to {place:?}, flush", root.name()),
        Action::Recover(base) => recovered(base),
        Action::Pass => "pass".to_owned(),
        Action::Refuse(error) => format!("refuse: {:?}: {error}", error.kind),
    }
}

fn recovered(base: &Base) -> String {
    let older = if base.is_older() {
        format!(", for want of {}", base.named)
    } else {
        String::new()
    };
    let gone = base.gone.iter().map(|epoch| format!(", epoch {epoch} is gone"));
    format!("recover from {}{older}{}", base.root.name(), gone.collect::<String>())
}

macro_rules! transcripts {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            transcript(concat!(stringify!($name), ".txt"));
        }
    )*};
}

transcripts! {
    claims_seals_serves
    detached_owner_thaws_by_a_look
    epoch_that_falls_on_a_slot_heals_it
    failed_write_is_the_end
    later_era_is_newer
    newer_epoch_stops_a_claim
    newer_epoch_stops_an_owner
    newest_root_rots
    ring_wraps_with_proof_only
    root_counts_when_its_slot_names_it
    seal_never_goes_over_its_only_base
    unreadable_slot_counts_as_newer
}

#[test]
fn every_transcript_is_played() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/fence");
    let source = include_str!("tests.rs");
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(
            source.contains(&format!("    {}\n", name.trim_end_matches(".txt"))),
            "{name}"
        );
    }
}

fn epoch(text: &str) -> Epoch {
    epoch_of(text).unwrap()
}

fn sound(text: &str) -> Slots {
    slots(text).unwrap().unwrap()
}

#[test]
fn next_epoch_is_above_all_and_heals() {
    let next = |text: &str, granted: &str| sound(text).next(epoch(granted)).map(|epoch| epoch.to_string());
    assert_eq!(next("", "0").as_deref(), Some("1"));
    assert_eq!(next("6/a own 6.0", "4").as_deref(), Some("7"));
    assert_eq!(next("6/a own 6.0", "9").as_deref(), Some("10"));
    assert_eq!(next("6/a own 6.0, ?1", "6").as_deref(), Some("9"));
    assert_eq!(next("6/a own 6.0, ?7", "7").as_deref(), Some("15"));
    assert_eq!(next("6/a own 6.0, ?7, ?1", "6"), None);
    assert_eq!(next("1:6/a own 1:6.0", "9").as_deref(), Some("1:7"));
    assert_eq!(sound("").next(Epoch::new(0, (1 << 48) - 1)), None);
}

#[test]
fn next_era_begins_half_the_ring_away() {
    let next = |text: &str| sound(text).next_era().map(|epoch| epoch.to_string());
    assert_eq!(next("6/a own 6.0").as_deref(), Some("1:2"));
    assert_eq!(next("6/a own 6.0, 1:2/b own 1:2.0").as_deref(), Some("2:6"));
    assert_eq!(next("4/a own 4.0").as_deref(), Some("1:8"));
    assert_eq!(next("6/a own 6.0, ?3").as_deref(), Some("1:3"));
    assert_eq!(next("6/a own 6.0, ?3, ?4"), None);
    assert_eq!(next("65535:1/a own 65535:1.0"), None);
}
