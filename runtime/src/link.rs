//! The link to one peer: dialling, waiting, and what happens to it in order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use synod_core::{LinkChange, NodeId, Random};
use tokio::sync::Notify;

use crate::gate::{locked, until};
use crate::host::Host;

/// What a link actor works on, and leaves behind.
#[derive(Debug, Default)]
pub(crate) struct Link {
    notices: Mutex<VecDeque<Notice>>,
    filled: Notify,
    /// Whether to dial at once: another peer has come up, and the way to this one may be open too.
    hastened: AtomicBool,
    /// Changes that the machine has yet to be told.
    untold: AtomicUsize,
    pub(crate) up: AtomicBool,
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) ups: AtomicU64,
    pub(crate) downs: AtomicU64,
    pub(crate) failed_attempts: AtomicU64,
    pub(crate) last_error: Mutex<Option<String>>,
}

/// Something that the transport has said of the link.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    /// It is up or down, after so many batches.
    Change(u64, LinkChange),
    /// An attempt has failed.
    Unreachable(String),
}

impl Link {
    /// Two failed attempts in a row are one notice, so notices are bounded by changes.
    pub(crate) fn push(&self, notice: Notice) {
        if let Notice::Change(..) = notice {
            self.untold.fetch_add(1, Ordering::AcqRel);
        }
        let mut notices = locked(&self.notices);
        if let (Some(Notice::Unreachable(_)), Notice::Unreachable(_)) = (notices.back(), &notice) {
            notices.pop_back();
        }
        notices.push_back(notice);
        self.filled.notify_waiters();
    }

    /// The first notice, which stays until [`Link::done`]: an actor that dies loses none.
    async fn next(&self) -> Notice {
        loop {
            until(&self.filled, || !locked(&self.notices).is_empty()).await;
            let first = locked(&self.notices).front().cloned();
            if let Some(notice) = first {
                return notice;
            }
        }
    }

    /// Waits for a notice; none if it is time to dial.
    async fn notice_within(&self, patience: Duration) -> Option<Notice> {
        tokio::select! {
            biased;
            notice = self.next() => Some(notice),
            () = until(&self.filled, || self.hastened.load(Ordering::Acquire)) => None,
            () = tokio::time::sleep(patience) => None,
        }
    }

    fn hasten(&self) {
        if !self.up.load(Ordering::Acquire) {
            self.hastened.store(true, Ordering::Release);
            self.filled.notify_waiters();
        }
    }

    /// Whether it is up, as far as the transport has said so far.
    pub(crate) fn is_linked(&self) -> bool {
        let is_down = |notice: &Notice| matches!(notice, Notice::Change(_, LinkChange::Down(_)));
        self.up.load(Ordering::Acquire) && !locked(&self.notices).iter().any(is_down)
    }

    fn done(&self) {
        locked(&self.notices).pop_front();
    }

    /// The machine has been told of one change.
    pub(crate) fn told(&self) {
        self.untold.fetch_sub(1, Ordering::AcqRel);
    }
}

/// When to dial next.
struct Dial {
    wait: Duration,
    up_since: Option<Instant>,
    random: Random,
    /// Whether the operator knows that the peer cannot be reached.
    said: bool,
}

impl Host {
    /// Whether a link to `peer` may come up: see [`Limits::link_changes`](crate::Limits::link_changes).
    pub(crate) fn admits(&self, peer: NodeId) -> bool {
        let untold = self.links.get(&peer).map_or(0, |link| link.untold.load(Ordering::Acquire));
        untold < self.limits.link_changes.max(1)
    }

    /// Keeps a link to `peer`, for ever.
    pub(crate) async fn keep_link(self: &Arc<Self>, peer: NodeId) {
        let Some(link) = self.links.get(&peer) else {
            return;
        };
        let seed = (u64::from(self.id.0) << 32) ^ u64::from(peer.0) ^ self.incarnation();
        let mut dial = Dial::new(self.limits.backoff_min, seed);
        if !link.up.load(Ordering::Acquire) && self.takes_in() {
            self.transport.connect(peer);
        }
        loop {
            let patience = match link.up.load(Ordering::Acquire) {
                true => Duration::MAX,
                false => dial.jittered(),
            };
            match link.notice_within(patience).await {
                Some(Notice::Unreachable(text)) => {
                    link.done();
                    dial.unreachable(self, peer, link, text);
                }
                Some(Notice::Change(batches, change)) => {
                    let mut cell = self.cell.lock().await;
                    link.done();
                    dial.changed(self, peer, link, &change);
                    cell.sequence.change(peer, batches, change);
                    drop(cell);
                    if self.is_open() {
                        self.work(None).await;
                    } else {
                        // Who watches the clock goes on with it. Until then this link may end, and be
                        // dialled: a node that waits for its peers to begin may wait for long.
                        self.timers.changed.notify_one();
                    }
                }
                None => self.dial_again(peer, link, &mut dial),
            }
        }
    }

    /// Makes an attempt, unless the link has come up meanwhile.
    fn dial_again(&self, peer: NodeId, link: &Link, dial: &mut Dial) {
        let hastened = link.hastened.swap(false, Ordering::AcqRel);
        if !link.up.load(Ordering::Acquire) && self.takes_in() && self.admits(peer) {
            dial.wait = match hastened {
                true => self.limits.backoff_min,
                false => (dial.wait * 2).min(self.limits.backoff_max),
            };
            self.transport.connect(peer);
        }
    }
}

impl Dial {
    fn new(wait: Duration, seed: u64) -> Self {
        Self { wait, up_since: None, random: Random::new(seed), said: false }
    }

    /// Half of the wait, and up to as much again: peers that were cut off together do not dial
    /// together.
    fn jittered(&mut self) -> Duration {
        let half = self.wait / 2;
        let range = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_micros(self.random.below(range))
    }

    /// One line per change of state, not per attempt.
    fn unreachable(&mut self, host: &Host, peer: NodeId, link: &Link, text: String) {
        link.failed_attempts.fetch_add(1, Ordering::Relaxed);
        if !self.said {
            tracing::warn!(node = %host.id, %peer, cause = text, "cannot reach the peer");
        }
        self.said = true;
        *locked(&link.last_error) = Some(text);
    }

    fn changed(&mut self, host: &Host, peer: NodeId, link: &Link, change: &LinkChange) {
        self.said = false;
        match change {
            LinkChange::Up { incarnation } => {
                tracing::info!(node = %host.id, %peer, incarnation, "the link is up");
                self.up_since = Some(Instant::now());
                link.up.store(true, Ordering::Release);
                link.ups.fetch_add(1, Ordering::Relaxed);
                locked(&link.last_error).take();
                // What waits for it is not for a link that has ended since.
                if link.is_linked() {
                    host.release_early(peer);
                }
                // After a long partition the others would be dialled ten seconds later.
                host.links.values().for_each(Link::hasten);
            }
            LinkChange::Down(reason) => {
                tracing::warn!(node = %host.id, %peer, ?reason, "the link is down");
                // A link that broke at once is dialled no sooner than one that never came up.
                let lasted = self.up_since.take().map_or(Duration::ZERO, |since| since.elapsed());
                if host.limits.backoff_min < lasted {
                    self.wait = host.limits.backoff_min;
                }
                link.up.store(false, Ordering::Release);
                link.downs.fetch_add(1, Ordering::Relaxed);
                *locked(&link.last_error) = Some(format!("down: {reason:?}"));
            }
            _ => (),
        }
    }
}
