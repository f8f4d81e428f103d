//! The examples in the help, as they are typed where the program is not `synod` itself.

use std::collections::BTreeMap;

use clap::Command;

/// The commands with examples that call `program`, and run `algorithm` in place of one that only
/// `synod` knows.
pub(crate) fn as_typed(command: Command, program: &str, algorithm: &str) -> Command {
    let told = command.get_after_help().map(|text| renamed(&text.to_string(), program, algorithm));
    let command = match told {
        Some(text) => command.after_help(text),
        None => command,
    };
    command.mut_subcommands(|it| as_typed(it, program, algorithm))
}

/// Every variable of the environment that the program reads, for the long help.
pub(crate) fn environment(all: &Command) -> String {
    let mut flags: BTreeMap<String, BTreeMap<String, Vec<&str>>> = BTreeMap::new();
    for command in all.get_subcommands() {
        for argument in command.get_arguments() {
            let (Some(variable), Some(flag)) = (argument.get_env(), argument.get_long()) else {
                continue;
            };
            let flags = flags.entry(variable.to_string_lossy().into_owned()).or_default();
            flags.entry(format!("--{flag}")).or_default().push(command.get_name());
        }
    }
    let mut text =
        String::from("Environment, below the flags of the command line and above synod.toml:\n");
    for (variable, flags) in flags {
        let flags: Vec<String> =
            flags.iter().map(|(flag, of)| format!("{flag} of {}", of.join(", "))).collect();
        text += &format!("  {variable:<18} {}\n", flags.join("; "));
    }
    text + IN_TESTS
}

/// Those that no flag stands for.
const IN_TESTS: &str = "  COLUMNS            how wide pictures are; --width of trace diff
  NO_COLOR           no colours, where --color says nothing
  CLICOLOR_FORCE     colours also where nobody sees a terminal
In tests of simulations (`Simulation::check`):
  SYNOD_BUDGET       how long each runs: 500ms, 2s, 10m
  SYNOD_RUNS         how many seeds each runs, whatever the time
  SYNOD_SEED         the first seed
  SYNOD_REPLAY       one schedule that runs instead";

/// What a line of an example begins with.
const TYPED: &str = "  synod";
/// The algorithms of `synod` that its examples name.
const NAMED: [&str; 3] = ["bully", "two-phase-commit", "hello"];

fn renamed(text: &str, program: &str, algorithm: &str) -> String {
    let named = |line: &str| {
        let line = NAMED.iter().fold(String::from(line), |it, name| it.replace(name, algorithm));
        line.replace("`synod ", &format!("`{program} "))
    };
    let example = |line: &str| {
        let typed = line.strip_prefix(TYPED).filter(|rest| rest.starts_with(' '))?;
        let (typed, words) = typed.split_once("  ").unwrap_or((typed, ""));
        Some((format!("  {program}{}", named(typed)), named(words.trim_start())))
    };
    let lines: Vec<_> = text.lines().map(|line| example(line).ok_or_else(|| named(line))).collect();
    let explained = lines.iter().flatten().filter(|(_, words)| !words.is_empty());
    let width = explained.map(|(typed, _)| typed.len()).max().unwrap_or(0);
    let line = |line: Result<(String, String), String>| match line {
        Ok((typed, words)) if words.is_empty() => typed,
        Ok((typed, words)) => format!("{typed:<width$}  {words}"),
        Err(line) => line,
    };
    lines.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::renamed;

    #[test]
    fn examples_name_the_program_and_its_algorithm_and_stay_in_columns() {
        let text = "Examples:
  synod                        show the whole job
  synod sim bully --seeds 100  many worlds
  synod replay target/synod/bully-0.schedule

`synod status` tells more.";
        let told = "Examples:
  locks                        show the whole job
  locks sim lease --seeds 100  many worlds
  locks replay target/synod/lease-0.schedule

`locks status` tells more.";
        assert_eq!(renamed(text, "locks", "lease"), told);
    }
}
