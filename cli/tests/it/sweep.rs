//! A grid of worlds as a table.

use std::fs;

use crate::{Place, synod};

const GRID: [&str; 9] = [
    "sweep",
    "bully",
    "--nodes",
    "3..4",
    "--delay-max-ms",
    "10,100",
    "--crashes",
    "0,1",
    "--seeds",
];

#[test]
fn every_world_is_a_row() {
    let place = Place::new("sweep");
    let called = synod(&place.0, &[&GRID[..], &["20"]].concat());
    assert_eq!(called.exit, 0, "{}", called.stderr);
    let rows: Vec<Vec<&str>> =
        called.stdout.lines().map(|line| line.split(',').collect()).collect();
    let header = rows.first().expect("a header");
    assert_eq!(
        header[..6],
        ["nodes", "loss_percent", "delay_max_ms", "crashes", "runs", "violations"]
    );
    assert!(rows.iter().all(|row| row.len() == header.len()));
    let worlds: Vec<&[&str]> = rows.iter().skip(1).map(|row| &row[..6]).collect();
    assert_eq!(worlds.len(), 8);
    assert_eq!(worlds[0], ["3", "0", "10", "0", "20", "0"]);
    assert_eq!(worlds[7], ["4", "0", "100", "1", "20", "0"]);
    let column = |row: usize, name: &str| {
        let at = header.iter().position(|it| *it == name).expect("a column");
        rows[row][at].parse::<f64>().expect("a number")
    };
    for row in 1..rows.len() {
        assert!(column(row, "messages_p50") <= column(row, "messages_p99"));
        assert!(column(row, "messages_mean") < column(row, "bytes_mean"));
        assert_eq!(column(row, "settled_runs"), 20.0);
    }
    assert!(column(1, "settled_ms_p99") < 1_000.0, "calm worlds settle in one election");
    assert!(1_000.0 < column(2, "settled_ms_p99"), "a crash in the middle is in the time");
}

#[test]
fn the_same_grid_gives_the_same_bytes_in_a_file_too() {
    let place = Place::new("sweep-out");
    let asked = [&GRID[..], &["10"]].concat();
    let printed = synod(&place.0, &asked);
    let written = synod(&place.0, &[&asked[..], &["--out", "bully.csv", "--json"]].concat());
    assert_eq!(written.exit, 0, "{}", written.stderr);
    assert_eq!(fs::read_to_string(place.0.join("bully.csv")).expect("rows"), printed.stdout);
    let rows = written.lines();
    assert_eq!(rows.len(), 8);
    assert_eq!((&rows[7]["nodes"], &rows[7]["crashes"]), (&4.into(), &1.into()));
    assert!(rows[0]["settled_ms_p50"].is_f64() && rows[0]["dropped"] == serde_json::json!([]));
    let left: Vec<_> = fs::read_dir(&place.0).expect("a directory").collect();
    assert_eq!(left.len(), 1, "nothing but the file is left: {left:?}");
}

#[test]
fn violations_are_counted_and_told_by_the_exit_code() {
    let place = Place::new("sweep-violated");
    let called = synod(&place.0, &["sweep", "chang-roberts", "--nodes", "3", "--crashes", "0,1"]);
    assert_eq!(called.exit, 1, "{}", called.stdout);
    assert!(called.stderr.contains("drops an assumption of the model"), "{}", called.stderr);
    assert!(called.stderr.contains("sim chang-roberts --nodes 3 --faults crash"));
    let violations =
        |line: usize| called.stdout.lines().nth(line).and_then(|it| it.split(',').nth(5));
    assert_eq!(violations(1), Some("0"));
    assert_ne!(violations(2), Some("0"));
}

#[test]
fn a_grid_that_makes_no_sense_is_refused() {
    let place = Place::new("sweep-wrong");
    for (more, exit, says) in [
        (&["--nodes", "9..3"][..], 2, "`9..3` is empty"),
        (&["--nodes", "3,3"], 2, "given twice"),
        (&["--nodes", "0..3"], 2, "--nodes 0: a cluster has 1 to"),
        (&["--nodes", "three"], 2, "`three` is no value"),
        (&["--loss", "101"], 2, "more than 100 percent"),
        (&["--delay-max-ms", "0,10"], 2, "--delay-max-ms 0"),
        (&["--nodes", "1..3", "--crashes", "0,1"], 2, "--crashes 1 with --nodes 1: nobody is left"),
        (&["--nodes", "1..900", "--loss", "0..99"], 2, "90000 worlds, 10000 at most"),
        (&["--seed", "18446744073709551615"], 2, "leaves no room"),
        (&["--seeds", "0"], 5, "no seed"),
        (&["--out", "nowhere/rows.csv"], 6, "cannot write `nowhere/rows.csv`"),
        (&["--out", "."], 6, "is a directory"),
    ] {
        let called = synod(&place.0, &[&["sweep", "bully"], more].concat());
        assert_eq!(called.exit, exit, "{more:?}: {}", called.stderr);
        assert!(called.stderr.contains(says), "{more:?}: {}", called.stderr);
        assert_eq!(called.stdout, "", "{more:?}");
    }
}
