//! `create` and `mkdir` ahead of their answers: in a directory that was made here, alone, it is certain what comes of
//! them. It is told as soon as it is queued to the server, and what the program does there follows it.

use std::sync::{Arc, OnceLock};

use baton_rpc::sessions::Who;
use baton_types::call::{Newborn, Request};
use baton_types::file::{FileKind, Object, Place};
use baton_types::{FileName, Result, Timestamp};
use bytes::Bytes;

use super::{New, place};
use crate::filesets::{Belief, Pass};
use crate::inodes::Inode;
use crate::mount::{Change, Mount};
use crate::waiting::Ask;
use crate::whole::Birth;

/// Something that a program makes, and is told of before it is made.
pub(super) trait Making: 'static {
    /// What the program is told.
    type Told: Send + 'static;
    /// What it is.
    const KIND: FileKind;

    /// How it is asked for.
    fn request(place: Place, newborn: Newborn, time: Timestamp) -> Request;

    /// Tells the kernel of it.
    ///
    /// # Errors
    /// When there are too many files or handles.
    fn tell(mount: &Mount, belief: Belief, made: &Made) -> Result<(Self::Told, Arc<Inode>)>;

    /// It was told ahead, during `stay`.
    fn begin(mount: &Mount, stay: u64, made: &Made, inode: &Inode);

    /// It was made, and somebody else came before it could be told.
    fn tell_late(mount: &Arc<Mount>, pass: Pass, made: Made, ask: Ask<Self::Told>);
}

/// Something whose making can be foreseen.
pub(super) struct Ahead {
    who: Arc<Who>,
    directory: Arc<Inode>,
    pass: Pass,
    place: Place,
    birth: Birth,
}

/// What was made, and under which name.
#[derive(Clone)]
pub(super) struct Made {
    pub who: Arc<Who>,
    pub directory: Arc<Inode>,
    pub name: FileName,
    pub object: Object,
}

impl Mount {
    /// What comes of making a `kind` there, if that is certain.
    pub(super) fn foresee(&self, who: &Arc<Who>, new: &New, kind: FileKind) -> Option<Ahead> {
        let directory = self.inodes.get(new.directory).ok()?;
        let place = place(&directory, &new.name).ok()?;
        let pass = self.filesets.get(directory.fid.fileset).pass()?;
        let born = |belief: Belief| self.whole.birth(&place, belief.stay()?, who, (kind, new.mode));
        let birth = pass.believe(born)?;
        Some(Ahead {
            who: who.clone(),
            directory,
            pass,
            place,
            birth,
        })
    }

    /// Queues it, and tells what will come of it.
    pub(super) fn make_ahead<M: Making>(&self, ahead: Ahead, ask: Ask<M::Told>) {
        let (mount, fileset, mode) = (self.this(), ahead.place.directory.fileset, ahead.birth.mode);
        let named = move |newborn: Result<Newborn>| match newborn {
            Ok(newborn) => mount.queue_making::<M>(ahead, newborn, ask),
            Err(error) => ask.answer(Err(error)),
        };
        self.sessions().newborn(fileset, mode, Box::new(named));
    }

    fn queue_making<M: Making>(&self, ahead: Ahead, newborn: Newborn, ask: Ask<M::Told>) {
        let time = self.sessions().date(ahead.place.directory.fileset);
        let made = Made {
            who: ahead.who.clone(),
            directory: ahead.directory.clone(),
            name: ahead.place.name.clone(),
            object: ahead.birth.object(&ahead.place, newborn, time),
        };
        let change = Change {
            who: ahead.who,
            pass: ahead.pass.clone(),
            about: None,
            others: vec![ahead.directory],
            request: M::request(ahead.place, newborn, time),
            payload: Bytes::new(),
        };
        let told = Arc::new(OnceLock::new());
        let taken = {
            let (mount, pass, made) = (self.this(), ahead.pass, made.clone());
            let (told, ask) = (told.clone(), ask.clone());
            move || mount.tell_ahead::<M>(&pass, &made, &told, &ask)
        };
        self.queue(change, taken, move |mount, pass, object| match (told.get(), object) {
            (None, Ok(object)) => M::tell_late(mount, pass, Made { object, ..made }, ask),
            (None, Err(error)) => ask.answer(Err(error)),
            (Some(_), Ok(object)) if object.attributes == made.object.attributes => {}
            (Some(inode), Ok(object)) => {
                tracing::warn!(foretold = ?made.object.attributes, is = ?object.attributes, "a file is not as foretold");
                mount.forget_told(&[inode]);
            }
            (Some(inode), Err(error)) => {
                tracing::warn!(%error, name = %made.name, "a file that a program made is lost");
                made.directory.fail(error.clone());
                inode.fail(error);
                mount.whole.forget(inode.fid);
                mount.inodes.unname(made.directory.number, &made.name);
                mount.forget_told(&[inode, &made.directory]);
            }
        });
    }

    /// Tells of what is being made, while the client is alone, and notes that it did.
    fn tell_ahead<M: Making>(&self, pass: &Pass, made: &Made, told: &OnceLock<Arc<Inode>>, ask: &Ask<M::Told>) {
        pass.believe(|belief| {
            let Some(stay) = belief.stay() else { return };
            ask.answer_with(|| {
                let (answer, inode) = M::tell(self, belief, made)?;
                M::begin(self, stay, made, &inode);
                let is_first = told.set(inode).is_ok();
                assert!(is_first, "an answer is given once");
                Ok(answer)
            });
        });
    }

    /// What the kernel was told of files is not so: it asks again. On a thread of its own, which may wait.
    fn forget_told(&self, inodes: &[&Arc<Inode>]) {
        let numbers: Vec<u64> = inodes.iter().map(|inode| inode.number).collect();
        let mount = self.this();
        let thread = std::thread::Builder::new().name("forget".to_owned()).spawn(move || {
            let Some(kernel) = mount.kernel() else { return };
            let forget = |number: &u64| kernel.forget_inode(*number).map(|_| ());
            if let Err(error) = kernel.forget_names().and_then(|()| numbers.iter().try_for_each(forget)) {
                tracing::error!(%error, ?numbers, "the kernel does not forget files");
            }
        });
        if let Err(error) = thread {
            tracing::error!(%error, "no thread to make the kernel forget");
        }
    }
}
