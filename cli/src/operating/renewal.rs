//! A bundle that changes on disk is taken over by the running node, and so are the lists of revoked certificates beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use synod_transport_quic::{Bundle, QuicTransport, Revocations};

use crate::problem::chain;

/// How often the files are looked at. What is removed from them is out within twice that.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often it is told of a file that stays unusable.
const TELL_EVERY: Duration = Duration::from_secs(600);

/// When the certificate that the node shows ends.
#[derive(Clone, Debug)]
pub(crate) struct CertificateEnd(Arc<AtomicI64>);

impl CertificateEnd {
    /// None if the bundle's certificate cannot be read.
    pub(crate) fn of(bundle: &Bundle) -> Option<Self> {
        Some(Self(Arc::new(AtomicI64::new(end_of(bundle)?))))
    }

    /// In seconds since 1970.
    pub(super) fn seconds(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Below zero after its end.
    pub(super) fn seconds_left(&self) -> i64 {
        self.seconds() - since_1970(SystemTime::now())
    }

    fn renew(&self, bundle: &Bundle) {
        if let Some(end) = end_of(bundle) {
            self.0.store(end, Ordering::Relaxed);
        }
    }
}

fn end_of(bundle: &Bundle) -> Option<i64> {
    Some(since_1970(bundle.credentials.facts().ok()?.not_after))
}

/// In seconds; nothing that is told of is older.
pub(super) fn since_1970(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The files that a running node looks at, and why one of them is not used as it is now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files(Arc<Mutex<Wrong>>);

/// What is wrong with each file, in the order of [`Files::NAMES`].
type Wrong = [Option<String>; 2];

impl Files {
    const NAMES: [&str; 2] = ["bundle", Revocations::FILE];

    /// The name of each, and what is wrong with it.
    pub(super) fn wrong(&self) -> BTreeMap<&'static str, Option<String>> {
        let wrong = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self::NAMES.into_iter().zip(wrong).collect()
    }

    fn set(&self, wrong: Wrong) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = wrong;
    }
}

/// Looks at the bundle in `path` and at the lists beside it until the program ends, and lets `transport` take what is
/// new in them. Of a file that cannot be used it is told at once and time and again; what stood in it before stays in use.
pub(crate) async fn watch(
    path: PathBuf,
    mut bundle: Bundle,
    transport: Arc<QuicTransport>,
    end: CertificateEnd,
    files: Files,
) {
    let node = bundle.node;
    let mut told = Told::default();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let (now, wrong) = take(&path, &bundle, |it| transport.renew(it).map_err(|it| chain(&it)));
        if now != bundle {
            tell(&bundle, &now);
            end.renew(&now);
            bundle = now;
        }
        for (name, words) in told.due(&wrong, Instant::now()) {
            tracing::error!(%node, "the new {name} is not used, the one before is: {words}");
        }
        files.set(wrong);
    }
}

/// The bundle with what can be used of what stands in `path` and beside it, and what is wrong with the rest. The bundle and
/// the lists are taken together, since they may need each other; where that cannot be, each is taken alone.
fn take(
    path: &Path,
    in_use: &Bundle,
    accept: impl Fn(&Bundle) -> Result<(), String>,
) -> (Bundle, Wrong) {
    let bundle = Bundle::read_alone(path).map_err(|it| chain(&it));
    let lists = Revocations::read(&path.with_file_name(Revocations::FILE));
    let lists = lists.map_err(|it| chain(&it));
    if let (Ok(bundle), Ok(lists)) = (&bundle, &lists) {
        let both = Bundle { revocations: lists.clone(), ..bundle.clone() };
        if let (now, None) = taken(in_use, Ok(both), &accept) {
            return (now, Wrong::default());
        }
    }
    let revocations = in_use.revocations.clone();
    let bundle = bundle.map(|bundle| Bundle { revocations, ..bundle });
    let (now, wrong_bundle) = taken(in_use, bundle, &accept);
    let lists = lists.map(|revocations| Bundle { revocations, ..now.clone() });
    let (now, wrong_lists) = taken(&now, lists, &accept);
    (now, [wrong_bundle, wrong_lists])
}

/// What is `wanted` if it is accepted; otherwise what is in use, and why.
fn taken(
    in_use: &Bundle,
    wanted: Result<Bundle, String>,
    accept: impl Fn(&Bundle) -> Result<(), String>,
) -> (Bundle, Option<String>) {
    let accepted = |it: Bundle| if it == *in_use { Ok(it) } else { accept(&it).map(|()| it) };
    match wanted.and_then(accepted) {
        Ok(now) => (now, None),
        Err(words) => (in_use.clone(), Some(words)),
    }
}

/// What was told of each file, and when.
#[derive(Debug, Default)]
struct Told([Option<(String, Instant)>; 2]);

impl Told {
    /// The files that there is something to tell of now, and what.
    fn due(&mut self, wrong: &Wrong, now: Instant) -> Vec<(&'static str, String)> {
        let mut due = Vec::new();
        for ((told, words), name) in self.0.iter_mut().zip(wrong).zip(Files::NAMES) {
            let is_told = told.as_ref().is_some_and(|(before, at)| {
                words.as_ref() == Some(before) && now.duration_since(*at) < TELL_EVERY
            });
            if !is_told {
                *told = words.clone().map(|words| (words, now));
                due.extend(words.clone().map(|words| (name, words)));
            }
        }
        due
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_stays_unusable_is_told_of_at_once_and_every_ten_minutes_and_not_in_between() {
        let mut told = Told::default();
        let began = Instant::now();
        let wrong = [None, Some(String::from("damaged"))];
        let at = |told: &mut Told, seconds| told.due(&wrong, began + Duration::from_secs(seconds));
        let due = [(Revocations::FILE, String::from("damaged"))];
        assert_eq!(at(&mut told, 0), due);
        assert_eq!(at(&mut told, 599), []);
        assert_eq!(at(&mut told, 600), due);
        assert_eq!(told.due(&[None, None], began + Duration::from_secs(601)), []);
        assert_eq!(at(&mut told, 602), due, "it was well in between");
    }
}
