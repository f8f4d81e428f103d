//! What `doctor` finds, and what it tells to do.

use std::fs::{self, Permissions};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::running::{Running, cluster, issue};
use crate::{Called, Place, synod};

/// The state and the words of a check.
fn found(place: &Path, flags: &[&str], check: &str) -> (i32, String, String) {
    let called = synod(place, &[&["doctor", "--json"], flags].concat());
    let lines = called.lines();
    let line: &Value = lines
        .iter()
        .find(|line| line["check"] == check)
        .unwrap_or_else(|| panic!("no {check} in {}", called.stdout));
    let text = |key: &str| String::from(line[key].as_str().expect("a text"));
    (called.exit, text("state"), text("words"))
}

fn finds(place: &Path, flags: &[&str], check: &str, exit: i32, state: &str, words: &str) {
    let (code, told, text) = found(place, flags, check);
    assert_eq!((code, told.as_str()), (exit, state), "{text}");
    assert!(text.contains(words), "{text}");
}

#[test]
fn a_node_with_peers_that_run_is_healthy_before_its_start_and_while_it_runs() {
    let place = Place::new("doctor-healthy");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let bundle = "demo/n1.synod";
    let mut peer = Running::node(&bundles[1]);
    peer.says(&["\"event\":\"started\""]);
    let called = synod(&place.0, &["doctor", bundle, "--store", "n1"]);
    assert_eq!(called.exit, 0, "{}{}", called.stdout, called.stderr);
    let row = called.stdout.lines().find(|row| row.starts_with("n2 ")).expect("a row");
    assert!(row.contains("fine   shakes hands at") && row.ends_with(", speaks synod/8"), "{row}");
    assert!(called.stderr.ends_with("node demo/n1.synod --store n1\n"), "{}", called.stderr);
    assert!(!place.0.join("n1").exists(), "it starts nothing");
    finds(&place.0, &[bundle, "--store", "n1"], "store", 0, "fine", "n1 will be made");
    let mut node = Running::node(&bundles[0]);
    let started: Value =
        serde_json::from_str(&node.says(&["\"event\":\"started\""])).expect("JSON");
    let admin = started["admin"].as_str().expect("an address");
    finds(&place.0, &[bundle, "--admin", admin], "port", 0, "fine", "n1 runs at");
    let again = synod(&place.0, &["node", bundle, "--store", "n1", "--json"]);
    let hint = "doctor demo/n1.synod --store n1";
    assert!(again.exit == 6 && again.stderr.trim_end().ends_with(hint), "{}", again.stderr);
}

#[test]
fn a_peer_of_another_algorithm_is_told_and_neither_linked_nor_alarmed() {
    let place = Place::new("doctor-other-algorithm");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let mut peer = Running::node(&bundles[1]);
    let started: Value =
        serde_json::from_str(&peer.says(&["\"event\":\"started\""])).expect("JSON");
    let admin = started["admin"].as_str().expect("an address");
    fs::write(place.0.join("echo.toml"), "algorithm = 'echo'").expect("written");
    let asked = ["--config", "echo.toml", "demo/n1.synod"];
    finds(&place.0, &asked, "n2", 6, "wrong", "handles no event that this node does");
    let told = synod(&place.0, &["status", admin, "--json"]).last();
    let status = &told["told"]["status"];
    assert_eq!(
        (&status["peers"][0]["ups"], &status["refusals"]),
        (&0.into(), &serde_json::json!({}))
    );
}

#[test]
fn each_fault_is_told_in_words_with_an_exit_code() {
    let place = Place::new("doctor-faults");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let bundle = "demo/n1.synod";
    fs::write(place.0.join("quick.toml"), "[limits]\nconnect_timeout_ms = 100").expect("written");
    let quick = |flags: &[&'static str]| [&["--config", "quick.toml", bundle], flags].concat();
    finds(&place.0, &quick(&[]), "n2", 6, "wrong", "no answer from n2 at 127.0.0.1:");
    fs::write(place.0.join("odd.toml"), "algorithm = 'bulli'").expect("written");
    finds(&place.0, &["--config", "odd.toml", bundle], "algorithm", 2, "wrong", "`bulli`");
    fs::set_permissions(&bundles[0], Permissions::from_mode(0o644)).expect("set");
    finds(&place.0, &quick(&[]), "secrecy", 2, "wrong", "chmod 600 demo/n1.synod");
    fs::set_permissions(&bundles[0], Permissions::from_mode(0o600)).expect("set");
    let text = fs::read_to_string(&bundles[0]).expect("the bundle");
    let listen = text.lines().find_map(|line| line.strip_prefix("listen = ")).expect("an address");
    let taken = UdpSocket::bind(listen.trim_matches('"')).expect("free");
    finds(&place.0, &quick(&[]), "port", 6, "wrong", "/udp is taken, by n1 itself");
    drop(taken);
    fs::create_dir(place.0.join("damaged")).expect("made");
    fs::write(place.0.join("damaged/node.log"), vec![7; 4_096]).expect("written");
    finds(&place.0, &quick(&["--store", "damaged"]), "store", 2, "wrong", "store check damaged");
    fs::write(place.0.join("wrong.toml"), "admin = 'here'").expect("written");
    finds(&place.0, &[bundle, "--config", "wrong.toml"], "settings", 2, "wrong", "key `admin`");
    let seed = ["--seed", "n2=nowhere.invalid:7400"];
    finds(&place.0, &quick(&seed), "n2", 6, "wrong", "does not resolve");
    let stranger = ["--seed", "n9=127.0.0.1:7400"];
    finds(&place.0, &quick(&stranger), "seeds", 2, "wrong", "n9 is no node");
    fs::write(place.0.join("half.synod"), &text[..text.len() / 2]).expect("written");
    finds(&place.0, &["half.synod"], "bundle", 2, "wrong", "half.synod");
    let soon = ["cert", "renew", "--ca", "demo", "--days", "5", bundle];
    assert_eq!(synod(&place.0, &soon).exit, 0);
    finds(&place.0, &quick(&[]), "certificate", 6, "look", "cert renew");
}

#[test]
fn a_store_of_another_node_and_a_taken_admin_port_are_told_before_the_node_is_started() {
    let place = Place::new("doctor-not-its-own");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    fs::write(place.0.join("quick.toml"), "[limits]\nconnect_timeout_ms = 100").expect("written");
    let store = place.0.join("store");
    let flags = ["--store", store.to_str().expect("UTF-8")];
    Running::configured(&bundles[1], &flags).says(&["\"event\":\"started\""]);
    let asked = ["demo/n1.synod", "--config", "quick.toml", "--store", "store"];
    let words = "store is the store of n2 of cluster demo, bully, not of n1 of cluster demo, bully";
    finds(&place.0, &asked, "store", 6, "wrong", words);
    let taken = TcpListener::bind("127.0.0.1:0").expect("free");
    let admin = taken.local_addr().expect("bound").to_string();
    let asked = ["demo/n1.synod", "--config", "quick.toml", "--admin", &admin];
    finds(&place.0, &asked, "admin", 6, "wrong", "choose another port by --admin");
}

#[test]
fn a_store_for_which_the_disk_has_no_room_is_told() {
    let place = Place::new("doctor-full");
    cluster(&place.0, "demo", &["n1"]);
    fs::create_dir(place.0.join("store")).expect("made");
    // No file may grow, as on a full disk.
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" doctor demo/n1.synod --store store";
    let mut command = Command::new("bash");
    command.args(["-c", script, env!("CARGO_BIN_EXE_synod")]).current_dir(&place.0);
    let called = Called::from(command.output().expect("bash starts"));
    assert_eq!(called.exit, 6, "{}", called.stderr);
    assert!(called.stderr.contains("store: store cannot be written"), "{}", called.stderr);
    assert_eq!(fs::read_dir(place.0.join("store")).expect("listed").count(), 0);
}

#[test]
fn a_store_that_another_node_uses_is_told_with_its_process() {
    let place = Place::new("doctor-locked");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let store = place.0.join("store");
    let flags = ["--store", store.to_str().expect("UTF-8")];
    let mut other = Running::configured(&bundles[1], &flags);
    let started: Value =
        serde_json::from_str(&other.says(&["\"event\":\"started\""])).expect("JSON");
    let words_of_lock = format!("store/lock is locked by process {}: stop it", other.child.id());
    let asked = ["demo/n1.synod", "--store", "store"];
    finds(&place.0, &asked, "store", 6, "wrong", &words_of_lock);
    let admin = started["admin"].as_str().expect("an address");
    let itself = ["demo/n2.synod", "--store", "store", "--admin", admin];
    let (_, state, words) = found(&place.0, &itself, "store");
    assert_eq!(state, "fine", "{words}");
    // A node that runs does not hide that the store which it is asked about is another's.
    let mut one = Running::node(&bundles[0]);
    let started: Value = serde_json::from_str(&one.says(&["\"event\":\"started\""])).expect("JSON");
    let admin = started["admin"].as_str().expect("an address");
    let others = ["demo/n1.synod", "--store", "store", "--admin", admin];
    finds(&place.0, &others, "store", 6, "wrong", &words_of_lock);
    let called = synod(&place.0, &["doctor", "demo/n1.synod", "--admin", admin]);
    assert!(called.stderr.ends_with("status demo/n1.synod\n"), "{}", called.stderr);
}

#[test]
fn a_peer_of_another_cluster_is_told_from_one_that_does_not_answer() {
    let place = Place::new("doctor-foreign");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let other = place.0.join("other");
    assert_eq!(synod(&place.0, &["cert", "init", "other", "--cluster", "demo"]).exit, 0);
    let strangers = issue(&place.0, &other, &["n1", "n2"]);
    // The same addresses, another authority.
    let listen = |path: &Path| {
        let text = fs::read_to_string(path).expect("a bundle");
        let line = text.lines().find(|line| line.starts_with("listen = ")).expect("an address");
        (String::from(line), text)
    };
    let (ours, _) = listen(&bundles[1]);
    let (theirs, text) = listen(&strangers[1]);
    fs::write(&strangers[1], text.replace(&theirs, &ours)).expect("written");
    let mut stranger = Running::node(&strangers[1]);
    stranger.says(&["\"event\":\"started\""]);
    finds(&place.0, &["demo/n1.synod"], "n2", 6, "wrong", "another authority");
}
