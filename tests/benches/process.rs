//! How other people's programs are built and run, for every benchmark that stands beside some.

use std::path::PathBuf;
use std::process::Command;

/// Cargo in a workspace beside the benchmarks, with the flags of that workspace and not of this one.
pub(crate) fn cargo(workspace: &str, verb: &str) -> Command {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| String::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(tests.join(workspace)).args([verb, "--release", "--locked", "--quiet"]);
    command.env("CARGO_TARGET_DIR", target(workspace));
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

/// Where cargo puts what it builds there.
pub(crate) fn target(workspace: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(workspace)
}

/// The version of a package in a lock file, or nothing.
pub(crate) fn version<'a>(lock: &'a str, package: &str) -> &'a str {
    let before = format!("\"{package}\"\nversion = \"");
    let rest = lock.split_once(&before).map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or("")
}

/// What a command prints; if it fails, the end of what it complains.
pub(crate) fn printed(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = complaint.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.iter().rev().take(3).rev().map(|line| line.trim());
    Err(last.collect::<Vec<_>>().join("; "))
}
