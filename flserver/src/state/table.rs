//! The filesets: the one table that may have a million records, kept as they are on the wire.
//!
//! In this form one takes 94 bytes with both its indexes (a name of 13 bytes, one site); as a record in two trees it took 424.

use baton_proto::v1;
use baton_types::record::Fileset;
use baton_types::{FilesetId, FilesetName};
use prost::Message;

use super::packed::{Appending, Packed};

/// The table: by id, and by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Filesets {
    rows: Packed,
    names: Packed,
}

impl Filesets {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The one with this RW id.
    pub fn get(&self, id: FilesetId) -> Option<Fileset> {
        self.rows.get(&key(id)).map(fileset)
    }

    /// The one with the greatest RW id that is not greater than `id`.
    pub fn at_or_below(&self, id: FilesetId) -> Option<Fileset> {
        self.rows.at_or_below(&key(id)).map(|(_, row)| fileset(row))
    }

    /// The RW id of the one called `name`.
    pub fn named(&self, name: &FilesetName) -> Option<FilesetId> {
        self.names.get(name.as_str().as_bytes()).map(id)
    }

    /// All of them, in the order of their names.
    pub fn by_name(&self) -> impl Iterator<Item = Fileset> + Send {
        self.names.iter().filter_map(|(_, row)| self.get(id(row)))
    }

    /// Their messages, in the order of their ids.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().map(|(_, row)| row)
    }

    /// Puts it in the place of the one with its id.
    pub fn put(&mut self, fileset: &Fileset) {
        let before = self.get(fileset.id).filter(|before| before.name != fileset.name);
        if let Some(before) = before {
            self.names.remove(before.name.as_str().as_bytes());
        }
        self.names.put(fileset.name.as_str().as_bytes(), &key(fileset.id));
        let message = v1::Fileset::from(fileset.clone()).encode_to_vec();
        self.rows.put(&key(fileset.id), &message);
    }

    /// Takes it out.
    pub fn remove(&mut self, fileset: &Fileset) {
        self.names.remove(fileset.name.as_str().as_bytes());
        self.rows.remove(&key(fileset.id));
    }
}

/// A table at a start: its rows come in the order of their ids.
#[derive(Default)]
pub(super) struct Loading {
    rows: Appending,
    /// Their names one behind the other; where each is, and whose.
    names: Vec<u8>,
    places: Vec<(usize, u8, FilesetId)>,
}

impl Loading {
    /// One more.
    pub fn push(&mut self, fileset: Fileset) {
        let (id, name) = (fileset.id, fileset.name.as_str().as_bytes());
        let Ok(bytes) = u8::try_from(name.len()) else {
            unreachable!("a name of {} bytes: they are limited", name.len());
        };
        self.places.push((self.names.len(), bytes, id));
        self.names.extend_from_slice(name);
        let message = v1::Fileset::from(fileset).encode_to_vec();
        self.rows.push(&key(id), &message);
    }

    /// All of them.
    pub fn finish(self) -> Filesets {
        let (all, mut places) = (self.names, self.places);
        let name = |(start, bytes, _): &(usize, u8, FilesetId)| &all[*start..*start + usize::from(*bytes)];
        places.sort_by(|one, other| name(one).cmp(name(other)));
        let mut names = Appending::default();
        for place in &places {
            names.push(name(place), &key(place.2));
        }
        Filesets {
            rows: self.rows.finish(),
            names: names.finish(),
        }
    }
}

/// In the order of the numbers.
fn key(id: FilesetId) -> [u8; 8] {
    id.0.to_be_bytes()
}

fn id(row: &[u8]) -> FilesetId {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(row);
    FilesetId(u64::from_be_bytes(bytes))
}

/// What was written here is read here.
fn fileset(row: &[u8]) -> Fileset {
    let message = v1::Fileset::decode(row).unwrap_or_else(|error| unreachable!("it was a message: {error}"));
    Fileset::try_from(message).unwrap_or_else(|error| unreachable!("it was a fileset: {error}"))
}
