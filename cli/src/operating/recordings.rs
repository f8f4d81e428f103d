//! What is recorded of a running node because somebody asks for it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use synod_core::NodeId;
use synod_runtime::{NodeHandle, RecordError, RecordingStatus};
use synod_transport_quic::random_bits;
use tokio::sync::Mutex;

/// For how long a node is recorded at once, in seconds.
pub(crate) const SECONDS: RangeInclusive<u64> = 1..=3_600;
/// Recordings of a node that are kept: whoever asks must not fill the disk. The oldest gives way.
const KEPT_MAX: usize = 4;

/// Where they are kept, and which one is under way.
#[derive(Clone, Debug)]
pub(crate) struct Recordings {
    directory: Option<PathBuf>,
    under_way: Arc<Mutex<UnderWay>>,
}

#[derive(Debug, Default)]
struct UnderWay {
    /// The file of the last one that was not ended.
    file: Option<PathBuf>,
    /// What ends it, and when it ends by itself; none for one from the node's start on.
    asked: Option<(String, Instant)>,
}

/// What whoever asks for a recording is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begun {
    pub(crate) file: PathBuf,
    /// Whoever says it ends the recording, and nobody else: each user of the machine can call the port.
    pub(crate) token: String,
}

impl Recordings {
    /// They are kept in `directory`, which is made when it is needed; `file` is that of a recording from the
    /// node's start on.
    pub(crate) fn new(directory: Option<PathBuf>, file: Option<PathBuf>) -> Self {
        // Whoever asks may work in another one.
        let absolute = |it: PathBuf| std::path::absolute(&it).unwrap_or(it);
        let under_way = UnderWay { file: file.map(absolute), asked: None };
        Self { directory: directory.map(absolute), under_way: Arc::new(Mutex::new(under_way)) }
    }

    /// Records `node` for so long from now on. In words why nothing is recorded.
    pub(super) async fn begin(
        &self,
        node: &NodeHandle,
        algorithm: &str,
        time: Duration,
    ) -> Result<Begun, String> {
        let mut under_way = self.under_way.lock().await;
        let directory = self.directory.as_ref().ok_or(NO_PLACE)?;
        let named = |error| format!("cannot record in `{}`: {error}", directory.display());
        let is_new = !directory.exists();
        make(directory).map_err(named)?;
        let kept = kept(directory, node.id()).map_err(named)?;
        let number = kept.last_key_value().map_or(1, |(number, _)| number + 1);
        let file = directory.join(name(node.id(), number));
        if file.to_str().is_none() {
            return Err(format!("`{}` is no UTF-8", file.display()));
        }
        if let Err(error) = node.record(algorithm, &file).await {
            if is_new {
                let _ = fs::remove_dir(directory); // Nothing is kept there.
            }
            return Err(under_way.instead(&error));
        }
        for old in kept.values().rev().skip(KEPT_MAX - 1) {
            let _ = fs::remove_file(old); // It is one more than is kept, no more.
        }
        tracing::info!(node = %node.id(), file = %file.display(), ?time, "is recorded");
        let token = format!("{:016x}{:016x}", random_bits(), random_bits());
        let asked = Some((token.clone(), Instant::now() + time));
        *under_way = UnderWay { file: Some(file.clone()), asked };
        let (this, recordings, node) = (token.clone(), self.clone(), node.clone());
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            recordings.end(&node, &this).await;
        });
        Ok(Begun { file, token })
    }

    /// Ends the recording that was begun with this token, if it has not been ended. Whether there was such a one.
    pub(super) async fn end(&self, node: &NodeHandle, token: &str) -> bool {
        let mut under_way = self.under_way.lock().await;
        let is_its = under_way.asked.as_ref().is_some_and(|(its, _)| its == token);
        if is_its {
            *under_way = UnderWay::default();
            // Whoever asks may be gone before the handler that runs has returned.
            let _it_ends_anyway = tokio::spawn(end_now(node.clone())).await;
        }
        is_its
    }
}

impl UnderWay {
    /// Why no other one begins.
    fn instead(&self, error: &RecordError) -> String {
        let left = self.asked.as_ref().map(|(_, until)| until.duration_since(Instant::now()));
        let left = left.map(|left| format!(", for {} s more", left.as_secs())).unwrap_or_default();
        match (error, &self.file) {
            (RecordError::Busy, Some(file)) => format!("{error}: `{}`{left}", file.display()),
            _ => error.to_string(),
        }
    }
}

async fn end_now(node: NodeHandle) {
    if let Some(RecordingStatus { steps, bytes, over, .. }) = node.end_recording().await {
        let why = over.unwrap_or_default();
        tracing::info!(node = %node.id(), steps, bytes, why, "is recorded no more");
    }
}

/// Makes a directory that only its owner can look into, unless there is one.
fn make(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn name(node: NodeId, number: u64) -> String {
    format!("{node}-{number}.recording")
}

/// The recordings of a node that stand in a directory, by number.
fn kept(directory: &Path, node: NodeId) -> io::Result<BTreeMap<u64, PathBuf>> {
    let mut kept = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        kept.extend(number(&entry.file_name(), node).map(|number| (number, entry.path())));
    }
    Ok(kept)
}

/// The number of a recording on demand of a node, by the name of its file.
pub(crate) fn number(file: &OsStr, node: NodeId) -> Option<u64> {
    let text = file.to_str()?;
    let digits = text.strip_prefix(&format!("{node}-"))?.strip_suffix(".recording")?;
    digits.parse().ok().filter(|number| name(node, *number) == text)
}

const NO_PLACE: &str =
    "it keeps no recordings: start the node with --recordings DIRECTORY, or with --store";

#[cfg(test)]
mod tests {
    use synod_algorithms::Bully;
    use synod_runtime::{MemoryNetwork, NodeBuilder};

    use super::*;

    #[tokio::test]
    async fn the_last_recordings_are_kept_and_one_that_was_ended_ends_no_other() {
        let (network, id) = (MemoryNetwork::new(), NodeId(1));
        let builder = NodeBuilder::new(id, vec![id], Bully::default);
        let node = builder.transport(Arc::new(network.transport(id))).start().await;
        let node = node.expect("it starts");
        let begin =
            async |recordings: &Recordings, time| recordings.begin(&node, "bully", time).await;
        let (short, long) = (Duration::from_millis(50), Duration::from_secs(60));
        let nowhere =
            begin(&Recordings::new(None, None), long).await.expect_err("there is no place");
        assert!(nowhere.contains("--recordings DIRECTORY"), "{nowhere}");

        let place = std::env::temp_dir().join(format!("synod-recordings-{}", std::process::id()));
        let recordings = Recordings::new(Some(place.clone()), None);
        let first = begin(&recordings, short).await.expect("there is a place");
        assert_eq!(first.file, place.join("n1-1.recording"));
        assert!(recordings.end(&node, &first.token).await);
        let second = begin(&recordings, long).await.expect("the first was ended");
        tokio::time::sleep(2 * short).await;
        for token in [first.token.as_str(), "", &second.token[1..]] {
            assert!(!recordings.end(&node, token).await, "it is not that of the second one");
        }
        let twice = begin(&recordings, long).await.expect_err("it is recorded");
        for words in ["recorded already", "n1-2.recording`, for 5"] {
            assert!(twice.contains(words), "{twice}");
        }
        for name in ["n1-x.recording", "n1-01.recording", "n11-1.recording"] {
            fs::write(place.join(name), "somebody else's").expect("a file");
        }
        let mut last = second;
        for _ in 0..4 {
            assert!(recordings.end(&node, &last.token).await);
            last = begin(&recordings, long).await.expect("the one before was ended");
        }
        let numbers: Vec<u64> = kept(&place, id).expect("a directory").into_keys().collect();
        assert_eq!(numbers, [3, 4, 5, 6]);
        assert_eq!(fs::read_dir(&place).expect("a directory").count(), 7);
        // Who asks for the end is gone before there is an answer.
        let end = recordings.end(&node, &last.token);
        let _gone = tokio::time::timeout(Duration::ZERO, end).await;
        let over = || node.status().recording.and_then(|it| it.over);
        let began = Instant::now();
        while over().is_none() && began.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(short).await;
        }
        assert_eq!(over().as_deref(), Some(RecordingStatus::ENDED));
        node.shutdown(Duration::ZERO).await;
        fs::remove_dir_all(place).expect("it is there");
    }
}
