//! What is found wrong, on which side it is mended, and what is left to a person.

use baton_types::{AggregateName, FilesetName, Timestamp};
use uuid::Uuid;

use super::fldb::{Step, Wrong};
use super::*;
use crate::fts::tests::{fileset, records};
use baton_types::record::VersionState;

/// The two aggregates that the server has: `lfs03`, where the fileset of [`records`] is, and `lfs04`.
fn aggregates() -> Vec<Aggregate> {
    let mut all = Servers::of(records()).aggregates;
    let other = Aggregate {
        id: AggregateId(Uuid::from_u128(9)),
        name: "lfs04".parse().unwrap(),
        number: 14,
        ..all[0].clone()
    };
    all.push(other);
    all
}

fn header(id: u64, name: &str, aggregate: &str) -> FilesetReport {
    FilesetReport {
        id: FilesetId(id),
        name: FilesetName::parse(name).unwrap(),
        aggregate: AggregateName::parse(aggregate).unwrap(),
        used_bytes: 0,
        used_files: 1,
        quota_bytes: 20 << 30,
        quota_files: 0,
        created: Timestamp(0),
        version: 0,
        is_online: true,
        has_backup: true,
    }
}

/// The header of the fileset of [`records`].
fn own() -> FilesetReport {
    header(1_201, "user.ito", "lfs03")
}

fn book(filesets: Vec<Fileset>) -> BTreeMap<FilesetId, Fileset> {
    filesets.into_iter().map(|fileset| (fileset.id, fileset)).collect()
}

/// What syncfldb would do, and what it would leave.
fn plan(headers: &[FilesetReport], filesets: Vec<Fileset>, elsewhere: Option<Elsewhere>) -> (Vec<String>, Vec<String>) {
    let elsewhere = elsewhere.map(|told| (FilesetId(1_201), told)).into_iter().collect();
    let plan = fldb::compare(headers, &aggregates(), &book(filesets), &elsewhere);
    let servers = Servers::of(records());
    let lines = plan
        .steps
        .iter()
        .flat_map(|step| fldb::deed(step, Carry::Nothing, &servers, None).lines);
    (lines.collect(), plan.left.into_iter().map(|left| left.what).collect())
}

/// The same of syncserv.
fn serv(headers: &[FilesetReport], filesets: Vec<Fileset>, elsewhere: Option<Elsewhere>) -> (Vec<String>, Vec<String>) {
    let elsewhere = elsewhere.map(|told| (FilesetId(1_201), told)).into_iter().collect();
    let (steps, left) = serv::compare(headers, &aggregates(), &book(filesets), &elsewhere);
    let lines = steps.iter().flat_map(|step| step.deed(Carry::Out, None).lines);
    (lines.collect(), left.into_iter().map(|left| left.what).collect())
}

#[test]
fn nothing_is_wrong_where_header_and_entry_agree() {
    let nothing = (Vec::new(), Vec::new());
    assert_eq!(plan(&[own()], vec![fileset()], None), nothing);
    assert_eq!(serv(&[own()], vec![fileset()], None), nothing);
    // Another server's filesets are none of its business.
    let mut other = fileset();
    other.sites[0].aggregate = AggregateId(Uuid::from_u128(77));
    assert_eq!(plan(&[], vec![other.clone()], None), nothing);
    assert_eq!(serv(&[], vec![other], None), nothing);
}

#[test]
fn header_without_an_entry_gets_one() {
    let (lines, left) = plan(&[own()], Vec::new(), None);
    assert_eq!(
        lines,
        ["Would create FLDB entry for fileset user.ito (0,,1201) on aggregate lfs03"]
    );
    assert!(left.is_empty(), "{left:?}");
    let (lines, left) = serv(&[own()], Vec::new(), None);
    assert!(lines.is_empty(), "{lines:?}");
    assert_eq!(
        left,
        ["fileset user.ito (0,,1201) on aggregate lfs03: it has no entry; fts syncfldb makes one"]
    );
}

#[test]
fn each_side_takes_name_and_quota_of_the_other() {
    let mut told = own();
    (told.name, told.quota_files) = ("user.itoh".parse().unwrap(), 5);
    let on = "Would mend FLDB entry for fileset user.itoh (0,,1201)";
    let (lines, _) = plan(&[told.clone()], vec![fileset()], None);
    assert_eq!(
        lines,
        [
            format!("{on}: its name was user.ito"),
            format!("{on}: its quota is 21474836480 bytes and 5 files, not 21474836480 and 0"),
        ]
    );
    let (lines, left) = serv(&[told], vec![fileset()], None);
    assert_eq!(
        lines,
        [
            "Renamed header of fileset 0,,1201 from user.itoh to user.ito",
            "Set quota of fileset user.ito (0,,1201) to 21474836480 bytes and 0 files",
        ]
    );
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn versions_are_as_the_disk_has_them() {
    let mut told = own();
    told.has_backup = false;
    let mut unknown = fileset();
    unknown.rw = VersionState::Invalid;
    let (lines, _) = plan(&[told.clone()], vec![unknown.clone()], None);
    let on = "Would mend FLDB entry for fileset user.ito (0,,1201)";
    assert_eq!(
        lines,
        [
            format!("{on}: its RW version is there"),
            format!("{on}: its backup version is not there")
        ]
    );
    let (_, left) = serv(&[told], vec![unknown], None);
    assert!(left[0].ends_with("fts syncfldb mends the entry"), "{left:?}");
    assert!(left[1].ends_with("fts clone user.ito makes one"), "{left:?}");
}

#[test]
fn entry_without_a_header_goes_unless_it_waits_for_its_files() {
    let (lines, _) = plan(&[], vec![fileset()], None);
    assert_eq!(
        lines,
        ["Would delete FLDB entry for fileset user.ito (0,,1201): it is not on aggregate lfs03"]
    );
    let mut replicated = fileset();
    replicated.ro = VersionState::Valid;
    let (lines, _) = plan(&[], vec![replicated], None);
    assert_eq!(
        lines,
        ["Would mend FLDB entry for fileset user.ito (0,,1201): its RW version is not on aggregate lfs03"]
    );
    let mut reserved = fileset();
    reserved.rw = VersionState::Invalid;
    let (lines, left) = plan(&[], vec![reserved], None);
    assert!(
        lines.is_empty() && left[0].contains("no files yet"),
        "{lines:?} {left:?}"
    );
    let (_, left) = serv(&[], vec![fileset()], None);
    assert!(left[0].ends_with("fts syncfldb drops the entry"), "{left:?}");
}

#[test]
fn name_that_another_fileset_has_is_a_conflict_unless_that_one_goes() {
    let mut twin = own();
    twin.id = FilesetId(2_000);
    let (lines, left) = plan(&[own(), twin.clone()], vec![fileset()], None);
    assert!(lines.is_empty(), "{lines:?}");
    assert!(
        left[0].starts_with("fileset 0,,2000 on aggregate lfs03 is called user.ito, and so is fileset 0,,1201")
            && left[0].contains("fts rename user.ito OTHER"),
        "{left:?}"
    );
    let (lines, left) = plan(&[twin], vec![fileset()], None);
    assert!(
        lines[0].starts_with("Would delete FLDB entry for fileset user.ito (0,,1201)"),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("Would create FLDB entry for fileset user.ito (0,,2000)"),
        "{lines:?}"
    );
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn entry_follows_its_fileset_only_from_where_that_is_not() {
    let moved = header(1_201, "user.ito", "lfs04");
    let at = |told| plan(std::slice::from_ref(&moved), vec![fileset()], Some(told));
    let (lines, left) = at(Elsewhere::NotThere);
    assert_eq!(
        (lines.as_slice(), left.len()),
        (
            &[
                "Would mend FLDB entry for fileset user.ito (0,,1201): it is on aggregate lfs04, not on lfs03"
                    .to_owned()
            ][..],
            0
        )
    );
    let (lines, left) = at(Elsewhere::There);
    assert!(
        lines.is_empty() && left[0].contains("this copy is left over"),
        "{left:?}"
    );
    let (lines, left) = at(Elsewhere::Unknown("fs2 is silent".to_owned()));
    assert!(lines.is_empty(), "{lines:?}");
    assert!(
        left[0].contains("(fs2 is silent)") && left[0].contains("fts delfldbentry user.ito -yes"),
        "{left:?}"
    );
}

#[test]
fn fileset_on_two_disks_without_an_entry_is_a_conflict() {
    let headers = [own(), header(1_201, "user.ito", "lfs04")];
    let (lines, left) = plan(&headers, Vec::new(), None);
    assert!(lines.is_empty(), "{lines:?}");
    assert_eq!(left.len(), 2);
    assert!(left[0].contains("aggregate lfs04 has it too"), "{left:?}");
}

#[test]
fn highest_id_on_the_disks_is_used_up_whatever_becomes_of_its_fileset() {
    let mut twin = own();
    twin.id = FilesetId(2_000);
    let plan = fldb::compare(&[own(), twin], &aggregates(), &book(vec![fileset()]), &BTreeMap::new());
    assert_eq!((plan.steps.len(), plan.through), (0, Some(FilesetId(2_000))));
}

#[test]
fn failures_and_conflicts_end_a_command_in_part() {
    let step = Step::Mend {
        header: own(),
        entry: fileset(),
        wrong: vec![Wrong::Backup],
    };
    let servers = Servers::of(records());
    let deed = |error| fldb::deed(&step, Carry::Out, &servers, error);
    let said = |deeds: &[Deed], left: &[Left]| output("baton.fts.syncfldb/1", Carry::Out, (deeds, left), "");
    let done = said(&[deed(None)], &[Left::note("n".to_owned())]);
    assert_eq!(
        (done.text.as_str(), done.exit),
        (
            "Mended FLDB entry for fileset user.ito (0,,1201): its backup version is there\nNote: n\n",
            0
        )
    );
    let failed = said(&[deed(Some("locked".to_owned()))], &[]);
    assert_eq!(
        (failed.text.as_str(), failed.exit),
        ("Failed on fileset user.ito (0,,1201): locked\n", 3)
    );
    let left = said(&[], &[Left::conflict("c".to_owned())]);
    assert_eq!((left.text.as_str(), left.exit), ("Conflict: c\n", 3));
    assert_eq!(left.json["conflicts"], json!(["c"]));
}
