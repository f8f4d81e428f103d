//! What `store` takes.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  synod store check /var/lib/synod/n1
  synod store dump /var/lib/synod/n1 --json
  synod store backup /var/lib/synod/n1 --to /backup/n1-monday
  synod store restore /var/lib/synod/n1 --from /backup/n1-monday

The directory is what `synod node --store` was given. `check`, `dump` and `backup` change nothing in
it, and may be used while the node runs: they see what was written up to some moment.")]
pub(crate) enum Store {
    /// Say whether a store is intact: every record, and what is known to have been durable.
    #[command(after_help = "\
Examples:
  synod store check /var/lib/synod/n1
  synod store check /var/lib/synod/n1 --json")]
    Check(StoreDirectory),
    /// Print every record.
    #[command(after_help = "\
Examples:
  synod store dump /var/lib/synod/n1
  synod store dump /var/lib/synod/n1 --json")]
    Dump(StoreDirectory),
    /// Copy a store, also that of a running node, and check the copy.
    Backup(StoreBackup),
    /// Put a copy into an empty directory.
    Restore(StoreRestore),
}

#[derive(Debug, Parser)]
pub(crate) struct StoreDirectory {
    /// The directory of the store.
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod store backup /var/lib/synod/n1 --to /backup/n1-monday
  synod store backup /var/lib/synod/n1 --to /backup/n1-tuesday --json

A copy of a running node's store holds what was written up to some moment, and nothing after it.")]
pub(crate) struct StoreBackup {
    /// The directory of the store.
    pub(crate) directory: PathBuf,
    /// Where the copy goes: a directory that is empty, or is not there yet.
    #[arg(long)]
    pub(crate) to: PathBuf,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod store restore /var/lib/synod/n2 --from /backup/n1-monday
  synod store restore /var/lib/synod/n3 --from /backup/n1-tuesday

A copy knows nothing of what the node promised after it was made: votes, acknowledgements. Peers that
are linked with a later life of the node refuse it. Start it only if the cluster survives that loss,
or under a new name.")]
pub(crate) struct StoreRestore {
    /// The directory of the store: empty, or not there yet.
    pub(crate) directory: PathBuf,
    /// The copy.
    #[arg(long)]
    pub(crate) from: PathBuf,
}
