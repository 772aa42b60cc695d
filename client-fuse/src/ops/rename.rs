//! `rename`: a name moves, within its fileset; what stood at the new place goes, stays, or changes places with it.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::{Keep, Onto, Request};
use baton_types::file::FileKind;
use bytes::Bytes;

use super::lookup::no_names;
use super::{apart, place};
use crate::inodes::Exchange;
use crate::mount::{Change, Mount};
use crate::waiting::Ask;

/// What may stand at the new place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meets {
    /// Anything.
    Anything,
    /// Nothing (`RENAME_NOREPLACE`).
    Nothing,
    /// Something that changes places with it (`RENAME_EXCHANGE`).
    Partner,
}

impl Mount {
    /// Moves `source` to `target`: each the number of a directory, and a name in it.
    pub fn rename(&self, who: &Arc<Who>, source: (u64, &[u8]), target: (u64, &[u8]), meets: Meets, ask: &Ask<()>) {
        let into = match self.inodes.get(target.0) {
            Ok(into) => into,
            Err(error) => return ask.answer(Err(error)),
        };
        let (who, asked) = (who.clone(), ask.clone());
        let names = [source.1.to_vec(), target.1.to_vec()];
        self.with(source.0, ask, move |mount, from, pass| {
            if from.instance != into.instance {
                return asked.answer(Err(apart()));
            }
            let places = place(&from, &names[0]).and_then(|source| Ok((source, place(&into, &names[1])?)));
            let (source, target) = match places {
                Ok(places) => places,
                Err(error) => return asked.answer(Err(error)),
            };
            let moved = mount.known(&from, &source.name);
            let met = mount.known(&into, &target.name);
            let kept = match (&met, meets) {
                (Some(met), Meets::Anything) if met.kind != FileKind::Directory => {
                    Some((met.fid, mount.opens.keep(met.fid)))
                }
                _ => None,
            };
            let onto = match meets {
                Meets::Anything => Onto::Anything(kept.map_or(Keep::Closed, |(_, keep)| keep)),
                Meets::Nothing => Onto::Nothing,
                Meets::Partner => Onto::Exchange,
            };
            let names = [source.name.clone(), target.name.clone()];
            let change = Change {
                who,
                pass,
                about: moved,
                others: [Some(from.clone()), Some(into.clone()), met]
                    .into_iter()
                    .flatten()
                    .collect(),
                request: Request::Rename {
                    source,
                    target,
                    onto,
                    time: mount.sessions().date(from.fid.fileset),
                },
                payload: Bytes::new(),
            };
            mount.change(change, move |mount, _, object| {
                if let Some((fid, keep)) = kept {
                    mount.opens.kept(fid, keep);
                }
                if object.is_ok() {
                    let exchange = match meets {
                        Meets::Partner => Exchange::Yes,
                        Meets::Anything | Meets::Nothing => Exchange::No,
                    };
                    let [source, target] = &names;
                    mount
                        .inodes
                        .rename((from.number, source), (into.number, target), exchange);
                }
                asked.answer(object.map(|_| ()).map_err(no_names));
            });
        });
    }
}
