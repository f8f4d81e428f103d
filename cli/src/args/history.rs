//! The arguments of `history`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand, ValueEnum};
use synod_simulator::history::Consistency;
use synod_simulator::history::read::{Form, Model};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  synod history check history.jsonl --model register
  synod history check etcd.log --model cas-register")]
pub(crate) enum History {
    /// Say whether what clients saw could have been seen by one alone.
    Check(HistoryCheck),
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod history check etcd.log --model cas-register
  synod history check register.edn --model cas-register --initial 0 --time-limit 60s
  synod history check store.jsonl --model kv --consistency sequential --json

The exit code is 0 if there is an order that the model allows, 1 if there is none, 2 if the file is
no history of the model, 3 if a limit was reached before an answer, 5 if it has no operations, 6 if
the file cannot be read.")]
pub(crate) struct HistoryCheck {
    /// The history: JSON lines, a log of Jepsen's etcd tests, or EDN.
    pub(crate) file: PathBuf,
    /// What the clients used.
    #[arg(long, value_parser = PossibleValuesParser::new(Model::NAMES))]
    pub(crate) model: String,
    /// The first value of a register, or of every key; nil, and for kv the empty text, unless
    /// given. For multi-register also a map: '{:x 0, :y 1}'.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) initial: Option<String>,
    /// How the file is written.
    #[arg(long, default_value = "auto")]
    pub(crate) format: HistoryForm,
    /// Which orders count: those that agree with time, or only with each client's own.
    #[arg(long, default_value = "linearizable")]
    pub(crate) consistency: ConsistencyArg,
    /// Stop without an answer after so long: 500ms, 60s, 10m.
    #[arg(long, value_parser = super::time)]
    pub(crate) time_limit: Option<Duration>,
}

/// What `--format` takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum HistoryForm {
    /// What the file looks like.
    Auto,
    /// A text log of Jepsen's etcd tests.
    Etcd,
    /// Maps in EDN, as Jepsen, Knossos and porcupine write them.
    Edn,
    /// JSON lines.
    Jsonl,
}

impl HistoryForm {
    pub(crate) fn form(self) -> Option<Form> {
        match self {
            Self::Auto => None,
            Self::Etcd => Some(Form::Etcd),
            Self::Edn => Some(Form::Edn),
            Self::Jsonl => Some(Form::JsonLines),
        }
    }
}

/// What `--consistency` takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ConsistencyArg {
    /// An operation comes after all that returned before it was invoked.
    Linearizable,
    /// The operations of each client stay in its own order.
    Sequential,
}

impl ConsistencyArg {
    pub(crate) fn consistency(self) -> Consistency {
        match self {
            Self::Linearizable => Consistency::Linearizable,
            Self::Sequential => Consistency::Sequential,
        }
    }
}
