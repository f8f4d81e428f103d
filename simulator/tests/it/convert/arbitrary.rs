//! Traces as nobody would write them.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use synod_core::NodeId;
use synod_simulator::history::ClientEvent;
use synod_simulator::{Armed, Change, Header, MessageId, Sent, Step, StepKind, Trace};

use super::{BULLY, HAND};

/// A text with what some format could take for its own syntax.
pub(super) fn text() -> impl Strategy<Value = String> {
    let hostile = prop::sample::select(vec![
        "a.b",
        "\"",
        "\n",
        "</script>",
        "\u{202e}",
        "שלום",
        "n1 {\"n1\":1}",
        "=1",
        "]]>",
        "\0",
        "#",
        "@enduml",
        "%date()",
        "end",
        "\u{2028}",
        "\\n",
        "{",
        "}",
    ]);
    vec(prop_oneof![hostile.prop_map(String::from), any::<String>()], 0..3)
        .prop_map(|parts| parts.concat())
}

fn kind() -> impl Strategy<Value = StepKind> {
    prop::sample::select(vec![
        StepKind::Start,
        StepKind::Deliver,
        StepKind::Lost,
        StepKind::Timer,
        StepKind::Told,
        StepKind::Crash,
        StepKind::Restart,
        StepKind::Partition,
        StepKind::Heal,
        StepKind::Fault,
        StepKind::Tick,
    ])
}

/// A node of a cluster of three, or, if `wild`, sometimes none of it.
fn node(wild: bool) -> impl Strategy<Value = NodeId> {
    let weight = u32::from(wild);
    prop_oneof![9 => 1..=3_u32, weight => prop::sample::select(vec![0, 4, u32::MAX])]
        .prop_map(NodeId)
}

fn message(wild: bool) -> impl Strategy<Value = MessageId> {
    (node(wild), 0..9_u64).prop_map(|(from, number)| MessageId { from, number })
}

fn sends(wild: bool) -> impl Strategy<Value = Vec<Sent>> {
    let sent = (message(wild), node(wild), text(), text(), prop::option::of(text()));
    vec(sent.prop_map(|(id, to, event, payload, lost)| Sent { id, to, event, payload, lost }), 0..3)
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (text(), text(), any::<f64>());
    vec(
        change.prop_map(|(path, old, new)| Change { path, old: json!([old]), new: json!(new) }),
        0..2,
    )
}

fn client() -> impl Strategy<Value = ClientEvent> {
    let value = || prop_oneof![Just(Value::Null), any::<u64>().prop_map(Value::from)];
    let asked = (text(), any::<u64>(), text(), prop::option::of(text()), value());
    prop_oneof![
        asked.prop_map(|(client, id, f, key, value)| ClientEvent::Invoke {
            client,
            id,
            f,
            key,
            value
        }),
        (any::<u64>(), prop::option::of(value()))
            .prop_map(|(id, value)| ClientEvent::Return { id, value }),
        any::<u64>().prop_map(|id| ClientEvent::Fail { id }),
        any::<u64>().prop_map(|id| ClientEvent::Unknown { id }),
    ]
}

fn step(wild: bool) -> impl Strategy<Value = Step> {
    let who = (prop::option::of(node(wild)), kind(), any::<u64>());
    let what = (text(), text(), prop::option::of(text()), prop::option::of(text()));
    let why = (prop::option::of(0..9_usize), prop::option::of(message(wild)), sends(wild));
    let more = (changes(), vec(text(), 0..2), vec(text(), 0..2), vec(client(), 0..2));
    (who, what, why, more).prop_map(
        |(
            (node, kind, time_us),
            (event, payload, state, wrong),
            (cause, message, sends),
            (changes, outputs, log, clients),
        )| {
            let armed =
                vec![Armed { event: event.clone(), payload: payload.clone(), after_us: time_us }];
            let delay_us = message.map(|_| time_us);
            Step {
                index: 0,
                time_us,
                node,
                kind,
                event,
                payload,
                cause,
                message,
                delay_us,
                sends,
                armed,
                changes,
                state,
                outputs,
                clients,
                log,
                wrong,
            }
        },
    )
}

/// A trace that can be read: its steps are numbered, causes come first, messages belong to their
/// senders.
pub(super) fn sound() -> impl Strategy<Value = Trace> {
    (text(), vec(step(false), 0..9)).prop_map(|(algorithm, mut steps)| {
        for (index, step) in steps.iter_mut().enumerate() {
            step.index = index;
            step.cause = step.cause.filter(|cause| *cause < index);
            let node = step.node;
            step.sends.retain(|_| node.is_some());
            for sent in &mut step.sends {
                sent.id.from = node.unwrap_or(sent.id.from);
            }
        }
        Trace { algorithm, nodes: 3, header: Header::default(), steps }
    })
}

/// Any trace at all.
pub(super) fn wild() -> impl Strategy<Value = Trace> {
    let nodes = prop::sample::select(vec![0, 1, 3, 17, u32::MAX]);
    (text(), nodes, vec(step(true), 0..20)).prop_map(|(algorithm, nodes, steps)| Trace {
        algorithm,
        nodes,
        header: Header::default(),
        steps,
    })
}

/// A real trace after an accident: cut off, or with bytes changed, or lines lost, doubled, moved.
pub(super) fn damaged() -> impl Strategy<Value = String> {
    let accident = (0..5_u8, any::<prop::sample::Index>(), any::<u8>());
    (prop::bool::ANY, vec(accident, 1..6)).prop_map(|(hand, accidents)| {
        let mut bytes = Vec::from(if hand { HAND } else { BULLY });
        for (what, place, byte) in accidents {
            if bytes.is_empty() {
                break;
            }
            let mut rest = bytes.split_off(place.index(bytes.len()));
            let line = rest.iter().position(|it| *it == b'\n').unwrap_or(rest.len());
            match (what, rest.first_mut()) {
                (0, _) => rest.clear(),
                (1, Some(first)) => *first ^= 1 << (byte % 8),
                (2, Some(first)) => *first = byte,
                (3, _) => drop(rest.drain(..line)),
                _ => bytes.extend(rest.iter().take(line)),
            }
            bytes.append(&mut rest);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
