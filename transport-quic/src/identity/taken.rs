//! Which lists of revoked certificates a node has taken: it takes no older ones, also after a restart.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::bundle::Bundle;
use super::certificate::CertificateError;
use super::file::{self, FileError, Readers};
use super::revocation::Revocations;
use super::trust::Trust;

/// The number of the latest list of revoked certificates that a node has taken, for each authority.
///
/// Whoever can put back an older list while the node is down would make it believe again whom it does not
/// believe any more. So the numbers stand in a file, which is written durably before a list is used:
///
/// ```text
/// 0123456789abcdef 7
/// ```
///
/// The first 16 digits of the fingerprint of the authority, and the number. Those of an authority that the node
/// does not trust any more stay.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TakenLists {
    numbers: BTreeMap<String, u64>,
    /// None if they are forgotten when the process ends.
    file: Option<PathBuf>,
}

impl TakenLists {
    /// The name of the file in the store of a node.
    pub const FILE: &str = "revoked";

    /// Reads the numbers in `file`, which will be kept there: none if there is no such file yet.
    ///
    /// # Errors
    ///
    /// [`FileError`] if the file cannot be read, or is damaged.
    pub fn kept_in(file: impl Into<PathBuf>) -> Result<Self, FileError> {
        let file = file.into();
        let text = if file.exists() { file::read(&file)? } else { String::new() };
        let numbers = text.lines().zip(1..).map(|(line, at)| {
            parse(line).ok_or_else(|| {
                let text = format!(
                    "line {at} is no fingerprint and number of a list: bring back the file as it was, or remove it if \
                     `{}` is the latest one",
                    Revocations::FILE
                );
                FileError::content(&file, text)
            })
        });
        let numbers = numbers.collect::<Result<_, _>>()?;
        Ok(Self { numbers, file: Some(file) })
    }

    /// Checks that `bundle` has the lists that were taken, or later ones.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] with a sentence for the operator: which list is missing, and what to do.
    pub fn check(&self, bundle: &Bundle) -> Result<(), CertificateError> {
        self.with(&Trust::of(bundle)?).map(drop)
    }

    /// Takes the lists of `trust`, which are durably known to be taken then. After an error, they are not taken.
    pub(crate) fn take(&mut self, trust: &Trust) -> Result<(), CertificateError> {
        let numbers = self.with(trust)?;
        if let Some(file) = self.file.as_ref().filter(|_| numbers != self.numbers) {
            write(&numbers, file).map_err(|error| CertificateError::new(error.with_cause()))?;
        }
        self.numbers = numbers;
        Ok(())
    }

    /// The numbers with those of the lists of `trust`. Nothing that was taken back before is valid again: of every
    /// authority that is trusted, there must be the list that was taken, or a later one.
    fn with(&self, trust: &Trust) -> Result<BTreeMap<String, u64>, CertificateError> {
        let mut numbers = self.numbers.clone();
        for (authority, number) in trust.lists() {
            match (self.numbers.get(authority), number) {
                (Some(taken), number) if number < Some(*taken) => {
                    return Err(self.outdated(authority, *taken, number));
                }
                (_, Some(number)) => drop(numbers.insert(String::from(authority), number)),
                (_, None) => (),
            }
        }
        Ok(numbers)
    }

    fn outdated(&self, authority: &str, taken: u64, found: Option<u64>) -> CertificateError {
        let found = found.map_or_else(|| String::from("none"), |found| format!("number {found}"));
        let file = self.file.as_ref();
        let known = file.map_or_else(String::new, |it| format!(", as `{}` says", it.display()));
        CertificateError::new(format!(
            "`{}` must have list number {taken} of authority {authority}, which was taken before{known}, or a later \
             one, and has {found}: copy it again from the authority",
            Revocations::FILE
        ))
    }
}

fn parse(line: &str) -> Option<(String, u64)> {
    let (authority, number) = line.split_once(' ')?;
    let is_fingerprint =
        authority.len() == 16 && authority.bytes().all(|it| it.is_ascii_hexdigit());
    Some((String::from(authority), number.parse().ok().filter(|_| is_fingerprint)?))
}

fn write(numbers: &BTreeMap<String, u64>, path: &Path) -> Result<(), FileError> {
    let mut text = String::new();
    for (authority, number) in numbers {
        let _ = writeln!(text, "{authority} {number}");
    }
    file::replace_own(path, &text, Readers::Owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_a_line_for_each_authority_and_a_damaged_line_is_named() {
        let file = std::env::temp_dir().join(format!("synod-taken-{}", std::process::id()));
        let text = "0123456789abcdef 7\nfedcba9876543210 18446744073709551615\n";
        std::fs::write(&file, text).unwrap();
        let taken = TakenLists::kept_in(&file).unwrap();
        let known = [("0123456789abcdef", 7), ("fedcba9876543210", u64::MAX)];
        assert_eq!(taken.numbers, known.map(|(key, number)| (String::from(key), number)).into());
        // What a program that was killed midway has left.
        let half = file.with_extension("new");
        std::fs::write(&half, "0123").unwrap();
        write(&taken.numbers, &file).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        assert!(!half.exists());
        for damaged in ["0123456789abcdef", "0123456789abcdef -1", "0123 7", "0123456789abcdeg 7"] {
            std::fs::write(&file, format!("{text}{damaged}\n")).unwrap();
            let error = TakenLists::kept_in(&file).expect_err(damaged).to_string();
            assert!(error.contains("line 3 is no fingerprint and number"), "{error}");
        }
        std::fs::remove_file(&file).unwrap();
    }
}
