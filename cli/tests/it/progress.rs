//! A long command tells what it is at when it is asked to, and goes on.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::Place;

/// A long command, killed when it is dropped.
struct Long {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Long {
    fn new(place: &Place, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
        command.args(args).current_dir(&place.0).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        Self { child, stderr }
    }

    /// Whether the process handles SIGUSR1, which would end it else.
    fn listens(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the process is there");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.expect("a mask").trim(), 16).expect("a mask");
        caught & (1 << (SIGUSR1 - 1)) != 0
    }

    /// Asks, until what is told holds `words`.
    fn tells(&mut self, words: &str) -> String {
        let id = self.child.id().to_string();
        loop {
            let sent = Command::new("kill").args(["-USR1", &id]).status().expect("kill");
            assert!(sent.success());
            // An answer is written at once, and read so.
            let told = self.stderr.fill_buf().expect("a pipe").to_vec();
            assert_ne!(told, b"", "it has ended");
            self.stderr.consume(told.len());
            let told = String::from_utf8(told).expect("UTF-8");
            if told.contains(words) {
                return told;
            }
        }
    }
}

impl Drop for Long {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SIGUSR1: u32 = 10;

#[test]
fn simulations_tell_which_seeds_run_when_they_are_asked_and_go_on() {
    if !cfg!(target_os = "linux") {
        return; // Elsewhere nothing says when a process has begun to listen.
    }
    let place = Place::new("usr1-sim");
    for flags in [&[][..], &["--json"]] {
        let sim = ["sim", "bully", "--nodes", "50", "--seeds", "100000000", "--threads", "1"];
        let mut sim = Long::new(&place, &[&sim[..], flags].concat());
        while !sim.listens() {
            std::thread::yield_now();
        }
        for _ in 0..2 {
            let told = sim.tells(" virtual seconds");
            let (line, seed) = told.split_once('\n').expect("two lines");
            assert!(line.starts_with("  ") && line.contains(" of 100,000,000 runs · "), "{told}");
            assert!(seed.starts_with("    seed "), "{told}");
            assert!(seed.contains(" step · ") || seed.contains(" steps · "), "{told}");
        }
    }
}

#[test]
fn an_exploration_tells_how_far_it_is_when_it_is_asked_and_goes_on() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let place = Place::new("usr1-check");
    for flags in [&[][..], &["--json"]] {
        let check = ["check", "bully", "--nodes", "5", "--max-time", "10m"];
        let mut check = Long::new(&place, &[&check[..], flags].concat());
        while !check.listens() {
            std::thread::yield_now();
        }
        for _ in 0..2 {
            let told = check.tells(" states · ");
            assert!(told.contains("/s · depth ") && told.ends_with(" to go on from\n"), "{told}");
        }
    }
}
