//! What a command says: lines for people, or JSON lines for programs.
//!
//! Results go to the standard output, problems and hints to the standard error.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anstyle::Style;
use serde_json::{Value, json};
use synod_simulator::Diagram;

use crate::look::{self, Look};
use crate::problem::Problem;
use crate::terminal;

/// The number of what stands in JSON lines, docs/json-lines.md: another one when a field is gone, or means
/// something else.
const SCHEMA: u32 = 1;

/// Says things in one of two ways.
#[derive(Debug)]
pub(crate) struct Printer {
    look: Look,
    /// Whether the standard output, and the standard error, have colours.
    colors: [bool; 2],
    /// What to do next: the last line, below what went wrong.
    next: Mutex<Option<String>>,
    /// Why a part of the result could not be written: nobody reads any more, or what is told in the end.
    failed: Mutex<Option<io::Error>>,
}

impl Printer {
    pub(crate) fn new(look: Look) -> Self {
        let colors = [look.colors_results(), look.colors_problems()];
        Self { look, colors, next: Mutex::new(None), failed: Mutex::new(None) }
    }

    /// Whether it prints JSON lines.
    pub(crate) fn is_for_programs(&self) -> bool {
        self.look.json
    }

    /// Whether it draws and marks with ASCII characters only.
    pub(crate) fn is_ascii(&self) -> bool {
        self.look.ascii
    }

    /// A line for people.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        if self.look.json {
            return;
        }
        let mut line = Cow::Borrowed(line.as_ref());
        if self.look.ascii {
            line = look::ascii(&line).into();
        }
        let [is_colored, _] = self.colors;
        if is_colored {
            line = look::painted(&line).into();
        }
        self.write(&format!("{line}\n"));
    }

    /// A line of a result that may go to a file as it is: without colours, with every character.
    pub(crate) fn copy(&self, line: &str) {
        if !self.look.json {
            self.write(&format!("{line}\n"));
        }
    }

    /// A picture for people.
    pub(crate) fn draw(&self, diagram: Diagram<'_>) {
        if self.look.json {
            return; // Nobody looks, and nobody need be asked how wide a terminal is.
        }
        let diagram = if self.look.ascii { diagram.ascii() } else { diagram };
        let diagram = match terminal::known() {
            Some(columns) => diagram.width(columns),
            None => diagram,
        };
        self.say(diagram.to_string());
    }

    /// A line on the standard error, which begins with a word that stands out.
    fn complain(&self, style: Style, word: &str, what: &str) {
        let what = if self.look.ascii { look::ascii(what) } else { String::from(what) };
        let [_, is_colored] = self.colors;
        let (begin, end) = match is_colored {
            true => (style.render().to_string(), style.render_reset().to_string()),
            false => Default::default(),
        };
        // Nobody who reads is no reason to stop.
        let _ = writeln!(io::stderr(), "{begin}{word}{end}{what}");
    }

    /// Writes to the standard output, to whomever it is.
    pub(crate) fn write(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            locked(&self.failed).get_or_insert(error);
        }
    }

    /// Whether nothing that is said arrives any more.
    pub(crate) fn is_unheard(&self) -> bool {
        locked(&self.failed).is_some()
    }

    /// Whether all of the result could be written, as far as somebody read it.
    pub(crate) fn is_written(&self) -> Result<(), Problem> {
        let failed = locked(&self.failed);
        // Whoever reads may have left, as `head` does.
        match failed.as_ref().filter(|error| error.kind() != io::ErrorKind::BrokenPipe) {
            None => Ok(()),
            Some(error) => Err(Problem::environment("cannot write to the standard output", error)),
        }
    }

    /// Begins the screen anew, for people.
    pub(crate) fn clear(&self) {
        if !self.look.json && io::stdout().is_terminal() {
            self.write("\x1b[2J\x1b[H");
        }
    }

    /// A line for programs: `event`, an object, with the number of the schema.
    pub(crate) fn event(&self, event: &Value) {
        if self.look.json
            && let Value::Object(members) = event
        {
            let mut line = members.clone();
            line.insert(String::from("schema"), SCHEMA.into());
            self.write(&format!("{}\n", Value::Object(line)));
        }
    }

    /// What to type next.
    pub(crate) fn next(&self, command: impl AsRef<str>) {
        self.advise(typed(command.as_ref()));
    }

    /// What to do next that is no command of this program.
    pub(crate) fn advise(&self, what: impl Into<String>) {
        *locked(&self.next) = Some(what.into());
    }

    /// Ends the command: the last line says what to do next, on the standard error.
    pub(crate) fn finish(self) {
        let next = locked(&self.next).take();
        if let Some(next) = next.filter(|_| !self.look.json) {
            self.complain(look::NEXT, "next:", &format!(" {next}"));
        }
    }

    /// Something that people should know of how it came to the result.
    pub(crate) fn note(&self, what: impl AsRef<str>) {
        if !self.look.json {
            self.complain(Style::new(), "", what.as_ref());
        }
    }

    /// Something that should not stay so, and that keeps nobody from going on.
    pub(crate) fn warn(&self, what: impl AsRef<str>) {
        let what = what.as_ref();
        self.complain(look::DOUBTFUL, "warning:", &format!(" {what}"));
        self.event(&json!({"event": "warning", "what": what}));
    }

    /// Why the command ends without success.
    pub(crate) fn problem(&self, problem: &Problem) {
        self.complain(look::WRONG, "error:", &format!(" {}", problem.what));
        if let Some(hint) = &problem.hint {
            self.complain(Style::new(), "", &format!("  {hint}"));
        }
        if !problem.told {
            self.tell(problem);
        }
    }

    /// The same for programs only.
    pub(crate) fn tell(&self, problem: &Problem) {
        let Problem { exit, what, hint, .. } = problem;
        self.event(&json!({"event": "error", "exit": *exit as u8, "what": what, "hint": hint}));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the reader called this program.
pub(crate) fn program() -> String {
    if std::env::var_os("CARGO").is_some() {
        return String::from("cargo run --");
    }
    words().next().unwrap_or_else(|| String::from("synod"))
}

/// The command line, word by word, the name of the program first, for people: what is no UTF-8 in it is shown as well as
/// it can be.
pub(crate) fn words() -> impl Iterator<Item = String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned())
}

/// A command of this program, as the reader types it.
pub(crate) fn typed(command: impl Display) -> String {
    format!("{} {command}", program())
}

/// The command line as it was typed, for people, each word as `changed`; none leaves it out.
pub(crate) fn typed_again(changed: impl Fn(String) -> Option<String>) -> String {
    let words = words().skip(1).filter(|it| it != "--json").filter_map(changed);
    typed(words.map(quoted).collect::<Vec<_>>().join(" "))
}

/// The same with another command in the place of one.
pub(crate) fn typed_instead(of: &str, command: &str) -> String {
    typed_again(|word| Some(if word == of { String::from(command) } else { word }))
}

/// A text as a line of a terminal may show it: a summary may hold what a peer has said, which must neither move
/// the cursor nor begin another line.
pub(crate) fn shown(text: &str) -> String {
    let char = |char: char| if char.is_control() { '\u{fffd}' } else { char };
    text.chars().map(char).collect()
}

/// A path as JSON has it, which is UTF-8.
pub(crate) fn named(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

/// A path as a word of a shell's command line.
pub(crate) fn quoted(path: impl AsRef<Path>) -> String {
    let text = path.as_ref().display().to_string();
    let is_plain = |it: char| it.is_alphanumeric() || "_-./,:=@%+".contains(it);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// So many of something, by its names for one and for several.
pub(crate) fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{} {}", thousands(count), if count == 1 { one } else { several })
}

/// A count with its thousands apart.
pub(crate) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{counted, quoted, thousands};

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        for (path, word) in [
            ("/tmp/n1.synod", "/tmp/n1.synod"),
            ("my bundles/n1.synod", "'my bundles/n1.synod'"),
            ("it's", "'it'\\''s'"),
            ("$(a)", "'$(a)'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(path), word);
        }
    }

    #[test]
    fn thousands_stand_apart() {
        let texts: Vec<String> = [0, 999, 1_000, 1_234_567].map(thousands).into();
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
        let told = [0, 1, 2_000].map(|count| counted(count, "crash", "crashes"));
        assert_eq!(told, ["0 crashes", "1 crash", "2,000 crashes"]);
    }
}
