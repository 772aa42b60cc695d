//! `newaggr` and `salvage` on files: what they say, what they make, how they exit.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const BATON: &str = env!("CARGO_BIN_EXE_baton");

fn run(words: &[&str]) -> Output {
    Command::new(BATON).args(words).output().expect("baton runs")
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A file of 256 MiB, of which nothing is on the disk.
fn image(directory: &TempDir) -> String {
    let path = directory.path().join("disk");
    File::create(&path)
        .expect("a disk file")
        .set_len(256 << 20)
        .expect("its length");
    path.to_str().expect("text").to_owned()
}

fn make(image: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let line = ["newaggr", "-aggregate", image, "-name", "agg1"];
    said(&run(&[&line, more].concat()))
}

#[test]
fn aggregate_is_made_checked_and_emptied_into_a_directory() {
    let directory = TempDir::new().unwrap();
    let disk = image(&directory);
    let (code, out, err) = make(&disk, &["-blocksize", "8192", "-fragsize", "1024"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(
        out,
        format!(
            "aggregate agg1 made on {disk}\n-blocksize has no effect; 'newaggr -help' says why\n\
             -fragsize has no effect; 'newaggr -help' says why\n"
        )
    );
    let (code, out, err) = said(&run(&["salvage", "-check", &disk]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(
        out,
        "aggregate agg1: sound; 0 filesets, 0 files, 0 nodes; root 0 of epoch 0, last record 0\n"
    );
    let (code, out, _) = said(&run(&["salvage", &disk, "-verifyonly", "-json"]));
    assert_eq!(code, Some(0));
    assert!(
        out.starts_with(r#"{"schema":"baton.salvage.check/1","aggregate":"agg1","sound":true,"#),
        "{out}"
    );
    let target = directory.path().join("files");
    let (code, out, _) = said(&run(&["salvage", "-extract", &disk, target.to_str().unwrap()]));
    assert_eq!(code, Some(0));
    assert!(out.starts_with("0 files of 0 filesets given back into "), "{out}");
    assert!(target.is_dir());
}

#[test]
fn what_a_device_holds_is_kept_unless_somebody_insists() {
    let directory = TempDir::new().unwrap();
    let disk = image(&directory);
    File::options()
        .write(true)
        .open(&disk)
        .unwrap()
        .write_all_at(b"\x53\xef", 1080)
        .unwrap();
    let (code, out, err) = make(&disk, &[]);
    assert_eq!((code, out.as_str()), (Some(16), ""));
    assert_eq!(
        err,
        format!("newaggr: device {disk}: it holds an ext file system; to lose all that is on it: newaggr -overwrite\n")
    );
    let (code, out, _) = make(&disk, &["-overwrite", "-noaction"]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), format!("aggregate agg1 would be made on {disk}\n").as_str())
    );
    assert_eq!(make(&disk, &[]).0, Some(16));
    assert_eq!(make(&disk, &["-overwrite"]).0, Some(0));
    let (code, _, err) = make(&disk, &[]);
    assert_eq!(code, Some(16));
    assert!(err.contains("it holds aggregate agg1; to lose all"), "{err}");
}

#[test]
fn too_small_a_device_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("small");
    File::create(&path).unwrap().set_len(1 << 20).unwrap();
    let (code, _, err) = make(path.to_str().unwrap(), &[]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("1048576 bytes are too few for an aggregate; give it at least 136318976 bytes"),
        "{err}"
    );
}

#[test]
fn salvage_that_cannot_run_says_why() {
    let directory = TempDir::new().unwrap();
    let disk = image(&directory);
    let cases: [(&[&str], &str); 5] = [
        (&["salvage", "-check", &disk], "this device holds no aggregate"),
        (&["salvage", "-check", "/nonexistent/disk"], "/nonexistent/disk"),
        (&["salvage", "-verifyonly"], "no device is named"),
        (&["salvage", &disk], "this device holds no aggregate"),
        (&["salvage", &disk, "-recoveronly"], "nothing to recover by hand"),
    ];
    for (line, reason) in cases {
        let (code, out, err) = said(&run(line));
        assert_eq!((code, out.as_str()), (Some(0x10), ""), "{line:?}");
        assert!(err.contains(reason), "{line:?}: {err}");
    }
}

#[test]
fn damage_is_found_with_its_bit() {
    let directory = TempDir::new().unwrap();
    let disk = image(&directory);
    make(&disk, &[]);
    let file = File::options().write(true).open(Path::new(&disk)).unwrap();
    file.write_all_at(b"torn", 4096 * 3 + 100).unwrap();
    let (code, out, _) = said(&run(&["salvage", "-check", &disk, "-verbose"]));
    assert_eq!(code, Some(1));
    assert!(
        out.starts_with("fault (slot): slot 2: it does not verify, or stands in another's place\n  a look "),
        "{out}"
    );
    assert!(out.contains("aggregate agg1: 1 fault; "), "{out}");
}
