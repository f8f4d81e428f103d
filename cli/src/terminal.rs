//! How wide the terminal is.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::process::{Command, Stdio};

/// Columns where nobody says how many there are.
const COLUMNS: usize = 80;

/// The columns of the standard output: those that `COLUMNS` tells, else the terminal's, else 80.
pub(crate) fn columns() -> usize {
    known().unwrap_or(COLUMNS)
}

/// The same where somebody says how many there are: a file has as many as it takes.
pub(crate) fn known() -> Option<usize> {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    told.filter(|columns| 0 < *columns).or_else(asked)
}

/// What the terminal itself says: the standard library cannot ask it, `stty` can.
fn asked() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let terminal = File::open("/dev/tty").ok()?;
    let output = Command::new("stty").arg("size").stdin(terminal).stderr(Stdio::null()).output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    text.split_whitespace().nth(1)?.parse().ok().filter(|columns| 0 < *columns)
}
