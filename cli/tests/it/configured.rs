//! `synod.toml`, below the environment and the flags.

use std::fs;
use std::process::Command;

use crate::{Called, Place, synod};

/// Writes the file of `place`.
fn write(place: &Place, text: &str) {
    fs::write(place.0.join("synod.toml"), text).expect("written");
}

/// The last line of `sim bully` with `flags` and `variables`.
fn sim(place: &Place, flags: &[&str], variables: &[(&str, &str)]) -> serde_json::Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
    command.args(["sim", "bully", "--json"]).args(flags).current_dir(&place.0);
    command.env_remove("SYNOD_RUNS").envs(variables.iter().copied());
    Called::from(command.output().expect("the binary starts")).last()
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let place = Place::new("configured");
    write(&place, "[sim]\nseeds = 10\nnodes = \"3..4\"\n[check]\nnodes = 2\n");
    let file = sim(&place, &[], &[]);
    assert_eq!((&file["runs"], &file["nodes"]), (&10.into(), &"3..4".into()), "{file}");
    let variable = sim(&place, &[], &[("SYNOD_RUNS", "20")]);
    assert_eq!((&variable["runs"], &variable["nodes"]), (&20.into(), &"3..4".into()));
    let flag = sim(&place, &["--seeds", "30", "--nodes", "5"], &[("SYNOD_RUNS", "20")]);
    assert_eq!((&flag["runs"], &flag["nodes"]), (&30.into(), &5.into()), "{flag}");
    assert_eq!(synod(&place.0, &["--json", "check", "hello"]).last()["nodes"], 2);
    let told = synod(&place.0, &["sim", "bully", "--nodes", "3"]);
    assert!(told.stderr.contains("of synod.toml: seeds\n"), "{}", told.stderr);
}

#[test]
fn the_settings_in_the_guide_are_some() {
    let guide = include_str!("../../../docs/commands.md");
    let shown = guide.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let place = Place::new("configured-guide");
    write(&place, shown.expect("settings"));
    let last = sim(&place, &["--seeds", "10"], &[]);
    assert_eq!((&last["nodes"], &last["runs"]), (&"3..7".into(), &10.into()), "{last}");
    let called = synod(&place.0, &["check", "echo", "--nodes", "3", "--json"]);
    assert_eq!(called.last()["symmetry"]["permutations"], 2, "{}", called.stderr);
}

#[test]
fn lists_and_switches_are_asked_for_too() {
    let place = Place::new("configured-lists");
    write(
        &place,
        "[sim]\nseeds = 1_0\nfaults = [\"loss\", \"delay\"]\nlink = [\"1-2=5\"]\n\
         [check]\nunordered = true\nlossy = false\n",
    );
    let dropped = sim(&place, &[], &[])["dropped"].to_string();
    assert!(dropped.contains("lost") && dropped.contains("bounded"), "{dropped}");
    let last = synod(&place.0, &["check", "hello", "--max-states", "9", "--json"]).stdout;
    assert!(last.contains(r#""unordered":true,"lossy":false"#), "{last}");
}

#[test]
fn a_mistake_is_told_with_file_line_key_value_and_what_is_allowed() {
    let place = Place::new("configured-mistakes");
    for (text, command, words) in [
        ("\n[sim]\nnodes = 0", "sim", &["line 3: `nodes = 0`", "or a range, 1 to"][..]),
        ("[sim]\nfaults = ['gremlins']", "sim", &["line 2: `faults = [", "'gremlins'", "crash, "]),
        ("[sim]\nstrategy = 'luck'", "sim", &["line 2", "'luck'", "portfolio"]),
        ("[sim]\nsedes = 3", "sim", &["line 2: `sedes = 3`", "no key of [sim]", "seeds"]),
        ("[simulate]\nseeds = 3", "sim", &["line 1: `[simulate]`", "[sim] or [check]"]),
        ("seeds = 3", "check", &["line 1: `seeds = 3`", "[sim] or [check]"]),
        ("[check]\ntiming = 'soon'", "check", &["`timing = 'soon'`", "bounded, unbounded"]),
        ("[check]\nlossy = 'yes'", "check", &["`lossy = 'yes'`", "true or false"]),
        ("[check]\nnodes = true", "check", &["`nodes = true`", "a text, a number"]),
        ("[check]\nnodes = ", "check", &["line 2: `nodes =`"]),
        ("[check]\nreduce = true\nlive = true", "check", &["line ", "cannot be used with"]),
    ] {
        write(&place, text);
        let called = synod(&place.0, &[command, "bully"]);
        assert_eq!(called.exit, 2, "{text}: {}", called.stderr);
        for word in [&["`synod.toml`"], words].concat() {
            assert!(called.stderr.contains(word), "{word}: {}", called.stderr);
        }
    }
    write(&place, "[check]\nreduce = true\n");
    let called = synod(&place.0, &["check", "hello", "--order", "depth"]);
    let told = "`synod.toml`, line 2: `reduce = true`: ";
    assert!(called.exit == 2 && called.stderr.contains(told), "{}", called.stderr);
    assert_eq!(synod(&place.0, &["cert", "init", "ca"]).exit, 0, "the file is not for it");
}
