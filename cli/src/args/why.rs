//! What `why` is asked for.

use std::path::PathBuf;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod why target/synod/bully-0.schedule
  synod why target/synod/bully-0.schedule --runs 1000

From each moment of the run, many random continuations are run: recorded decisions before the
moment, random ones after it, for twice as long as the run took to fail at least. The curve is the share of them that fail in the same property, from
before the first step to the last one. Faults that have not begun at a moment are drawn anew. The
continuation of a schedule of `check` is a random walk; the whole run has twice the steps of the
recorded one at most. If nearly every run fails, no decision dooms this one: then it is told what
decided that it fails as early as it does, if anything, and which steps led to its last one. Steps are numbered from 0, as in `synod replay FILE --trace`; a run of more
than 100 steps is bisected.

The exit code is 0 if there is an answer, 4 if the schedule no longer fails.")]
pub(crate) struct Why {
    /// The schedule of a run that violates a property.
    pub(crate) file: PathBuf,
    /// Continuations from each moment.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) runs: u32,
}
