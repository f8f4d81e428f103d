//! The programs that are compared, and how one of them is started.

use std::process::Command;

use super::process::{cargo, printed, version};
use super::work::{Report, Work};
use super::{bare, handlers, ours};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Program {
    Bare,
    Handlers,
    Ours,
    Madsim,
    Turmoil,
}

/// The workspace of other people's programs.
const PEERS: &str = "peers";

impl Program {
    /// Those that are part of this very program.
    const HERE: [Self; 3] = [Self::Bare, Self::Handlers, Self::Ours];

    /// Those that can run here. Says why others cannot.
    pub(crate) fn all() -> Vec<Self> {
        let peers = [Self::Madsim, Self::Turmoil].into_iter();
        let built = peers.filter(|peer| match peer.build() {
            Ok(()) => true,
            Err(error) => {
                println!("{} is NOT MEASURED: it cannot be built here: {error}", peer.title());
                false
            }
        });
        Self::HERE.into_iter().chain(built).collect()
    }

    /// One that is measured in a process of this very program.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::HERE.into_iter().find(|program| program.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Handlers => "handlers",
            Self::Ours => "ours",
            Self::Madsim => "madsim",
            Self::Turmoil => "turmoil",
        }
    }

    /// Its name with the version that is measured.
    pub(crate) fn title(self) -> String {
        match self {
            Self::Bare => String::from("bare heap"),
            Self::Handlers => String::from("heap, handlers"),
            Self::Ours => String::from("synod"),
            Self::Madsim | Self::Turmoil => {
                let lock = include_str!("../../peers/Cargo.lock");
                format!("{} {}", self.name(), version(lock, self.name()))
            }
        }
    }

    /// Does the work in this process.
    pub(crate) fn measure(self, work: Work) -> Report {
        let scenario = ours::scenario(work);
        match self {
            Self::Bare => work.measure(|seed| bare::once(work, seed)),
            Self::Handlers => work.measure(|seed| handlers::once(work, seed)),
            _ => work.measure(|seed| ours::once(&scenario, work, seed)),
        }
    }

    /// Does the work in a process of its own.
    pub(crate) fn start(self, work: Work) -> Result<Report, String> {
        let mut command = match self {
            Self::Bare | Self::Handlers | Self::Ours => {
                let this = std::env::current_exe().map_err(|error| error.to_string())?;
                let mut command = Command::new(this);
                command.arg(self.name());
                command
            }
            Self::Madsim | Self::Turmoil => {
                let mut command = cargo(PEERS, "run");
                command.args(["--bin", self.name(), "--"]);
                command
            }
        };
        let shape = format!("{:?}", work.shape).to_lowercase();
        command.args([
            shape,
            work.nodes.to_string(),
            work.messages.to_string(),
            work.runs.to_string(),
        ]);
        let line = printed(&mut command)?;
        report(line.trim()).ok_or_else(|| format!("`{line}` is no report"))
    }

    fn build(self) -> Result<(), String> {
        printed(cargo(PEERS, "build").args(["--bin", self.name()])).map(|_| ())
    }
}

fn report(line: &str) -> Option<Report> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [delivered, seconds, virtual_ms, peak_kib] = words.as_slice() else { return None };
    Some(Report {
        delivered: delivered.parse().ok()?,
        seconds: seconds.parse().ok()?,
        virtual_ms: virtual_ms.parse().ok()?,
        peak_kib: peak_kib.parse().ok()?,
    })
}
