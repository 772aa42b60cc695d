//! Decoders of bytes that come from the network or the disk: whatever they are given, they answer with a
//! value or an error. Each target is a function that must neither panic nor run away.
//!
//! Inputs are mutations of good ones; which branches they reach is not measured.

mod store;

use baton_flserver::state::Fldb;
use baton_proto::{Proposal, Record, v1};
use baton_security::invitation::InvitationCode;
use baton_security::{Anchor, Names, Request};
use baton_types::{Address, CellId, FilesetId, FrameHeader, FrameKind, Timestamp};
use prost::Message;
use rand::{Rng, RngExt};

/// A decoder, and a good input to begin from.
pub struct Target {
    /// As it is named on the command line.
    pub name: &'static str,
    /// Must return, whatever the bytes.
    pub decode: fn(&[u8]),
    /// Something it takes.
    pub good: fn() -> Vec<u8>,
}

/// All of them.
pub fn targets() -> impl Iterator<Item = &'static Target> {
    [NETWORK, store::STRUCTURES, store::VALUES].into_iter().flatten()
}

/// Decoders of what comes from the network.
const NETWORK: &[Target] = &[
    Target {
        name: "frame_header",
        decode: frame_header,
        good: good_frame,
    },
    Target {
        name: "proposal",
        decode: proposal,
        good: good_proposal,
    },
    Target {
        name: "record",
        decode: record,
        good: good_record,
    },
    Target {
        name: "dump",
        decode: dump,
        good: || Fldb::default().dump(),
    },
    Target {
        name: "invitation",
        decode: invitation,
        good: || b"baton1-AQIDBAUGBwg".to_vec(),
    },
    Target {
        name: "certificate",
        decode: certificate,
        good: good_certificate,
    },
    Target {
        name: "certificate_request",
        decode: certificate_request,
        good: good_request,
    },
    Target {
        name: "text",
        decode: text,
        good: || b"[2001:db8::7]:7401".to_vec(),
    },
];

fn frame_header(bytes: &[u8]) {
    if let Some(header) = bytes.first_chunk() {
        drop(FrameHeader::decode(header));
    }
}

fn proposal(bytes: &[u8]) {
    if let Ok(wire) = v1::Proposal::decode(bytes) {
        drop(Proposal::try_from(wire));
    }
}

fn record(bytes: &[u8]) {
    if let Ok(wire) = v1::Record::decode(bytes) {
        drop(Record::try_from(wire));
    }
}

fn dump(bytes: &[u8]) {
    drop(Fldb::load(bytes));
}

fn invitation(bytes: &[u8]) {
    drop(InvitationCode::parse(&String::from_utf8_lossy(bytes)));
}

fn certificate(bytes: &[u8]) {
    drop(Names::of(bytes));
    drop(Anchor::from_der(bytes));
}

fn certificate_request(bytes: &[u8]) {
    drop(Request::parse(bytes));
}

fn text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    drop(Address::parse(&text));
    drop(text.parse::<FilesetId>());
    drop(baton_types::units::parse_duration(&text));
    drop(baton_types::units::parse_bytes(&text));
    drop(baton_types::FileName::parse(bytes));
    drop(baton_types::PrincipalName::parse(&text));
}

fn good_frame() -> Vec<u8> {
    let header = FrameHeader {
        meta_len: 10,
        payload_len: 20,
        session: 1,
        op: 2,
        kind: FrameKind::Call,
        flags: 0,
        caller: 3,
        stream: 0,
        sequence: 4,
    };
    header.encode().to_vec()
}

fn good_proposal() -> Vec<u8> {
    let fileset = v1::RenameFileset {
        fileset: b"0,,1201".to_vec(),
        name: b"user.ito".to_vec(),
    };
    v1::Proposal {
        session: vec![7; 16],
        sequence: 1,
        born: 9,
        date: 10,
        who: Some(v1::Who {
            principal: b"alice".to_vec(),
            mech: "cert".to_owned(),
            server: Vec::new(),
        }),
        change: Some(v1::Change {
            change: Some(v1::change::Change::RenameFileset(fileset)),
        }),
    }
    .encode_to_vec()
}

fn good_record() -> Vec<u8> {
    let server = v1::Server {
        id: vec![1; 16],
        name: b"fs1".to_vec(),
        principal: b"hosts/fs1".to_vec(),
        ..Default::default()
    };
    v1::Record {
        record: Some(v1::record::Record::Server(server)),
    }
    .encode_to_vec()
}

fn good_certificate() -> Vec<u8> {
    let cell = baton_types::CellName::parse("example.org");
    let authority = cell.and_then(|cell| baton_security::Authority::create(&cell, CellId::random(), Timestamp(0)));
    authority
        .map(|authority| authority.anchor().der().to_vec())
        .unwrap_or_default()
}

fn good_request() -> Vec<u8> {
    baton_security::Key::generate()
        .and_then(|key| key.request())
        .unwrap_or_default()
}

/// One mutation of `bytes`: some are changed, cut out, doubled or put in.
pub fn mutate(bytes: &mut Vec<u8>, random: &mut impl Rng) {
    for _ in 0..random.random_range(1..8_u32) {
        let at = if bytes.is_empty() {
            0
        } else {
            random.random_range(0..bytes.len())
        };
        match random.random_range(0..5_u32) {
            0 if !bytes.is_empty() => bytes[at] = random.random(),
            1 if !bytes.is_empty() => bytes[at] ^= 1 << random.random_range(0..8_u32),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.random()),
            _ => {
                let end = (at + random.random_range(0..16_usize)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.extend(piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::path::Path;

    /// Inputs worth keeping, each file named for what it is: `corpus/TARGET/*`.
    #[test]
    fn no_decoder_panics_on_its_corpus() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        let mut inputs = 0;
        for target in targets() {
            let Ok(files) = std::fs::read_dir(corpus.join(target.name)) else {
                continue;
            };
            for file in files {
                let path = file.unwrap().path();
                let bytes = std::fs::read(&path).unwrap();
                let run = std::panic::catch_unwind(|| (target.decode)(&bytes));
                assert!(run.is_ok(), "{} panics on {}", target.name, path.display());
                inputs += 1;
            }
        }
        assert!(inputs > 0, "{} holds nothing", corpus.display());
    }

    /// A panic names the target and the seed.
    #[test]
    fn no_decoder_panics_on_mutations_of_what_it_takes() {
        for target in targets() {
            let good = (target.good)();
            (target.decode)(&good);
            for seed in 0..2_000 {
                let mut bytes = good.clone();
                mutate(&mut bytes, &mut StdRng::seed_from_u64(seed));
                let run = std::panic::catch_unwind(|| (target.decode)(&bytes));
                assert!(run.is_ok(), "{} panics on seed {seed}: {bytes:02x?}", target.name);
            }
        }
    }
}
