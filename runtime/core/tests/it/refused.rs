//! What the compiler says to an author who is mistaken.
//!
//! The expected messages stand beside the programs, in `tests/refused/*.stderr`, as the compiler
//! named in `EXPECTED_BY` writes them. To renew them, run `TRYBUILD=overwrite cargo test -p
//! synod-core refused` with that toolchain, and read what has changed.

use std::process::Command;

/// Compilers differ in their words, so only this one is held to them.
const EXPECTED_BY: &str = "rustc 1.95";

#[test]
fn mistakes_are_refused_with_readable_messages() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| String::from("rustc"));
    let version = Command::new(rustc).arg("--version").output().expect("rustc runs");
    if !String::from_utf8_lossy(&version.stdout).starts_with(EXPECTED_BY) {
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
