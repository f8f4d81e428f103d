//! What `completions` and `man` take.

use std::path::PathBuf;

use clap::Parser;
use clap_complete::Shell;

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod completions bash > ~/.local/share/bash-completion/completions/synod
  synod completions fish > ~/.config/fish/completions/synod.fish")]
pub(crate) struct Completions {
    /// The shell.
    pub(crate) shell: Shell,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod man
  synod man --out ~/.local/share/man/man1")]
pub(crate) struct Manual {
    /// The directory of the pages.
    #[arg(long, default_value = "man")]
    pub(crate) out: PathBuf,
}
