//! A bundle that changes on disk is taken over by the running node.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use synod_transport_quic::{Bundle, QuicTransport};

use crate::problem::chain;

/// How often the bundle is looked at. What is removed from it is out within twice that.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// When the certificate that the node shows ends.
#[derive(Clone, Debug)]
pub(crate) struct CertificateEnd(Arc<AtomicU64>);

impl CertificateEnd {
    /// None if the bundle's certificate cannot be read.
    pub(crate) fn of(bundle: &Bundle) -> Option<Self> {
        Some(Self(Arc::new(AtomicU64::new(end_of(bundle)?))))
    }

    /// In seconds since 1970.
    pub(super) fn seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Zero after its end.
    pub(super) fn seconds_left(&self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.seconds().saturating_sub(now.as_secs())
    }

    pub(super) fn days_left(&self) -> u64 {
        self.seconds_left() / 86_400
    }

    fn renew(&self, bundle: &Bundle) {
        if let Some(end) = end_of(bundle) {
            self.0.store(end, Ordering::Relaxed);
        }
    }
}

fn end_of(bundle: &Bundle) -> Option<u64> {
    let not_after = bundle.credentials.facts().ok()?.not_after;
    let since = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Some(since.as_secs())
}

/// Looks at the bundle in `path` until the program ends, and lets `transport` take what is new in
/// it. A bundle that cannot be used is told once, and the one before stays in use.
pub(crate) async fn watch(
    path: PathBuf,
    mut bundle: Bundle,
    transport: Arc<QuicTransport>,
    end: CertificateEnd,
) {
    let node = bundle.node;
    let mut complaint = String::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let renewed = match Bundle::read(&path) {
            Ok(now) if now == bundle => Ok(None),
            Ok(now) => transport.renew(&now).map(|()| Some(now)).map_err(|it| chain(&it)),
            Err(error) => Err(chain(&error)),
        };
        match renewed {
            Ok(None) => complaint.clear(),
            Ok(Some(now)) => {
                tell(&bundle, &now);
                end.renew(&now);
                bundle = now;
                complaint.clear();
            }
            Err(text) if text != complaint => {
                tracing::error!(%node, "the new bundle is not used, the old one is: {text}");
                complaint = text;
            }
            Err(_) => (),
        }
    }
}

fn tell(before: &Bundle, now: &Bundle) {
    let node = now.node;
    let (old, new) = (before.nodes(), now.nodes());
    let removed: Vec<_> = old.difference(&new).collect();
    let added: Vec<_> = new.difference(&old).collect();
    let new_key = before.credentials != now.credentials;
    tracing::info!(%node, new_key, authorities = now.authorities.len(), ?removed, "bundle renewed");
    if !added.is_empty() {
        tracing::warn!(%node, ?added, "new peers are taken in when the node starts anew");
    }
}
