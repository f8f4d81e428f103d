//! Why a command did not succeed: what, and what to do about it.

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;

use synod_transport_quic::FileError;

/// Why a command did not succeed.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) exit: Exit,
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
    /// Whether programs have been told already, by the last line of the result.
    pub(crate) told: bool,
}

/// The exit code of a command that did not succeed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// A property was violated, or a store is damaged.
    Violated = 1,
    /// The command line, or a file that it names, is wrong.
    Usage = 2,
    /// A bound was reached before there was an answer.
    Inconclusive = 3,
    /// A replay did something else than what was recorded, or two runs differ.
    Diverged = 4,
    /// There was nothing to run.
    NothingRan = 5,
    /// A port, a file, a certificate or a peer.
    Environment = 6,
    /// The program itself is at fault.
    Defect = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Violated => Self::from(1),
            Exit::Usage => Self::from(2),
            Exit::Inconclusive => Self::from(3),
            Exit::Diverged => Self::from(4),
            Exit::NothingRan => Self::from(5),
            Exit::Environment => Self::from(6),
            Exit::Defect => Self::from(70),
        }
    }
}

impl Problem {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), hint: None, told: false }
    }

    /// Something outside the program, with the chain of its causes.
    pub(crate) fn environment(what: impl Display, cause: &(dyn Error + 'static)) -> Self {
        Self::new(Exit::Environment, format!("{what}: {}", chain(cause)))
    }

    /// The same where the cause says it all.
    pub(crate) fn caused(cause: &(dyn Error + 'static)) -> Self {
        Self::new(Exit::Environment, chain(cause))
    }

    /// A file of an identity that cannot be used: what stands in it is wrong, or the system.
    pub(crate) fn of_file(error: &FileError) -> Self {
        let exit = match error {
            FileError::Content { .. } => Exit::Usage,
            _ => Exit::Environment,
        };
        Self { exit, ..Self::caused(error) }
    }

    /// A violation that the result tells.
    pub(crate) fn violated(property: &str) -> Self {
        let what = format!("property violated: {property}");
        Self { told: true, ..Self::new(Exit::Violated, what) }
    }

    /// Says what to do.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// An error and what caused it, from the outside in. A cause that is already told is left out.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text += &format!(": {words}");
        }
        next = cause.source();
    }
    text
}
