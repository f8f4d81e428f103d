//! Traces from their JSON lines. Strict: what a line says fits the lines before it, or the line
//! is named.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use synod_core::NodeId;

use super::{Header, Source, Step, Trace};

/// Why a trace cannot be read. Names the line, and what is wrong with it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct BadTrace {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it, in printable characters.
    pub what: String,
}

/// The format that is written and read.
pub(super) const VERSION: u64 = 1;
/// Characters of an explanation.
const WHAT_MAX: usize = 300;

/// What the first line says before it is known to be a header of this version.
#[derive(Deserialize)]
struct Version {
    synod_trace: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstLine {
    #[serde(rename = "synod_trace")]
    _version: u64,
    algorithm: String,
    nodes: u32,
    seed: Option<u64>,
    schedule: Option<String>,
    #[serde(default)]
    properties: Vec<String>,
    #[serde(default)]
    handlers: BTreeMap<String, Vec<Source>>,
    #[serde(default)]
    schemas: BTreeMap<String, String>,
}

impl Trace {
    /// The longest trace that is read, in bytes.
    pub const SIZE_MAX: usize = 256 << 20;

    /// Reads what [`Trace::json_lines`] writes. The result is the whole trace: a line that is cut
    /// off, that has a field too many, or that speaks of a step or a node that there is not, is
    /// an error.
    ///
    /// # Errors
    ///
    /// [`BadTrace`] with the first line that is wrong.
    ///
    /// ```
    /// use synod_simulator::Trace;
    ///
    /// let text = "{\"synod_trace\":1,\"algorithm\":\"bully\",\"nodes\":2}\n\
    ///             {\"i\":0,\"t\":0,\"n\":1,\"k\":\"start\",\"y\":\"starts\"}\n";
    /// let trace = Trace::read(text)?;
    /// assert_eq!(trace.steps.len(), 1);
    /// assert_eq!(trace.json_lines(), text);
    /// # Ok::<(), synod_simulator::BadTrace>(())
    /// ```
    pub fn read(text: &str) -> Result<Self, BadTrace> {
        let bad = |index: usize, what: &str| BadTrace { line: index + 1, what: printable(what) };
        if Self::SIZE_MAX < text.len() {
            let most = Self::SIZE_MAX;
            return Err(bad(0, &format!("{} bytes, {most} at most are read", text.len())));
        }
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let mut trace = first_line(first).map_err(|what| bad(0, &what))?;
        for (index, line) in (1..).zip(lines) {
            let step: Step = json(line).map_err(|what| bad(index, &what))?;
            trace.admit(&step).map_err(|what| bad(index, &what))?;
            trace.steps.push(step);
        }
        Ok(trace)
    }

    /// Whether `step` can be the next one.
    fn admit(&self, step: &Step) -> Result<(), String> {
        let next = self.steps.len();
        if step.index != next {
            return Err(format!("step {} stands where step {next} is due", step.index));
        }
        if let Some(cause) = step.cause.filter(|cause| next <= *cause) {
            return Err(format!("step {cause} cannot cause step {next}: it is not before it"));
        }
        let sender = step.message.map(|message| message.from);
        let receivers = step.sends.iter().map(|sent| sent.to);
        for node in step.node.into_iter().chain(sender).chain(receivers) {
            self.knows(node)?;
        }
        match step.sends.iter().find(|sent| Some(sent.id.from) != step.node) {
            Some(sent) => Err(format!("{} is not a message of the node that acts", sent.id)),
            None => Ok(()),
        }
    }

    fn knows(&self, node: NodeId) -> Result<(), String> {
        if (1..=self.nodes).contains(&node.0) {
            return Ok(());
        }
        Err(format!("there is no {node}: the nodes are n1 to n{}", self.nodes))
    }
}

/// A trace that has no steps yet.
fn first_line(line: &str) -> Result<Trace, String> {
    let Version { synod_trace: version } = json(line)
        .map_err(|what| format!("a trace begins with `{{\"synod_trace\":{VERSION},…}}`: {what}"))?;
    if version != VERSION {
        return Err(format!("format {version} of traces; this program reads format {VERSION}"));
    }
    let FirstLine { algorithm, nodes, seed, schedule, properties, handlers, schemas, .. } =
        json(line)?;
    if nodes == 0 {
        return Err(String::from("a cluster has at least 1 node, not 0"));
    }
    let header = Header { seed, schedule, properties, handlers, schemas };
    header.check(&algorithm, nodes)?;
    Ok(Trace { algorithm, nodes, header, steps: Vec::new() })
}

fn json<T: DeserializeOwned>(line: &str) -> Result<T, String> {
    if line.trim().is_empty() {
        return Err(String::from("the line is empty"));
    }
    // Each line is a text of its own to the parser, so it always speaks of line 1.
    serde_json::from_str(line)
        .map_err(|error| error.to_string().replace(" at line 1 column ", ", column "))
}

/// What a terminal can show of `what`, which may quote the file.
fn printable(what: &str) -> String {
    let shown = what.chars().map(|it| if it.is_control() { '\u{fffd}' } else { it });
    shown.take(WHAT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "{\"synod_trace\":1,\"algorithm\":\"bully\",\"nodes\":2}";
    const START: &str = "{\"i\":0,\"t\":0,\"n\":1,\"k\":\"start\",\"y\":\"starts\"}";

    fn refused(lines: &[&str]) -> String {
        Trace::read(&lines.join("\n")).expect_err("a damaged trace").to_string()
    }

    #[test]
    fn the_line_and_what_is_wrong_with_it_are_named() {
        for (line, says) in [
            ("", "the line is empty"),
            ("{\"i\":1,\"t\":0", "EOF while parsing an object, column 12"),
            ("{\"i\":1,\"t\":0,\"k\":\"tick\",\"y\":\"\"}", "missing field `n`"),
            ("{\"i\":1,\"t\":0,\"n\":1,\"k\":\"nap\",\"y\":\"\"}", "unknown variant `nap`"),
            ("{\"i\":1,\"t\":0,\"n\":1,\"k\":\"tick\",\"y\":\"\",\"z\":1}", "unknown field `z`"),
            ("{\"i\":2,\"t\":0,\"n\":1,\"k\":\"tick\",\"y\":\"\"}", "step 2 stands where step 1"),
            ("{\"i\":1,\"t\":0,\"n\":3,\"k\":\"tick\",\"y\":\"\"}", "there is no n3"),
            ("{\"i\":1,\"t\":0,\"n\":1,\"k\":\"timer\",\"y\":\"\",\"c\":1}", "cannot cause step 1"),
            ("{\"i\":1,\"t\":0,\"n\":1,\"k\":\"deliver\",\"y\":\"\",\"m\":\"1.n2\"}", "`n1.7`"),
            ("{\"i\":1,\"t\":0,\"n\":1,\"k\":\"deliver\",\"y\":\"\",\"m\":\"n2.01\"}", "`n1.7`"),
        ] {
            let error = refused(&[HEADER, START, line, ""]);
            assert!(error.starts_with("line 3: ") && error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn another_format_another_file_and_an_empty_cluster_are_refused() {
        for (first, says) in [
            ("", "a trace begins with"),
            ("synod schedule 1", "a trace begins with"),
            ("{\"synod_trace\":2,\"what\":0}", "format 2 of traces; this program reads format 1"),
            ("{\"synod_trace\":1,\"algorithm\":\"a\",\"nodes\":0}", "at least 1 node, not 0"),
            ("{\"synod_trace\":1,\"algorithm\":\"a\",\"nodes\":1,\"x\":0}", "unknown field `x`"),
        ] {
            let error = refused(&[first]);
            assert!(error.starts_with("line 1: ") && error.contains(says), "{first}: {error}");
        }
    }

    #[test]
    fn an_error_is_short_and_printable_whatever_the_file_holds() {
        let long = format!("{{\"\\u001b[2J{}\":1}}", "x".repeat(10_000));
        let error = refused(&[HEADER, &long]);
        assert!(error.chars().count() < 400 && !error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn a_message_belongs_to_the_node_that_sends_it() {
        let sends = "{\"i\":0,\"t\":0,\"n\":1,\"k\":\"start\",\"y\":\"\",\
                     \"o\":[{\"m\":\"n2.1\",\"to\":2,\"y\":\"a.b\",\"d\":\"B\"}]}";
        assert!(refused(&[HEADER, sends]).contains("n2.1 is not a message of the node that acts"));
    }
}
