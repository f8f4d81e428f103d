use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use synod_core::{Boot, Recording};

use super::*;

/// A disk that writes when the test lets it, and says what it was given.
struct Slow {
    may: Receiver<()>,
    written: Sender<Vec<u8>>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.may.recv().map_err(|_| io::Error::other("the disk is gone"))?;
        drop(self.written.send(Vec::from(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn origin() -> Origin {
    let boot = Boot { id: NodeId(1), peers: vec![NodeId(1)], incarnation: 0, seed: 0 };
    Origin { algorithm: String::from("test"), boot, events: [].into(), began: None }
}

fn recorder(limits: Limits) -> (Recorder, Sender<()>, Receiver<Vec<u8>>) {
    let ((let_it, may), (written, seen)) = (channel(), channel());
    let (sink, writer) = (Box::new(Slow { may, written }), RecordingWriter::new());
    let recorder = Recorder::start(sink, writer, origin(), limits, 0);
    (recorder.expect("a thread"), let_it, seen)
}

fn note(recorder: &mut Recorder, steps: usize) {
    let fingerprint = Fingerprint::of(&Ok(()), &[]);
    for _ in 0..steps {
        recorder.note(Duration::ZERO, &Input::Start, fingerprint);
    }
}

#[test]
fn a_disk_that_falls_behind_ends_the_recording_and_holds_nobody_up() {
    let limits = Limits { recording_waiting_bytes: 1_000, ..Limits::default() };
    let (mut recorder, let_it, seen) = recorder(limits);
    recorder.begin(7, Duration::ZERO);
    note(&mut recorder, 200);
    let status = recorder.tape.status();
    assert!(0 < status.steps && 0 < status.missed, "{status:?}");
    assert_eq!(status.steps + status.missed, 200);
    assert!(status.over.is_some_and(|why| why.contains("wait for the disk")));
    assert!(status.bytes < 2_000, "what waits is bounded");
    let tape = recorder.tape();
    drop(recorder);
    for _ in 0..10 {
        let _the_disk_may_be_done = let_it.send(());
    }
    let file = seen.iter().collect::<Vec<_>>().concat();
    let recording = Recording::read(&file).expect("it is intact");
    assert_eq!(recording.steps() as u64, status.steps);
    assert!(recording.lives[0].cut, "the file says that it is not all");
    assert_eq!(recording.lives[0].origin.boot.incarnation, 7);
    assert_eq!(tape.status().bytes, file.len() as u64);
}

#[tokio::test]
async fn a_disk_that_refuses_ends_the_recording() {
    let (mut recorder, let_it, _seen) = recorder(Limits::default());
    drop(let_it);
    recorder.begin(1, Duration::ZERO);
    recorder.tape.close().await;
    note(&mut recorder, 1);
    let status = recorder.tape.status();
    assert_eq!(status.over.as_deref(), Some("the disk is gone"));
    assert_eq!((status.steps, status.missed), (0, 1));
}

#[tokio::test]
async fn a_file_that_is_full_ends_the_recording() {
    let limits = Limits { recording_file_bytes: 200, ..Limits::default() };
    let (mut recorder, let_it, seen) = recorder(limits);
    for _ in 0..100 {
        let_it.send(()).expect("the disk is there");
    }
    recorder.begin(1, Duration::ZERO);
    note(&mut recorder, 100);
    recorder.tape.close().await;
    let status = recorder.tape.status();
    assert!(status.over.is_some_and(|why| why.contains("the file has")));
    drop(recorder);
    let recording = Recording::read(&seen.iter().collect::<Vec<_>>().concat());
    assert!(recording.expect("it is intact").lives[0].cut);
}

#[test]
fn two_that_record_to_one_file_do_not_tear_each_others_records() {
    let path = std::env::temp_dir().join(format!("synod-taped-{}", std::process::id()));
    let first = open(&path, &origin(), u64::MAX).expect("a new file");
    let second = open(&path, &origin(), u64::MAX).err().expect("it is taken");
    assert!(second.to_string().contains("another process records to it"), "{second}");
    drop(first);
    assert!(open(&path, &origin(), u64::MAX).is_ok());
    assert!(!path.exists(), "nothing was recorded");
}
