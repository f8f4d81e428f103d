//! How output looks: for people or for programs, with which characters, with or without colours.
//!
//! A colour tells nothing that a sign or a word beside it does not tell too.

use std::io::{self, IsTerminal};

use anstyle::{AnsiColor, Style};
use clap::{Args, ValueEnum};

/// What every command takes.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    /// Print JSON lines, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Draw and mark with ASCII characters only.
    #[arg(long, global = true)]
    pub(crate) ascii: bool,
    /// When to use colours: on a terminal, always, or never. `NO_COLOR` and `CLICOLOR_FORCE` in the
    /// environment say so too. JSON and files have none.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub(crate) color: When,
}

/// When there are colours.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless the environment says something else.
    #[default]
    Auto,
    /// Wherever people read.
    Always,
    /// Nowhere.
    Never,
}

impl Look {
    /// Whether the standard output has colours.
    pub(crate) fn colors_results(self) -> bool {
        !self.json && self.color.applies(io::stdout().is_terminal(), variable)
    }

    /// Whether the standard error has colours.
    pub(crate) fn colors_problems(self) -> bool {
        self.color.applies(io::stderr().is_terminal(), variable)
    }
}

impl When {
    fn applies(self, on_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
        let says = |name, no: &str| variable(name).is_some_and(|it| !it.is_empty() && it != no);
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto if says("NO_COLOR", "") => false,
            Self::Auto if says("CLICOLOR_FORCE", "0") => true,
            Self::Auto => on_terminal && variable("TERM").is_none_or(|it| it != "dumb"),
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The colours of words on the standard error.
pub(crate) const WRONG: Style = AnsiColor::Red.on_default().bold();
pub(crate) const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const NEXT: Style = AnsiColor::Cyan.on_default().bold();

/// The colour of a sign, wherever it stands.
fn style(sign: char) -> Option<Style> {
    Some(match sign {
        '✓' => AnsiColor::Green.on_default().bold(),
        '✗' | '✖' => WRONG,
        '≠' => DOUBTFUL,
        '╪' | '═' => AnsiColor::Magenta.on_default(),
        '◷' => AnsiColor::Cyan.on_default(),
        '●' | '○' => AnsiColor::Green.on_default(),
        '│' | '┼' | '⋮' => Style::new().dimmed(),
        _ => return None,
    })
}

/// A text with its signs in colours. Nothing else changes.
pub(crate) fn painted(text: &str) -> String {
    let mut painted = String::with_capacity(text.len());
    let mut now = None;
    for char in text.chars() {
        let next = style(char);
        if now != next {
            painted += &now.map_or_else(String::new, |it| it.render_reset().to_string());
            painted += &next.map_or_else(String::new, |it| it.render().to_string());
            now = next;
        }
        painted.push(char);
    }
    painted + &now.map_or_else(String::new, |it| it.render_reset().to_string())
}

/// A text with our own signs in ASCII. What nodes hold stays as it is.
pub(crate) fn ascii(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '✓' => plain += "ok",
            '✗' => plain.push('x'),
            '·' | '–' => plain.push('-'),
            '≠' => plain.push('!'),
            '→' => plain += "->",
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_comes_before_the_environment_and_that_before_the_terminal() {
        let quiet: &[(&str, &str)] = &[];
        let told = |when: When, on_terminal, variables: &[(&str, &str)]| {
            when.applies(on_terminal, |name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| String::from(*value))
            })
        };
        assert!(told(When::Auto, true, quiet) && !told(When::Auto, false, quiet));
        let (no, force) = (("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1"));
        assert!(!told(When::Auto, true, &[no]) && told(When::Auto, false, &[force]));
        assert!(!told(When::Auto, true, &[no, force]), "who wants none is heard first");
        assert!(told(When::Always, false, &[no]) && !told(When::Never, true, &[force]));
        assert!(told(When::Auto, true, &[("NO_COLOR", "")]), "an empty one says nothing");
        assert!(!told(When::Auto, false, &[("CLICOLOR_FORCE", "0")]));
        assert!(!told(When::Auto, true, &[("TERM", "dumb")]));
    }

    #[test]
    fn signs_are_painted_and_words_are_left() {
        let painted = painted("  ✓ holds │✗✗");
        assert_eq!(
            painted,
            "  \u{1b}[1m\u{1b}[32m✓\u{1b}[0m holds \u{1b}[2m│\u{1b}[0m\u{1b}[1m\u{1b}[31m✗✗\u{1b}[0m"
        );
    }
}
