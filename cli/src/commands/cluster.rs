//! `cluster`: real processes on this machine, over QUIC, with certificates made for the occasion.

mod home;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use synod_core::NodeId;
use synod_simulator::{Recorded, Schedule, Settings};
use synod_transport_quic::Authority;

use self::home::Home;
use super::cert::bundle;
use super::told_to_end::when_told_to_end;
use crate::app::App;
use crate::args::{Cluster, days};
use crate::entry::Entry;
use crate::printer::{Printer, counted, quoted};
use crate::problem::{Exit, Problem};

/// What a summary may call that on which all nodes should agree in the end.
const AGREED: [&str; 5] = ["leader", "chosen", "outcome", "value", "initiator"];
/// A value that says that there is none yet.
const NONE: &str = "-";

/// Nodes of the cluster that is suggested.
const SUGGESTED_NODES: u32 = 5;

pub(crate) fn run(app: &App, asked: &Cluster, printer: &Printer) -> Result<(), Problem> {
    let entry = app.entry(Some(&asked.algorithm))?;
    let goal = Goal::of(entry, asked.nodes);
    if asked.kill_leader && matches!(goal, Goal::Each(_)) {
        let what = format!("{} elects no leader: its {}", entry.name(), names_nothing());
        return Err(Problem::new(Exit::Usage, what).hint("leave --kill-leader out"));
    }
    let home = Home::new()?;
    let began = Instant::now();
    if let Some(directory) = &asked.record {
        fs::create_dir_all(directory).map_err(|error| {
            Problem::environment(format!("cannot make `{}`", directory.display()), &error)
        })?;
    }
    let mut processes = Processes::spawn(&home.path, entry.name(), asked)?;
    let run = counted(u64::from(asked.nodes), "process runs", "processes run");
    printer.say(format!("{run} {} over QUIC", entry.name()));
    let within = Duration::from_secs(asked.timeout);
    processes.reach(&goal, within)?;
    let agreed = processes.agreed();
    tell(printer, agreed.as_ref(), &processes, began);
    if let (true, Some(agreed)) = (asked.kill_leader, agreed) {
        let node = leader(entry.name(), &agreed)?;
        let pid = processes.kill(node)?;
        printer.say(format!("killed {node} (process {pid})"));
        printer.event(&json!({"event": "killed", "node": node.to_string(), "pid": pid}));
        let began = Instant::now();
        processes.reach(&goal, within)?;
        tell(printer, processes.agreed().as_ref(), &processes, began);
    }
    processes.linger(Duration::from_secs(asked.linger));
    let ended = processes.end();
    printer.say(format!("{} ended", counted(ended as u64, "process", "processes")));
    printer.event(&json!({"event": "ended", "processes": ended}));
    printer.next(match &asked.record {
        Some(directory) => format!("replay {}", quoted(directory.join("n1.recording"))),
        None => String::from(
            "cert init ca     (the first step of a deployment on machines of your own)",
        ),
    });
    Ok(())
}

/// What a cluster is waited for.
enum Goal {
    /// All nodes show the same leader, or what else the algorithm is for, by this name.
    Alike(&'static str, String),
    /// They agree on nothing: each shows what it came to in a calm simulation.
    Each(BTreeMap<NodeId, String>),
}

impl Goal {
    /// What the nodes of an algorithm come to in a calm world.
    fn of(entry: &dyn Entry, nodes: u32) -> Self {
        let settings = Settings::calm(nodes);
        let schedule = Schedule {
            algorithm: String::from(entry.name()),
            property: None,
            dropped: Vec::new(),
            run: Recorded::Simulated { settings, seed: 0, decisions: Vec::new() },
        };
        let trace = entry.replay(&schedule).trace;
        let summaries = trace.last_summaries();
        let shown = summaries.values().flat_map(|summary| summary.split(' '));
        let shown = shown.filter_map(|word| word.split_once(':'));
        let shown = shown.map(|(name, value)| (String::from(name), String::from(value)));
        match agreeable(&shown.collect()) {
            Some((name, value)) => Self::Alike(name, value),
            None => Self::Each(
                summaries.into_iter().map(|(node, it)| (node, String::from(it))).collect(),
            ),
        }
    }
}

/// Why nodes agree on nothing.
fn names_nothing() -> String {
    let [first, rest @ ..] = AGREED;
    let rest = rest.map(|name| format!("`{name}`")).join(", ");
    format!("summary() names no `{first}`, nor {rest}, on which all could agree")
}

/// The command that shows an algorithm as processes; where its nodes show nothing, what it costs.
pub(crate) fn suggested(entry: &dyn Entry) -> String {
    let name = quoted(entry.name());
    match Goal::of(entry, SUGGESTED_NODES) {
        Goal::Alike("leader", node) if node.parse::<NodeId>().is_ok() => {
            format!("cluster {name} --nodes {SUGGESTED_NODES} --kill-leader")
        }
        Goal::Each(shown) if shown.is_empty() => {
            format!("sweep {name} --nodes 3..{SUGGESTED_NODES} --seeds 20")
        }
        _ => format!("cluster {name} --nodes {SUGGESTED_NODES}"),
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

fn tell(printer: &Printer, agreed: Option<&Agreed>, processes: &Processes, began: Instant) {
    let live: Vec<String> = processes.live.keys().map(ToString::to_string).collect();
    let after = began.elapsed().as_millis();
    let after_ms = u64::try_from(after).unwrap_or(u64::MAX);
    let Some((name, value)) = agreed else {
        printer.say(format!("after {after} ms each node has come to what a simulation says:"));
        let shown = processes.shown.iter().map(|(node, shown)| (node.to_string(), words(shown)));
        let shown: BTreeMap<String, String> = shown.collect();
        shown.iter().for_each(|(node, words)| printer.say(format!("  {node} {words}")));
        printer.event(&json!({
            "event": "settled", "nodes": live, "shown": shown, "after_ms": after_ms,
        }));
        return;
    };
    let (event, what) = match *name {
        "leader" => ("elected", format!("elected {value}")),
        name => ("agreed", format!("{name} is {value}")),
    };
    printer.say(format!("{what} after {after} ms: {} agree", live.join(", ")));
    printer.event(&json!({
        "event": event, *name: value, "agreed": live.len(), "nodes": live, "after_ms": after_ms,
    }));
}

/// A summary as a node's line tells it.
fn words(shown: &Shown) -> String {
    let words: Vec<String> = shown.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    words.join(" ")
}

/// On what of that all nodes could agree.
fn agreeable(shown: &Shown) -> Option<Agreed> {
    let value = |name: &str| shown.get(name).filter(|value| *value != NONE).cloned();
    AGREED.iter().find_map(|name| Some((*name, value(name)?)))
}

/// Whether the two say the same, in whatever order.
fn is_same(shown: &Shown, summary: &str) -> bool {
    let all_of_it = words(shown).len() == summary.len();
    all_of_it && shown.iter().all(|(name, value)| summary.contains(&format!("{name}:{value}")))
}

/// One of the names in [`AGREED`], and its value.
type Agreed = (&'static str, String);

/// What a node shows of its state: values by name.
type Shown = BTreeMap<String, String>;

/// The live processes, and what those show that have said something. Dropping them ends them all.
struct Processes {
    live: BTreeMap<NodeId, Child>,
    shown: BTreeMap<NodeId, Shown>,
    heard: Receiver<Heard>,
}

/// What is heard while the processes run.
enum Heard {
    /// A line that one of them says.
    Line(NodeId, String),
    /// One of them says no more, since it has ended.
    End(NodeId),
    /// This process is told to end, by SIGINT or SIGTERM.
    Stop,
}

/// What a node's line says of its state.
#[derive(Deserialize)]
struct Line {
    event: String,
    #[serde(default)]
    summary: Shown,
}

impl Processes {
    fn spawn(home: &Path, algorithm: &str, asked: &Cluster) -> Result<Self, Problem> {
        let peers = addresses(asked.nodes)?;
        let authority = Authority::new("loopback", days(1))
            .map_err(|error| Problem::new(Exit::Environment, error.to_string()))?;
        let (say, heard) = channel();
        let tell = say.clone();
        // Without this the keys in [`Home`] would outlive the process until the next run. Whoever would hear it may have ended already.
        when_told_to_end(move || drop(tell.send(Heard::Stop)))?;
        let (live, shown) = (BTreeMap::new(), BTreeMap::new());
        let mut processes = Self { live, shown, heard };
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

    /// Waits until the live nodes show what they are to come to.
    fn reach(&mut self, goal: &Goal, within: Duration) -> Result<(), Problem> {
        let deadline = Instant::now() + within;
        while !self.has_reached(goal) {
            let rest = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(rest) {
                Ok(Heard::Line(node, line)) => self.note(node, &line),
                Ok(Heard::End(node)) => self.outlive(node)?,
                Ok(Heard::Stop) => {
                    let what = "told to end before the nodes showed what they are to come to";
                    return Err(Problem::new(Exit::Inconclusive, what));
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.missed(goal, within)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Problem::new(Exit::Environment, "every process has ended"));
                }
            }
        }
        Ok(())
    }

    /// Lets them run for so long, or until this process is told to end.
    fn linger(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(rest) {
                Ok(Heard::Line(node, line)) => self.note(node, &line),
                Ok(Heard::End(_)) => (),
                Ok(Heard::Stop) | Err(_) => return,
            }
        }
    }

    /// A process that was not killed, and ends all the same, is not waited for.
    fn outlive(&mut self, node: NodeId) -> Result<(), Problem> {
        let Some(mut child) = self.live.remove(&node) else { return Ok(()) };
        let status = child
            .wait()
            .map_err(|error| Problem::environment(format!("cannot wait for {node}"), &error))?;
        let what = format!("{node} has ended by itself: {status}");
        let hint = "what it says stands above; SYNOD_LOG=info makes it say more";
        Err(Problem::new(Exit::Environment, what).hint(hint))
    }

    fn has_reached(&self, goal: &Goal) -> bool {
        match goal {
            Goal::Alike(..) => self.agreed().is_some(),
            Goal::Each(all) => self.live.keys().all(|node| {
                let expected = all.get(node).map_or("", String::as_str);
                self.shown.get(node).is_some_and(|shown| is_same(shown, expected))
            }),
        }
    }

    /// What the live nodes do not show, in time.
    fn missed(&self, goal: &Goal, within: Duration) -> Problem {
        let shown = |node: &NodeId| match self.shown.get(node).map(words) {
            Some(words) if !words.is_empty() => format!("{node} shows {words}"),
            _ => format!("{node} shows nothing"),
        };
        let shown: Vec<String> = self.live.keys().map(shown).collect();
        let hint = match goal {
            Goal::Alike(name, _) => format!("all nodes are to show the same {name}"),
            Goal::Each(all) => {
                let each = all.iter().map(|(node, words)| format!("{node} {words}"));
                let each: Vec<String> = each.collect();
                format!(
                    "in a calm simulation they come to {}, and what may end otherwise is not for \
                     `summary()`; its {}",
                    each.join(", "),
                    names_nothing()
                )
            }
        };
        let what = format!("no agreement within {within:?}: {}", shown.join(", "));
        let hint = format!("{hint}; raise --timeout, or see with SYNOD_LOG=info what hinders them");
        Problem::new(Exit::Inconclusive, what).hint(hint)
    }

    /// The leader, or what else, that every live node knows. A leader is alive itself.
    fn agreed(&self) -> Option<Agreed> {
        let known = |node| agreeable(self.shown.get(node)?);
        let mut all = self.live.keys().map(known);
        let first = all.next()??;
        let dead = first.1.parse::<NodeId>().is_ok_and(|node| !self.live.contains_key(&node));
        (!dead && all.all(|other| other.as_ref() == Some(&first))).then_some(first)
    }

    fn note(&mut self, node: NodeId, line: &str) {
        let Ok(Line { event, summary }) = serde_json::from_str(line) else {
            return;
        };
        let shown = self.shown.entry(node).or_default();
        if event == "state" {
            *shown = summary;
        }
    }

    fn kill(&mut self, node: NodeId) -> Result<u32, Problem> {
        let Some(mut child) = self.live.remove(&node) else {
            return Err(Problem::new(Exit::Environment, format!("{node} is not running")));
        };
        self.shown.remove(&node);
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
fn spawn(mut command: Command, node: NodeId, say: Sender<Heard>) -> Result<Child, Problem> {
    let failed = |error| Problem::environment(format!("cannot start {node}"), &error);
    let mut child = command.spawn().map_err(failed)?;
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let lines = lines.map(|line| Heard::Line(node, line));
            for heard in lines.chain([Heard::End(node)]) {
                if say.send(heard).is_err() {
                    return;
                }
            }
        });
    }
    Ok(child)
}

#[cfg(test)]
mod tests {
    use super::{Shown, agreeable};

    #[test]
    fn a_dash_is_no_value_to_agree_on() {
        let shown = |values: &[(&str, &str)]| -> Shown {
            values.iter().map(|(name, value)| (String::from(*name), String::from(*value))).collect()
        };
        assert_eq!(agreeable(&shown(&[("leader", "-"), ("role", "follower")])), None);
        let chosen = agreeable(&shown(&[("leader", "-"), ("chosen", "7")]));
        assert_eq!(chosen, Some(("chosen", String::from("7"))));
    }
}
