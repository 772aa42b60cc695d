//! The program `sim`: what it prints last, how it ends, and that a seed it names shows the same again.

use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(arguments)
        .output()
        .expect("the program sim was built beside this test")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("sim prints UTF-8")
}

#[test]
fn sound_simulation_counts_its_histories_and_succeeds() {
    let output = sim(&["toy", "--seeds", "20", "--threads", "2"]);
    assert_eq!(
        (text(&output).as_str(), output.status.code()),
        ("20 histories, 0 violations\n", Some(0))
    );
}

#[test]
fn violation_fails_and_its_seed_shows_it_again() {
    let output = sim(&["toy-broken", "--seeds", "300"]);
    assert_eq!(output.status.code(), Some(1));
    let found = text(&output);
    let replay = found
        .lines()
        .find_map(|line| line.strip_prefix("to see it again: cargo xtask sim "))
        .unwrap();

    let arguments: Vec<&str> = replay.split(' ').collect();
    assert_eq!(arguments[..2], ["toy-broken", "--seed"]);
    let again = sim(&arguments);
    assert_eq!(
        (again.status.code(), text(&again).lines().last()),
        (Some(1), Some("1 histories, 1 violations"))
    );
    let violation = |printed: &str| {
        printed
            .lines()
            .find(|line| line.starts_with("seed "))
            .map(str::to_owned)
    };
    assert!(
        violation(&found).is_some_and(|line| line.contains("was acknowledged")),
        "{found}"
    );
    assert_eq!(violation(&text(&again)), violation(&found));
}

#[test]
fn sound_seed_is_shown_line_by_line() {
    let output = sim(&["toy", "--seed", "5", "--lines", "3"]);
    let shown = text(&output);
    assert_eq!((shown.lines().count(), output.status.code()), (5, Some(0)), "{shown}");
    assert!(
        shown.contains("the same twice") && shown.ends_with("1 histories, 0 violations\n"),
        "{shown}"
    );
}

#[test]
fn unknown_name_is_answered_with_the_names_there_are() {
    let output = sim(&["atlantis"]);
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains("no simulation is called so") && said.contains("toy-broken"),
        "{said}"
    );
}

#[test]
fn results_go_on_where_they_ended_and_add_up() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("results");
    let run = || {
        let output = sim(&["toy", "--seeds", "30", "--results", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0));
        text(&output).lines().next().unwrap().to_owned()
    };
    let (first, second) = (run(), run());
    assert!(first.starts_with("toy, all runs: 30 histories with "), "{first}");
    assert!(second.starts_with("toy, all runs: 60 histories with "), "{second}");
    assert!(second.ends_with(" points, 0 violations []"), "{second}");
}
