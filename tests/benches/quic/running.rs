//! A process that is measured, as the one that measures it sees it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A process that answers one line with one line. It is killed when this is dropped.
pub(crate) struct Running {
    process: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Result<Self, String> {
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.map_err(|error| error.to_string())?;
        match (process.stdin.take(), process.stdout.take()) {
            (Some(asks), Some(answers)) => {
                Ok(Self { process, asks, answers: BufReader::new(answers) })
            }
            _ => Err(String::from("no pipes")),
        }
    }

    /// The next line that it prints.
    pub(crate) fn hear(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) => Err(String::from("the process has ended")),
            Ok(_) => Ok(String::from(line.trim())),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) fn ask(&mut self, line: &str) -> Result<String, String> {
        writeln!(self.asks, "{line}").map_err(|error| error.to_string())?;
        self.hear()
    }

    /// Seconds that its threads have spent on a processor, those that ended included.
    pub(crate) fn processor(&self) -> f64 {
        processor_seconds(self.process.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_or_ends = self.process.kill();
        let _status = self.process.wait();
    }
}

/// Seconds that the threads of a process have spent on a processor.
fn processor_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|field| field.parse::<f64>().unwrap_or(0.0)).sum::<f64>() / TICKS_PER_SECOND
}

/// Linux counts in hundredths of a second, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;
