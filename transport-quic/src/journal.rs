//! Who was turned away: every case is told to the inbox, and not every one is logged.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use synod_core::{Inbox, NodeId, Refusal};
use tokio::time::sleep;
use tracing::warn;

use crate::refusal::{Kind, Turned};

/// Tells of refusals.
#[derive(Debug)]
pub(crate) struct Journal {
    me: NodeId,
    inbox: Arc<dyn Inbox>,
    recent: Mutex<BTreeMap<(String, Kind), Recent>>,
}

/// When a kind of refusal was last logged for a host, and how many were not since.
#[derive(Debug)]
struct Recent {
    logged: Instant,
    hidden: u64,
}

impl Journal {
    pub(crate) fn new(me: NodeId, inbox: Arc<dyn Inbox>) -> Self {
        Self { me, inbox, recent: Mutex::default() }
    }

    /// This node turns somebody away, `peer` being who it is for certain. Returns the sentence for the operator.
    pub(crate) fn refuses(&self, peer: Option<NodeId>, address: &str, turned: &Turned) -> String {
        let text = match (peer, turned.claimed) {
            _ if turned.text.starts_with(address) => turned.text.clone(),
            (None, Some(claimed)) => {
                format!("somebody at {address} who says {claimed} is refused: {turned}")
            }
            _ => format!("{} at {address} is refused: {turned}", name(peer)),
        };
        self.tell(peer, address, turned, text)
    }

    /// This node is turned away. Returns the sentence for the operator.
    pub(crate) fn is_refused(
        &self,
        peer: Option<NodeId>,
        address: &str,
        turned: &Turned,
    ) -> String {
        let text = format!("{} at {address} refuses {}: {turned}", name(peer), self.me);
        let text = self.tell(peer, address, turned, text);
        let is_for_a_moment = matches!(turned.kind, Kind::Busy | Kind::Leaving);
        if let Some(peer) = peer.filter(|_| !is_for_a_moment) {
            self.inbox.shut_out(peer, &turned.text, turned.kind == Kind::Duplicate);
        }
        text
    }

    /// A peer has said something that this node takes no notice of.
    pub(crate) fn ignores(&self, peer: NodeId, address: &str, turned: &Turned) {
        let text = format!("something that {peer} at {address} says is ignored: {turned}");
        self.tell(Some(peer), address, turned, text);
    }

    fn tell(
        &self,
        peer: Option<NodeId>,
        address: &str,
        Turned { kind, claimed, key, .. }: &Turned,
        text: String,
    ) -> String {
        if let Some(hidden) = self.hidden_since_last(address, *kind) {
            let claimed = claimed.or(peer).map(|node| node.to_string());
            let known = peer.map(tracing::field::display);
            warn!(
                node = %self.me, peer = known, claimed, key, address, kind = kind.word(),
                hidden, "{text}"
            );
        }
        let address = String::from(address);
        let refusal = Refusal { peer, address, kind: kind.word(), text: text.clone() };
        self.inbox.refused(refusal);
        text
    }

    /// Logs, for as long as it is polled, how many were not logged of refusals that have become quiet.
    pub(crate) async fn sum_up(&self) {
        loop {
            sleep(QUIET).await;
            for (host, kind, hidden) in self.unsaid(Instant::now()) {
                let kind = kind.word();
                warn!(node = %self.me, host, kind, hidden, "more refusals like the last were not logged");
            }
        }
    }

    /// By host and kind, how many were not logged, if the last one that was is old enough for another.
    fn unsaid(&self, now: Instant) -> Vec<(String, Kind, u64)> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = recent.iter_mut().filter(|(_, it)| QUIET <= now.duration_since(it.logged));
        let hidden =
            quiet.map(|((host, kind), it)| (host.clone(), *kind, mem::take(&mut it.hidden)));
        hidden.filter(|(.., hidden)| 0 < *hidden).collect()
    }

    /// How many like this one were not logged; none if this one is not to be logged either.
    fn hidden_since_last(&self, address: &str, kind: Kind) -> Option<u64> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let now = Instant::now();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = recent.get_mut(&(String::from(host), kind)) {
            if now.duration_since(last.logged) < QUIET {
                last.hidden += 1;
                return None;
            }
            last.logged = now;
            return Some(mem::take(&mut last.hidden));
        }
        if RECENT_MAX <= recent.len() {
            recent.retain(|_, last| now.duration_since(last.logged) < QUIET);
        }
        if RECENT_MAX <= recent.len() {
            return None;
        }
        recent.insert((String::from(host), kind), Recent { logged: now, hidden: 0 });
        Some(0)
    }
}

fn name(peer: Option<NodeId>) -> String {
    peer.map_or_else(|| String::from("somebody"), |peer| peer.to_string())
}

/// One line per host and kind in this time.
const QUIET: Duration = Duration::from_secs(10);

/// Hosts and kinds that are remembered; beyond, refusals are counted and not logged.
const RECENT_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use synod_core::{Envelopes, Lane, LinkChange, Room};

    use super::*;

    #[derive(Debug, Default)]
    struct Count(AtomicUsize);

    impl Inbox for Count {
        fn deliver(&self, _: NodeId, _: Lane, _: Envelopes) -> Option<Room> {
            None
        }

        fn link(&self, _: NodeId, _: LinkChange) {}

        fn refused(&self, _: Refusal) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn every_refusal_is_counted_and_few_are_logged() {
        let inbox = Arc::new(Count::default());
        let journal = Journal::new(NodeId(1), Arc::clone(&inbox) as Arc<dyn Inbox>);
        let turned = Turned::new(Kind::Flood, "too many");
        for port in 0..5 {
            journal.refuses(None, &format!("10.0.0.9:{port}"), &turned);
        }
        assert_eq!(inbox.0.load(Ordering::Relaxed), 5);
        let recent = journal.recent.lock().unwrap();
        let hidden: Vec<_> = recent.values().map(|recent| recent.hidden).collect();
        assert_eq!(hidden, [4], "one line for the host, whatever the port");
        drop(recent);
        assert_eq!(journal.unsaid(Instant::now()), [], "there may be more to come");
        let later = Instant::now() + QUIET;
        assert_eq!(journal.unsaid(later), [(String::from("10.0.0.9"), Kind::Flood, 4)]);
        assert_eq!(journal.unsaid(later), [], "each is told once");
    }

    #[test]
    fn many_hosts_cannot_fill_the_memory() {
        let journal = Journal::new(NodeId(1), Arc::new(Count::default()));
        let turned = Turned::new(Kind::Flood, "too many");
        for host in 0..2_000 {
            journal.refuses(None, &format!("host{host}:1"), &turned);
        }
        assert_eq!(journal.recent.lock().unwrap().len(), RECENT_MAX);
    }

    #[test]
    fn a_claim_that_nobody_has_proved_is_told_as_a_claim() {
        let journal = Journal::new(NodeId(1), Arc::new(Count::default()));
        let turned = Turned::new(Kind::Expired, "the certificate of n2 expired");
        let claimed = turned.clone().claiming(Some(NodeId(2)));
        let text = journal.refuses(None, "10.0.0.9:1", &claimed);
        assert_eq!(
            text,
            "somebody at 10.0.0.9:1 who says n2 is refused: the certificate of n2 expired"
        );
        let text = journal.is_refused(Some(NodeId(2)), "10.0.0.9:1", &turned);
        assert_eq!(text, "n2 at 10.0.0.9:1 refuses n1: the certificate of n2 expired");
    }
}
