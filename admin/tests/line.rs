//! The binary itself: by which name it works, where it prints, how it exits.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

const BATON: &str = env!("CARGO_BIN_EXE_baton");

fn run(line: &str) -> Output {
    Command::new(BATON).args(line.split(' ')).output().expect("baton runs")
}

fn complaint(output: &Output) -> (Option<i32>, String) {
    assert!(output.stdout.is_empty(), "{output:?}");
    (
        output.status.code(),
        String::from_utf8(output.stderr.clone()).expect("text"),
    )
}

#[test]
fn link_is_the_program_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let fts = dir.path().join("fts");
    symlink(BATON, &fts).unwrap();
    let by_link = Command::new(fts).args(["h", "lock"]).output().unwrap();
    assert_eq!(by_link.stdout, run("fts help lock").stdout);
    assert!(String::from_utf8(by_link.stdout).unwrap().contains("Usage: fts lock "));
    assert_eq!(by_link.status.code(), Some(0));
}

#[test]
fn complaints_go_to_standard_error_with_their_code() {
    let absent = "fts: move: not in this version (another place for a fileset)\n";
    assert_eq!(complaint(&run("fts m")), (Some(1), absent.to_owned()));
    let ambiguous = "fts: 'un' could be undrain, unhold, unlock, unlockfldb\n";
    assert_eq!(complaint(&run("fts un")), (Some(2), ambiguous.to_owned()));
    let missing = "baton: join: missing <TOKEN>\nUsage: baton join <TOKEN>\n";
    assert_eq!(complaint(&run("join")), (Some(2), missing.to_owned()));
    assert_eq!(complaint(&run("apropos")).0, Some(2));
    assert_eq!(complaint(&run("fts apropos tape")).0, Some(1));
}

#[test]
fn full_disk_is_a_failure_and_a_closed_pipe_is_none() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(BATON).arg("-help").stdout(full).output().unwrap();
    let (code, sentence) = complaint(&output);
    assert_eq!(code, Some(1));
    assert!(
        sentence.starts_with("baton: standard output: No space left"),
        "{sentence}"
    );

    let mut child = Command::new(BATON)
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(complaint(&output), (Some(0), String::new()));
}
