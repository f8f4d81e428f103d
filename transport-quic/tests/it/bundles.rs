//! Bundles and authorities as files.

use std::fs;

use rcgen::ExtendedKeyUsagePurpose;
use synod_core::NodeId;
use synod_transport_quic::{
    Authority, Bundle, Credentials, FileError, Limits, QuicTransport, inspect,
};

use crate::raw::forge_with;
use crate::support::{DAY, Directory, N1, N2, assert_says, authority, bundle};

#[test]
fn a_bundle_comes_back_from_its_file_and_is_for_its_owner_only() {
    let directory = Directory::new();
    let written = bundle(&authority(), N1, &[N1, N2]);
    let path = directory.file("n1.synod");
    written.write_new(&path).unwrap();
    let read = Bundle::read(&path).unwrap();
    assert_eq!(read, written);
    assert_eq!(read.check(), Ok(()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn nothing_is_overwritten() {
    let directory = Directory::new();
    let authority = authority();
    let path = directory.file("n1.synod");
    fs::write(&path, "precious").unwrap();
    let refused = bundle(&authority, N1, &[N1]).write_new(&path).unwrap_err();
    assert!(matches!(refused, FileError::Exists { .. }), "{refused}");
    assert_says(&refused.to_string(), &["n1.synod", "exists already"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    authority.write_new(directory.path()).unwrap();
    assert!(matches!(authority.write_new(directory.path()), Err(FileError::Exists { .. })));
}

#[test]
fn an_authority_comes_back_from_its_files_and_goes_on_issuing() {
    let directory = Directory::new();
    let authority = authority();
    authority.write_new(directory.path()).unwrap();
    let again = Authority::read(directory.path()).unwrap();
    assert_eq!(again.facts(), authority.facts());
    let mut issued = bundle(&authority, N1, &[N1]);
    issued.credentials = again.issue(N1, DAY).unwrap();
    assert_eq!(issued.check(), Ok(()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let key = fs::metadata(directory.file("ca.key")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_certificate_says_who_it_is_and_who_issued_it() {
    let authority = authority();
    let facts = authority.issue(N2, DAY).unwrap().facts().unwrap();
    assert_eq!(facts.node, Some(N2));
    assert_eq!(facts.cluster.as_ref(), Some(authority.cluster()));
    assert_eq!(facts.names, ["n2.demo.synod.internal"]);
    assert!(facts.serial.len() <= 32 && 24 < facts.serial.len(), "{}", facts.serial);
    assert_eq!(facts.fingerprint.len(), 64);
    assert!(authority.facts().fingerprint.starts_with(&facts.issuer.clone().unwrap()));
    assert!(facts.not_before < std::time::SystemTime::now());
    assert!(facts.not_after <= authority.facts().not_after);
    assert!(inspect(authority.certificate_pem()).unwrap().is_authority);
    let other = authority.issue(N2, DAY).unwrap().facts().unwrap();
    assert_ne!(other.serial, facts.serial);
}

#[test]
fn a_damaged_bundle_is_named_with_the_place_and_never_shows_the_key() {
    let directory = Directory::new();
    let path = directory.file("n1.synod");
    let good = bundle(&authority(), N1, &[N1, N2]);
    good.write_new(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let cases = [
        (text.replace("format = 1", "format = 9"), vec!["`format`", "9", "1"]),
        (text.replace("node = \"n1\"", "node = \"N1\""), vec!["`node`", "`N1`"]),
        (text.replace("cluster = \"demo\"", "cluster = \"De\""), vec!["`cluster`", "`De`"]),
        (text.replace("listen = \"127.0.0.1:0\"", "listen = \"x\""), vec!["`listen`", "IP:PORT"]),
        (text.replace("n2 = \"127.0.0.1:9\"", "n2 = \"x\""), vec!["`peers.n2`", "HOST:PORT"]),
        (text.replace("cluster = ", "clutser = "), vec!["clutser", "line 2"]),
        (text.replace("PRIVATE KEY-----", "PRIVATE KEY-----\"\"\"\""), vec!["line", "issue"]),
        (text[..text.len() / 2].to_string(), vec!["line"]),
        (String::new(), vec!["format"]),
    ];
    let secret = good.credentials.key_pem.lines().nth(1).unwrap();
    for (damaged, parts) in cases {
        fs::write(&path, damaged).unwrap();
        let error = Bundle::read(&path).unwrap_err().to_string();
        assert_says(&error, &["n1.synod"]);
        assert_says(&error, &parts);
        assert!(!error.contains(secret), "{error}");
    }
    assert!(!format!("{good:?}").contains(secret));
    let missing = Bundle::read(&directory.file("n9.synod")).unwrap_err();
    assert_says(&missing.to_string(), &["cannot read", "n9.synod"]);
}

#[test]
fn a_bundle_may_name_files_beside_it_in_the_place_of_pem() {
    let directory = Directory::new();
    let ours = authority();
    let good = bundle(&ours, N1, &[N1, N2]);
    let path = directory.file("n1.synod");
    let named = Bundle {
        credentials: Credentials {
            certificate_pem: String::from("n1.pem"),
            key_pem: String::from("keys/n1.key"),
        },
        authorities: vec![String::from("ca.pem")],
        ..good.clone()
    };
    named.write_new(&path).unwrap();
    let missing = Bundle::read(&path).unwrap_err().to_string();
    assert_says(&missing, &["cannot read", "n1.pem"]);

    fs::create_dir(directory.file("keys")).unwrap();
    fs::write(directory.file("n1.pem"), &good.credentials.certificate_pem).unwrap();
    fs::write(directory.file("keys/n1.key"), &good.credentials.key_pem).unwrap();
    fs::write(directory.file("ca.pem"), &good.authorities[0]).unwrap();
    let read = Bundle::read(&path).unwrap();
    assert_eq!(read, good);
    read.check().unwrap();
    let secret = [path.clone(), directory.file("keys/n1.key")];
    assert_eq!(Bundle::secret_files(&path).unwrap(), secret);

    // A new certificate is there with the next look at the bundle.
    let renewed = ours.issue(N1, DAY).unwrap();
    fs::write(directory.file("n1.pem"), &renewed.certificate_pem).unwrap();
    fs::write(directory.file("keys/n1.key"), &renewed.key_pem).unwrap();
    assert_eq!(Bundle::read(&path).unwrap().credentials, renewed);
}

#[test]
fn a_key_that_has_lost_its_frame_is_no_file_and_is_not_shown() {
    let directory = Directory::new();
    let path = directory.file("n1.synod");
    let good = bundle(&authority(), N1, &[N1, N2]);
    let secret: String = good.credentials.key_pem.lines().skip(1).take(3).collect();
    let bare = Credentials { key_pem: secret.clone(), ..good.credentials.clone() };
    Bundle { credentials: bare, ..good }.write_new(&path).unwrap();
    let error = Bundle::read(&path).unwrap().check().unwrap_err().to_string();
    assert!(!error.contains(&secret[..20]), "{error}");
}

#[test]
fn a_bundle_whose_parts_do_not_belong_together_does_not_start() {
    let (ours, theirs) = (authority(), authority());
    let good = bundle(&ours, N1, &[N1, N2]);
    let check = |bundle: &Bundle, parts: &[&str]| {
        let error = bundle.check().unwrap_err().to_string();
        assert_says(&error, parts);
        let refused = QuicTransport::new(bundle, Limits::default()).unwrap_err();
        // Each says what its clock says.
        let but_now =
            |text: &str| String::from(text.split(", which says ").next().unwrap_or_default());
        assert_eq!(but_now(&refused.to_string()), but_now(&error));
    };
    let other_key = theirs.issue(N1, DAY).unwrap().key_pem;
    let mut mixed = good.clone();
    mixed.credentials.key_pem = other_key;
    check(&mixed, &["key", "n1"]);

    let foreign = Bundle { credentials: theirs.issue(N1, DAY).unwrap(), ..good.clone() };
    check(&foreign, &["another authority", "n1", &ours.facts().short_fingerprint()]);
    check(&foreign, &[&theirs.facts().short_fingerprint()]);

    let issuer = (ours.certificate_pem(), ours.key_pem());
    let useful_for = |uses: &[ExtendedKeyUsagePurpose]| {
        let credentials = forge_with(issuer, &["n1.demo.synod.internal"], (-1, 1), uses);
        Bundle { credentials, ..good.clone() }
    };
    let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    for one in &both {
        let parts = ["does not verify", "issue it anew"];
        check(&useful_for(std::slice::from_ref(one)), &parts);
    }
    assert_eq!(useful_for(&both).check(), Ok(()));
    assert_eq!(useful_for(&[]).check(), Ok(()), "it does not say what it is for");

    let other_node = Bundle { credentials: ours.issue(NodeId(7), DAY).unwrap(), ..good.clone() };
    check(&other_node, &["n7", "n1"]);

    let elsewhere = Bundle { cluster: "test".parse().unwrap(), ..good.clone() };
    check(&elsewhere, &["`demo`", "`test`"]);

    let nobody = Bundle { authorities: Vec::new(), ..good.clone() };
    check(&nobody, &["no authority"]);

    let expired = crate::raw::forge(&ours, &["n1.demo.synod.internal"], -10, -2);
    check(&Bundle { credentials: expired, ..good.clone() }, &["expired 2 days ago", "n1"]);
    let early = crate::raw::forge(&ours, &["n1.demo.synod.internal"], 2, 10);
    check(&Bundle { credentials: early, ..good }, &["begins in 1 day", "clocks"]);
}
