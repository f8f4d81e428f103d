//! The programs that are compared, and how one of them is started.

use std::process::Command;

use super::ours;
use super::process::{cargo, printed, version};
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

/// The workspace of the other explorer.
const PEERS: &str = "peers-explore";

impl Program {
    /// Those that can run here. Says why another cannot.
    pub(crate) fn all() -> Vec<Self> {
        match printed(&mut cargo(PEERS, "build")) {
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
        match self {
            Self::Ours => String::from("synod"),
            Self::Stateright => format!("stateright {}", version(lock, "stateright")),
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
                let mut command = cargo(PEERS, "run");
                command.arg("--");
                command
            }
        };
        let line = printed(command.args(work.words()))?;
        Report::read(line.trim()).ok_or_else(|| format!("`{line}` is no report"))
    }
}
