//! `cluster`: real processes on this machine, over QUIC, with certificates made for the occasion.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use synod_core::NodeId;
use synod_simulator::{Recorded, Schedule, Settings};
use synod_transport_quic::Authority;

use super::cert::bundle;
use crate::app::App;
use crate::args::{Cluster, days};
use crate::entry::Entry;
use crate::printer::Printer;
use crate::problem::{Exit, Problem};

/// What a summary may call that on which all nodes should agree in the end.
const AGREED: [&str; 5] = ["leader", "chosen", "outcome", "value", "initiator"];

/// Nodes of the cluster that is suggested.
const SUGGESTED_NODES: u32 = 5;

pub(crate) fn run(app: &App, asked: &Cluster, printer: &Printer) -> Result<(), Problem> {
    let entry = app.entry(Some(&asked.algorithm))?;
    let home = Home::new()?;
    let began = Instant::now();
    if let Some(directory) = &asked.record {
        fs::create_dir_all(directory).map_err(|error| {
            Problem::environment(format!("cannot make `{}`", directory.display()), &error)
        })?;
    }
    let mut processes = Processes::spawn(&home.0, entry.name(), asked)?;
    printer.say(format!("{} processes run {} over QUIC", asked.nodes, entry.name()));
    let within = Duration::from_secs(asked.timeout);
    let agreed = processes.elected(within)?;
    tell(printer, &agreed, &processes, began);
    if asked.kill_leader {
        let node = leader(entry.name(), &agreed)?;
        let pid = processes.kill(node)?;
        printer.say(format!("killed {node} (process {pid})"));
        printer.event(&json!({"event": "killed", "node": node.to_string(), "pid": pid}));
        let began = Instant::now();
        let next = processes.elected(within)?;
        tell(printer, &next, &processes, began);
    }
    thread::sleep(Duration::from_secs(asked.linger));
    let ended = processes.end();
    printer.say(format!("{ended} processes ended"));
    printer.event(&json!({"event": "ended", "processes": ended}));
    printer.next("cert init ca     (the first step of a deployment on machines of your own)");
    Ok(())
}

/// The command that shows an algorithm as processes, by what its nodes come to in a calm world;
/// where they come to nothing alike, what it costs.
pub(crate) fn suggested(entry: &dyn Entry) -> String {
    let settings = Settings::calm(SUGGESTED_NODES);
    let schedule = Schedule {
        algorithm: String::from(entry.name()),
        property: None,
        dropped: Vec::new(),
        run: Recorded::Simulated { settings, seed: 0, decisions: Vec::new() },
    };
    let trace = entry.replay(&schedule).trace;
    let summaries = trace.last_summaries();
    let shown = summaries.values().flat_map(|summary| summary.split(' '));
    let shown: BTreeMap<&str, &str> = shown.filter_map(|word| word.split_once(':')).collect();
    let agreed = AGREED.iter().find_map(|name| Some((*name, *shown.get(name)?)));
    let name = entry.name();
    match agreed {
        Some(("leader", node)) if node.parse::<NodeId>().is_ok() => {
            format!("cluster {name} --nodes {SUGGESTED_NODES} --kill-leader")
        }
        Some(_) => format!("cluster {name} --nodes {SUGGESTED_NODES}"),
        None => format!("sweep {name} --nodes 3..{SUGGESTED_NODES} --seeds 20"),
    }
}

/// The node that leads, if the nodes agree on one.
fn leader(algorithm: &str, (name, value): &Agreed) -> Result<NodeId, Problem> {
    let wrong = |what| Problem::new(Exit::Usage, what).hint("leave --kill-leader out");
    if *name != "leader" {
        let what = format!("{algorithm} elects no leader: its nodes agree that {name} is {value}");
        return Err(wrong(what));
    }
    value.parse().map_err(|_| {
        wrong(format!("{algorithm} calls its leader `{value}`, which is not the name of a node"))
    })
}

fn tell(printer: &Printer, agreed: &Agreed, processes: &Processes, began: Instant) {
    let (name, value) = agreed;
    let live: Vec<String> = processes.live.keys().map(ToString::to_string).collect();
    let after = began.elapsed().as_millis();
    let (event, what) = match *name {
        "leader" => ("elected", format!("elected {value}")),
        name => ("agreed", format!("{name} is {value}")),
    };
    printer.say(format!("{what} after {after} ms: {} agree", live.join(", ")));
    printer.event(&json!({
        "event": event, *name: value, "agreed": live.len(), "nodes": live,
        "after_ms": u64::try_from(after).unwrap_or(u64::MAX),
    }));
}

/// A directory for the bundles, removed with everything in it.
struct Home(PathBuf);

impl Home {
    fn new() -> Result<Self, Problem> {
        let path = std::env::temp_dir().join(format!("synod-cluster-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| {
            Problem::environment(format!("cannot make `{}`", path.display()), &error)
        })?;
        Ok(Self(path))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What cannot be removed holds keys of a cluster that is gone.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One of the names in [`AGREED`], and its value.
type Agreed = (&'static str, String);

/// The live processes, and the leader, or what else, that each knows. Dropping them ends them all.
struct Processes {
    live: BTreeMap<NodeId, Child>,
    leaders: BTreeMap<NodeId, Agreed>,
    said: Receiver<(NodeId, String)>,
}

/// What a node's line says of its state.
#[derive(Deserialize)]
struct Line {
    event: String,
    #[serde(default)]
    summary: BTreeMap<String, String>,
}

impl Processes {
    fn spawn(home: &Path, algorithm: &str, asked: &Cluster) -> Result<Self, Problem> {
        let peers = addresses(asked.nodes)?;
        let authority = Authority::new("loopback", days(1))
            .map_err(|error| Problem::new(Exit::Environment, error.to_string()))?;
        let (say, said) = channel();
        let (live, leaders) = (BTreeMap::new(), BTreeMap::new());
        let mut processes = Self { live, leaders, said };
        for node in peers.keys().copied() {
            let path = home.join(format!("{node}.synod"));
            let written = bundle(&authority, node, &peers, days(1))?.write_new(&path);
            written.map_err(|error| Problem::caused(&error))?;
            let mut command = command(&path, algorithm)?;
            if let Some(directory) = &asked.record {
                command.arg("--record").arg(directory.join(format!("{node}.recording")));
            }
            let child = spawn(command, node, say.clone())?;
            processes.live.insert(node, child);
        }
        Ok(processes)
    }

    /// Waits until all live nodes agree on a leader, or on what else the algorithm is for.
    fn elected(&mut self, within: Duration) -> Result<Agreed, Problem> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(leader) = self.agreed() {
                return Ok(leader);
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            match self.said.recv_timeout(rest) {
                Ok((node, line)) => self.note(node, &line),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.disagreement(within));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Problem::new(Exit::Environment, "every process has ended"));
                }
            }
        }
    }

    /// Nothing that all live nodes show alike, in time.
    fn disagreement(&self, within: Duration) -> Problem {
        let shown = |node: &NodeId| match self.leaders.get(node) {
            Some((name, value)) => format!("{node} shows {name}:{value}"),
            None => format!("{node} shows nothing of it"),
        };
        let shown: Vec<String> = self.live.keys().map(shown).collect();
        let what = format!("no agreement within {within:?}: {}", shown.join(", "));
        let hint = format!(
            "a cluster is waited for until all nodes show the same {} in their summaries: raise \
             --timeout, or run an algorithm that comes to one",
            AGREED.join(" or "),
        );
        Problem::new(Exit::Inconclusive, what).hint(hint)
    }

    /// The leader that every live node knows, if it is alive itself.
    fn agreed(&self) -> Option<Agreed> {
        let mut leaders = self.live.keys().map(|node| self.leaders.get(node));
        let first = leaders.next()??;
        let dead = first.1.parse::<NodeId>().is_ok_and(|node| !self.live.contains_key(&node));
        (!dead && leaders.all(|leader| leader == Some(first))).then(|| first.clone())
    }

    fn note(&mut self, node: NodeId, line: &str) {
        let Ok(Line { event, mut summary }) = serde_json::from_str(line) else {
            return;
        };
        if event == "state" {
            match AGREED.iter().find_map(|name| Some((*name, summary.remove(*name)?))) {
                Some(leader) => drop(self.leaders.insert(node, leader)),
                None => drop(self.leaders.remove(&node)),
            }
        }
    }

    fn kill(&mut self, node: NodeId) -> Result<u32, Problem> {
        let Some(mut child) = self.live.remove(&node) else {
            return Err(Problem::new(Exit::Environment, format!("{node} is not running")));
        };
        let pid = child.id();
        child
            .kill()
            .and_then(|()| child.wait())
            .map_err(|error| Problem::environment(format!("cannot kill {node}"), &error))?;
        Ok(pid)
    }

    /// Ends every process, and waits until it is gone.
    fn end(&mut self) -> usize {
        let children = std::mem::take(&mut self.live);
        let count = children.len();
        for (_, mut child) in children {
            let _ = child.kill();
            let _ = child.wait();
        }
        count
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.end();
    }
}

/// Free ports of the loopback interface, one for each node.
fn addresses(nodes: u32) -> Result<BTreeMap<NodeId, String>, Problem> {
    let failed = |error| Problem::environment("no free ports on 127.0.0.1", &error);
    // All are held until all are known, so that they differ.
    let sockets: Vec<UdpSocket> = (0..nodes)
        .map(|_| UdpSocket::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    let ports = sockets.iter().map(UdpSocket::local_addr);
    let named = (1..).map(NodeId).zip(ports);
    named
        .map(|(node, address)| Ok((node, address?.to_string())))
        .collect::<Result<_, _>>()
        .map_err(failed)
}

/// What starts one node, which ends when this process does.
fn command(bundle: &Path, algorithm: &str) -> Result<Command, Problem> {
    let program = std::env::current_exe()
        .map_err(|error| Problem::environment("cannot find this program", &error))?;
    let mut command = Command::new(program);
    command
        .args([
            "node",
            "--json",
            "--exit-with-stdin",
            "--workload",
            "--admin",
            "off",
            "--algorithm",
            algorithm,
        ])
        .arg(bundle)
        .env("SYNOD_LOG", std::env::var("SYNOD_LOG").unwrap_or_else(|_| String::from("error")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    Ok(command)
}

/// Starts one node, and listens to what it says.
fn spawn(
    mut command: Command,
    node: NodeId,
    say: Sender<(NodeId, String)>,
) -> Result<Child, Problem> {
    let failed = |error| Problem::environment(format!("cannot start {node}"), &error);
    let mut child = command.spawn().map_err(failed)?;
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if say.send((node, line)).is_err() {
                    return;
                }
            }
        });
    }
    Ok(child)
}
