//! `completions` and `man`: what shells and `man` know of the commands.

use std::fs;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use serde_json::json;

use super::replace;
use crate::args::{Completions, Manual};
use crate::printer::{Printer, quoted, typed};
use crate::problem::{Exit, Problem};

/// Writes the script that completes what is typed after `program`.
pub(crate) fn completions(
    mut all: Command,
    program: &str,
    asked: &Completions,
    printer: &Printer,
) -> Result<(), Problem> {
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut all, program, &mut script);
    let script = text(script)?;
    printer.copy(script.trim_end());
    printer.event(&json!({
        "event": "completions", "shell": asked.shell.to_string(), "text": script,
    }));
    let typed = typed(format!("completions {}", asked.shell));
    printer.advise(match asked.shell {
        clap_complete::Shell::Fish => format!("{typed} | source"),
        clap_complete::Shell::PowerShell => format!("{typed} | Out-String | Invoke-Expression"),
        _ => format!("source <({typed})"),
    });
    Ok(())
}

/// Writes a page for each command.
pub(crate) fn manual(mut all: Command, asked: &Manual, printer: &Printer) -> Result<(), Problem> {
    all.build();
    fs::create_dir_all(&asked.out).map_err(|error| {
        Problem::environment(format!("cannot make `{}`", asked.out.display()), &error)
    })?;
    let first = asked.out.join(Man::new(all.clone()).get_filename());
    let pages = write_pages(all, &asked.out)?;
    printer.say(format!("{pages} pages in {}", asked.out.display()));
    printer.event(&json!({
        "event": "manual", "directory": asked.out.display().to_string(), "pages": pages,
    }));
    printer.advise(format!("man -l {}", quoted(first)));
    Ok(())
}

/// The page of a command, and those of its own commands. How many.
fn write_pages(command: Command, directory: &Path) -> Result<usize, Problem> {
    let mut count = 1;
    for below in command.get_subcommands().filter(|it| it.get_name() != "help").cloned() {
        count += write_pages(below, directory)?;
    }
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render(&mut page).map_err(|error| Problem::environment("no page", &error))?;
    replace(&directory.join(man.get_filename()), &text(page)?)?;
    Ok(count)
}

fn text(bytes: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(bytes).map_err(|error| Problem::new(Exit::Environment, error.to_string()))
}
