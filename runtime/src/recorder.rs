//! Keeps what the node is fed: every input with a hash of what came of it, in a file.
//!
//! The step only encodes into a buffer. A thread takes whatever the buffer holds and writes it
//! out. If the thread falls behind its bound, the file is full or the disk refuses, the recording
//! ends; the node goes on.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{mem, thread};

use synod_core::{
    Fingerprint, Input, Moment, NodeId, Origin, RecordTooLarge, RecordingScan, RecordingWriter,
    Snapshot, Time,
};
use tokio::sync::Notify;

use crate::gate::{locked, until};
use crate::limits::Limits;
use crate::status::RecordingStatus;

/// The side of the cell: it tells what happens, in the order of stepping.
#[derive(Debug)]
pub(crate) struct Recorder {
    writer: RecordingWriter,
    origin: Origin,
    tape: Arc<Tape>,
}

/// What the cell, the thread and the node's handle share.
#[derive(Debug)]
pub(crate) struct Tape {
    node: NodeId,
    waiting_max: usize,
    file_max: u64,
    reel: Mutex<Reel>,
    /// Something waits, or the recorder is gone.
    filled: Condvar,
    /// The thread has ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Reel {
    /// Encoded, and not yet written.
    waiting: Vec<u8>,
    /// Bytes of the file, those that wait included.
    bytes: u64,
    steps: u64,
    missed: u64,
    /// Why nothing more is recorded.
    over: Option<String>,
    closing: bool,
    closed: bool,
}

/// Where the thread writes.
pub(crate) type Sink = Box<dyn Write + Send>;

/// A file that may be recorded to: where its writer goes on, and after how many bytes.
struct Opened {
    sink: Sink,
    writer: RecordingWriter,
    bytes: u64,
}

impl Recorder {
    /// Opens the file of `path`, or makes it, and starts the thread. Blocks for as long as it takes
    /// to read what stands in the file.
    pub(crate) fn open(path: &Path, origin: Origin, limits: Limits) -> io::Result<Self> {
        let Opened { sink, writer, bytes } = open(path, &origin, limits.recording_file_bytes)?;
        let recorder = Self::start(sink, writer, origin, limits, bytes)?;
        if limits.recording_file_bytes <= bytes {
            let why = format!("{} has {bytes} bytes, as many as it may have", path.display());
            recorder.tape.end(&mut locked(&recorder.tape.reel), why);
        }
        Ok(recorder)
    }

    /// The same where it may take its time.
    pub(crate) async fn open_elsewhere(
        path: PathBuf,
        origin: Origin,
        limits: Limits,
    ) -> io::Result<Self> {
        let opened = tokio::task::spawn_blocking(move || Self::open(&path, origin, limits)).await;
        opened.map_err(io::Error::other)?
    }

    fn start(
        sink: Sink,
        writer: RecordingWriter,
        origin: Origin,
        limits: Limits,
        bytes: u64,
    ) -> io::Result<Self> {
        let node = origin.boot.id;
        let tape = Arc::new(Tape {
            node,
            waiting_max: limits.recording_waiting_bytes,
            file_max: limits.recording_file_bytes,
            reel: Mutex::new(Reel { bytes, ..Reel::default() }),
            filled: Condvar::new(),
            ended: Notify::new(),
        });
        let tape_of_thread = Arc::clone(&tape);
        let thread = thread::Builder::new().name(format!("{node} recording"));
        thread.spawn(move || tape_of_thread.write_to(sink))?;
        Ok(Self { writer, origin, tape })
    }

    pub(crate) fn tape(&self) -> Arc<Tape> {
        Arc::clone(&self.tape)
    }

    /// A life of the node begins.
    pub(crate) fn begin(&mut self, incarnation: u64, now: Time) {
        self.look(incarnation, now);
        let Self { writer, origin, tape } = self;
        let mut reel = locked(&tape.reel);
        if reel.takes() {
            let before = reel.waiting.len();
            let written = writer.begin(origin, &mut reel.waiting);
            tape.took(&mut reel, before, written, writer);
        }
    }

    /// Which life is recorded, and when that begins.
    fn look(&mut self, incarnation: u64, now: Time) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.origin.boot.incarnation = incarnation;
        self.origin.began = Some(Moment { now, wall });
    }

    /// A life of the node goes on from this; or in words why nothing is recorded.
    pub(crate) fn resume(
        &mut self,
        incarnation: u64,
        now: Time,
        snapshot: &Snapshot,
    ) -> Result<(), String> {
        self.look(incarnation, now);
        let Self { writer, origin, tape } = self;
        let mut begun = Vec::new();
        let written = writer.begin(origin, &mut begun);
        written.and_then(|()| writer.resume(snapshot, &mut begun)).map_err(|it| it.to_string())?;
        let mut reel = locked(&tape.reel);
        if let Some(why) = &reel.over {
            return Err(why.clone());
        }
        let most = u64::try_from(tape.waiting_max).unwrap_or(u64::MAX).min(tape.file_max);
        let bytes = begun.len() as u64;
        if most <= reel.bytes.saturating_add(bytes) {
            return Err(format!("what the node is takes {bytes} bytes, and {most} are the limit"));
        }
        reel.bytes += bytes;
        reel.waiting.append(&mut begun);
        tape.filled.notify_one();
        Ok(())
    }

    /// Records no more of a life that goes on.
    pub(crate) fn cut(mut self) {
        let mut reel = locked(&self.tape.reel);
        if reel.takes() {
            let before = reel.waiting.len();
            self.writer.cut(&mut reel.waiting);
            reel.bytes += (reel.waiting.len() - before) as u64;
            reel.closing = true;
        }
    }

    /// A step was taken. O(size of the input).
    pub(crate) fn note(&mut self, now: Time, input: &Input, fingerprint: Fingerprint) {
        let Self { writer, tape, .. } = self;
        let mut reel = locked(&tape.reel);
        if !reel.takes() {
            reel.missed += 1;
            return;
        }
        let before = reel.waiting.len();
        let written = writer.step(now, input, fingerprint, &mut reel.waiting);
        let counter = if written.is_ok() { &mut reel.steps } else { &mut reel.missed };
        *counter += 1;
        tape.took(&mut reel, before, written, writer);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.tape.no_more();
    }
}

impl Reel {
    fn takes(&self) -> bool {
        self.over.is_none() && !self.closing
    }
}

impl Tape {
    /// A record was encoded, or was too large: wakes the thread, and ends the recording at its
    /// bounds, which the last record may overshoot.
    fn took(
        &self,
        reel: &mut Reel,
        before: usize,
        written: Result<(), RecordTooLarge>,
        writer: &mut RecordingWriter,
    ) {
        let bytes = reel.bytes + (reel.waiting.len() - before) as u64;
        let over = match written {
            Err(too_large) => Some(too_large.to_string()),
            Ok(()) if self.file_max <= bytes => {
                Some(format!("the file has {bytes} bytes, as many as it may have"))
            }
            Ok(()) if self.waiting_max <= reel.waiting.len() => {
                Some(format!("{} bytes wait for the disk, as many as may", reel.waiting.len()))
            }
            Ok(()) => None,
        };
        if let Some(why) = over {
            writer.cut(&mut reel.waiting);
            self.end(reel, why);
        }
        reel.bytes += (reel.waiting.len() - before) as u64;
        if before == 0 {
            self.filled.notify_one();
        }
    }

    fn end(&self, reel: &mut Reel, why: String) {
        tracing::warn!(node = %self.node, why, "the recording has ended, the node goes on");
        reel.over = Some(why);
    }

    fn no_more(&self) {
        locked(&self.reel).closing = true;
        self.filled.notify_one();
    }

    /// Takes nothing any more; resolves when everything taken before is written, or could not be.
    pub(crate) async fn close(&self) {
        self.no_more();
        until(&self.ended, || locked(&self.reel).closed).await;
    }

    /// The same for a recording that ends before its node, which can be told only now.
    pub(crate) async fn end_before_the_node(&self) {
        self.close().await;
        locked(&self.reel).over.get_or_insert_with(|| String::from(RecordingStatus::ENDED));
    }

    /// Whether it takes what the node is fed.
    pub(crate) fn is_running(&self) -> bool {
        locked(&self.reel).takes()
    }

    pub(crate) fn status(&self) -> RecordingStatus {
        let reel = locked(&self.reel);
        RecordingStatus {
            steps: reel.steps,
            missed: reel.missed,
            bytes: reel.bytes,
            over: reel.over.clone(),
        }
    }

    /// Writes whatever waits, all at once, until there is nothing more to come.
    fn write_to(&self, mut sink: Sink) {
        let mut taken = Vec::new();
        while self.take(&mut taken) {
            if let Err(error) = sink.write_all(&taken).and_then(|()| sink.flush()) {
                let mut reel = locked(&self.reel);
                self.end(&mut reel, error.to_string());
                reel.waiting = Vec::new();
                break;
            }
            taken.clear();
        }
        drop(sink); // Before whoever waits may open it again.
        locked(&self.reel).closed = true;
        self.ended.notify_waiters();
    }

    /// Waits for something to write; false if there is nothing, and never will be.
    fn take(&self, taken: &mut Vec<u8>) -> bool {
        let idle = |reel: &mut Reel| reel.waiting.is_empty() && !reel.closing;
        let reel = self.filled.wait_while(locked(&self.reel), idle);
        let mut reel = reel.unwrap_or_else(PoisonError::into_inner);
        mem::swap(taken, &mut reel.waiting);
        !taken.is_empty()
    }
}

/// Opens the file, and makes sure that what follows can be read with what stands there.
fn open(path: &Path, origin: &Origin, file_max: u64) -> io::Result<Opened> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600); // It holds what the peers say.
    // A file that is there already is its owner's, even if nothing stands in it.
    let made = options.clone().create_new(true).open(path);
    let made_at = made.is_ok().then(|| path.to_path_buf());
    let mut file = made.or_else(|_| options.open(path))?;
    // Two that write would tear each other's records. The lock ends with the file, or its process.
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => invalid("another process records to it"),
        TryLockError::Error(error) => error,
    })?;
    let size = file.metadata()?.len();
    if file_max <= size {
        let (sink, writer) = (Box::new(file), RecordingWriter::new());
        return Ok(Opened { sink, writer, bytes: size }); // Nothing will be written.
    }
    let scan = scan(&mut file)?;
    if let Some(other) = scan.origins().iter().find(|other| !other.shares_a_recording_with(origin))
    {
        let Origin { algorithm, boot, .. } = other;
        return Err(invalid(format!("it is the recording of {algorithm} on {}", boot.id)));
    }
    let bytes = scan.intact_bytes();
    if bytes < size {
        file.set_len(bytes)?;
    }
    let writer = RecordingWriter::after(&scan);
    let sink = Box::new(Film { file, made_at });
    Ok(Opened { sink, writer, bytes })
}

/// Looks at what stands in the file, a piece at a time: it may be as large as a recording may be.
fn scan(file: &mut File) -> io::Result<RecordingScan> {
    let (mut scan, mut piece) = (RecordingScan::default(), vec![0; PIECE_BYTES]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(scan);
        }
        scan.take(piece.get(..read).unwrap_or_default()).map_err(invalid)?;
    }
}

/// How much of a file is read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// The file of a recording. One that was made for a node that then did not start is removed again.
struct Film {
    file: File,
    made_at: Option<PathBuf>,
}

impl Write for Film {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Film {
    fn drop(&mut self) {
        let is_empty = || self.file.metadata().is_ok_and(|it| it.len() == 0);
        if let Some(path) = self.made_at.as_ref().filter(|_| is_empty()) {
            let _ = fs::remove_file(path); // Ours alone: it is locked.
        }
    }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests;
