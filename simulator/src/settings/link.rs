//! Links whose messages take another time than those of the rest.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use synod_core::NodeId;

use super::Shape;

/// How long messages take between two nodes that are nearer to each other, or further apart, than the
/// others: on another continent, behind a satellite.
///
/// Its text is `1-2=80..120` for both ways, `1>2=80..120` for one, in milliseconds, with up to three
/// decimals; `=80` is always 80, and `=80..120 exponential` names another [`Shape`] than the uniform one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkDelay {
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// Whether the same holds for the way back.
    pub both_ways: bool,
    /// The least delay, in microseconds of virtual time.
    pub min_us: u64,
    /// The greatest delay outside the tail, in microseconds of virtual time.
    pub max_us: u64,
    /// How delays are spread between the two.
    pub shape: Shape,
}

impl LinkDelay {
    /// The ordered pairs of nodes that it is for.
    pub(crate) fn ways(self) -> impl Iterator<Item = (NodeId, NodeId)> {
        let back = self.both_ways.then_some((self.to, self.from));
        [(self.from, self.to)].into_iter().chain(back)
    }

    /// The same link where the nodes are numbered anew; none if one of them is gone.
    pub(crate) fn among(self, moved: impl Fn(NodeId) -> Option<NodeId>) -> Option<Self> {
        Some(Self { from: moved(self.from)?, to: moved(self.to)?, ..self })
    }
}

impl fmt::Display for LinkDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, both_ways, min_us, max_us, shape } = *self;
        let arrow = if both_ways { '-' } else { '>' };
        write!(f, "{}{arrow}{}={}", from.0, to.0, Millis(min_us))?;
        if min_us != max_us {
            write!(f, "..{}", Millis(max_us))?;
        }
        if shape == Shape::default() { Ok(()) } else { write!(f, " {}", shape.name()) }
    }
}

/// Microseconds, told as milliseconds.
struct Millis(u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1_000, self.0 % 1_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// A text that tells of no link.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is no link: {why}")]
pub struct NotALink {
    text: String,
    why: String,
}

impl FromStr for LinkDelay {
    type Err = NotALink;

    fn from_str(text: &str) -> Result<Self, NotALink> {
        parsed(text).map_err(|why| NotALink { text: text.chars().take(80).collect(), why })
    }
}

fn parsed(text: &str) -> Result<LinkDelay, String> {
    const FORM: &str =
        "expected `1-2=80..120`, two nodes and milliseconds, or `1>2=..` for one way";
    let (pair, delay) = text.split_once('=').ok_or(FORM)?;
    let (from, to) = pair.split_once(['-', '>']).ok_or(FORM)?;
    let node = |text: &str| text.parse().map(NodeId).map_err(|_| String::from(FORM));
    let (from, to) = (node(from)?, node(to)?);
    let (range, shape) = match delay.split_once(' ') {
        Some((range, shape)) => (range, Shape::named(shape).ok_or_else(shapes)?),
        None => (delay, Shape::default()),
    };
    let (min, max) = range.split_once("..").unwrap_or((range, range));
    let (min_us, max_us) = (micros_of(min).ok_or(FORM)?, micros_of(max).ok_or(FORM)?);
    Ok(LinkDelay { from, to, both_ways: pair.contains('-'), min_us, max_us, shape })
}

fn shapes() -> String {
    let names = Shape::ALL.map(|(name, _)| name);
    format!("delays are spread in one of these ways: {}", names.join(", "))
}

/// Milliseconds with three decimals at most.
fn micros_of(millis: &str) -> Option<u64> {
    let (whole, rest) = millis.split_once('.').unwrap_or((millis, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !digits(whole) || !digits(rest) || 3 < rest.len() {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(1_000)?.checked_add(format!("{rest:0<3}").parse().ok()?)
}

impl TryFrom<String> for LinkDelay {
    type Error = NotALink;

    fn try_from(text: String) -> Result<Self, NotALink> {
        text.parse()
    }
}

impl From<LinkDelay> for String {
    fn from(link: LinkDelay) -> Self {
        link.to_string()
    }
}
