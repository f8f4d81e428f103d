//! The page of a test that failed.

use std::env;
use std::path::{Path, PathBuf};

use super::replace;
use crate::convert::{Format, convert};
use crate::failure::Failure;

/// What Cargo puts into the folder of all that it builds.
const TAG: &str = "CACHEDIR.TAG";

/// Writes the page of a failure beside what was built, under the name of its schedule. None where the test
/// does not run from such a folder, or nothing can be written there.
pub(super) fn written(failure: &Failure, schedule: &Path) -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    let target = program.ancestors().find(|folder| folder.join(TAG).is_file())?;
    let page = target.join("synod").join(schedule.with_extension("html").file_name()?);
    replace(&page, &convert(&failure.trace, Format::Html)).ok()?;
    Some(page)
}
