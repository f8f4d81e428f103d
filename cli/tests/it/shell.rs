//! What shells and `man` are told of the commands.

use std::fs;
use std::process::Command;

use crate::{Place, synod};

#[test]
fn every_shell_is_told_of_every_command_and_flag() {
    let place = Place::new("completions");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let called = synod(&place.0, &["completions", shell]);
        assert_eq!(called.exit, 0, "{}", called.stderr);
        for word in ["sim", "check", "record", "trace", "convert", "seeds", "strategy"] {
            assert!(called.stdout.contains(word), "{shell}: {word}");
        }
        assert!(called.stderr.contains(&format!("completions {shell}")), "{}", called.stderr);
    }
    let other = synod(&place.0, &["completions", "tcsh"]);
    assert_eq!(other.exit, 2);
    assert!(other.stderr.contains("bash"), "{}", other.stderr);
}

#[test]
fn bash_completes_a_command_and_its_flags() {
    let place = Place::new("completed");
    fs::write(place.0.join("script"), synod(&place.0, &["completions", "bash"]).stdout)
        .expect("written");
    let asked = "source ./script; COMP_WORDS=(synod TYPED); COMP_CWORD=N; \
                 _synod synod \"${COMP_WORDS[N]}\" \"\"; echo \"${COMPREPLY[@]}\"";
    for (words, place_of_last, expected) in
        [("swe", "1", "sweep"), ("sim --strat", "2", "--strategy")]
    {
        let asked = asked.replace("TYPED", words).replace("=N", &format!("={place_of_last}"));
        let asked = asked.replace("[N]", &format!("[{place_of_last}]"));
        let bash = Command::new("bash").args(["-c", &asked]).current_dir(&place.0).output();
        let bash = bash.expect("bash is there");
        let said = String::from_utf8_lossy(&bash.stdout).into_owned();
        assert!(said.split_whitespace().any(|word| word == expected), "{said}");
    }
}

#[test]
fn every_command_has_a_page_with_its_flags_and_examples() {
    let place = Place::new("man");
    let called = synod(&place.0, &["man", "--out", "pages"]);
    assert_eq!(called.exit, 0, "{}", called.stderr);
    assert!(called.stderr.ends_with("man -l pages/synod.1\n"), "{}", called.stderr);
    for name in ["synod", "synod-sim", "synod-record", "synod-trace-convert", "synod-cert-issue"] {
        let page = fs::read_to_string(place.0.join(format!("pages/{name}.1"))).expect(name);
        assert!(page.contains(".SH NAME") && page.contains("synod"), "{page}");
        assert!(page.contains("Examples"), "{page}");
    }
    let pages = fs::read_dir(place.0.join("pages")).expect("a directory").count();
    assert_eq!(called.stdout, format!("{pages} pages in pages\n"));
}
