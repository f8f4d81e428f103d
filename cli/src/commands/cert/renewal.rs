//! Certificates end: `cert check`, `cert renew` and `cert trust`.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;
use synod_transport_quic::{Authority, Bundle};

use super::{authority, facts, is_bundle, valid_days};
use crate::args::{CertCheck, CertRenew, CertTrust, days};
use crate::printer::{Printer, quoted, typed};
use crate::problem::{Exit, Problem};

pub(super) fn check(asked: &CertCheck, printer: &Printer) -> Result<(), Problem> {
    let now = SystemTime::now();
    let (mut due, mut unread) = (Vec::new(), None);
    for path in &asked.files {
        let facts = match facts(path) {
            Ok((facts, _)) => facts,
            // The others are judged all the same: this may be what a timer runs.
            Err(problem) => {
                printer.say(format!("{}   not read", path.display()));
                unread.get_or_insert(problem);
                continue;
            }
        };
        let left = facts.remaining(now);
        let is_weak = !facts.key.is_believed();
        let renew = left < days(asked.before) || is_weak;
        let weak = format!(", and no node believes its key, {}", facts.key);
        let weak = if is_weak { weak } else { String::new() };
        printer.say(format!("{}   {}{weak}", path.display(), words(facts.not_after, now)));
        printer.event(&json!({
            "event": "validity", "file": path.display().to_string(), "names": facts.names,
            "days_left": left.as_secs() / DAY, "expired": left.is_zero(), "renew": renew,
            "key": facts.key.to_string(),
        }));
        if renew {
            due.push(quoted(path));
        }
    }
    if let Some(problem) = unread {
        return Err(problem);
    }
    if due.is_empty() {
        if let Some(bundle) = asked.files.iter().find(|it| is_bundle(it)) {
            printer.next(format!("doctor {}", quoted(bundle)));
        }
        return Ok(());
    }
    let what = format!("{} of {} must be renewed", due.len(), asked.files.len());
    let renew = typed(format!("cert renew --ca ca {}", due.join(" ")));
    let hint = format!("where the authority is: {renew}");
    Err(Problem { told: true, ..Problem::new(Exit::Violated, what) }.hint(hint))
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
        let days = valid_days(&bundle, asked.days);
        printer.say(format!("{file}   {node}, valid for {days} days, with a new key"));
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
        if newly_trusted {
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
    printer.next(format!(
        "cert renew --ca {} {}     (when every node trusts it)",
        quoted(&asked.ca),
        words_of(&asked.files),
    ));
    Ok(())
}

/// Files, as a command takes them.
fn words_of(files: &[PathBuf]) -> String {
    let files: Vec<String> = files.iter().map(quoted).collect();
    files.join(" ")
}

/// The bundle in the file, if it is one of the authority's cluster.
fn of_cluster(authority: &Authority, path: &Path) -> Result<Bundle, Problem> {
    let bundle = Bundle::read_alone(path).map_err(|error| Problem::of_file(&error))?;
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
