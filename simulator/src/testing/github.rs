//! What the runner of GitHub's actions is told of a failure, besides the log.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::panic::Location;

use crate::diagram::Diagram;
use crate::failure::Failure;
use crate::world::Violation;

/// What the runner shows at the test's line.
pub(super) fn annotation(failure: &Failure, name: &str, place: &Location<'_>) -> Option<String> {
    std::env::var_os("GITHUB_ACTIONS")?;
    let Violation { property, reason, .. } = &failure.violation;
    let text = format!("{name}: {property}: {reason}").replace('%', "%25");
    let text = text.replace('\r', "%0D").replace('\n', "%0A");
    Some(format!("::error file={},line={}::{text}\n", place.file(), place.line()))
}

/// Adds the failure to the page of the step, where the runner names a file for it. A page that cannot be
/// written does not hide the failure.
pub(super) fn summarize(failure: &Failure, name: &str, command: &str) {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY") else { return };
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
        let _ = file.write_all(page(failure, name, command).as_bytes());
    }
}

fn page(failure: &Failure, name: &str, command: &str) -> String {
    let Violation { property, reason, .. } = &failure.violation;
    let picture = Diagram::of(&failure.trace).to_string();
    // The fence is longer than any that the algorithm's own lines could close it with.
    let mut fence = String::from("```");
    while picture.contains(&fence) {
        fence.push('`');
    }
    let inline = |text: &str| text.replace(['`', '\n', '\r'], " ");
    format!(
        "### `{}`: {}\n\n`{}`\n\n{fence}text\n{picture}{fence}\n\nReplay: `{}`\n\n",
        inline(name),
        inline(property),
        inline(reason),
        inline(command),
    )
}
