//! Nodes as processes, and the bundles that they need.

use std::io::{self, BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::synod;

const PATIENCE: Duration = Duration::from_secs(60);

/// A process that runs a node, and what it says on both outputs. Killed when it is dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    said: Receiver<String>,
    heard: Vec<String>,
}

impl Running {
    pub(crate) fn node(bundle: &Path) -> Self {
        Self::configured(bundle, &[])
    }

    /// A node with more flags; its admin port is any free one.
    pub(crate) fn configured(bundle: &Path, flags: &[&str]) -> Self {
        Self::with_environment(bundle, flags, &[])
    }

    /// The same with variables of the environment.
    pub(crate) fn with_environment(
        bundle: &Path,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_synod"))
            .args(["node", "--json", "--admin", "127.0.0.1:0"])
            .arg(bundle)
            .args(flags)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the node starts");
        let (say, said) = channel();
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let also = say.clone();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|it| say.send(it))
        });
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|it| also.send(it))
        });
        Self { child, said, heard: Vec::new() }
    }

    /// A node of whose outputs nobody reads a line, as when `head` has ended.
    pub(crate) fn unread(bundle: &Path, admin: &str) -> Self {
        let left = || io::pipe().map(|(_reader, writer)| writer).expect("a pipe");
        let child = Command::new(env!("CARGO_BIN_EXE_synod"))
            .args(["node", "--admin", admin])
            .arg(bundle)
            .stdin(Stdio::null())
            .stdout(left())
            .stderr(left())
            .spawn()
            .expect("the node starts");
        let (_, said) = channel();
        Self { child, said, heard: Vec::new() }
    }

    /// What it has said so far, as far as somebody waited for it.
    pub(crate) fn heard(&self) -> impl Iterator<Item = &String> {
        self.heard.iter()
    }

    /// Waits for a line that holds all of `words`.
    pub(crate) fn says(&mut self, words: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        let fits = |line: &String| words.iter().all(|word| line.contains(word));
        if let Some(line) = self.heard.iter().find(|line| fits(line)) {
            return line.clone();
        }
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.said.recv_timeout(rest) else {
                panic!("no line with {words:?} in {:#?}", self.heard);
            };
            self.heard.push(line.clone());
            if fits(&line) {
                return line;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authority, and bundles for nodes on free ports.
pub(crate) fn cluster(place: &Path, name: &str, nodes: &[&str]) -> Vec<PathBuf> {
    let ca = place.join(name);
    let made = synod(place, &["cert", "init", ca.to_str().expect("UTF-8"), "--cluster", name]);
    assert_eq!(made.exit, 0, "{}", made.stderr);
    issue(place, &ca, nodes)
}

pub(crate) fn issue(place: &Path, ca: &Path, nodes: &[&str]) -> Vec<PathBuf> {
    let at = |node: &&str| format!("{node}=127.0.0.1:{}", free_port());
    let members: Vec<String> = nodes.iter().map(at).collect();
    let mut args = vec!["cert", "issue", "--ca", ca.to_str().expect("UTF-8")];
    args.extend(["--out", ca.to_str().expect("UTF-8")]);
    args.extend(members.iter().map(String::as_str));
    let issued = synod(place, &args);
    assert_eq!(issued.exit, 0, "{}", issued.stderr);
    nodes.iter().map(|node| ca.join(format!("{node}.synod"))).collect()
}

/// A port that is free, and that the system gives to nobody who asks for any port: a node takes it
/// later.
pub(crate) fn free_port() -> u32 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    loop {
        let asked = ASKED.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + std::process::id().wrapping_mul(64).wrapping_add(asked) % 20_000;
        if UdpSocket::bind(format!("127.0.0.1:{port}")).is_ok() {
            return port;
        }
    }
}
