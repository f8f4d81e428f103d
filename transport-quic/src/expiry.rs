//! A certificate that ends is the operator's business before it is anybody else's.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use synod_core::NodeId;
use tokio::time::sleep;
use tracing::{error, warn};

use crate::identity::CertificateFacts;
use crate::tls::Current;

/// Warns when the node's own certificate has 30 days left, 7 days, 1 day and none, from then on every day, and again
/// after each renewal that does not help. Never ends.
pub(crate) async fn watch(node: NodeId, identity: Arc<Current>) {
    let mut warned = Warned::default();
    loop {
        let facts = identity.get().facts.clone();
        if let Some(words) = warned.look(&facts, SystemTime::now()) {
            match words {
                Words::Ends { days } => {
                    warn!(%node, days, "the certificate ends soon: renew it with `synod cert renew`");
                }
                Words::Ended { days } => {
                    error!(%node, days, "the certificate has ended, peers refuse it: renew it with `synod cert renew`");
                }
            }
        }
        sleep(pause(facts.remaining(SystemTime::now()))).await;
    }
}

/// How long to wait before the next look at a certificate that is valid for so long. Its end is not missed.
fn pause(left: Duration) -> Duration {
    if left.is_zero() { LOOK_EVERY } else { LOOK_EVERY.min(left + AFTER_THE_END) }
}

/// What there is to say of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Words {
    /// It ends within so many days.
    Ends { days: u64 },
    /// So many days ago it ended.
    Ended { days: u64 },
}

/// What was said last, and of which certificate.
#[derive(Debug, Default)]
struct Warned {
    serial: String,
    words: Option<Words>,
}

impl Warned {
    /// What is to be said now, if it was not said before.
    fn look(&mut self, facts: &CertificateFacts, now: SystemTime) -> Option<Words> {
        if self.serial != facts.serial {
            *self = Self { serial: facts.serial.clone(), words: None };
        }
        let left = facts.remaining(now);
        let over = now.duration_since(facts.not_after).unwrap_or_default();
        let bound = BOUNDS_DAYS.into_iter().find(|days| left <= Duration::from_secs(days * DAY));
        let words = match bound {
            _ if left.is_zero() => Some(Words::Ended { days: over.as_secs() / DAY }),
            Some(days) => Some(Words::Ends { days }),
            None => None,
        };
        let is_new = words != self.words;
        self.words = words;
        words.filter(|_| is_new)
    }
}

/// With so many days left there is a warning, the fewest first.
const BOUNDS_DAYS: [u64; 3] = [1, 7, 30];

const DAY: u64 = 86_400;

/// Clocks jump, so no long sleep is trusted.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Certificates end at whole seconds, and clocks tick in less.
const AFTER_THE_END: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Authority;

    fn certificate(days: u64) -> CertificateFacts {
        let authority = Authority::new("demo", Duration::from_secs(400 * DAY)).unwrap();
        authority.issue(NodeId(1), Duration::from_secs(days * DAY)).unwrap().facts().unwrap()
    }

    #[test]
    fn there_are_warnings_at_30_days_at_7_days_at_1_day_and_at_the_end_and_then_every_day() {
        let facts = certificate(90);
        let mut warned = Warned::default();
        let began = SystemTime::now();
        let said: Vec<_> = (0..2 * 93)
            .filter_map(|half_day| {
                let now = began + Duration::from_secs(half_day * DAY / 2 + 60);
                warned.look(&facts, now).map(|words| (half_day / 2, words))
            })
            .collect();
        let ends = |days| Words::Ends { days };
        let ended = |days| (90 + days, Words::Ended { days });
        let before = [(60, ends(30)), (83, ends(7)), (89, ends(1))];
        assert_eq!(said, [&before[..], &[ended(0), ended(1), ended(2)]].concat());
    }

    #[test]
    fn the_end_of_a_certificate_is_told_when_it_comes_and_not_a_minute_later() {
        let second = Duration::from_secs(1);
        for (left, within) in [(0, 60), (5, 6), (58, 59), (61, 60), (86_400, 60)] {
            assert_eq!(pause(second * left), second * within, "{left} s before");
        }
    }

    #[test]
    fn another_certificate_is_warned_of_anew() {
        let mut warned = Warned::default();
        let now = SystemTime::now();
        assert_eq!(warned.look(&certificate(5), now), Some(Words::Ends { days: 7 }));
        assert_eq!(warned.look(&certificate(60), now), None);
        assert_eq!(warned.look(&certificate(5), now), Some(Words::Ends { days: 7 }));
    }
}
