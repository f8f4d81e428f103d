//! `status`: what running nodes of this machine say of themselves.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use synod_core::NodeId;
use synod_transport_quic::Bundle;

use crate::args::Status;
use crate::operating::client::{self, PATIENCE, STATUS, odd};
use crate::operating::settings::beside;
use crate::printer::{Printer, quoted, shown};
use crate::problem::{Exit, Problem};

/// A handler that runs for longer is worth a note.
const SLOW: Duration = Duration::from_secs(1);
/// How often `--watch` draws the table.
const WATCH_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn run(asked: &Status, printer: &Printer) -> Result<(), Problem> {
    let places: Vec<(String, SocketAddr)> =
        asked.nodes.iter().map(|text| place(text)).collect::<Result<_, _>>()?;
    loop {
        let answers: Vec<_> =
            places.iter().map(|(name, address)| (name, address, ask(*address))).collect();
        if asked.watch {
            printer.clear();
        }
        tell(&answers, printer);
        if asked.watch && printer.is_unheard() {
            return Ok(()); // It is told in the end where anybody but the reader is to blame.
        }
        if !asked.watch {
            let silent = answers.iter().find(|(_, _, answer)| answer.is_err());
            return match silent {
                Some((name, address, Err(error))) => Err(no_answer(name, address, error)),
                _ => {
                    let nodes: Vec<_> = asked.nodes.iter().map(quoted).collect();
                    printer.next(format!("status {} --watch", nodes.join(" ")));
                    Ok(())
                }
            };
        }
        thread::sleep(WATCH_EVERY);
    }
}

/// The name of a node and the address of its admin port, from an address or the path of a bundle.
pub(super) fn place(text: &str) -> Result<(String, SocketAddr), Problem> {
    if let Ok(address) = text.parse() {
        return Ok((String::from(text), address));
    }
    let bundle = Bundle::read_alone(Path::new(text)).map_err(|error| {
        Problem::of_file(&error).hint("expected the bundle of a node, or 127.0.0.1:PORT")
    })?;
    let address = beside(&bundle);
    if address.port() == 0 {
        let what =
            format!("`{text}` gives {} any port, so nobody knows where to ask it", bundle.node);
        let hint = "expected 127.0.0.1:PORT, as the node says at its start";
        return Err(Problem::new(Exit::Usage, what).hint(hint));
    }
    Ok((bundle.node.to_string(), address))
}

fn no_answer(name: &str, address: &SocketAddr, error: &io::Error) -> Problem {
    let what = format!("{name} does not answer at http://{address}/status");
    Problem::environment(what, error)
        .hint("is it started on this machine, and not with --admin off?")
}

/// What `/status` holds, as far as the table shows it.
#[derive(Debug, Deserialize)]
struct Answer {
    algorithm: String,
    /// The version of its program; none of a node of a version that does not tell.
    #[serde(default)]
    version: Option<String>,
    /// The number of its process; none of a node of a version that does not tell.
    #[serde(default)]
    process: Option<u32>,
    certificate_seconds_left: i64,
    peer_certificate_seconds_left: BTreeMap<String, i64>,
    bytes_per_peer_max: u64,
    /// Files that are not used as they are now, and why; none of a node of a version that does not tell.
    #[serde(default)]
    unusable: BTreeMap<String, String>,
    status: Node,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    running: bool,
    started: bool,
    transport_fault: Option<String>,
    /// None also of a node of a version that does not tell.
    #[serde(default)]
    hung: Option<String>,
    #[serde(default)]
    handling: Option<Handling>,
    #[serde(default)]
    unready: Option<String>,
    summary: Vec<(String, String)>,
    peers: Vec<Peer>,
    lanes: Vec<Lane>,
    events: Vec<Queue>,
    drops: BTreeMap<String, u64>,
    refusals: BTreeMap<String, u64>,
    restarts: u64,
}

#[derive(Debug, Deserialize)]
struct Handling {
    event: String,
    time: Duration,
}

#[derive(Debug, Deserialize)]
struct Peer {
    peer: String,
    up: bool,
    round_trip: Option<Duration>,
    /// None also of a node of a version that does not tell.
    #[serde(default)]
    silent_for: Option<Duration>,
    connected: bool,
    /// None also of a node of a version that does not tell.
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    protocol: Option<u16>,
    queued_bytes: usize,
    resumed: u64,
    lost: u64,
    last_error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Lane {
    peer: String,
    lane: String,
    queued: u64,
    unacknowledged: u64,
    kept_bytes: usize,
    unsettled: u64,
    lost: u64,
    refused: u64,
}

#[derive(Debug, Deserialize)]
struct Queue {
    queued: usize,
}

type Answered<'a> = (&'a String, &'a SocketAddr, io::Result<(Value, Answer)>);

fn tell(answers: &[Answered<'_>], printer: &Printer) {
    let mut table = Table::default();
    table.row(["NODE", "PEER", "STATE", "RTT", "QUEUE", "CERT", "NOTE"]);
    for (name, address, answer) in answers {
        match answer {
            Ok((whole, answer)) => {
                tell_node(answer, &mut table);
                printer.event(&json!({"event": "status", "node": answer.status.id, "told": whole}));
            }
            Err(error) => {
                let note = format!("no answer at {address}: {error}");
                table.row([name, "", "-", "-", "-", "-", &note]);
                printer.event(&json!({"event": "silent", "node": name, "why": error.to_string()}));
            }
        }
    }
    table.lines().for_each(|line| printer.say(line));
}

fn tell_node(answer: &Answer, table: &mut Table) {
    let Answer { algorithm, certificate_seconds_left, bytes_per_peer_max, status, .. } = answer;
    let summary = status.summary.iter().map(|(name, value)| format!("{name}:{value}"));
    let summary: Vec<String> = summary.collect();
    let state = match (status.running, status.started) {
        (true, true) => summary.join(" "),
        (true, false) => String::from("waits for peers"),
        (false, _) => String::from("ends"),
    };
    let queued: usize = status.events.iter().map(|event| event.queued).sum();
    let days = days(*certificate_seconds_left);
    let mut notes = vec![algorithm.clone()];
    notes.extend(answer.version.as_ref().map(|version| format!("version {version}")));
    notes.extend(status.transport_fault.clone());
    notes.extend(standstill(status));
    notes.extend(status.unready.clone());
    notes.push(format!("{} MiB a peer at most", bytes_per_peer_max >> 20));
    let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
    notes.extend(counted(&[
        (sum(&status.drops), "dropped"),
        (sum(&status.refusals), "refused"),
        (status.restarts, "restarts"),
    ]));
    table.row([&status.id, "", &state, "-", &queued.to_string(), &days, &notes.join(", ")]);
    for (file, words) in &answer.unusable {
        table.row(["", "", &format!("{file} not used"), "-", "-", "-", words]);
    }
    for peer in &status.peers {
        tell_peer(peer, answer.peer_certificate_seconds_left.get(&peer.peer).copied(), table);
        let lanes = status.lanes.iter().filter(|lane| lane.peer == peer.peer);
        lanes.for_each(|lane| tell_lane(lane, table));
    }
}

/// For how many days a certificate is valid that is for so many seconds.
fn days(seconds_left: i64) -> String {
    match seconds_left {
        0.. => format!("{} d", seconds_left / 86_400),
        _ => String::from("EXPIRED"),
    }
}

/// What keeps the node from anything else, if it has for long.
fn standstill(status: &Node) -> Option<String> {
    let long = status.handling.as_ref().filter(|it| SLOW <= it.time);
    let handling = long.map(|it| format!("handles {} for {} s", it.event, it.time.as_secs()));
    status.hung.as_ref().map(|why| format!("hung: {why}")).or(handling)
}

fn tell_peer(peer: &Peer, seconds_left: Option<i64>, table: &mut Table) {
    let round_trip = peer.round_trip.map(|it| format!("{:.1} ms", it.as_secs_f64() * 1e3));
    let mut notes: Vec<String> = peer.last_error.clone().filter(|_| !peer.up).into_iter().collect();
    notes.extend(peer.address.as_ref().map(|address| format!("at {address}")));
    notes.extend(peer.protocol.map(|version| format!("synod/{version}")));
    notes.extend(counted(&[(peer.resumed, "resumed"), (peer.lost, "lost")]));
    let state = state_of(peer);
    let queue = format!("{} B", peer.queued_bytes);
    let round_trip = round_trip.as_deref().filter(|_| peer.up).unwrap_or("-");
    let days = seconds_left.map_or_else(|| String::from("-"), days);
    table.row(["", &peer.peer, &state, round_trip, &queue, &days, &notes.join(", ")]);
}

fn state_of(peer: &Peer) -> String {
    if !peer.up {
        return String::from("down");
    }
    let mut state = String::from("up");
    state.extend((!peer.connected).then_some(", not connected"));
    let silence = peer.silent_for.map(|it| format!(", silent for {} s", it.as_secs()));
    state.extend(silence);
    state
}

/// A lane on which something waits, or was lost or refused.
fn tell_lane(lane: &Lane, table: &mut Table) {
    let counts: Vec<String> = counted(&[
        (lane.queued, "queued"),
        (lane.unacknowledged, "not acknowledged"),
        (lane.unsettled, "of the peer's not handled"),
        (lane.lost, "lost"),
        (lane.refused, "refused"),
    ])
    .collect();
    if !counts.is_empty() {
        let (name, queue) = (format!("lane {}", lane.lane), format!("{} B", lane.kept_bytes));
        table.row(["", "", &name, "-", &queue, "-", &counts.join(", ")]);
    }
}

/// The counts that are not zero, with their words.
fn counted(counts: &[(u64, &str)]) -> impl Iterator<Item = String> {
    counts.iter().filter(|(count, _)| 0 < *count).map(|(count, what)| format!("{count} {what}"))
}

/// Rows of cells, each column as wide as its widest cell.
#[derive(Debug, Default)]
struct Table(Vec<[String; COLUMNS]>);

const COLUMNS: usize = 7;

impl Table {
    fn row(&mut self, cells: [&str; COLUMNS]) {
        self.0.push(cells.map(shown));
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let mut widths = [0; COLUMNS];
        for row in &self.0 {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        self.0.iter().map(move |row| {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            String::from(cells.collect::<Vec<_>>().join("  ").trim_end())
        })
    }
}

/// Who tells of itself at an address.
pub(super) fn node_at(address: SocketAddr) -> io::Result<String> {
    ask(address).map(|(_, answer)| answer.status.id)
}

/// A node that runs.
pub(super) struct Running {
    pub(super) process: u32,
    /// Why it reaches nobody, or every peer turns it away.
    pub(super) fault: Option<String>,
}

/// `node`, if it is `node` that tells of itself at an address.
pub(super) fn running_at(address: SocketAddr, node: NodeId) -> Option<Running> {
    let (_, Answer { process, status, .. }) = ask(address).ok()?;
    let process = process.filter(|_| status.id == node.to_string())?;
    Some(Running { process, fault: status.transport_fault })
}

/// Asks the admin port at `address`.
fn ask(address: SocketAddr) -> io::Result<(Value, Answer)> {
    let reply = client::ask(address, STATUS, PATIENCE)?;
    let told = serde_json::from_str(&reply.page).ok().filter(|_| reply.code == 200);
    let whole: Value = told.ok_or_else(odd)?;
    let answer = Answer::deserialize(&whole).map_err(|_| odd())?;
    Ok((whole, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::default();
        table.row(["NODE", "PEER", "STATE", "RTT", "QUEUE", "CERT", "NOTE"]);
        table.row(["127.0.0.1:7401", "", "leader:n4294967295", "-", "1", "-", "bully"]);
        table.row(["", "n4294967295", "up", "-", "0 B", "-", ""]);
        let lines: Vec<String> = table.lines().collect();
        assert_eq!(lines[0].find("STATE"), lines[1].find("leader"), "{lines:?}");
        assert_eq!(lines[0].find("STATE"), lines[2].find("up"), "{lines:?}");
        assert_eq!(lines[0].find("NOTE"), lines[1].find("bully"), "{lines:?}");
    }

    #[test]
    fn what_a_peer_has_said_neither_moves_the_cursor_nor_begins_a_row() {
        let mut table = Table::default();
        table.row(["n1", "", "leader:\u{1b}[2Jn9\nn2", "-", "1", "-", "bully"]);
        let lines: Vec<String> = table.lines().collect();
        assert_eq!(lines, ["n1    leader:\u{fffd}[2Jn9\u{fffd}n2  -  1  -  bully"]);
    }

    #[test]
    fn a_certificate_that_has_ended_is_said_to_be_expired() {
        let told = [86_399, 86_400, 0, -1, -90_000].map(days);
        assert_eq!(told, ["0 d", "1 d", "0 d", "EXPIRED", "EXPIRED"]);
    }

    #[test]
    fn a_handler_that_runs_for_long_is_told_and_a_node_that_is_hung_too() {
        let quiet = r#"{"id": "n1", "running": true, "started": true, "transport_fault": null,
            "summary": [], "peers": [], "lanes": [], "events": [], "drops": {}, "refusals": {},
            "restarts": 0}"#;
        let node: Node = serde_json::from_str(quiet).expect("JSON of an earlier version");
        assert_eq!(standstill(&node), None);
        let handling = |ms| {
            let (event, time) = (String::from("a"), Duration::from_millis(ms));
            Some(Handling { event, time })
        };
        let node = Node { handling: handling(999), ..node };
        assert_eq!(standstill(&node), None);
        let node = Node { handling: handling(3_100), ..node };
        assert_eq!(standstill(&node).as_deref(), Some("handles a for 3 s"));
        let node = Node { hung: Some(String::from("the store")), ..node };
        assert_eq!(standstill(&node).as_deref(), Some("hung: the store"));
    }

    #[test]
    fn a_lane_has_a_row_if_there_is_something_to_say_of_it() {
        let quiet = r#"{"peer": "n2", "lane": "bully", "queued": 0, "unacknowledged": 0,
            "kept_bytes": 0, "unsettled": 0, "lost": 0, "refused": 0}"#;
        let mut table = Table::default();
        let lane: Lane = serde_json::from_str(quiet).expect("JSON");
        tell_lane(&lane, &mut table);
        assert_eq!(table.lines().count(), 0);
        tell_lane(&Lane { unacknowledged: 3, kept_bytes: 170, lost: 2, ..lane }, &mut table);
        let told: Vec<String> = table.lines().collect();
        assert_eq!(told, ["    lane bully  -  170 B  -  3 not acknowledged, 2 lost"]);
    }
}
