//! Recordings that begin, and end, while the node runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use synod_core::{Boot, Catalogue, Origin, SnapshotError};

use crate::failure::text_of;
use crate::gate::locked;
use crate::handle::NodeHandle;
use crate::host::Host;
use crate::recorder::Recorder;
use crate::status::RecordingStatus;

/// Why a running node is not recorded. It goes on as before, and no file is left that was not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It is recorded already.
    #[error("the node is recorded already, from its start on or because somebody else asks for it")]
    Busy,
    /// What it is now, or the file, has more bytes than a recording may have.
    #[error("{0}")]
    Full(String),
    /// The algorithm panicked while its state was written down; the state is as it was.
    #[error("the state panicked when it was to be written down: {0}")]
    Panicked(String),
    /// What it is now cannot be written down.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The file cannot be written, or holds something else.
    #[error("cannot record to {path}: {cause}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: std::io::Error,
    },
    /// It has ended, or is between two lives.
    #[error("the node does not run")]
    NotRunning,
}

impl NodeHandle {
    /// Records from now on what the node is fed, in the file of `path`, under the name of its algorithm, as
    /// [`NodeBuilder::record`](crate::NodeBuilder::record) does from the start on. What the node is now
    /// stands at the beginning: each of its algorithms must say how it
    /// [is written down](synod_core::Algorithm::snapshots). Waits for the handler that runs. O(size of the states).
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub async fn record(
        &self,
        algorithm: impl Into<String>,
        path: impl Into<PathBuf>,
    ) -> Result<(), RecordError> {
        let (host, path) = (self.host(), path.into());
        if host.is_recorded() {
            return Err(RecordError::Busy);
        }
        let boot = Boot { id: host.id, peers: host.members(), incarnation: 0, seed: host.seed };
        let origin = origin(algorithm.into(), boot, &host.catalogue);
        let opened = Recorder::open_elsewhere(path.clone(), origin, host.limits).await;
        let recorder = opened.map_err(|cause| RecordError::File { path, cause })?;
        let tape = recorder.tape();
        let begun = host.begin_recording(recorder).await;
        if begun.is_err() {
            tape.close().await;
        }
        begun
    }

    /// Ends the recording, if there is one, and waits until all of it is in its file. What was recorded.
    pub async fn end_recording(&self) -> Option<RecordingStatus> {
        let host = self.host();
        let recorder = host.cell.lock().await.engine.recorder.take()?;
        let tape = recorder.tape();
        recorder.cut();
        tape.end_before_the_node().await;
        Some(tape.status())
    }
}

impl Host {
    fn is_recorded(&self) -> bool {
        locked(&self.tape).as_ref().is_some_and(|tape| tape.is_running())
    }

    async fn begin_recording(&self, mut recorder: Recorder) -> Result<(), RecordError> {
        let mut cell = self.cell.lock().await;
        let machine = cell.engine.machine.as_ref().filter(|_| !self.has_ended());
        let machine = machine.ok_or(RecordError::NotRunning)?;
        if self.is_recorded() {
            return Err(RecordError::Busy);
        }
        let snapshot = catch_unwind(AssertUnwindSafe(|| machine.snapshot()));
        let snapshot = snapshot.map_err(|it| RecordError::Panicked(text_of(it.as_ref())))??;
        let resumed = recorder.resume(machine.incarnation(), self.now(), &snapshot);
        resumed.map_err(RecordError::Full)?;
        *locked(&self.tape) = Some(recorder.tape());
        cell.engine.recorder = Some(recorder);
        Ok(())
    }
}

/// Whose lives are recorded.
pub(crate) fn origin(algorithm: String, boot: Boot, catalogue: &Catalogue) -> Origin {
    let events = catalogue.schemas().into_iter();
    let events = events.map(|(name, schema)| (String::from(name), schema)).collect();
    Origin { algorithm, boot, events, began: None }
}
