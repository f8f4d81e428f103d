//! Certificates end: `cert check`, `cert renew` and `cert trust`.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;
use synod_transport_quic::{Authority, Bundle, CertificateFacts, inspect};

use super::{authority, facts, is_bundle, validity};
use crate::args::{CertCheck, CertRenew, CertTrust, days};
use crate::printer::{Printer, quoted, typed};
use crate::problem::{Exit, Problem};

pub(super) fn check(asked: &CertCheck, printer: &Printer) -> Result<(), Problem> {
    let (mut due, mut ending, mut unread) = (Vec::new(), Vec::new(), None);
    for path in &asked.files {
        let judged = match Judged::of(path, days(asked.before)) {
            Ok(judged) => judged,
            // The others are judged all the same: this may be what a timer runs.
            Err(problem) => {
                printer.say(format!("{}   not read", path.display()));
                unread.get_or_insert(problem);
                continue;
            }
        };
        judged.tell(path, printer);
        if judged.renew {
            due.push(quoted(path));
        }
        if !judged.ending.is_empty() {
            ending.push(quoted(path));
        }
    }
    if let Some(problem) = unread {
        return Err(problem);
    }
    if due.is_empty() && ending.is_empty() {
        if let Some(bundle) = asked.files.iter().find(|it| is_bundle(it)) {
            printer.next(format!("doctor {}", quoted(bundle)));
        }
        return Ok(());
    }
    Err(overdue(&due, &ending, asked.files.len()))
}

/// Why some of so many files are not well: those that are `due`, and those that trust an authority that is `ending`.
fn overdue(due: &[String], ending: &[String], count: usize) -> Problem {
    let (mut what, mut hints) = (Vec::new(), Vec::new());
    if !due.is_empty() {
        what.push(format!("{} of {count} must be renewed", due.len()));
        let renew = typed(format!("cert renew --ca ca {}", due.join(" ")));
        hints.push(format!("where the authority is: {renew}"));
    }
    if !ending.is_empty() {
        what.push(format!("{} of {count} trust an authority that ends", ending.len()));
        let trust = typed(format!("cert trust --ca next {}", ending.join(" ")));
        hints.push(format!(
            "let another authority take over: {trust}, then renew them all, then the same with --only"
        ));
    }
    let problem = Problem::new(Exit::Violated, what.join(", and "));
    Problem { told: true, ..problem }.hint(hints.join("; "))
}

/// What there is to say of one file.
struct Judged {
    facts: CertificateFacts,
    left: Duration,
    /// Why a node could not run with it, but for its end.
    fault: Option<String>,
    /// Authorities in it that end too soon, each with when.
    ending: Vec<String>,
    renew: bool,
}

impl Judged {
    /// By whether it is valid for so long.
    fn of(path: &Path, before: Duration) -> Result<Self, Problem> {
        let now = SystemTime::now();
        let (facts, bundle) = facts(path)?;
        let left = facts.remaining(now);
        let ending = bundle.iter().flat_map(|it| ending(it, before, now)).collect();
        let fault = fault(&facts, bundle.as_ref(), now);
        let renew = left < before || fault.is_some();
        Ok(Self { facts, left, fault, ending, renew })
    }

    fn tell(&self, path: &Path, printer: &Printer) {
        let Self { facts, left, fault, ending, renew } = self;
        let (file, validity) = (path.display(), words(facts.not_after, SystemTime::now()));
        let more = fault.iter().chain(ending).map(|words| format!(", and {words}"));
        let more: Vec<String> = more.collect();
        printer.say(format!("{file}   {validity}{}", more.concat()));
        printer.event(&json!({
            "event": "validity", "file": file.to_string(), "names": facts.names,
            "days_left": left.as_secs() / DAY, "expired": left.is_zero(), "renew": renew,
            "key": facts.key.to_string(), "fault": fault, "authorities_ending": ending.len(),
        }));
    }
}

fn fault(facts: &CertificateFacts, bundle: Option<&Bundle>, now: SystemTime) -> Option<String> {
    if !facts.key.is_believed() {
        return Some(format!("no node believes its key, {}", facts.key));
    }
    if facts.remaining(now).is_zero() {
        return None;
    }
    let [from, _] = facts.validity();
    match bundle {
        Some(bundle) => bundle.check().err().map(|error| error.to_string()),
        None => (now < facts.not_before).then(|| format!("it is not valid before {from}")),
    }
}

fn ending(bundle: &Bundle, before: Duration, now: SystemTime) -> Vec<String> {
    let authorities = bundle.authorities.iter().filter_map(|pem| inspect(pem).ok());
    let ending = authorities.filter(|authority| authority.remaining(now) < before);
    let told = ending.map(|it| {
        let (name, validity) = (it.short_fingerprint(), words(it.not_after, now));
        format!("it trusts the authority {name}, which has {validity}")
    });
    told.collect()
}

pub(super) fn renew(asked: &CertRenew, printer: &Printer) -> Result<(), Problem> {
    let authority = authority(&asked.ca, printer)?;
    for path in &asked.files {
        let mut bundle = of_cluster(&authority, path)?;
        bundle.credentials = authority
            .issue(bundle.node, days(asked.days))
            .map_err(|error| Problem::new(Exit::Usage, error.to_string()))?;
        let newly_trusted = bundle.trust(&authority);
        bundle.replace(path).map_err(|error| Problem::caused(&error))?;
        let (file, node) = (path.display(), bundle.node);
        let (days, valid) = validity(&bundle, asked.days);
        printer.say(format!("{file}   {node}, {valid}, with a new key"));
        if newly_trusted {
            printer.say(format!(
                "  it is the first of this authority: the others must trust it, \
                                 by `cert trust --ca {}`",
                asked.ca.display()
            ));
        }
        printer.event(&json!({
            "event": "renewed", "node": node.to_string(), "file": file.to_string(),
            "days": days, "authority_is_new": newly_trusted,
        }));
    }
    printer.next(format!("cert check {}", words_of(&asked.files)));
    Ok(())
}

pub(super) fn trust(asked: &CertTrust, printer: &Printer) -> Result<(), Problem> {
    let authority = authority(&asked.ca, printer)?;
    for path in &asked.files {
        let mut bundle = of_cluster(&authority, path)?;
        let newly_trusted = bundle.trust(&authority);
        let dropped = asked.only && trust_only(&mut bundle, &authority, path)?;
        if newly_trusted || dropped {
            bundle.replace(path).map_err(|error| Problem::caused(&error))?;
        }
        let (file, count) = (path.display(), bundle.authorities.len());
        let authorities = if count == 1 { "authority" } else { "authorities" };
        printer.say(format!("{file}   {} trusts {count} {authorities}", bundle.node));
        printer.event(&json!({
            "event": "trusted", "node": bundle.node.to_string(), "file": file.to_string(),
            "authorities": count, "authority_is_new": newly_trusted,
        }));
    }
    let files = words_of(&asked.files);
    match asked.only {
        true => printer.next(format!("cert check {files}")),
        false => printer.next(format!(
            "cert renew --ca {} {files}     (when every node trusts it)",
            quoted(&asked.ca),
        )),
    }
    Ok(())
}

/// Lets the bundle in the file trust no other authority any more. Whether it did.
fn trust_only(bundle: &mut Bundle, authority: &Authority, path: &Path) -> Result<bool, Problem> {
    let before = bundle.authorities.len();
    bundle.authorities.retain(|pem| pem.trim() == authority.certificate_pem().trim());
    bundle.check().map_err(|error| {
        let what = format!("`{}` needs what it trusts besides: {error}", path.display());
        Problem::new(Exit::Usage, what).hint("renew every bundle first, with the new authority")
    })?;
    Ok(bundle.authorities.len() < before)
}

/// Files, as a command takes them.
fn words_of(files: &[PathBuf]) -> String {
    let files: Vec<String> = files.iter().map(quoted).collect();
    files.join(" ")
}

/// The bundle in the file, if it is one of the authority's cluster, and all of it stands there: written anew, it would no
/// longer follow the files that it names.
fn of_cluster(authority: &Authority, path: &Path) -> Result<Bundle, Problem> {
    let bundle = Bundle::read_alone(path).map_err(|error| Problem::of_file(&error))?;
    let named = Bundle::files_beside(path).map_err(|error| Problem::of_file(&error))?;
    if let Some(named) = named.first() {
        let what = format!(
            "`{}` names `{}` in the place of what stands in it, and is not written anew",
            path.display(),
            named.display()
        );
        let hint = "change what stands in that file: a running node takes it from there";
        return Err(Problem::new(Exit::Usage, what).hint(hint));
    }
    if bundle.cluster == *authority.cluster() {
        return Ok(bundle);
    }
    let (file, theirs, ours) = (path.display(), &bundle.cluster, authority.cluster());
    let what = format!("`{file}` is of cluster {theirs}, the authority of cluster {ours}");
    Err(Problem::new(Exit::Usage, what).hint("name the right authority by --ca"))
}

const DAY: u64 = 86_400;

fn words(end: SystemTime, now: SystemTime) -> String {
    let whole_days = |time: Duration| time.as_secs() / DAY;
    match end.duration_since(now) {
        Ok(left) => format!("{} days left", whole_days(left)),
        Err(over) => format!("EXPIRED {} days ago", whole_days(over.duration())),
    }
}

#[cfg(test)]
mod tests {
    use synod_core::NodeId;

    use super::*;

    #[test]
    fn a_certificate_that_is_not_valid_yet_is_a_fault() {
        let authority = Authority::new("demo", days(30)).expect("a good name");
        let facts = authority.issue(NodeId(1), days(9)).and_then(|it| it.facts()).expect("one");
        let now = SystemTime::now();
        assert_eq!(fault(&facts, None, now), None);
        let early = fault(&facts, None, now - days(1)).expect("a fault");
        assert_eq!(early, format!("it is not valid before {}", facts.validity()[0]));
    }
}
