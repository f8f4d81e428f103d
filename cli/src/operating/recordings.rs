//! What is recorded of a running node because somebody asks for it.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use synod_core::NodeId;
use synod_runtime::NodeHandle;

/// For how long a node is recorded at once, in seconds.
pub(crate) const SECONDS: RangeInclusive<u64> = 1..=3_600;
/// Recordings that stand in the directory at most: whoever asks must not fill the disk.
const FILES_MAX: u32 = 32;

/// Where they are kept, and which of them runs.
#[derive(Clone, Debug)]
pub(crate) struct Recordings {
    directory: Option<PathBuf>,
    begun: Arc<AtomicU64>,
}

impl Recordings {
    /// They are kept in `directory`, which is made when it is needed.
    pub(crate) fn new(directory: Option<PathBuf>) -> Self {
        // Whoever asks may work in another one.
        let directory = directory.map(|it| std::path::absolute(&it).unwrap_or(it));
        Self { directory, begun: Arc::default() }
    }

    /// Records `node` for so long from now on. Returns the file; or in words why nothing is recorded.
    pub(super) async fn begin(
        &self,
        node: &NodeHandle,
        algorithm: &str,
        time: Duration,
    ) -> Result<PathBuf, String> {
        let directory = self.directory.as_ref().ok_or(NO_PLACE)?;
        let named = |error| format!("cannot make `{}`: {error}", directory.display());
        make(directory).map_err(named)?;
        let file = free_place(directory, node.id())?;
        node.record(algorithm, &file).await.map_err(|error| error.to_string())?;
        let (begun, node) = (Arc::clone(&self.begun), node.clone());
        let this = begun.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::info!(node = %node.id(), file = %file.display(), ?time, "is recorded");
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            // One that was full may have ended before, and another one have begun since.
            if begun.load(Ordering::Relaxed) == this {
                node.end_recording().await;
            }
        });
        Ok(file)
    }
}

/// A directory that only its owner can look into.
fn make(directory: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// The first file that is not there.
fn free_place(directory: &Path, node: NodeId) -> Result<PathBuf, String> {
    let mut files =
        (1..=FILES_MAX).map(|number| directory.join(format!("{node}-{number}.recording")));
    files.find(|file| !file.exists()).ok_or_else(|| {
        let place = directory.display();
        format!("`{place}` has {FILES_MAX} recordings, as many as it may: move some away")
    })
}

const NO_PLACE: &str =
    "it keeps no recordings: start the node with --recordings DIRECTORY, or with --store";

#[cfg(test)]
mod tests {
    use synod_algorithms::Bully;
    use synod_runtime::{MemoryNetwork, NodeBuilder};

    use super::*;

    #[tokio::test]
    async fn a_node_without_a_place_for_recordings_and_one_whose_place_is_full_say_so() {
        let (network, id) = (MemoryNetwork::new(), NodeId(1));
        let builder = NodeBuilder::new(id, vec![id], Bully::default);
        let node = builder.transport(Arc::new(network.transport(id))).start().await;
        let node = node.expect("it starts");
        let begin = async |recordings: &Recordings| {
            recordings.begin(&node, "bully", Duration::from_secs(60)).await
        };
        let nowhere = begin(&Recordings::new(None)).await.expect_err("there is no place");
        assert!(nowhere.contains("--recordings DIRECTORY"), "{nowhere}");

        let place = std::env::temp_dir().join(format!("synod-recordings-{}", std::process::id()));
        let recordings = Recordings::new(Some(place.clone()));
        let first = begin(&recordings).await.expect("there is room");
        assert_eq!(first, place.join("n1-1.recording"));
        let twice = begin(&recordings).await.expect_err("it is recorded");
        assert_eq!(twice, "the node is recorded already");
        node.end_recording().await.expect("it was recorded");
        for number in 2..=FILES_MAX {
            std::fs::write(place.join(format!("n1-{number}.recording")), "").expect("a file");
        }
        let full = begin(&recordings).await.expect_err("it is full");
        assert!(full.contains("as many as it may"), "{full}");
        std::fs::remove_dir_all(place).expect("it is there");
    }
}
