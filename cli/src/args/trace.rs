//! What `trace` takes.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use synod_simulator::Format;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  synod trace merge recordings/*.recording --out run.jsonl
  synod trace convert run.jsonl --to html --out run.html
  synod trace diff before.jsonl target/synod/bully-0.schedule")]
pub(crate) enum Trace {
    /// Make one trace of a cluster from the recordings of its nodes.
    Merge(TraceMerge),
    /// Write a trace, or the run of a schedule, for another tool.
    Convert(TraceConvert),
    /// Show two runs side by side, and where they part.
    Diff(TraceDiff),
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod trace merge n1.recording n2.recording n3.recording
  synod trace merge recordings/*.recording --out run.jsonl

Each delivery comes after its send. Times are those of the nodes' own clocks, shifted as little as
it takes.")]
pub(crate) struct TraceMerge {
    /// The recordings.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Write the trace to this file, not to the standard output.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod trace convert run.jsonl --to html --out run.html
  synod trace convert target/synod/bully-0.schedule --to shiviz --out run.log
  synod trace convert run.jsonl --to mermaid
  synod trace convert run.jsonl --to history --out history.jsonl

Pictures show 200 steps at most, the last ones that changed something.")]
pub(crate) struct TraceConvert {
    /// A trace, as JSON lines, or a schedule.
    pub(crate) file: PathBuf,
    /// What to convert it to.
    #[arg(long)]
    pub(crate) to: FormatArg,
    /// Write the result to this file, not to the standard output.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod replay target/synod/bully-0.schedule --trace before.jsonl
  synod trace diff before.jsonl target/synod/bully-0.schedule    after an edit of the program

Runs are paired step by step up to the first that differs, from there on by what happens: this event
from that node, this timer, for the how-manieth time. What is the same in both is folded. The sign in
the middle: ~ at another time, ≠ (! with --ascii) comes to something else, < and > in one run only.

The exit code is 0 if the runs are the same, 4 if they differ, 2 if they are of two algorithms or a
file is damaged.")]
pub(crate) struct TraceDiff {
    /// A trace, as JSON lines, or a schedule, which is run once more.
    pub(crate) left: PathBuf,
    /// The other one.
    pub(crate) right: PathBuf,
    /// Draw every step, not only those around the first that differs and the last ones.
    #[arg(long)]
    pub(crate) full: bool,
    /// Columns of the picture, 60 to 1000; those of the terminal unless given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(60..=1000))]
    pub(crate) width: Option<u16>,
}

/// What `--to` takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum FormatArg {
    /// A log with vector clocks, for ShiViz.
    Shiviz,
    /// Trace events as JSON, for Perfetto.
    Chrome,
    /// A sequence diagram.
    Plantuml,
    /// A sequence diagram for Markdown.
    Mermaid,
    /// A space-time diagram.
    Svg,
    /// A page to go through the run in a browser, with all states; one file, no server.
    Html,
    /// A table with a row for each step.
    Csv,
    /// What clients asked for and were answered, for `history check`.
    History,
}

impl FormatArg {
    pub(crate) fn format(self) -> Format {
        match self {
            Self::Shiviz => Format::ShiViz,
            Self::Chrome => Format::Chrome,
            Self::Plantuml => Format::PlantUml,
            Self::Mermaid => Format::Mermaid,
            Self::Svg => Format::Svg,
            Self::Html => Format::Html,
            Self::Csv => Format::Csv,
            Self::History => Format::History,
        }
    }
}
