//! What the help of `cert` and `store` shows does what it says.

use synod_core::{Envelope, Event};
use synod_runtime::{FileStore, Store};

use crate::{Place, synod};

/// Something that a node has written down.
#[derive(Event, Debug, serde::Serialize, serde::Deserialize)]
#[event(name = "test.kept")]
struct Kept(u32);

/// Types every example of `synod GROUP COMMAND --help`, with the directories of a machine in `place`.
fn typed(place: &Place, group: &str, command: &str) {
    let help = synod(&place.0, &[group, command, "--help"]).stdout;
    let lines: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  synod ")).collect();
    assert!(2 <= lines.len(), "{help}");
    for line in lines {
        let line = line.split("  ").next().unwrap_or(line);
        let line = line.replace("/var/lib/synod/", "stores/").replace("/backup/", "copies/");
        let words: Vec<&str> = line.split(' ').collect();
        let called = synod(&place.0, &words);
        assert_eq!(called.exit, 0, "{line}: {}{}", called.stdout, called.stderr);
    }
}

#[test]
fn a_cluster_gets_its_certificates_as_the_help_shows() {
    let place = Place::new("examples-cert");
    let next = synod(&place.0, &["cert", "init", "next"]);
    assert_eq!(next.exit, 0, "{}", next.stderr);
    for command in ["init", "issue", "inspect", "check", "renew", "trust", "revoke"] {
        typed(&place, "cert", command);
    }
}

#[test]
fn a_store_is_checked_and_copied_as_the_help_shows() {
    let place = Place::new("examples-store");
    let mut store = FileStore::new(place.0.join("stores/n1"));
    store.open().expect("a new store");
    store.append(&Envelope::seal(&Kept(1))).expect("room");
    store.sync().expect("a disk");
    drop(store);
    for command in ["check", "dump", "backup", "restore"] {
        typed(&place, "store", command);
    }
}
