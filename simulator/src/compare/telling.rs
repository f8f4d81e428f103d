//! The words of a step beside those of another one: what happens, and what only this one comes to.

use super::{Likeness, Pair, is_alike, sends_alike};
use crate::convert::visible;
use crate::diagram::lanes::{Glyphs, millis, named, short, words};
use crate::trace::{Armed, Change, Sent, Step};

/// Characters of the words of a step, far more than have room.
const WORDS_MAX: usize = 2_000;

/// What a step of a pair is told with. `other` is the step that it is paired with; `with_nodes`
/// tells the nodes too, where no lanes do.
pub(super) fn told(
    pair: &Pair<'_>,
    step: &Step,
    other: Option<&Step>,
    with_nodes: bool,
    glyphs: &Glyphs,
) -> String {
    let mut parts = Vec::new();
    if let Some(nodes) = nodes(step).filter(|_| with_nodes) {
        parts.push(nodes);
    }
    parts.push(match other {
        // What is in one run only may be in the other with another content.
        None if step.payload.contains(['(', '{']) => named(step, &step.payload, ""),
        Some(other) if pair.likeness == Likeness::Changed && words(step) == words(other) => {
            String::from(short(&step.event))
        }
        _ => words(step),
    });
    if let Some(other) = other.filter(|_| pair.likeness == Likeness::Changed) {
        parts.extend(differences(step, other));
    }
    if let Some(reason) = &step.wrong {
        parts.push(format!("{} {reason}", glyphs.wrong));
    }
    if let Some(place) = pair.elsewhere {
        let side = if pair.likeness == Likeness::OnlyOne { "right" } else { "left" };
        parts.push(format!("(step {place} {side})"));
    }
    visible(&parts.join("  "), usize::MAX).chars().take(WORDS_MAX).collect()
}

fn nodes(step: &Step) -> Option<String> {
    let to = step.node?;
    Some(match step.message {
        Some(message) => format!("{}>{to}", message.from),
        None => to.to_string(),
    })
}

/// What `step` comes to and `other` does not, as far as their words do not say it.
fn differences(step: &Step, other: &Step) -> Vec<String> {
    let mut found = Vec::new();
    if !sends_alike(&step.sends, &other.sends) {
        found.push(listed("sends", &step.sends, |sent| {
            let is_there = other.sends.iter().any(|it| is_alike(it, sent));
            (!is_there).then(|| sending(sent, &other.sends))
        }));
    }
    if step.armed != other.armed {
        found.push(listed("arms", &step.armed, |timer| {
            (!other.armed.contains(timer)).then(|| arming(timer))
        }));
    }
    if step.state == other.state && step.changes != other.changes {
        found.push(listed("changes", &step.changes, |change: &Change| {
            let Change { path, new, .. } = change;
            (!other.changes.contains(change)).then(|| format!("{path}:{new}"))
        }));
    }
    if step.outputs != other.outputs {
        found.push(listed("indicates", &step.outputs, |output| {
            (!other.outputs.contains(output)).then(|| output.clone())
        }));
    }
    found
}

/// Those of a list that are told; in words if there are none.
fn listed<T>(verb: &str, all: &[T], tell: impl Fn(&T) -> Option<String>) -> String {
    let told: Vec<String> = all.iter().filter_map(tell).collect();
    match (told.is_empty(), all.is_empty()) {
        (false, _) => format!("{verb} {}", told.join(", ")),
        (true, true) => format!("{verb} nothing"),
        (true, false) => format!("{verb} nothing else"),
    }
}

/// A message, with its content where the other run sends another one like it.
fn sending(sent: &Sent, others: &[Sent]) -> String {
    let Sent { to, event, payload, lost, .. } = sent;
    let mut alike = others.iter().filter(|it| (it.to, &it.event) == (*to, event));
    let name = if alike.any(|it| it.payload != *payload) { payload } else { short(event) };
    match lost {
        Some(why) => format!("{name}>{to} (lost: {why})"),
        None => format!("{name}>{to}"),
    }
}

fn arming(timer: &Armed) -> String {
    format!("{} {:.1}ms", short(&timer.event), millis(timer.after_us))
}

/// A text in lines of so many columns, broken between words. What has no room ends in `more`.
pub(super) fn wrapped(text: &str, columns: usize, lines_max: usize, more: char) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a first line");
        let length = line.chars().count();
        if 0 < length && columns < length + 1 + word.chars().count() {
            lines.push(String::from(word));
        } else {
            line.push_str(if length == 0 { "" } else { " " });
            line.push_str(word);
        }
    }
    let goes_on = lines_max < lines.len();
    lines.truncate(lines_max);
    let last = lines.len() - 1;
    for (index, line) in lines.iter_mut().enumerate() {
        if columns < line.chars().count() || (goes_on && index == last) {
            let begin: String = line.chars().take(columns.saturating_sub(1)).collect();
            *line = format!("{begin}{more}");
        }
    }
    lines
}
