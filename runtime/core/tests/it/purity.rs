//! The model knows no world: no runtime, no socket, no transport is even compiled into it.

use std::process::Command;

const OF_THE_WORLD: [&str; 6] = ["tokio", "ractor", "quinn", "rustls", "mio", "socket2"];

/// The names of the packages that `package` is built from, itself first.
fn built_from(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "-p", package])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .expect("cargo runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree of {package}: {error}");
    let lines = String::from_utf8_lossy(&output.stdout);
    lines.lines().filter_map(|line| line.split(' ').next()).map(String::from).collect()
}

#[test]
fn the_model_the_algorithms_and_the_simulator_are_built_without_the_world() {
    for package in ["synod-core", "synod-algorithms", "synod-simulator"] {
        let names = built_from(package);
        assert_eq!(names.first().map(String::as_str), Some(package));
        assert!(names.iter().any(|name| name == "serde"), "the tree of {package} is incomplete");
        let worldly: Vec<_> =
            names.iter().filter(|name| OF_THE_WORLD.contains(&name.as_str())).collect();
        assert!(worldly.is_empty(), "{package} is built from {worldly:?}");
    }
}

#[test]
fn the_transport_is_built_from_the_world() {
    // Otherwise the test above would pass for want of looking.
    assert!(built_from("synod-transport-quic").iter().any(|name| name == "tokio"));
}
