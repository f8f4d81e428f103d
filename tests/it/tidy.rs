//! Rules about the sources that no lint knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of a source file, its tests not counted, at most.
const LINES_MAX: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust source below `folder`, with its text.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// The sources of the algorithms, without those of their tests.
fn library() -> Vec<(PathBuf, String)> {
    let mut library = sources(&root().join("algorithms/src"));
    library.retain(|(path, _)| !path.ends_with("tests.rs"));
    library
}

#[test]
fn no_source_file_is_too_long_to_find_the_way() {
    for (path, text) in sources(&root()) {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(&text);
        let lines = code.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines", path.display());
    }
}

#[test]
fn nothing_unfinished_is_left_in_the_sources() {
    let marks = ["TODO", "FIXME", "XXX"].map(|mark| format!("// {mark}"));
    for (path, text) in sources(&root()) {
        let found = marks.iter().find(|mark| text.contains(*mark));
        assert_eq!(found, None, "{}", path.display());
    }
}

#[test]
fn every_algorithm_opens_with_its_header() {
    let library = library();
    let algorithms: Vec<_> =
        library.iter().filter(|(_, text)| text.contains("impl Algorithm for")).collect();
    assert!(3 <= algorithms.len());
    for (path, text) in algorithms {
        let header: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        for row in [
            "Source:",
            "| Assumes ",
            "| Safety ",
            "| Liveness ",
            "| Messages ",
            "| Checked ",
            "upon <",
        ] {
            assert!(header.contains(row), "{} lacks `{row}`", path.display());
        }
    }
}

#[test]
fn wire_names_are_unique_and_carry_the_name_of_their_file() {
    let mut names: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (path, text) in library() {
        for part in text.split("#[event(name = \"").skip(1) {
            let name = part.split('"').next().expect("a name");
            let prefix = name.split('.').next().expect("an algorithm");
            let folder = path.parent().expect("a folder");
            let is_own = path.file_stem().is_some_and(|stem| stem == prefix);
            assert!(is_own || folder.ends_with(prefix), "`{name}` in {}", path.display());
            let taken = names.insert(String::from(name), path.clone());
            assert_eq!(taken, None, "`{name}` twice");
        }
    }
    assert!(10 <= names.len());
}

#[test]
fn only_the_ring_provider_is_in_the_lock_file() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("the lock file");
    for crate_name in ["aws-lc-rs", "aws-lc-sys", "openssl-sys"] {
        assert!(!lock.contains(&format!("name = \"{crate_name}\"")), "{crate_name}");
    }
}

#[test]
fn one_version_of_syn_is_built() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--workspace", "--edges", "normal,build", "--prefix", "none"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8_lossy(&output.stdout);
    let syn = tree.lines().filter_map(|line| line.strip_prefix("syn "));
    let versions: BTreeSet<&str> = syn.filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(versions.len(), 1, "see the dependencies in Cargo.toml: {versions:?}");
}
