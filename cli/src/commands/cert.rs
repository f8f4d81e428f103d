//! `cert`: the certificates of a cluster.

mod renewal;
mod revocation;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use synod_core::NodeId;
use synod_transport_quic::{Authority, Bundle, CertificateFacts, inspect};

use super::doctor::open_to_others;
use crate::args::{Cert, CertInit, CertInspect, CertIssue, days, listen_address};
use crate::printer::{Printer, quoted, typed};
use crate::problem::{Exit, Problem};

pub(crate) fn run(cert: &Cert, printer: &Printer) -> Result<(), Problem> {
    match cert {
        Cert::Init(asked) => init(asked, printer),
        Cert::Issue(asked) => issue(asked, printer),
        Cert::Inspect(asked) => show(asked, printer),
        Cert::Check(asked) => renewal::check(asked, printer),
        Cert::Renew(asked) => renewal::renew(asked, printer),
        Cert::Trust(asked) => renewal::trust(asked, printer),
        Cert::Revoke(asked) => revocation::revoke(asked, printer),
    }
}

fn init(asked: &CertInit, printer: &Printer) -> Result<(), Problem> {
    let authority = Authority::new(&asked.cluster, days(asked.days))
        .map_err(|error| Problem::new(Exit::Usage, error.to_string()))?;
    make(&asked.directory)?;
    authority.write_new(&asked.directory).map_err(|error| Problem::caused(&error))?;
    let (directory, facts) = (asked.directory.display(), authority.facts());
    printer.say(format!("cluster {}: authority {}", asked.cluster, facts.short_fingerprint()));
    printer.say(format!("  {directory}/ca.pem   certificate, valid for {} days", asked.days));
    printer.say(format!("  {directory}/ca.key   private key: keep it on this machine only"));
    printer.event(&json!({
        "event": "authority", "cluster": asked.cluster, "directory": directory.to_string(),
        "fingerprint": facts.fingerprint, "days": asked.days,
    }));
    printer.next(format!(
        "cert issue --ca {} n1=10.0.0.1:7400 n2=10.0.0.2:7400 n3=10.0.0.3:7400",
        quoted(&asked.directory)
    ));
    Ok(())
}

fn issue(asked: &CertIssue, printer: &Printer) -> Result<(), Problem> {
    let authority = authority(&asked.ca, printer)?;
    let mut peers = BTreeMap::new();
    for (node, address) in asked.nodes.iter().cloned() {
        if peers.insert(node, address).is_some() {
            return Err(Problem::new(Exit::Usage, format!("{node} is named twice")));
        }
    }
    let mut places = BTreeMap::new();
    for (node, address) in peers.iter().filter(|(_, address)| !address.starts_with(':')) {
        if let Some(other) = places.insert(address, node) {
            let what = format!("{other} and {node} have the same address, {address}");
            return Err(Problem::new(Exit::Usage, what).hint("give each node a port of its own"));
        }
    }
    make(&asked.out)?;
    let paths = || peers.keys().map(|node| asked.out.join(format!("{node}.synod")));
    if let Some(path) = paths().find(|path| path.exists()) {
        let what = format!("`{}` exists already, and keys are not overwritten", path.display());
        return Err(Problem::new(Exit::Environment, what).hint("move it away, or use --out"));
    }
    for (node, path) in peers.keys().zip(paths()) {
        let bundle = bundle(&authority, *node, &peers, days(asked.days))?;
        bundle.write_new(&path).map_err(|error| Problem::caused(&error))?;
        let (days, valid) = validity(&bundle, asked.days);
        printer.say(format!("{}   {node}, {valid}", path.display()));
        printer.event(&json!({
            "event": "issued", "node": node.to_string(), "file": path.display().to_string(),
            "days": days,
        }));
    }
    if let [(node, address)] = asked.nodes.as_slice() {
        printer.warn(format!(
            "{node} is a cluster of its own, which knows no other node. To add it to one, name all nodes: \
             cert issue --out DIRECTORY n1=.. n2=.. {node}={address}, and start each anew with its new bundle"
        ));
    }
    if let Some((node, path)) = peers.keys().zip(paths()).next() {
        let path = quoted(path);
        printer.next(format!("node {path}     (on the machine of {node}, and so on)"));
    }
    Ok(())
}

/// For how many days from now the certificate in a new bundle is valid, as a number and in words: it ends with its
/// authority, which may be before the days that were `asked` for.
fn validity(bundle: &Bundle, asked: u32) -> (u64, String) {
    let (facts, asked) = (bundle.credentials.facts().ok(), u64::from(asked));
    let left = facts.map(|facts| facts.remaining(SystemTime::now()).as_secs().div_ceil(86_400));
    let days = left.unwrap_or_default().min(asked);
    let why = if days < asked {
        format!(" and not {asked}, as its authority ends then")
    } else {
        String::new()
    };
    (days, format!("valid for {days} days{why}"))
}

fn authority(directory: &Path, printer: &Printer) -> Result<Authority, Problem> {
    let authority = Authority::read(directory).map_err(|error| {
        let problem = Problem::of_file(&error);
        match problem.exit {
            Exit::Usage => problem,
            _ => problem
                .hint(format!("make one: {}", typed(format!("cert init {}", quoted(directory))))),
        }
    })?;
    let key = directory.join(Authority::KEY_FILE);
    // Who cannot be asked about it has been read all the same.
    if let Ok(Some(words)) = open_to_others(&key) {
        printer.warn(format!("`{}`: {words}", key.display()));
    }
    Ok(authority)
}

fn make(directory: &Path) -> Result<(), Problem> {
    fs::create_dir_all(directory).map_err(|error| {
        Problem::environment(format!("cannot make `{}`", directory.display()), &error)
    })
}

/// The bundle of `node` in a cluster of `peers`. Those whose address has no host are found by the
/// others.
pub(crate) fn bundle(
    authority: &Authority,
    node: NodeId,
    peers: &BTreeMap<NodeId, String>,
    valid: Duration,
) -> Result<Bundle, Problem> {
    let listen = peers.get(&node).and_then(|address| listen_address(address));
    let listen =
        listen.ok_or_else(|| Problem::new(Exit::Usage, format!("{node} has no address")))?;
    let credentials = authority
        .issue(node, valid)
        .map_err(|error| Problem::new(Exit::Usage, error.to_string()))?;
    let (anywhere, peers) = peers.clone().into_iter().partition(|(_, it)| it.starts_with(':'));
    let anywhere: BTreeMap<NodeId, String> = anywhere;
    Ok(Bundle {
        cluster: authority.cluster().clone(),
        node,
        listen,
        credentials,
        authorities: vec![String::from(authority.certificate_pem())],
        peers,
        members: anywhere.into_keys().collect(),
        revocations: Vec::new(),
    })
}

fn show(asked: &CertInspect, printer: &Printer) -> Result<(), Problem> {
    if asked.file.extension().is_some_and(|ending| ending == "crl") {
        return revocation::show(&asked.file, printer);
    }
    let (facts, bundle) = facts(&asked.file)?;
    let now = SystemTime::now();
    let kind = if facts.is_authority { "authority" } else { "node" };
    match facts.cluster.as_ref().filter(|_| facts.is_authority) {
        Some(cluster) => printer.say(format!("authority of cluster {cluster}")),
        None => printer.say(format!("{kind} {}", facts.names.join(", "))),
    }
    tell(&facts, now, printer);
    let trusted = bundle.as_ref().map(trusted).transpose()?.unwrap_or_default();
    for authority in &trusted {
        let (name, [_, until]) = (authority.short_fingerprint(), authority.validity());
        printer.say(format!(
            "  trusts       authority {name}, until {until}, {}",
            state(authority, now)
        ));
    }
    for node in bundle.iter().flat_map(Bundle::nodes) {
        let address = bundle.as_ref().and_then(|bundle| bundle.peers.get(&node));
        let place = address.map_or("wherever its peers say", String::as_str);
        printer.say(format!("  node         {node} at {place}"));
    }
    let [not_before, not_after] = facts.validity();
    let authorities: Vec<Value> = trusted.iter().map(|it| in_short(it, now)).collect();
    printer.event(&json!({
        "event": "certificate", "kind": kind, "names": facts.names,
        "node": facts.node.map(|node| node.to_string()),
        "cluster": facts.cluster.as_ref().map(ToString::to_string),
        "fingerprint": facts.fingerprint, "serial": facts.serial, "issuer": facts.issuer,
        "key": facts.key.to_string(), "believed": facts.key.is_believed(),
        "days_left": days_left(&facts, now), "expired": facts.remaining(now).is_zero(),
        "not_before": not_before, "not_after": not_after, "authorities": authorities,
    }));
    printer.next(format!("cert check {} --before 30", quoted(&asked.file)));
    Ok(())
}
fn tell(facts: &CertificateFacts, now: SystemTime, printer: &Printer) {
    let believed =
        if facts.key.is_believed() { "" } else { ": no node believes it, issue it anew" };
    let [from, until] = facts.validity();
    printer.say(format!("  fingerprint  {}", facts.fingerprint));
    printer.say(format!("  key          {}{believed}", facts.key));
    printer.say(format!("  serial       {}", facts.serial));
    printer.say(format!("  issuer       {}", facts.issuer.as_deref().unwrap_or("itself")));
    printer.say(format!("  valid from   {from}"));
    printer.say(format!("  valid until  {until}, {}", state(facts, now)));
}

/// The certificates of the authorities that the node of a bundle trusts.
fn trusted(bundle: &Bundle) -> Result<Vec<CertificateFacts>, Problem> {
    let trusted = bundle.authorities.iter().map(|pem| inspect(pem));
    trusted.collect::<Result<_, _>>().map_err(|error| {
        Problem::new(
            Exit::Usage,
            format!("the bundle of {}: key `authorities`: {error}", bundle.node),
        )
    })
}

/// What there is to know of an authority that a bundle trusts.
fn in_short(authority: &CertificateFacts, now: SystemTime) -> Value {
    let [_, not_after] = authority.validity();
    json!({
        "fingerprint": authority.fingerprint, "not_after": not_after,
        "cluster": authority.cluster.as_ref().map(ToString::to_string),
        "days_left": days_left(authority, now), "expired": authority.remaining(now).is_zero(),
    })
}

fn state(facts: &CertificateFacts, now: SystemTime) -> String {
    match facts.remaining(now).is_zero() {
        true => String::from("EXPIRED"),
        false => format!("{} days left", days_left(facts, now)),
    }
}

fn days_left(facts: &CertificateFacts, now: SystemTime) -> u64 {
    facts.remaining(now).as_secs() / 86_400
}

/// What a certificate says, and the bundle that it is in.
fn facts(path: &Path) -> Result<(CertificateFacts, Option<Bundle>), Problem> {
    if is_bundle(path) { bundle_facts(path) } else { Ok((pem_facts(path)?, None)) }
}

fn is_bundle(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "synod")
}

fn bundle_facts(path: &Path) -> Result<(CertificateFacts, Option<Bundle>), Problem> {
    let bundle = Bundle::read(path).map_err(|error| Problem::of_file(&error))?;
    let facts = bundle.credentials.facts().map_err(|error| {
        Problem::new(Exit::Usage, format!("`{}`: key `certificate`: {error}", path.display()))
    })?;
    Ok((facts, Some(bundle)))
}

fn pem_facts(path: &Path) -> Result<CertificateFacts, Problem> {
    let what = || format!("cannot read `{}`", path.display());
    let text = fs::read_to_string(path).map_err(|error| Problem::environment(what(), &error))?;
    inspect(&text).map_err(|error| {
        let what = format!("`{}`: {error}", path.display());
        Problem::new(Exit::Usage, what).hint("expected a bundle (NODE.synod) or a PEM file")
    })
}
