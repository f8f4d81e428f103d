//! The binary, as a user calls it.

mod as_test;
mod certificates;
mod colors;
mod commands;
mod configured;
mod deployment;
mod diff;
mod doctor;
mod examples;
mod generated;
mod history;
mod json_lines;
mod operating;
#[cfg(feature = "otel")]
mod otlp;
mod progress;
mod readme;
mod recording;
mod running;
mod shell;
mod store;
mod surroundings;
mod sweep;
mod traces;
mod why;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// What a call of the binary came to.
#[derive(Debug)]
struct Called {
    exit: i32,
    stdout: String,
    stderr: String,
}

/// Calls the binary in `directory`, and kills it if it does not end.
fn synod(directory: &Path, args: &[&str]) -> Called {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", "120", env!("CARGO_BIN_EXE_synod")]).args(args);
    for variable in
        ["CARGO", "CLICOLOR_FORCE", "COLUMNS", "NO_COLOR", "SYNOD_OUT", "SYNOD_RUNS", "SYNOD_SEED"]
    {
        command.env_remove(variable);
    }
    let output = command.current_dir(directory).output();
    Called::from(output.expect("the binary starts"))
}

impl From<Output> for Called {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the binary writes UTF-8");
        let exit = output.status.code().expect("no signal");
        Self { exit, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Called {
    /// Every line of the standard output, which is JSON.
    fn lines(&self) -> Vec<Value> {
        let parsed = self.stdout.lines().map(serde_json::from_str);
        parsed.collect::<Result<_, _>>().expect("JSON lines")
    }

    fn last(&self) -> Value {
        self.lines().pop().expect("at least one line")
    }
}

/// A directory of its own for a test, removed when it is dropped.
struct Place(std::path::PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("synod-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
