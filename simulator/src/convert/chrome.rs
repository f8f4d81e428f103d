//! Trace events as JSON, for Perfetto and `chrome://tracing`.
//!
//! A process is a node, process 0 the network. A step is a slice of one microsecond, the shortest
//! that can be seen; a message and a timer are flows between two steps. Each flow event stands
//! right behind its slice, which tells apart the steps of a node at the same time.

use serde_json::{Value, json};

use super::links::{Lasting, Links, Span, spans};
use super::text::happening;
use crate::trace::{Step, StepKind, Trace};

/// The thread of a node's steps, and the one of what lasts.
const STEPS: u32 = 1;
const LASTING: u32 = 2;

pub(super) fn events(trace: &Trace) -> String {
    let mut lines: Vec<String> = names(trace).iter().map(written).collect();
    let links = Links::of(trace);
    let caused = links.caused();
    for (place, step) in trace.steps.iter().enumerate() {
        lines.push(written(&slice(step)));
        if links.origin(place).is_some() {
            lines.push(written(&flow("f", place, step, step)));
        }
        for effect in caused.get(&place).into_iter().flatten() {
            if let Some(later) = trace.steps.get(*effect) {
                lines.push(written(&flow("s", *effect, step, later)));
            }
        }
        lines.extend(marks(step).iter().map(written));
    }
    lines.extend(spans(trace).iter().map(|span| written(&lasting(trace, span))));
    let about = written(&json!({"algorithm": trace.algorithm, "nodes": trace.nodes}));
    let events = lines.join(",\n");
    format!("{{\"displayTimeUnit\":\"ms\",\"otherData\":{about},\"traceEvents\":[\n{events}\n]}}\n")
}

/// JSON that can stand in a script of a page: no `<`, no separator that ends a line there.
fn written(value: &Value) -> String {
    let text = value.to_string();
    text.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// The names of the tracks that have something on them.
fn names(trace: &Trace) -> Vec<Value> {
    let mut tracks: Vec<u32> = trace.steps.iter().map(process).collect();
    tracks.sort_unstable();
    tracks.dedup();
    let name = |pid: &u32| {
        let name = if *pid == 0 { String::from("network") } else { format!("n{pid}") };
        json!({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}})
    };
    let order = |pid: &u32| json!({"ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": pid}});
    tracks.iter().flat_map(|pid| [name(pid), order(pid)]).collect()
}

fn process(step: &Step) -> u32 {
    step.node.map_or(0, |node| node.0)
}

fn slice(step: &Step) -> Value {
    let Step { time_us, sends, changes, state, outputs, log, wrong, .. } = step;
    json!({
        "ph": "X", "name": step.event, "cat": step.kind, "pid": process(step), "tid": STEPS,
        "ts": time_us, "dur": 1,
        "args": {
            "step": step.index, "payload": step.payload, "message": step.message,
            "delay_us": step.delay_us, "sends": sends, "changes": changes, "state": state,
            "outputs": outputs, "log": log, "violation": wrong,
        },
    })
}

/// The begin or the end of a flow to `effect`, on the slice of `here`.
fn flow(phase: &str, id: usize, here: &Step, effect: &Step) -> Value {
    let kind = if effect.kind == StepKind::Timer { "timer" } else { "message" };
    let mut event = json!({
        "ph": phase, "name": effect.event, "cat": kind, "id": id,
        "pid": process(here), "tid": STEPS, "ts": here.time_us,
    });
    if let (Some(fields), "f") = (event.as_object_mut(), phase) {
        fields.insert("bp".into(), "e".into());
    }
    event
}

/// What must not be overlooked: messages lost at once, and violations.
fn marks(step: &Step) -> Vec<Value> {
    let mark = |name: String, scope: &str| {
        json!({
            "ph": "i", "name": name, "cat": "mark", "s": scope,
            "pid": process(step), "tid": STEPS, "ts": step.time_us,
        })
    };
    let lost = step.sends.iter().filter_map(|sent| {
        let why = sent.lost.as_ref()?;
        Some(mark(format!("{} to {} is lost: {why}", sent.event, sent.to), "t"))
    });
    let wrong = step.wrong.iter().map(|wrong| mark(format!("violation: {wrong}"), "g"));
    lost.chain(wrong).collect()
}

fn lasting(trace: &Trace, span: &Span<'_>) -> Value {
    let time = |place: usize| trace.steps.get(place).map_or(0, |step| step.time_us);
    let last = || trace.steps.iter().map(|step| step.time_us).max().unwrap_or_default();
    let begin_us = time(span.begin);
    let end_us = span.end.map_or_else(last, time);
    let (pid, name) = match (span.what, trace.steps.get(span.begin)) {
        (Lasting::Down(node), _) => (node.0, String::from("down")),
        (Lasting::Split(_), Some(step)) => (0, happening(step)),
        (Lasting::Split(words), None) => (0, String::from(words)),
    };
    json!({
        "ph": "X", "name": name, "cat": "fault", "pid": pid, "tid": LASTING,
        "ts": begin_us, "dur": end_us.saturating_sub(begin_us),
    })
}
