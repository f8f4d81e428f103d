//! The programs that are compared, and how one of them is started.

use std::path::PathBuf;
use std::process::Command;

use super::ours;
use super::work::{Report, Work};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Program {
    Ours,
    Stateright,
}

/// The first word on the command line of this program where it measures.
const MEASURE: &str = "measure";

/// What this process is to measure, if it is to.
pub(crate) fn told() -> Option<Work> {
    (std::env::args().nth(1)? == MEASURE).then(|| Work::told(1).expect("MODEL CLIENTS SERVERS WAY"))
}

pub(crate) fn measure(work: Work) -> Report {
    Report::of(|| ours::explored(work.model))
}

impl Program {
    /// Those that can run here. Says why another cannot.
    pub(crate) fn all() -> Vec<Self> {
        match printed(&mut cargo("build")) {
            Ok(_) => vec![Self::Ours, Self::Stateright],
            Err(error) => {
                println!("{} is NOT MEASURED: {error}", Self::Stateright.title());
                vec![Self::Ours]
            }
        }
    }

    /// Its name with the version that is measured.
    pub(crate) fn title(self) -> String {
        let lock = include_str!("../../peers-explore/Cargo.lock");
        let rest = lock.split_once("\"stateright\"\nversion = \"").map_or("", |(_, rest)| rest);
        match self {
            Self::Ours => String::from("synod"),
            Self::Stateright => format!("stateright {}", rest.split('"').next().unwrap_or("")),
        }
    }

    /// Does the work in a process of its own.
    pub(crate) fn start(self, work: Work) -> Result<Report, String> {
        let mut command = match self {
            Self::Ours => {
                let this = std::env::current_exe().map_err(|error| error.to_string())?;
                let mut command = Command::new(this);
                command.arg(MEASURE);
                command
            }
            Self::Stateright => {
                let mut command = cargo("run");
                command.arg("--");
                command
            }
        };
        let line = printed(command.args(work.words()))?;
        Report::read(line.trim()).ok_or_else(|| format!("`{line}` is no report"))
    }
}

/// Cargo in the workspace of the other explorer, with the flags of that workspace.
fn cargo(verb: &str) -> Command {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| String::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(tests.join("peers-explore"));
    command.args([verb, "--release", "--locked", "--quiet"]);
    command.env("CARGO_TARGET_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/peers-explore"));
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

/// What a command prints; if it fails, the end of what it complains.
fn printed(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = complaint.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.iter().rev().take(3).rev().map(|line| line.trim());
    Err(last.collect::<Vec<_>>().join("; "))
}
