//! Traces for other tools: pure functions from a trace to a text.
//!
//! | Format   | What reads it                        | What it shows                            |
//! |----------|--------------------------------------|------------------------------------------|
//! | ShiViz   | ShiViz, and whatever reads its logs  | every step, with vector clocks           |
//! | Chrome   | Perfetto, `chrome://tracing`         | every step on its node's track           |
//! | PlantUML | PlantUML                             | a sequence diagram of 200 steps at most  |
//! | Mermaid  | Mermaid, so most forges' Markdown    | the same                                 |
//! | SVG      | browsers                             | a space-time diagram of 200 steps at most|
//! | HTML     | browsers                             | every step, to go through, with states   |
//! | CSV      | spreadsheets, data frames            | every step, a row each                   |
//! | History  | `history::read`, `synod history`     | what clients asked for and were answered |
//!
//! The texts in a trace come from the algorithm and, in a recording, from its users: each format
//! escapes all of them. The pictures also write characters that would reorder or move text as
//! their number. Nothing here knows files, or the tools themselves.

mod chrome;
mod csv;
mod html;
mod links;
mod mermaid;
mod plantuml;
mod select;
mod sequence;
mod shiviz;
mod svg;
mod text;

use std::fmt;

pub(crate) use text::visible;

use crate::history::lines;
use crate::trace::Trace;

/// A format that traces are converted to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Format {
    /// A log with vector clocks; its first line is the expression that takes the log apart.
    ShiViz,
    /// Trace events as JSON.
    Chrome,
    /// A sequence diagram.
    PlantUml,
    /// A sequence diagram for Markdown.
    Mermaid,
    /// A space-time diagram: lanes from left to right, time downwards.
    Svg,
    /// A page with the trace in it, to go through the run: it needs no server and no network. Of a trace of more
    /// than 24 MiB the last steps.
    Html,
    /// A table with a row for each step, lists as JSON in their cells.
    Csv,
    /// What clients were seen to do, as JSON lines in the order of the trace; only the first line
    /// where the scenario does not say how to see it.
    History,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 8] = [
        Self::ShiViz,
        Self::Chrome,
        Self::PlantUml,
        Self::Mermaid,
        Self::Svg,
        Self::Html,
        Self::Csv,
        Self::History,
    ];

    /// The ending of such a file's name, without the dot.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::ShiViz => "log",
            Self::Chrome => "json",
            Self::PlantUml => "puml",
            Self::Mermaid => "mmd",
            Self::Svg => "svg",
            Self::Html => "html",
            Self::Csv => "csv",
            Self::History => "history.jsonl",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ShiViz => "shiviz",
            Self::Chrome => "chrome",
            Self::PlantUml => "plantuml",
            Self::Mermaid => "mermaid",
            Self::Svg => "svg",
            Self::Html => "html",
            Self::Csv => "csv",
            Self::History => "history",
        })
    }
}

/// The trace in another format. Equal traces give equal bytes.
///
/// ```
/// use synod_simulator::{Format, Trace, convert};
///
/// let text = "{\"synod_trace\":1,\"algorithm\":\"bully\",\"nodes\":1}\n\
///             {\"i\":0,\"t\":0,\"n\":1,\"k\":\"start\",\"y\":\"starts\"}\n";
/// let log = convert(&Trace::read(text)?, Format::ShiViz);
/// assert!(log.ends_with("#0 0.000ms start starts\nn1 {\"n1\":1}\n"));
/// # Ok::<(), synod_simulator::BadTrace>(())
/// ```
#[must_use]
pub fn convert(trace: &Trace, format: Format) -> String {
    match format {
        Format::ShiViz => shiviz::log(trace),
        Format::Chrome => chrome::events(trace),
        Format::PlantUml => plantuml::diagram(trace),
        Format::Mermaid => mermaid::diagram(trace),
        Format::Svg => svg::diagram(trace),
        Format::Html => html::page(trace),
        Format::Csv => csv::table(trace),
        Format::History => lines(trace.steps.iter().flat_map(|step| &step.clients)),
    }
}
