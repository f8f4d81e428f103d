//! What surrounds a command: names of files, who reads what it says, room on the disk, others that run at the same time.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use synod_core::{Envelope, Event};
use synod_runtime::{FileStore, Store};

use crate::running::cluster;
use crate::{Called, Place, synod};

const BINARY: &str = env!("CARGO_BIN_EXE_synod");

/// Something that a node has written down.
#[derive(Event, Debug, serde::Serialize, serde::Deserialize)]
#[event(name = "test.kept")]
struct Kept(u32);

/// A store of one record in `name`.
fn written(place: &Place, name: &str) {
    let mut store = FileStore::new(place.0.join(name));
    store.open().expect("a new store");
    store.append(&Envelope::seal(&Kept(1))).expect("room");
    store.sync().expect("a disk");
}

/// Calls the binary with words that need not be UTF-8.
fn called(place: &Place, words: &[&OsStr]) -> Called {
    let mut command = Command::new(BINARY);
    command.env_remove("CARGO").args(words).current_dir(&place.0);
    Called::from(command.output().expect("the binary starts"))
}

/// So many calls at the same time.
fn at_once<const N: usize>(place: &Place, words: [Vec<String>; N]) -> [Called; N] {
    thread::scope(|scope| {
        let calls = words.map(|words| {
            scope.spawn(move || {
                synod(&place.0, &words.iter().map(String::as_str).collect::<Vec<_>>())
            })
        });
        calls.map(|call| call.join().expect("called"))
    })
}

#[cfg(target_os = "linux")]
#[test]
fn names_of_files_need_not_be_utf_8() {
    let place = Place::new("no-utf-8");
    let odd = |name: &str| OsString::from_vec([name.as_bytes(), b"\xff"].concat());
    written(&place, "n1");
    let copy = odd("copy");
    for (words, exit, event) in [
        (
            vec!["store".as_ref(), "backup".as_ref(), "n1".as_ref(), "--to".as_ref(), &*copy],
            0,
            "copied",
        ),
        (
            "sim bully --nodes 3 --seeds 20 --faults partition --out"
                .split(' ')
                .map(OsStr::new)
                .chain([&*odd("out")])
                .collect(),
            1,
            "sim",
        ),
        (
            vec!["record".as_ref(), "127.0.0.1:1".as_ref(), "--out".as_ref(), &*odd("in")],
            6,
            "error",
        ),
        (vec![&*odd("sim")], 2, "error"),
        (vec!["status".as_ref(), &*odd("n1.synod")], 2, "error"),
    ] {
        let words = [&words[..], &["--json".as_ref()]].concat();
        let told = called(&place, &words);
        assert_eq!(told.exit, exit, "{words:?}: {}", told.stderr);
        assert_eq!(told.last()["event"], event, "{words:?}");
    }
    let doctor = called(&place, &["doctor".as_ref(), &odd("n1.synod")]);
    assert_eq!(doctor.exit, 6, "{}", doctor.stderr);
    assert!(place.0.join(OsStr::from_bytes(b"copy\xff/node.log")).exists());
}

#[test]
fn a_watched_status_that_nobody_reads_any_more_ends() {
    let mut watching = Command::new(BINARY)
        .args(["status", "127.0.0.1:1", "--watch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(watching.stdout.take().expect("piped"));
    lines.read_line(&mut String::new()).expect("a line");
    drop(lines);
    let began = Instant::now();
    let ended = loop {
        match watching.try_wait().expect("it can be waited for") {
            None if began.elapsed() < Duration::from_secs(20) => {
                thread::sleep(Duration::from_millis(50));
            }
            ended => break ended,
        }
    };
    if ended.is_none() {
        watching.kill().expect("it runs");
        watching.wait().expect("it was killed");
    }
    assert_eq!(ended.and_then(|it| it.code()), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_watched_status_that_cannot_be_written_is_no_success() {
    let full = File::options().write(true).open("/dev/full").expect("a device");
    let mut command = Command::new("timeout");
    command.args(["20", BINARY, "status", "127.0.0.1:1", "--watch"]).stdout(full);
    let told = Called::from(command.output().expect("it starts"));
    assert_eq!(told.exit, 6, "{}", told.stderr);
    assert!(told.stderr.contains("cannot write to the standard output"), "{}", told.stderr);
}

#[test]
fn of_a_copy_for_which_there_is_no_room_nothing_is_left_and_the_words_are_of_the_copy() {
    let place = Place::new("copy-full");
    written(&place, "n1");
    // No file may have a byte: writing fails as on a disk that is full.
    let call = "trap '' XFSZ; ulimit -f 0; exec \"$0\" store backup n1 --to deep/copy";
    let mut command = Command::new("sh");
    command.args(["-c", call, BINARY]).current_dir(&place.0);
    let told = Called::from(command.output().expect("a shell"));
    assert_eq!(told.exit, 6, "{}", told.stderr);
    let words = "no copy is made in deep/copy: cannot write node.log.new";
    assert!(told.stderr.contains(words), "{}", told.stderr);
    assert!(!told.stderr.contains("start the node"), "{}", told.stderr);
    assert!(!place.0.join("deep/copy").exists(), "half a copy is left");
    let again = synod(&place.0, &["store", "backup", "n1", "--to", "deep/copy"]);
    assert_eq!(again.exit, 0, "{}", again.stderr);
}

#[test]
fn a_store_is_not_copied_without_what_stands_beside_its_records() {
    let place = Place::new("copy-beside");
    for (name, file, exit) in [("n1", "revoked", 2), ("n2", "owner", 6)] {
        written(&place, name);
        fs::write(place.0.join(name).join(file), b"\xff").expect("damaged");
        let told = synod(&place.0, &["store", "backup", name, "--to", "copy"]);
        assert_eq!(told.exit, exit, "{}", told.stderr);
        assert!(told.stderr.contains(&format!("{name}/{file}")), "{}", told.stderr);
        assert!(!place.0.join("copy").exists(), "a copy without `{file}` is left");
    }
    written(&place, "n3");
    let taken = "0123456789abcdef 7\n";
    fs::write(place.0.join("n3/revoked"), taken).expect("written");
    assert_eq!(synod(&place.0, &["store", "backup", "n3", "--to", "copy"]).exit, 0);
    assert_eq!(fs::read_to_string(place.0.join("copy/revoked")).expect("copied"), taken);
}

#[test]
fn of_copies_that_are_made_in_one_directory_at_once_one_is_there_and_whole() {
    let place = Place::new("copy-twice");
    let words = [1, 2, 3, 4, 5, 6, 7, 8].map(|number: u32| {
        let name = format!("n{number}");
        written(&place, &name);
        ["store", "backup", &name, "--to", "copy"].map(String::from).to_vec()
    });
    let mut exits = at_once(&place, words).map(|told| told.exit);
    exits.sort_unstable();
    assert_eq!(exits, [0, 2, 2, 2, 2, 2, 2, 2]);
    assert_eq!(synod(&place.0, &["store", "check", "copy"]).exit, 0);
}

#[test]
fn certificates_that_are_revoked_at_once_are_all_revoked() {
    let place = Place::new("revoked-at-once");
    cluster(&place.0, "demo", &["n1", "n2", "n3", "n4", "n5", "n6"]);
    let words = [1, 2, 3, 4, 5, 6].map(|number: u32| {
        let file = format!("demo/n{number}.synod");
        ["cert", "revoke", "--ca", "demo", &file].map(String::from).to_vec()
    });
    for told in at_once(&place, words) {
        assert_eq!(told.exit, 0, "{}", told.stderr);
    }
    let told = synod(&place.0, &["cert", "inspect", "demo/revoked.crl", "--json"]).last();
    assert_eq!(told["number"], 6);
    assert_eq!(told["serials"].as_array().map(Vec::len), Some(6));
}

#[test]
fn a_sweep_replaces_its_file_as_a_whole_and_nothing_that_is_none() {
    let place = Place::new("sweep-replaces");
    let sweep = |seeds: &str| {
        ["sweep", "hello", "--nodes", "2..5", "--seeds", seeds, "--out", "costs.csv"]
            .map(String::from)
            .to_vec()
    };
    for told in at_once(&place, ["90", "100", "110", "120"].map(sweep)) {
        assert_eq!(told.exit, 0, "{}", told.stderr);
    }
    let costs = fs::read_to_string(place.0.join("costs.csv")).expect("written");
    let runs: Vec<_> = costs.lines().skip(1).filter_map(|line| line.split(',').nth(4)).collect();
    assert!(runs.len() == 4 && runs.iter().all(|it| *it == runs[0]), "of two sweeps: {costs}");
    assert_eq!(fs::read_dir(&place.0).expect("there").count(), 1, "something is left besides");
    let made = Command::new("mkfifo").arg(place.0.join("pipe")).status();
    assert!(made.expect("mkfifo").success());
    let told =
        synod(&place.0, &["sweep", "hello", "--nodes", "2", "--seeds", "1", "--out", "pipe"]);
    assert_eq!(told.exit, 6, "{}", told.stderr);
    assert!(told.stderr.contains("is not a regular file"), "{}", told.stderr);
}

#[test]
fn a_bundle_that_names_files_is_not_written_anew_and_one_that_is_not_utf_8_is_malformed() {
    let place = Place::new("bundle-files");
    cluster(&place.0, "demo", &["n1"]);
    let file = place.0.join("demo/n1.synod");
    let text = fs::read_to_string(&file).expect("a bundle");
    let (before, rest) = text.split_once("key = \"\"\"\n").expect("a key");
    let (key, after) = rest.split_once("\"\"\"").expect("its end");
    fs::write(place.0.join("demo/n1.key"), key).expect("written");
    let naming = format!("{before}key = \"n1.key\"{after}");
    fs::write(&file, &naming).expect("written");
    for command in ["renew", "trust"] {
        let told = synod(&place.0, &["cert", command, "--ca", "demo", "demo/n1.synod"]);
        assert_eq!(told.exit, 2, "{}", told.stderr);
        assert!(told.stderr.contains("names `demo/n1.key` in the place"), "{}", told.stderr);
    }
    assert_eq!(fs::read_to_string(&file).expect("a bundle"), naming);
    fs::write(&file, b"\xff").expect("written");
    for asked in [&["cert", "inspect", "demo/n1.synod"][..], &["node", "demo/n1.synod"]] {
        let told = synod(&place.0, asked);
        assert_eq!(told.exit, 2, "{}", told.stderr);
        assert!(told.stderr.contains("`demo/n1.synod`: not UTF-8"), "{}", told.stderr);
    }
}
