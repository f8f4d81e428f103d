//! A process that writes to a store and is killed, over and over.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use synod_core::{Envelope, Event};
use synod_runtime::{FileStore, Opened, Store};

use crate::support::Number;

/// Where the process that is to be killed finds its store.
const VARIABLE: &str = "SYNOD_TEST_STORE_OF_THE_KILLED";
const KILLS: u64 = 25;

/// The last number of a store, which holds a checkpoint and what came after it.
fn last(opened: &Opened) -> u64 {
    let numbers: Vec<u64> =
        opened.records.iter().map(|held| held.open::<Number>().expect("a number").0).collect();
    assert!(numbers.is_sorted_by(|one, next| *next == one + 1), "{numbers:?}");
    numbers.last().copied().unwrap_or(0)
}

/// Counts on until it is killed. Says each number once it is durable.
fn count(directory: &Path) {
    let mut store = FileStore::new(directory);
    let last = last(&store.open().expect("the store opens"));
    for number in last + 1.. {
        let record = Envelope::seal(&Number(number));
        let written = match number % 16 {
            0 => store.checkpoint(&record, &[Number::ID]),
            _ => store.append(&record),
        };
        written.and_then(|()| store.sync()).expect("the disk works");
        let said = writeln!(std::io::stderr(), "durable {number}");
        said.expect("somebody listens");
    }
}

/// Lets a process count until it has said so many numbers, and kills it. Returns the last number
/// that it has said.
fn kill_after(directory: &Path, said: u64) -> Option<u64> {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "killed::a_killed_process_loses_nothing_that_it_said_was_durable"])
        .arg("--nocapture")
        .env(VARIABLE, directory)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut last = None;
    for (line, heard) in lines.map_while(Result::ok).zip(1..) {
        last = line.strip_prefix("durable ").and_then(|number| number.parse().ok()).or(last);
        if heard == said {
            child.kill().expect("it still counts"); // What it has said by then is read, too.
        }
    }
    let status = child.wait().expect("it has ended");
    assert!(!status.success(), "it ended by itself");
    last
}

#[test]
fn a_killed_process_loses_nothing_that_it_said_was_durable() {
    if let Some(directory) = std::env::var_os(VARIABLE) {
        return count(&PathBuf::from(directory));
    }
    let directory = std::env::temp_dir().join(format!("synod-killed-{}", std::process::id()));
    for kill in 1..=KILLS {
        let said = kill_after(&directory, 1 + kill * 7 % 23).expect("it has said something");
        let opened = FileStore::new(&directory).open().expect("the store opens");
        assert!(said <= last(&opened), "{said} was durable, and {} is left", last(&opened));
        assert_eq!(opened.incarnation, 2 * kill, "one life of each process");
    }
    std::fs::remove_dir_all(&directory).expect("removed");
}
