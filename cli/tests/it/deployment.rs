//! Real processes over QUIC on the loopback interface.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Place, synod};

const PATIENCE: Duration = Duration::from_secs(60);

/// A process that runs a node, and what it says on both outputs. Killed when it is dropped.
struct Running {
    child: Child,
    said: Receiver<String>,
    heard: Vec<String>,
}

impl Running {
    fn node(bundle: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_synod"))
            .args(["node", "--json"])
            .arg(bundle)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the node starts");
        let (say, said) = channel();
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let also = say.clone();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|it| say.send(it))
        });
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|it| also.send(it))
        });
        Self { child, said, heard: Vec::new() }
    }

    /// Waits for a line that holds all of `words`.
    fn says(&mut self, words: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        let fits = |line: &String| words.iter().all(|word| line.contains(word));
        if let Some(line) = self.heard.iter().find(|line| fits(line)) {
            return line.clone();
        }
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.said.recv_timeout(rest) else {
                panic!("no line with {words:?} in {:#?}", self.heard);
            };
            self.heard.push(line.clone());
            if fits(&line) {
                return line;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authority, and bundles for nodes on free ports.
fn cluster(place: &Path, name: &str, nodes: &[&str]) -> Vec<PathBuf> {
    let ca = place.join(name);
    let made = synod(place, &["cert", "init", ca.to_str().expect("UTF-8"), "--cluster", name]);
    assert_eq!(made.exit, 0, "{}", made.stderr);
    issue(place, &ca, nodes)
}

fn issue(place: &Path, ca: &Path, nodes: &[&str]) -> Vec<PathBuf> {
    let sockets: Vec<_> =
        nodes.iter().map(|_| UdpSocket::bind("127.0.0.1:0").expect("a free port")).collect();
    let members: Vec<String> = nodes
        .iter()
        .zip(&sockets)
        .map(|(node, it)| format!("{node}={}", it.local_addr().expect("bound")))
        .collect();
    let mut args = vec!["cert", "issue", "--ca", ca.to_str().expect("UTF-8")];
    args.extend(["--out", ca.to_str().expect("UTF-8")]);
    args.extend(members.iter().map(String::as_str));
    let issued = synod(place, &args);
    assert_eq!(issued.exit, 0, "{}", issued.stderr);
    nodes.iter().map(|node| ca.join(format!("{node}.synod"))).collect()
}

#[test]
fn five_processes_elect_a_leader_and_another_one_when_it_is_killed() {
    let place = Place::new("cluster");
    let called = synod(&place.0, &["cluster", "bully", "--nodes", "5", "--kill-leader", "--json"]);
    assert_eq!(called.exit, 0, "{}\n{}", called.stdout, called.stderr);
    let elected: Vec<Value> =
        called.lines().into_iter().filter(|line| line["event"] == "elected").collect();
    assert_eq!(elected.len(), 2);
    assert_eq!((&elected[0]["leader"], &elected[0]["agreed"]), (&"n5".into(), &5.into()));
    assert_eq!((&elected[1]["leader"], &elected[1]["agreed"]), (&"n4".into(), &4.into()));
    assert_eq!(called.last()["event"], "ended");
}

#[test]
fn three_nodes_started_by_hand_form_a_cluster() {
    let place = Place::new("by-hand");
    let bundles = cluster(&place.0, "demo", &["n1", "n2", "n3"]);
    let mut nodes: Vec<Running> = bundles.iter().map(|bundle| Running::node(bundle)).collect();
    for node in &mut nodes {
        node.says(&["\"event\":\"state\"", "\"leader\":\"n3\""]);
    }
}

#[test]
fn keys_are_private_and_never_overwritten() {
    let place = Place::new("keys");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let key = place.0.join("demo").join("ca.key");
    for file in bundles.iter().chain([&key]) {
        let mode = fs::metadata(file).expect("written").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    let before = fs::read(&bundles[0]).expect("a bundle");
    let again = synod(&place.0, &["cert", "init", "demo"]);
    assert_eq!(again.exit, 6);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    let reissued =
        synod(&place.0, &["cert", "issue", "--ca", "demo", "--out", "demo", "n1=127.0.0.1:7400"]);
    assert_eq!(reissued.exit, 6);
    assert_eq!(fs::read(&bundles[0]).expect("a bundle"), before);
}

#[test]
fn a_certificate_is_inspected() {
    let place = Place::new("inspect");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    let called =
        synod(&place.0, &["cert", "inspect", bundles[0].to_str().expect("UTF-8"), "--json"]);
    let facts = called.last();
    assert_eq!(facts["node"], "n1");
    assert_eq!(facts["cluster"], "demo");
    assert!(facts["days_left"].as_u64().is_some_and(|days| (88..=90).contains(&days)));
}

/// Puts the peers of one bundle into another, so that nodes of two clusters meet.
fn with_peers_of(bundle: &Path, other: &Path) {
    let text = fs::read_to_string(bundle).expect("a bundle");
    let peers = fs::read_to_string(other).expect("a bundle");
    let (_, peers) = peers.split_once("[peers]").expect("peers");
    let (own, _) = text.split_once("[peers]").expect("peers");
    let listen = |text: &str| {
        text.lines().find(|line| line.starts_with("listen")).map(String::from).expect("listen")
    };
    let own = own.replace(&listen(own), &listen(&fs::read_to_string(other).expect("a bundle")));
    fs::write(bundle, format!("{own}[peers]{peers}")).expect("written");
}

#[test]
fn a_bundle_of_another_authority_is_refused_on_both_sides() {
    let place = Place::new("other-ca");
    let ours = cluster(&place.0, "demo", &["n1", "n2"]);
    let theirs = issue_elsewhere(&place.0);
    with_peers_of(&theirs, &ours[1]);
    let mut n1 = Running::node(&ours[0]);
    let mut stranger = Running::node(&theirs);
    let here = n1.says(&["certificate of n2 is of another authority"]);
    let there = stranger.says(&["certificate of n1 is of another authority"]);
    for line in [here, there] {
        assert!(line.contains("cert issue"), "says what to do: {line}");
    }
}

/// A second authority with the same cluster name, and its bundle for n2.
fn issue_elsewhere(place: &Path) -> PathBuf {
    let other = place.join("elsewhere");
    fs::create_dir_all(&other).expect("a directory");
    let bundles = cluster(&other, "demo", &["n1", "n2"]);
    bundles.into_iter().next_back().expect("two bundles")
}

#[test]
fn an_expired_bundle_is_refused_before_a_socket_is_opened() {
    let place = Place::new("expired");
    let ca = place.0.join("demo");
    assert_eq!(synod(&place.0, &["cert", "init", "demo"]).exit, 0);
    let issued = synod(
        &place.0,
        &["cert", "issue", "--ca", "demo", "--out", "demo", "--days", "0", "n1=127.0.0.1:7400"],
    );
    assert_eq!(issued.exit, 0, "{}", issued.stderr);
    let bundle = ca.join("n1.synod");
    thread::sleep(Duration::from_millis(1_100)); // Certificates count in seconds.
    let called = synod(&place.0, &["node", bundle.to_str().expect("UTF-8")]);
    assert_eq!(called.exit, 6);
    assert!(called.stderr.contains("expired"), "{}", called.stderr);
    assert!(called.stderr.contains("n1"), "{}", called.stderr);
}

#[test]
fn a_bundle_that_names_another_node_is_refused_with_both_names() {
    let place = Place::new("other-node");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let text = fs::read_to_string(&bundles[1]).expect("a bundle");
    let claims = text.replace("node = \"n2\"", "node = \"n1\"");
    fs::write(&bundles[1], claims).expect("written");
    let called = synod(&place.0, &["node", bundles[1].to_str().expect("UTF-8")]);
    assert_eq!(called.exit, 6, "{}", called.stderr);
    assert!(called.stderr.contains("n1") && called.stderr.contains("n2"), "{}", called.stderr);
}
