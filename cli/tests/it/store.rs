//! Stores, checked, printed and copied.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use synod_core::{Envelope, Event};
use synod_runtime::{FileStore, Store};

use crate::running::{Running, cluster};
use crate::{Place, synod};

/// Something that a node has written down, and no algorithm of the program knows.
#[derive(Event, Debug, serde::Serialize, serde::Deserialize)]
#[event(name = "test.noted")]
struct Noted(u32);

/// A store of three records in `name`.
fn written(place: &Place, name: &str) -> FileStore {
    let mut store = FileStore::new(place.0.join(name));
    store.open().expect("a new store");
    for number in 1..=3 {
        store.append(&Envelope::seal(&Noted(number))).expect("room");
        store.sync().expect("a disk");
    }
    store
}

fn log(place: &Place, name: &str) -> std::path::PathBuf {
    place.0.join(name).join("node.log")
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn an_empty_directory_is_no_store_and_what_to_do_is_told() {
    let place = Place::new("store-empty");
    fs::create_dir(place.0.join("my store")).expect("made");
    let checked = synod(&place.0, &["store", "check", "my store"]);
    assert_eq!(checked.exit, 2, "{}", checked.stderr);
    for words in ["there is no node.log in my store", "node n1.synod --store 'my store'"] {
        assert!(checked.stderr.contains(words), "{}", checked.stderr);
    }
}

#[test]
fn an_intact_store_is_told_record_by_record_also_while_it_is_in_use() {
    let place = Place::new("store-intact");
    let store = written(&place, "n1");
    let checked = synod(&place.0, &["store", "check", "n1", "--json"]);
    assert_eq!(checked.exit, 0, "{}", checked.stderr);
    let told = checked.last();
    assert_eq!((&told["records"], &told["incarnation"]), (&3.into(), &1.into()));
    assert_eq!(told["durable_bytes"], told["bytes"]);
    let dumped = synod(&place.0, &["store", "dump", "n1", "--json"]);
    let lines = dumped.lines();
    assert_eq!((dumped.exit, lines.len()), (0, 4));
    assert_eq!((&lines[0]["event"], &lines[3]["body"]), (&"life".into(), &"03".into()));
    let record = lines.iter().find(|line| line["event"] == "record").expect("a record");
    assert_eq!(record["instance"], serde_json::json!([]), "the root's");
    let dumped = synod(&place.0, &["store", "dump", "n1"]);
    assert!(dumped.stderr.ends_with("store backup n1 --to n1-copy\n"), "{}", dumped.stderr);
    let text = dumped.stdout;
    assert_eq!(text.lines().count(), 4, "{text}");
    drop(store);
}

#[test]
fn damage_is_told_with_file_byte_record_and_what_to_do() {
    let place = Place::new("store-damaged");
    drop(written(&place, "n1"));
    let mut bytes = fs::read(log(&place, "n1")).expect("a log");
    let at = bytes.len() - 40;
    bytes[at] ^= 1;
    fs::write(log(&place, "n1"), &bytes).expect("written");
    for asked in [&["store", "check", "n1"][..], &["store", "backup", "n1", "--to", "copy"]] {
        let called = synod(&place.0, asked);
        assert_eq!(called.exit, 1, "{asked:?}: {}", called.stderr);
        for words in ["node.log is damaged at byte", "record 4", "put back a backup"] {
            assert!(called.stderr.contains(words), "{asked:?}: {}", called.stderr);
        }
    }
    assert!(!place.0.join("copy").exists(), "half a copy is left");
    assert_eq!(fs::read(log(&place, "n1")).expect("a log"), bytes);
}

#[test]
fn a_store_whose_note_is_gone_is_told_of() {
    let place = Place::new("store-unnoted");
    drop(written(&place, "n1"));
    let check = || synod(&place.0, &["store", "check", "n1"]);
    assert!(!check().stdout.contains("node.note"), "{}", check().stdout);
    let note = place.0.join("n1/node.note");
    for damaged in [Some(vec![0; 544]), None] {
        match damaged {
            Some(bytes) => fs::write(&note, bytes).expect("written"),
            None => fs::remove_file(&note).expect("there"),
        }
        let told = check();
        assert_eq!(told.exit, 0, "{}", told.stderr);
        assert!(told.stdout.contains("nothing here can tell"), "{}", told.stdout);
    }
}

#[test]
fn a_torn_end_is_no_damage() {
    let place = Place::new("store-torn");
    drop(written(&place, "n1"));
    let mut bytes = fs::read(log(&place, "n1")).expect("a log");
    bytes.extend_from_slice(&[0; 100]);
    fs::write(log(&place, "n1"), &bytes).expect("written");
    let checked = synod(&place.0, &["store", "check", "n1"]);
    assert_eq!(checked.exit, 0, "{}", checked.stderr);
    assert!(checked.stdout.contains("100 bytes behind byte"), "{}", checked.stdout);
}

#[test]
fn a_copy_made_while_a_node_writes_is_put_back_only_where_nothing_is() {
    let place = Place::new("store-copied");
    let store = written(&place, "n1");
    let copied = synod(&place.0, &["store", "backup", "n1", "--to", "copy", "--json"]);
    assert_eq!(copied.exit, 0, "{}", copied.stderr);
    assert_eq!(copied.last()["records"], 3);
    drop(store);
    let occupied = synod(&place.0, &["store", "restore", "n1", "--from", "copy"]);
    assert_eq!(occupied.exit, 2);
    assert!(occupied.stderr.contains("n1 is not empty"), "{}", occupied.stderr);
    let restored = synod(&place.0, &["store", "restore", "n2", "--from", "copy"]);
    assert_eq!(restored.exit, 0, "{}", restored.stderr);
    assert!(restored.stderr.contains("has forgotten"), "{}", restored.stderr);
    assert_eq!(names(&place.0.join("n2")), ["node.log", "node.note"]);
    let opened = FileStore::new(place.0.join("n2")).open().expect("a store");
    assert_eq!((opened.records.len(), opened.incarnation), (3, 2));
}

#[test]
fn where_there_is_no_store_none_is_made() {
    let place = Place::new("store-none");
    for command in ["check", "dump"] {
        let called = synod(&place.0, &["store", command, "nothing"]);
        assert_eq!(called.exit, 2);
        assert!(called.stderr.contains("there is no node.log in nothing"), "{}", called.stderr);
    }
    assert!(!place.0.join("nothing").exists());
}

/// Copies the files of a store as they are, as somebody does who has no better way.
fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for name in names(from).iter().filter(|name| *name != "lock") {
        fs::copy(from.join(name), to.join(name)).expect("copied");
    }
}

/// Starts a node so many times with a store, and then with a copy that was made of it after the first time. The
/// copy is in its second life; both sides must say these words.
fn old_copy_is_refused(place: &str, lives: u64, words: &[&str]) {
    let place = Place::new(place);
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let [first, second] = bundles.as_slice() else { panic!("{bundles:?}") };
    let (store, copy) = (place.0.join("n2"), place.0.join("copy"));
    let flags = ["--store", store.to_str().expect("UTF-8")];
    let mut peer = Running::node(first);
    for life in 1..=lives {
        let mut node = Running::configured(second, &flags);
        node.says(&[&format!("\"incarnation\":{life}"), "\"event\":\"started\""]);
        node.says(&["\"event\":\"link\"", "\"up\":true"]);
        peer.says(&["the link is up", &format!("incarnation={life}")]);
        drop(node);
        if life == 1 {
            copy_files(&store, &copy);
        }
    }
    fs::remove_dir_all(&store).expect("removed");
    copy_files(&copy, &store);
    // Nobody puts a copy back sooner, and lives that begin sooner after each other may have one number.
    thread::sleep(Duration::from_millis(1_100));
    let mut node = Running::configured(second, &flags);
    node.says(&["\"incarnation\":2", "\"event\":\"started\""]);
    node.says(words);
    peer.says(words);
    node.says(&[
        "\"event\":\"error\"",
        "peers know better who it is",
        "n2 says it is in its life 2",
    ]);
    drop(node);
    // Each start would have a higher number, until the peer believes it.
    let [bundle, store] = [second, &store].map(|it| it.to_str().expect("UTF-8"));
    for asked in [&["node", bundle, "--store", store][..], &["store", "check", store]] {
        let called = synod(&place.0, asked);
        assert_eq!(called.exit, 1, "{asked:?}: {}", called.stderr);
        for words in ["fenced says that this store is not the newest one", "remove that file"] {
            assert!(called.stderr.contains(words), "{asked:?}: {}", called.stderr);
        }
    }
    let copied = synod(&place.0, &["store", "backup", store, "--to", "another"]);
    assert_eq!(copied.exit, 1, "a copy would be as old: {}", copied.stderr);
    fs::remove_file(Path::new(store).join("fenced")).expect("there");
    Running::configured(second, &flags).says(&["\"incarnation\":3", "\"event\":\"started\""]);
}

#[test]
fn a_node_with_an_old_copy_of_its_store_is_refused_by_a_peer_that_knows_better() {
    let words = ["n2 says it is in its life 2", "n1 has known its life 3", "old copy of the store"];
    old_copy_is_refused("store-stale", 3, &words);
}

#[test]
fn an_old_copy_in_a_life_of_the_same_number_as_the_last_one_is_refused_as_well() {
    let words = ["its life 2, and n1 has known another process of it in this life", "old copy"];
    old_copy_is_refused("store-same", 2, &words);
}

#[test]
fn a_store_belongs_to_its_node_and_algorithm_and_can_be_read_by_nobody_else() {
    let place = Place::new("store-owned");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let [first, second] = bundles.as_slice() else { panic!("{bundles:?}") };
    let store = place.0.join("deep/n1");
    let flags = ["--store", store.to_str().expect("UTF-8")];
    Running::configured(first, &flags).says(&["\"incarnation\":1", "\"event\":\"started\""]);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&place.0.join("deep")), mode(&store)), (0o700, 0o700));
    for file in ["node.log", "node.note", "owner"] {
        assert_eq!(mode(&store.join(file)), 0o600, "{file}");
    }
    let before = fs::read(store.join("node.log")).expect("a log");
    let bundle = |path: &Path| String::from(path.to_str().expect("UTF-8"));
    let copied = synod(&place.0, &["store", "backup", flags[1], "--to", "copy"]);
    assert_eq!(copied.exit, 0, "{}", copied.stderr);
    let own = "the store of n1 of cluster demo, bully, not of ";
    for (node, algorithm, store, other) in [
        (second, "bully", flags[1], "n2 of cluster demo, bully"),
        (first, "paxos", flags[1], "n1 of cluster demo, paxos"),
        (second, "bully", "copy", "n2 of cluster demo, bully"),
    ] {
        let bundle = bundle(node);
        let asked = ["node", &bundle, "--algorithm", algorithm, "--store", store];
        let called = synod(&place.0, &asked);
        assert_eq!(called.exit, 6, "{asked:?}: {}", called.stderr);
        assert!(called.stderr.contains(&format!("{own}{other}")), "{asked:?}: {}", called.stderr);
    }
    assert_eq!(fs::read(store.join("node.log")).expect("a log"), before, "no life was begun");
}

#[test]
fn a_node_that_starts_again_although_its_algorithm_writes_nothing_down_is_warned_of() {
    let place = Place::new("store-amnesia");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let [first, _] = bundles.as_slice() else { panic!("{bundles:?}") };
    let store = place.0.join("n1");
    let flags = ["--algorithm", "abd", "--store", store.to_str().expect("UTF-8")];
    let words = "abd counts a node that has ended as gone for good";
    let mut node = Running::configured(first, &flags);
    node.says(&["\"event\":\"started\""]);
    assert!(!node.heard().any(|line| line.contains(words)));
    drop(node);
    Running::configured(first, &flags).says(&["WARN", words]);
    let asked = ["doctor", first.to_str().expect("UTF-8"), "--algorithm", "abd", "--json"];
    let told = synod(&place.0, &asked).lines();
    let row = told.iter().find(|line| line["check"] == "restarts").expect("a row");
    assert_eq!(row["state"], "look", "{row}");
}
