//! What stands in the JSON lines of every command is what docs/json-lines.md says.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use synod_core::{Envelope, Event};
use synod_runtime::{FileStore, Store};

use crate::running::{Running, cluster, issue};
use crate::{Place, synod};

/// Something that a node has written down.
#[derive(Event, Debug, serde::Serialize, serde::Deserialize)]
#[event(name = "test.said")]
struct Said(u32);

/// Commands with commands below them.
const GROUPS: [&str; 4] = ["cert", "store", "trace", "history"];

/// Columns of the list.
const WIDTH: usize = 118;

/// Every command and event that was seen, with its fields: in how many lines each was, of which types.
#[derive(Default)]
struct Seen(BTreeMap<(String, String), (usize, BTreeMap<String, Field>)>);

#[derive(Default)]
struct Field {
    lines: usize,
    types: BTreeSet<&'static str>,
}

impl Seen {
    fn take(&mut self, command: &str, line: &Value) {
        assert_eq!(line["schema"], 1, "{line}");
        let event = line["event"].as_str().expect("an event");
        // Those that every command has.
        let command = if matches!(event, "error" | "warning") { "any" } else { command };
        let (lines, fields) = self.0.entry((command.into(), event.into())).or_default();
        *lines += 1;
        for (name, value) in line.as_object().expect("an object") {
            if name != "event" && name != "schema" {
                let field = fields.entry(name.clone()).or_default();
                field.lines += 1;
                field.types.insert(type_of(value));
            }
        }
    }

    /// Calls the binary, and takes every line that it says.
    fn call(&mut self, place: &Place, command: &str) {
        let words: Vec<&str> = command.split(' ').chain(["--json"]).collect();
        let called = synod(&place.0, &words);
        let is_group = words.first().is_some_and(|first| GROUPS.contains(first));
        let name: Vec<&str> = words.iter().take(1 + usize::from(is_group)).copied().collect();
        let name = name.join(" ");
        let is_wrong = called.exit == 2 || called.stdout.is_empty();
        assert_eq!(is_wrong, command == "frobnicate", "{command}: {}", called.stderr);
        for line in called.lines() {
            // How often this comes is a matter of time.
            if line.get("event").is_none_or(|event| event != "progress") {
                self.take(&name, &line);
            }
        }
    }

    /// The list of the document.
    fn list(&self) -> String {
        let mut list = String::new();
        for ((command, event), (lines, fields)) in &self.0 {
            let mut row = format!("{command}: {event}");
            for (name, field) in fields {
                let mut types: Vec<&str> = field.types.iter().copied().collect();
                types.sort_by_key(|it| *it == "null");
                types.extend((field.lines < *lines).then_some("absent"));
                let word = format!("{name} {}", types.join(" or "));
                let last = row.lines().last().unwrap_or_default().chars().count();
                row += if WIDTH < last + word.len() + 3 { "\n   " } else { " ·" };
                row += &format!(" {word}");
            }
            list += &format!("{row}\n");
        }
        list
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Everything that runs and ends by itself.
fn commands(place: &Place, seen: &mut Seen) {
    let schedule = "target/synod/bully-0.schedule";
    for command in [
        "demo",
        "sim bully --seeds 10",
        "sim bully --nodes 3..4 --seeds 10 --faults partition",
        "sim bully --seeds 10 --faults partition",
        "check bully",
        "check echo --nodes 3 --symmetry --crashes 0",
        "check bully --timing unbounded",
        "check bully --nodes 2 --timers 100..100 --copies 1",
        "check bully --max-states 100",
        "check hello --copies any --losses 2 --unordered --max-states 100",
        "check hello --estimate",
        "sweep bully --seeds 2",
        "sweep hello --seeds 2 --loss 50",
        "why target/synod/bully-check-unbounded.schedule --runs 2",
        "cluster hello --nodes 2 --record recordings",
        "replay recordings/n1.recording",
        "trace merge recordings/n1.recording recordings/n2.recording --out run.jsonl",
        "trace convert run.jsonl --to csv --out run.csv",
        "trace convert run.jsonl --to mermaid",
        "cluster bully --nodes 3 --kill-leader",
        "completions bash",
        "man",
        "frobnicate",
    ] {
        seen.call(place, command);
    }
    for command in [
        "replay SCHEDULE",
        "replay SCHEDULE --as-test",
        "why SCHEDULE --runs 20",
        "trace diff SCHEDULE SCHEDULE",
    ] {
        seen.call(place, &command.replace("SCHEDULE", schedule));
    }
    let found = "target/synod/bully-0.found.schedule";
    seen.call(place, &format!("trace diff {found} {schedule}"));
    schedules(place, seen);
    histories(place, seen);
}

fn histories(place: &Place, seen: &mut Seen) {
    let log = "\
INFO  jepsen.util - 0\t:invoke\t:write\t1
INFO  jepsen.util - 0\t:ok\t:write\t1
INFO  jepsen.util - 1\t:invoke\t:read\tnil
INFO  jepsen.util - 1\t:ok\t:read\tVALUE
";
    for (name, value) in [("good.log", "1"), ("bad.log", "2")] {
        std::fs::write(place.0.join(name), log.replace("VALUE", value)).expect("written");
        seen.call(place, &format!("history check {name} --model register"));
    }
    seen.call(place, "history check good.log --model register --time-limit 0");
}

/// A schedule that no longer fails, and one that cannot be kept.
fn schedules(place: &Place, seen: &mut Seen) {
    let text = std::fs::read_to_string(place.0.join("target/synod/bully-0.schedule"));
    let text = text.expect("a schedule");
    let calm: Vec<&str> = text.lines().filter(|line| !line.contains("partition.side")).collect();
    std::fs::write(place.0.join("calm.schedule"), calm.join("\n")).expect("written");
    seen.call(place, "replay calm.schedule");
    for command in ["sim bully --seeds 10 --faults partition", "check bully --timing unbounded"] {
        seen.call(place, &format!("{command} --out calm.schedule"));
    }
}

fn stores(place: &Place, seen: &mut Seen) {
    let mut store = FileStore::new(place.0.join("store"));
    store.open().expect("a new store");
    store.append(&Envelope::seal(&Said(1))).expect("room");
    store.sync().expect("a disk");
    drop(store);
    for command in
        ["check store", "dump store", "backup store --to copy", "restore other --from copy"]
    {
        seen.call(place, &format!("store {command}"));
    }
}

/// Certificates, and two nodes that use them.
fn nodes(place: &Place, seen: &mut Seen) {
    seen.call(place, "cert init ca");
    seen.call(place, "cert init next");
    let bundles = issue(&place.0, Path::new("ca"), &["n1", "n2"]);
    let [one, two] = &bundles[..] else { panic!("two bundles: {bundles:?}") };
    seen.call(place, "doctor ca/n1.synod");
    cluster(&place.0, "alone", &["n1"]);
    seen.call(place, "doctor alone/n1.synod");
    let kept = place.0.join("kept").display().to_string();
    let mut first = Running::configured(&place.0.join(one), &["--recordings", &kept]);
    let admin: Value = serde_json::from_str(&first.says(&[r#""event":"started""#])).expect("JSON");
    first.says(&[r#""event":"unreachable""#]);
    let mut second = Running::configured(&place.0.join(two), &[]);
    for running in [&mut first, &mut second] {
        running.says(&[r#""event":"link""#, r#""up":true"#]);
        running.says(&[r#""event":"state""#]);
    }
    let admin = admin.get("admin").and_then(Value::as_str).expect("an address");
    seen.call(place, &format!("status {admin}"));
    seen.call(place, &format!("record {admin} --for 1s --out on-demand"));
    end(&mut second, seen);
    first.says(&[r#""event":"link""#, r#""up":false"#]);
    end(&mut first, seen);
    seen.call(place, "status 127.0.0.1:1");
    // A key that others read is warned of.
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(place.0.join("ca/ca.key"), open).expect("a file of ours");
    for command in [
        "issue --ca ca --out bundles n3=10.0.0.1:7400",
        "inspect ca/n1.synod",
        "inspect ca/ca.pem",
        "check ca/n1.synod",
        "renew --ca ca ca/n1.synod",
        "trust --ca next ca/n1.synod",
        "revoke --ca ca ca/n1.synod",
        "inspect ca/revoked.crl",
    ] {
        seen.call(place, &format!("cert {command}"));
    }
}

/// Ends a node, and takes what it has said.
fn end(node: &mut Running, seen: &mut Seen) {
    let id = node.child.id().to_string();
    assert!(Command::new("kill").arg(&id).status().expect("kill").success());
    node.says(&[r#""event":"stopped""#]);
    for line in node.heard().filter(|line| line.starts_with("{\"event\"")) {
        seen.take("node", &serde_json::from_str(line).expect("JSON"));
    }
}

#[test]
fn the_json_lines_are_those_of_the_document() {
    if !cfg!(target_os = "linux") {
        return; // Elsewhere a process does not know how much memory it has.
    }
    let place = Place::new("json-lines");
    let mut seen = Seen::default();
    commands(&place, &mut seen);
    stores(&place, &mut seen);
    nodes(&place, &mut seen);
    let document = include_str!("../../../docs/json-lines.md");
    let told = document.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
    let list = seen.list();
    assert!(told == Some(&*list), "docs/json-lines.md should list:\n{list}");
}
