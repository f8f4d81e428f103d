//! `synod.toml` in the working directory: what `sim` and `check` are asked for where neither the
//! command line nor the environment says it.
//!
//! A table has the name of its command, a key that of its flag. The values become flags and are read
//! as such, so that there is one set of names, values and messages.

use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::commands::text;
use crate::problem::{Exit, Problem};

/// The file.
pub(crate) const FILE: &str = "synod.toml";
/// The commands that it has tables for.
const COMMANDS: [&str; 2] = ["sim", "check"];
/// It is no larger, in bytes.
const BYTES_MAX: usize = 64 * 1024;

/// A key of the file with the flags that stand for it.
#[derive(Debug)]
struct Setting {
    key: String,
    line: usize,
    /// The key with its value, as they are written.
    shown: String,
    flags: Vec<String>,
}

/// The command line `typed`, which has been read as `matches`, with what the file adds to it, and the
/// keys that it takes from the file.
///
/// # Errors
///
/// A [`Problem`] of usage with the file, the line, the key, its value and what is allowed.
pub(crate) fn completed(
    all: &Command,
    matches: &ArgMatches,
    mut typed: Vec<OsString>,
) -> Result<(Vec<OsString>, Vec<String>), Problem> {
    let Some((name, given)) = matches.subcommand().filter(|(name, _)| COMMANDS.contains(name))
    else {
        return Ok((typed, Vec::new()));
    };
    let Some(command) = all.find_subcommand(name).filter(|_| Path::new(FILE).is_file()) else {
        return Ok((typed, Vec::new()));
    };
    let settings = settings(all, command, &text(Path::new(FILE), BYTES_MAX, "")?)?;
    let said = |it: &Setting| given.value_source(&it.key.replace('-', "_"));
    let is_open = |it: &Setting| {
        !matches!(said(it), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    let taken: Vec<Setting> = settings.into_iter().filter(is_open).collect();
    let behind = typed.iter().position(|word| word == name).map_or(typed.len(), |at| at + 1);
    let flags = taken.iter().flat_map(|it| &it.flags).map(OsString::from);
    typed.splice(behind..behind, flags);
    if let Err(error) = all.clone().try_get_matches_from(&typed) {
        return Err(contradiction(&taken, &error));
    }
    Ok((typed, taken.into_iter().map(|it| it.key).collect()))
}

/// A key of the file cannot be together with another one, or with a flag.
fn contradiction(taken: &[Setting], error: &clap::Error) -> Problem {
    let words = words(error);
    let named = taken.iter().find(|it| words.contains(&format!("--{}", it.key)));
    let line = named.map_or_else(String::new, |it| format!(", line {}: `{}`", it.line, it.shown));
    wrong(format!("`{FILE}`{line}: {words}")).hint("leave one of them out")
}

/// What the table of `command` says. The tables of other commands are looked at by these.
fn settings(all: &Command, command: &Command, text: &str) -> Result<Vec<Setting>, Problem> {
    let tables = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        wrong(format!("{}: {}", place(text, at), error.message()))
    })?;
    let mut settings = Vec::new();
    for (table, value) in tables.get_ref() {
        let keys = match value.get_ref() {
            DeValue::Table(keys) if COMMANDS.contains(&&**table.get_ref()) => keys,
            _ => {
                let place = place(text, table.span().start);
                let what = format!("{place}: `{}` is no table of this file", table.get_ref());
                return Err(wrong(what).hint("expected [sim] or [check]"));
            }
        };
        if table.get_ref() == command.get_name() {
            let read = keys.iter().map(|(key, value)| setting(all, command, text, key, value));
            settings = read.collect::<Result<_, _>>()?;
        }
    }
    Ok(settings)
}

fn setting(
    all: &Command,
    command: &Command,
    text: &str,
    key: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<Setting, Problem> {
    let name = command.get_name();
    let place = place(text, key.span().start);
    let known = || command.get_arguments().filter_map(Arg::get_long);
    let Some(flag) = command.get_arguments().find(|it| it.get_long() == Some(key.get_ref())) else {
        let what = format!("{place}: `{}` is no key of [{name}]", key.get_ref());
        return Err(
            wrong(what).hint(format!("its keys: {}", known().collect::<Vec<_>>().join(", ")))
        );
    };
    let refuse = |why: String| wrong(format!("{place}: {why}"));
    let flags = flags(flag, text, value).map_err(refuse)?;
    // By itself, so that what is refused is this.
    let alone = ["synod", name, "algorithm"].into_iter().map(String::from).chain(flags.clone());
    all.clone().try_get_matches_from(alone).map_err(|error| refuse(words(&error)))?;
    let line = line(text, key.span().start);
    let shown = format!("{} = {}", key.get_ref(), raw(text, value));
    Ok(Setting { key: key.get_ref().to_string(), line, shown, flags })
}

/// A value of the file as flags.
fn flags(flag: &Arg, text: &str, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, String> {
    let long = flag.get_long().unwrap_or_default();
    if matches!(flag.get_action(), ArgAction::SetTrue) {
        return match value.get_ref() {
            DeValue::Boolean(true) => Ok(vec![format!("--{long}")]),
            DeValue::Boolean(false) => Ok(Vec::new()),
            _ => Err(String::from("expected true or false")),
        };
    }
    match value.get_ref() {
        DeValue::String(word) => Ok(vec![format!("--{long}={word}")]),
        DeValue::Integer(_) | DeValue::Float(_) => {
            Ok(vec![format!("--{long}={}", raw(text, value).replace('_', ""))])
        }
        DeValue::Array(values) => {
            let each: Result<Vec<_>, _> = values.iter().map(|it| flags(flag, text, it)).collect();
            Ok(each?.concat())
        }
        _ => Err(String::from("expected a text, a number, or a list of these")),
    }
}

/// The file and the line of a byte of it, with what stands there.
fn place(text: &str, at: usize) -> String {
    let line = line(text, at);
    let shown = text.lines().nth(line - 1).unwrap_or_default().trim();
    format!("`{FILE}`, line {line}: `{shown}`")
}

fn line(text: &str, at: usize) -> usize {
    1 + text.get(..at).unwrap_or(text).matches('\n').count()
}

/// A value as it is written.
fn raw<'t>(text: &'t str, value: &Spanned<DeValue<'_>>) -> &'t str {
    text.get(value.span()).unwrap_or_default()
}

/// What clap says of a mistake, and what it says is allowed.
fn words(error: &clap::Error) -> String {
    let text = error.to_string();
    let told = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    told.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
}

fn wrong(what: String) -> Problem {
    Problem::new(Exit::Usage, what)
}
