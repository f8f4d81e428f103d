//! A decision as a line of a schedule, and back.

use std::fmt;
use std::str::FromStr;

use synod_core::EventId;

use super::{About, Decision, Label, QUESTIONS};

impl Decision {
    /// The decision as a line of a schedule; `name` tells an event's wire name.
    pub(crate) fn line(&self, name: impl Fn(EventId) -> String) -> String {
        let Self { label, ordinal, choice, .. } = self;
        let about = match label.about {
            About::Message { from, to, event } => format!("{} {from}>{to}", name(event)),
            About::Node(node) => node.to_string(),
            About::Fault(number) => number.to_string(),
        };
        format!("{} {about} #{ordinal} = {choice}", label.what)
    }
}

/// A line of a schedule that is not a decision.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{line}` is no decision: {why}")]
pub struct NotADecision {
    line: String,
    why: String,
}

impl FromStr for Decision {
    type Err = NotADecision;

    fn from_str(line: &str) -> Result<Self, NotADecision> {
        parse(line).ok_or_else(|| {
            let line: String = line.chars().take(120).collect();
            let question = line.split(' ').next().unwrap_or_default();
            let why = match QUESTIONS.contains(&question) {
                true => String::from("expected `QUESTION WHOM #ORDINAL = CHOICE`"),
                false => format!("no run asks `{question}`"),
            };
            NotADecision { line, why }
        })
    }
}

fn parse(line: &str) -> Option<Decision> {
    let (subject, choice) = line.split_once(" = ")?;
    let (subject, ordinal) = subject.rsplit_once(" #")?;
    let mut words = subject.split(' ');
    let asked = words.next()?;
    let what = QUESTIONS.iter().copied().find(|question| *question == asked)?;
    let about = match (words.next()?, words.next()) {
        (event, Some(pair)) => {
            let (from, to) = pair.split_once('>')?;
            let event = hash(event).unwrap_or_else(|| EventId::of(event));
            About::Message { from: from.parse().ok()?, to: to.parse().ok()?, event }
        }
        (word, None) => match word.parse() {
            Ok(node) => About::Node(node),
            Err(_) => About::Fault(word.parse().ok()?),
        },
    };
    let label = Label { what, about };
    let (ordinal, choice) = (ordinal.parse().ok()?, choice.trim().parse().ok()?);
    words.next().is_none().then_some(Decision { label, ordinal, options: u64::MAX, choice })
}

/// The identity of an event that no node knew by name: 16 hexadecimal digits.
fn hash(event: &str) -> Option<EventId> {
    let bits = u64::from_str_radix(event, 16).ok().map(EventId::from_bits)?;
    (event.len() == 16).then_some(bits)
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { from, to, .. } => write!(f, "{from}>{to}"),
            Self::Node(node) => write!(f, "{node}"),
            Self::Fault(number) => write!(f, "{number}"),
        }
    }
}
