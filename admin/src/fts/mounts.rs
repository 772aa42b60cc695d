//! `crmount`, `delmount`, `lsmount`: by way of this machine's batond, under the caller's own rights.

use std::path::Path;

use baton_proto::v1;
use baton_proto::v1::client_reply::What as Told;
use baton_proto::v1::client_request::What as Question;
use baton_types::{Error, FilesetId, Kind, Result};
use serde_json::{Value, json};

use crate::batond::{Batond, Place, on, unexpected};
use crate::cm::each;
use crate::exit::Exit;
use crate::grammar::fts::{CrMount, Dirs};
use crate::output::{Output, printable};
use crate::program::Program;
use crate::session::Session;

/// Makes one.
pub fn create(session: &Session, words: CrMount) -> Result<Output> {
    let fileset = words.fileset.ok_or_else(|| {
        Error::new(Kind::Unsupported, "-global")
            .because("not in this version")
            .remedy("mount the other cell beside this one: mount -t baton CELL DIRECTORY")
    })?;
    let mut batond = Batond::connect(&session.paths)?;
    let place = Place::of(&words.dir)?;
    let question = Question::CrMount(v1::ClientCrMount {
        name: place.name,
        fileset: fileset.into_bytes(),
        read_write: words.rw,
        unseen: words.fast,
    });
    let told = batond
        .ask_about(question, &place.directory)
        .map_err(|e| on(&words.dir, e))?;
    let Some(Told::MountPoint(point)) = told else {
        return Err(unexpected());
    };
    if point.name.is_empty() && !words.fast {
        let id = FilesetId(point.fileset);
        session.warn(&format!(
            "the mount point is made, but the location database has no fileset {id}"
        ));
    }
    let (_, json) = described(&words.dir, &point);
    Ok(Output::new("baton.fts.crmount/1", "", json))
}

/// Removes them.
pub fn delete(session: &Session, words: &Dirs) -> Result<Output> {
    let mut batond = Batond::connect(&session.paths)?;
    each(
        "baton.fts.delmount/1",
        "mount_points",
        Program::Fts,
        &words.dir,
        |dir| {
            let place = Place::of(dir)?;
            let question = Question::DelMount(v1::ClientDelMount { name: place.name });
            batond.ask_about(question, &place.directory)?;
            Ok((String::new(), json!({"path": printable(&dir.display().to_string())})))
        },
    )
}

/// Says where they lead; fails if one is no mount point.
pub fn list(session: &Session, words: &Dirs) -> Result<Output> {
    let mut batond = Batond::connect(&session.paths)?;
    let mut is_one_not = false;
    let mut output = each("baton.fts.lsmount/1", "mount_points", Program::Fts, &words.dir, |dir| {
        let place = Place::of(dir)?;
        let question = Question::LsMount(v1::ClientLsMount { name: place.name });
        match batond.ask_about(question, &place.directory)? {
            Some(Told::MountPoint(point)) => {
                is_one_not |= point.fileset == 0;
                Ok(described(dir, &point))
            }
            _ => Err(unexpected()),
        }
    })?;
    if is_one_not && output.exit == Exit::Done as u8 {
        output.exit = Exit::Failed as u8;
    }
    Ok(output)
}

/// As DFS says it: `#` before a fileset of which the path chooses the version, `%` before one that is always
/// read-write.
fn described(dir: &Path, point: &v1::ClientMountPoint) -> (String, Value) {
    let dir = printable(&dir.display().to_string());
    if point.fileset == 0 {
        let json = json!({"path": dir, "is_mount_point": false});
        return (format!("'{dir}' is not a mount point.\n"), json);
    }
    let id = FilesetId(point.fileset).to_string();
    let name = printable(&String::from_utf8_lossy(&point.name));
    let shown = if name.is_empty() { &id } else { &name };
    let mark = if point.read_write { '%' } else { '#' };
    let json = json!({
        "path": dir,
        "is_mount_point": true,
        "fileset": (!name.is_empty()).then_some(&name),
        "id": id,
        "number": point.fileset,
        "read_write": point.read_write,
    });
    (format!("'{dir}' is a mount point for fileset '{mark}{shown}'\n"), json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(fileset: u64, name: &str, read_write: bool) -> String {
        let point = v1::ClientMountPoint {
            fileset,
            name: name.as_bytes().to_vec(),
            read_write,
        };
        described(Path::new("/cell/ito"), &point).0
    }

    #[test]
    fn mount_points_are_told_as_dfs_told_them() {
        assert_eq!(
            line(12, "user.ito", false),
            "'/cell/ito' is a mount point for fileset '#user.ito'\n"
        );
        assert_eq!(
            line(12, "user.ito", true),
            "'/cell/ito' is a mount point for fileset '%user.ito'\n"
        );
        assert_eq!(
            line(12, "", false),
            "'/cell/ito' is a mount point for fileset '#0,,12'\n"
        );
        assert_eq!(line(0, "", false), "'/cell/ito' is not a mount point.\n");
    }
}
