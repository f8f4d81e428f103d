//! Equal messages from one node to another, which nothing but their order tells apart.

use std::collections::VecDeque;
use std::time::Duration;

/// All of them: those that were sent and those that were received, each in order.
#[derive(Debug, Default)]
pub(super) struct Course {
    pub(super) sent: VecDeque<OnItsWay>,
    pub(super) received: VecDeque<Arrival>,
}

/// A message that may still arrive.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnItsWay {
    pub(super) sender: usize,
    pub(super) place: usize,
    pub(super) incarnation: u64,
    pub(super) seen: Seen,
}

/// A step that received one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) receiver: usize,
    /// The life of the sender that it was linked to, as far as that is recorded.
    pub(super) linked: Option<u64>,
    pub(super) seen: Seen,
}

/// When something was recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) at: Duration,
    /// Since when its life was, if not from the beginning on.
    pub(super) since: Option<Duration>,
}

/// How many of the first ones were recorded on one side alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Apart {
    sent: usize,
    received: usize,
}

impl Course {
    /// Each step that received a message that was sent, with that message. O(messages).
    pub(super) fn pairs(mut self) -> Vec<(usize, OnItsWay)> {
        if let Some(apart) = self.apart() {
            self.sent.drain(..apart.sent);
            self.received.drain(..apart.received);
        }
        let mut pairs = Vec::with_capacity(self.received.len().min(self.sent.len()));
        for Arrival { receiver, linked, .. } in std::mem::take(&mut self.received) {
            pairs.extend(self.take(linked).map(|sent| (receiver, sent)));
        }
        pairs
    }

    /// Takes the next message of the life that the receiver is linked to; of any if it does not say.
    fn take(&mut self, linked: Option<u64>) -> Option<OnItsWay> {
        while self.first().is_some_and(|sent| linked.is_some_and(|life| sent < life)) {
            self.sent.pop_front();
        }
        let fits = self.first().is_some_and(|sent| linked.is_none_or(|life| sent == life));
        if fits { self.sent.pop_front() } else { None }
    }

    /// The life of the sender that the next message is of.
    fn first(&self) -> Option<u64> {
        self.sent.front().map(|sent| sent.incarnation)
    }

    /// How many the other side knew nothing of, since its recording had not begun: by the clock, or one more
    /// or less, since clocks are a little wrong and messages take time.
    fn apart(&self) -> Option<Apart> {
        let (sent, received) = (self.sent.front()?.seen.since, self.received.front()?.seen.since);
        let before = |at: Duration, since: Option<Duration>| since.is_some_and(|since| at < since);
        let early = self.sent.iter().take_while(|it| before(it.seen.at, received));
        let late = self.received.iter().take_while(|it| before(it.seen.at, sent));
        let apart = Apart { sent: early.count(), received: late.count() };
        let doubted = [apart, apart.less(), apart.more()].map(|it| Some((self.doubt(it)?, it)));
        let (_, least) = doubted.into_iter().flatten().min_by_key(|(doubt, _)| *doubt)?;
        Some(least)
    }

    /// How far from what the clocks say it is that so many are left out: how long the messages then took, and
    /// how long the other side had been recorded when the last one that is left out came or went. None if it
    /// had always been.
    fn doubt(&self, apart: Apart) -> Option<Duration> {
        let last_sent = apart.sent.checked_sub(1).and_then(|last| self.sent.get(last));
        let last_received = apart.received.checked_sub(1).and_then(|last| self.received.get(last));
        let known = |at: Duration, since: Option<Duration>| Some(at.saturating_sub(since?));
        let sent = last_sent.map_or(Some(Duration::ZERO), |it| {
            known(it.seen.at, self.received.front()?.seen.since)
        })?;
        let received = last_received
            .map_or(Some(Duration::ZERO), |it| known(it.seen.at, self.sent.front()?.seen.since))?;
        Some(sent + received + self.distance(apart))
    }

    /// How far apart in time sendings and receivings are, in the mean.
    fn distance(&self, apart: Apart) -> Duration {
        let received = self.received.iter().skip(apart.received);
        let pairs = self.sent.iter().skip(apart.sent).zip(received).take(PAIRS_LOOKED_AT);
        let apart = pairs.map(|(sent, received)| received.seen.after(sent.seen));
        let (sum, count) = apart.fold((Duration::ZERO, 0), |(sum, n), it| (sum + it, n + 1));
        if count == 0 { Duration::ZERO } else { sum / count }
    }
}

impl Seen {
    /// How long after the other one. Before it counts twice: only wrong clocks explain that.
    fn after(self, other: Self) -> Duration {
        match self.at.checked_sub(other.at) {
            Some(after) => after,
            None => (other.at - self.at) * 2,
        }
    }
}

impl Apart {
    /// The same moved by one: each message was sent one earlier.
    fn less(self) -> Self {
        match self.sent.checked_sub(1) {
            Some(sent) => Self { sent, ..self },
            None => Self { received: self.received + 1, ..self },
        }
    }

    /// Each message was sent one later.
    fn more(self) -> Self {
        match self.received.checked_sub(1) {
            Some(received) => Self { received, ..self },
            None => Self { sent: self.sent + 1, ..self },
        }
    }
}

/// So many pairs tell how far apart the sides are.
const PAIRS_LOOKED_AT: usize = 64;
