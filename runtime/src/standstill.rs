//! Notices a node that does nothing: a handler that does not return, a store that does not answer.
//!
//! Its connections would be kept alive all the same, since the transport has a thread of its own. So that
//! thread asks, and takes the node for dead.

use std::fmt;
use std::sync::Weak;
use std::time::Duration;

use crate::host::Host;
use crate::status::Handling;

/// What keeps the node from anything else, and for how long already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Standstill {
    cause: Cause,
    time: Duration,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cause {
    /// The handler of this event.
    Handler(&'static str),
    Store,
}

impl Cause {
    const fn advice(self) -> &'static str {
        match self {
            Self::Handler(_) => ": longer work belongs into a job",
            Self::Store => ": is the disk too busy?",
        }
    }
}

impl fmt::Display for Standstill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time.as_secs();
        match self.cause {
            Cause::Handler(event) => write!(f, "the handler of `{event}` has run for {seconds} s"),
            Cause::Store => write!(f, "the store has not answered for {seconds} s"),
        }
    }
}

impl Host {
    fn standstill(&self) -> Option<Standstill> {
        let handling = Handling::of(self);
        let handler =
            handling.map(|it| Standstill { cause: Cause::Handler(it.event), time: it.time });
        let store = self.writer.at_work_for().map(|time| Standstill { cause: Cause::Store, time });
        handler.into_iter().chain(store).max_by_key(|it| it.time)
    }

    /// Why the node has done nothing for longer than [`Limits::hung_after`](crate::Limits::hung_after).
    pub(crate) fn hung(&self) -> Option<String> {
        let hung = self.standstill().filter(|it| self.limits.hung_after <= it.time);
        hung.map(|it| it.to_string())
    }
}

/// Logs what takes long, for as long as the node lives.
pub(crate) async fn watch(host: Weak<Host>) {
    let mut told = Told::default();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(host) = host.upgrade().filter(|host| !host.has_ended()) else { return };
        let now = host.standstill();
        match (told.look(now, host.limits.hung_after), now) {
            (Some(Word::Slow), Some(now)) => {
                let times = told.times;
                tracing::warn!(node = %host.id, times, "{now}{}", now.cause.advice());
            }
            (Some(Word::Hung), Some(now)) => {
                tracing::error!(node = %host.id, "{now}: the node is hung, and linked with nobody");
            }
            (Some(Word::Over), _) => {
                tracing::info!(node = %host.id, "the node is not hung any more");
            }
            _ => (),
        }
    }
}

/// What there is to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Word {
    Slow,
    Hung,
    Over,
}

/// What was said of the standstill that was seen last.
#[derive(Debug, Default)]
struct Told {
    last: Option<Standstill>,
    is_hung: bool,
    /// Standstills so far that were worth a word. Every one that doubles them is said.
    times: u64,
}

impl Told {
    fn look(&mut self, now: Option<Standstill>, hung_after: Duration) -> Option<Word> {
        let now = now.filter(|it| SLOW.min(hung_after) <= it.time);
        let is_new = match (self.last, now) {
            (Some(last), Some(now)) => now.cause != last.cause || now.time < last.time,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        self.last = now;
        let is_hung = now.is_some_and(|it| hung_after <= it.time);
        let was_hung = std::mem::replace(&mut self.is_hung, is_hung);
        self.times += u64::from(is_new);
        match (was_hung, is_hung) {
            (false, true) => Some(Word::Hung),
            (true, false) => Some(Word::Over),
            _ => (is_new && self.times.is_power_of_two()).then_some(Word::Slow),
        }
    }
}

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A handler that takes longer is worth a word.
const SLOW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn handler(event: &'static str, ms: u64) -> Option<Standstill> {
        Some(Standstill { cause: Cause::Handler(event), time: Duration::from_millis(ms) })
    }

    /// What is said of one look after the other.
    fn said<const N: usize>(looks: [Option<Standstill>; N]) -> [Option<Word>; N] {
        let mut told = Told::default();
        looks.map(|look| told.look(look, Duration::from_secs(20)))
    }

    #[test]
    fn a_standstill_is_told_when_it_is_long_when_it_is_too_long_and_when_it_is_over() {
        let looks = [300, 800, 1_300, 1_800, 19_900, 20_400, 20_900].map(|ms| handler("a", ms));
        let [.., long] = looks;
        let (slow, hung) = (Some(Word::Slow), Some(Word::Hung));
        assert_eq!(said(looks), [None, None, slow, None, None, hung, None]);
        assert_eq!(said([long, None, None]), [hung, Some(Word::Over), None]);
        assert_eq!(said([long, handler("a", 10)]), [hung, Some(Word::Over)]);
    }

    #[test]
    fn of_many_slow_handlers_few_are_told() {
        let looks: [Option<Standstill>; 64] =
            std::array::from_fn(|look| handler("a", if look % 2 == 0 { 10 } else { 1_100 }));
        let told = said(looks).into_iter().flatten().count();
        assert_eq!(told, 6, "1, 2, 4, 8, 16, 32");
        let looks = [handler("a", 1_100), handler("b", 1_200), handler("b", 1_100)];
        assert_eq!(said(looks), [Some(Word::Slow), Some(Word::Slow), None]);
    }

    #[test]
    fn what_a_node_waits_for_is_told_in_words() {
        let store = Standstill { cause: Cause::Store, time: Duration::from_secs(23) };
        assert_eq!(store.to_string(), "the store has not answered for 23 s");
        let handler = handler("bully.alive", 23_999).expect("it is one");
        assert_eq!(handler.to_string(), "the handler of `bully.alive` has run for 23 s");
    }
}
