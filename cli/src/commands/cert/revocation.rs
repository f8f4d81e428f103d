//! Certificates are taken back: `cert revoke`, and what a list of them says.

use std::fs::File;
use std::path::Path;

use serde_json::json;
use synod_transport_quic::{Authority, Revocations};

use super::{authority, facts};
use crate::args::CertRevoke;
use crate::printer::{Printer, quoted, typed};
use crate::problem::{Exit, Problem};

pub(super) fn revoke(asked: &CertRevoke, printer: &Printer) -> Result<(), Problem> {
    let authority = authority(&asked.ca, printer)?;
    let _until_it_is_signed = alone(&asked.ca)?;
    let mut serials = asked.serials.clone();
    for path in &asked.files {
        serials.push(serial_in(path, &authority)?);
    }
    let file = asked.ca.join(Revocations::FILE);
    let before = read(&file)?;
    let list = authority
        .revoke(before.first(), &serials)
        .map_err(|error| Problem::new(Exit::Usage, error.to_string()))?;
    list.replace(&file).map_err(|error| Problem::caused(&error))?;
    for serial in &serials {
        printer.say(format!("revoked {serial}"));
    }
    let (file, revoked) = (file.display(), list.revoked.len());
    printer.say(format!(
        "{file}   list {} of authority {}, {revoked} in all",
        list.number,
        authority.facts().short_fingerprint()
    ));
    printer.event(&json!({
        "event": "revoked", "file": file.to_string(), "number": list.number, "serials": serials,
        "revoked": revoked, "authority": authority.facts().fingerprint,
    }));
    let file = quoted(asked.ca.join(Revocations::FILE));
    printer.next(format!("cert inspect {file}     (and copy it beside the bundle of every node)"));
    Ok(())
}

/// Keeps every other process from signing a list of the authority: it would leave out what this one adds.
fn alone(ca: &Path) -> Result<File, Problem> {
    let key = ca.join(Authority::KEY_FILE);
    let locked = File::open(&key).and_then(|file| file.lock().map(|()| file));
    locked.map_err(|error| Problem::environment(format!("cannot lock `{}`", key.display()), &error))
}

/// What a list says.
pub(super) fn show(path: &Path, printer: &Printer) -> Result<(), Problem> {
    let lists = read(path)?;
    if lists.is_empty() {
        let what = format!("there is no `{}`", path.display());
        return Err(Problem::new(Exit::Environment, what)
            .hint(format!("make one: {}", typed("cert revoke --ca ca NODE.synod"))));
    }
    for list in lists {
        let revoked = list.revoked.len();
        printer.say(format!("list {} of revoked certificates, {revoked} in it", list.number));
        for serial in list.revoked.keys() {
            printer.say(format!("  serial {serial}"));
        }
        let serials: Vec<_> = list.revoked.keys().collect();
        printer.event(&json!({
            "event": "revocations", "number": list.number, "serials": serials,
        }));
    }
    printer.advise("copy it beside the bundle of every node");
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Revocations>, Problem> {
    Revocations::read(path).map_err(|error| Problem::of_file(&error))
}

/// The serial number of the certificate in a file, if it is one that the authority has issued.
fn serial_in(path: &Path, authority: &Authority) -> Result<String, Problem> {
    let (facts, _) = facts(path)?;
    let is_its_own = facts
        .issuer
        .as_ref()
        .is_some_and(|issuer| authority.facts().fingerprint.starts_with(issuer.as_str()));
    if is_its_own && !facts.is_authority {
        return Ok(facts.serial);
    }
    let what = format!(
        "the certificate in `{}` was not issued by the authority {}",
        path.display(),
        authority.facts().short_fingerprint()
    );
    Err(Problem::new(Exit::Usage, what).hint("name its authority by --ca"))
}
