//! Certificates that end, and authorities that take over.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::running::{Running, cluster};
use crate::{Place, synod};

#[test]
fn a_certificate_that_ends_soon_must_be_renewed() {
    let place = Place::new("cert-check");
    cluster(&place.0, "demo", &["n1"]);
    let bundle = "demo/n1.synod";
    let fine = synod(&place.0, &["cert", "check", bundle, "demo/ca.pem", "--json"]);
    assert_eq!(fine.exit, 0, "{}", fine.stderr);
    assert!(fine.lines().iter().all(|line| line["renew"] == false));
    let fine = synod(&place.0, &["cert", "check", bundle]);
    assert!(fine.stderr.ends_with("doctor demo/n1.synod\n"), "{}", fine.stderr);
    let due = synod(&place.0, &["cert", "check", bundle, "--before", "91"]);
    assert_eq!(due.exit, 1);
    assert!(due.stderr.contains("cert renew --ca ca demo/n1.synod"), "{}", due.stderr);
}

#[test]
fn two_nodes_at_one_address_are_refused_before_anything_is_written() {
    let place = Place::new("cert-address");
    assert_eq!(synod(&place.0, &["cert", "init", "ca", "--cluster", "demo"]).exit, 0);
    let nodes = ["n1=10.0.0.1:7400", "n2=10.0.0.1:7400"];
    let called =
        synod(&place.0, &[&["cert", "issue", "--ca", "ca", "--out", "b"], &nodes[..]].concat());
    assert_eq!(called.exit, 2, "{}", called.stderr);
    assert!(called.stderr.contains("n1 and n2 have the same address"), "{}", called.stderr);
    let twice = synod(&place.0, &["cert", "issue", "--ca", "ca", "--out", "b", "n2", "n1", "n2"]);
    assert!(twice.exit == 2 && twice.stderr.contains("n2 is named twice"), "{}", twice.stderr);
    assert!(!place.0.join("b").exists());
    let anywhere =
        ["cert", "issue", "--ca", "ca", "--out", "b", "n1=:7400", "n2=:7400", "n3", "n4"];
    assert_eq!(synod(&place.0, &anywhere).exit, 0);
}

#[test]
fn a_certificate_is_said_to_be_valid_no_longer_than_its_authority() {
    let place = Place::new("cert-days");
    let init = ["cert", "init", "ca", "--cluster", "demo", "--days", "30"];
    assert_eq!(synod(&place.0, &init).exit, 0);
    let issued = synod(&place.0, &["cert", "issue", "--ca", "ca", "--out", "b", "n1=127.0.0.1:1"]);
    let shortened = "n1, valid for 30 days and not 90, as its authority ends then\n";
    assert!(issued.stdout.contains(shortened), "{}", issued.stdout);
    assert!(issued.stderr.contains("warning: n1 is a cluster of its own"), "{}", issued.stderr);
    assert!(issued.stderr.contains("name all nodes"), "{}", issued.stderr);
    let renew = ["cert", "renew", "--ca", "ca", "b/n1.synod", "--days", "365", "--json"];
    assert_eq!(synod(&place.0, &renew).last()["days"], 30);
    for days in ["0", "36501"] {
        let refused =
            synod(&place.0, &["cert", "renew", "--ca", "ca", "b/n1.synod", "--days", days]);
        assert!(refused.exit == 2 && refused.stderr.contains("1..=36500"), "{}", refused.stderr);
    }
    let shown = synod(&place.0, &["cert", "inspect", "ca/ca.pem"]);
    assert!(shown.stdout.starts_with("authority of cluster demo\n"), "{}", shown.stdout);
}

#[test]
fn a_damaged_key_of_an_authority_is_named() {
    let place = Place::new("cert-key");
    assert_eq!(synod(&place.0, &["cert", "init", "ca", "--cluster", "demo"]).exit, 0);
    fs::write(place.0.join("ca/ca.key"), "junk").expect("written");
    let refused = synod(&place.0, &["cert", "issue", "--ca", "ca", "n1=127.0.0.1:1"]);
    assert_eq!(refused.exit, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("`ca/ca.key`: "), "{}", refused.stderr);
    assert!(!refused.stderr.contains("cert init"), "{}", refused.stderr);
}

#[test]
fn a_key_of_an_authority_that_others_may_read_is_told_by_whatever_uses_it() {
    let place = Place::new("cert-open-key");
    cluster(&place.0, "demo", &["n1"]);
    let key = place.0.join("demo/ca.key");
    for (command, rest) in [
        ("issue", ["--out", "more", "n2=127.0.0.1:9"].as_slice()),
        ("renew", &["demo/n1.synod"]),
        ("trust", &["demo/n1.synod"]),
        ("revoke", &["demo/n1.synod"]),
    ] {
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("the owner may");
        let args = [&["cert", command, "--ca", "demo", "--json"], rest].concat();
        if command != "issue" {
            let private = synod(&place.0, &args);
            assert!(private.exit == 0 && !private.stderr.contains("warning"), "{}", private.stderr);
        }
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("the owner may");
        let open = synod(&place.0, &args);
        let words = "warning: `demo/ca.key`: others may read the key in it (mode 640): chmod 600";
        assert!(open.exit == 0 && open.stderr.contains(words), "{command}: {}", open.stderr);
        assert_eq!(open.lines()[0]["event"], "warning");
    }
}

#[test]
fn a_file_that_cannot_be_read_keeps_no_other_from_being_judged() {
    let place = Place::new("cert-unread");
    cluster(&place.0, "demo", &["n1"]);
    fs::write(place.0.join("half.synod"), "half a bundle").expect("written");
    let args = ["cert", "check", "half.synod", "demo/n1.synod", "--before", "91", "--json"];
    let called = synod(&place.0, &args);
    assert_eq!(called.exit, 2, "{}", called.stderr);
    assert!(called.stderr.contains("`half.synod`"), "{}", called.stderr);
    let judged = called.lines().into_iter().find(|line| line["file"] == "demo/n1.synod");
    assert!(judged.is_some_and(|line| line["renew"] == true), "{}", called.stdout);
}

/// Of an RSA key with 1,024 bits, valid for a hundred years.
const WEAK: &str = "\
-----BEGIN CERTIFICATE-----
MIIB/DCCAWWgAwIBAgIULkkvbSjYEkgvb9DXQrcPsrJFVr4wDQYJKoZIhvcNAQEL
BQAwDzENMAsGA1UEAwwEd2VhazAgFw0yNjExMjkxMjAyMDdaGA8yMTI2MTEwNTEy
MDIwN1owDzENMAsGA1UEAwwEd2VhazCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkC
gYEAzXTzJBAnY737Q+MSH76n1Xbzs00t7G3bdtSlEFRc6JrMVYQm39WcsOOuw12P
zrjQBD0AobYTNNg97xLiHFycxVanUGs72m+gYt8Yg56II0hbvN/JGSazgkpKSZzW
QmiMYliYDCEeBLGYrpDNolaw0NqXKz7P7sUlcpYL6GY+yLcCAwEAAaNTMFEwHQYD
VR0OBBYEFNSTVlR+CM2Ygw4l0VDkYtJa9SJrMB8GA1UdIwQYMBaAFNSTVlR+CM2Y
gw4l0VDkYtJa9SJrMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADgYEA
S5ChURLkIu3ngCncQ2ap9dQov0N5ZL01J8lFoRy7XPP7b2sVlA/X6no7uuzA4PUw
9vcup84VFATVNz3COZy00+p41+/syP/0W3PtBjGg79dHqBz9yYmb06bSddv/Sds0
KMvLWaBOLetBMCKEHefi2MQizPa5Sn5AouyGM5AA45Y=
-----END CERTIFICATE-----
";

#[test]
fn a_weak_key_is_told_of_and_must_be_renewed() {
    let place = Place::new("cert-weak");
    fs::write(place.0.join("weak.pem"), WEAK).expect("written");
    let shown = synod(&place.0, &["cert", "inspect", "weak.pem"]);
    assert!(
        shown.stdout.contains("key          RSA with 1024 bits: no node believes"),
        "{shown:?}"
    );
    let checked = synod(&place.0, &["cert", "check", "weak.pem"]);
    assert_eq!(checked.exit, 1, "{checked:?}");
    assert!(checked.stdout.contains("no node believes its key, RSA with 1024 bits"), "{checked:?}");
    cluster(&place.0, "demo", &["n1"]);
    let line = synod(&place.0, &["cert", "inspect", "demo/n1.synod", "--json"]).last();
    assert_eq!((&line["key"], &line["believed"]), (&"ECDSA on P-256".into(), &true.into()));
}

#[test]
fn renewing_makes_a_new_key_and_leaves_a_whole_private_file() {
    let place = Place::new("cert-renew");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let key = |file: &str| {
        synod(&place.0, &["cert", "inspect", file, "--json"]).last()["fingerprint"].clone()
    };
    let before = key("demo/n1.synod");
    let renewed =
        synod(&place.0, &["cert", "renew", "--ca", "demo", "--days", "7", "demo/n1.synod"]);
    assert_eq!(renewed.exit, 0, "{}", renewed.stderr);
    assert_ne!(key("demo/n1.synod"), before);
    let mode = fs::metadata(&bundles[0]).expect("the bundle").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let files = fs::read_dir(place.0.join("demo")).expect("the directory").count();
    assert_eq!(files, 4, "ca.pem, ca.key and two bundles, and nothing half written");
    let mut nodes: Vec<Running> = bundles.iter().map(|bundle| Running::node(bundle)).collect();
    for node in &mut nodes {
        node.says(&["\"event\":\"state\"", "\"leader\":\"n2\""]);
    }
}

#[test]
fn a_running_node_takes_a_renewed_bundle_and_drops_a_removed_peer() {
    let place = Place::new("cert-live");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let mut nodes: Vec<Running> = bundles.iter().map(|bundle| Running::node(bundle)).collect();
    for node in &mut nodes {
        node.says(&["\"event\":\"state\"", "\"leader\":\"n2\""]);
    }
    let renewed = synod(&place.0, &["cert", "renew", "--ca", "demo", "demo/n1.synod"]);
    assert_eq!(renewed.exit, 0, "{}", renewed.stderr);
    nodes[0].says(&["bundle renewed", "new_key=true"]);
    let text = fs::read_to_string(&bundles[0]).expect("the bundle");
    fs::write(&bundles[0], "half a bund").expect("written");
    nodes[0].says(&["the new bundle is not used"]);
    fs::remove_file(&bundles[0]).expect("removed");
    nodes[0].says(&["the new bundle is not used", "n1.synod`: No such file"]);
    let kept = text.lines().filter(|line| !line.starts_with("n2 = "));
    fs::write(&bundles[0], kept.collect::<Vec<_>>().join("\n")).expect("written");
    nodes[0].says(&["\"event\":\"link\"", "\"peer\":\"n2\"", "\"up\":false"]);
    nodes[1].says(&["n2 is not in the peer list of n1"]);
}

#[test]
fn one_authority_takes_over_from_another() {
    let place = Place::new("cert-trust");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let both = ["demo/n1.synod", "demo/n2.synod"];
    assert_eq!(synod(&place.0, &["cert", "init", "next", "--cluster", "demo"]).exit, 0);
    for _once_or_twice in 0..2 {
        let trusted =
            synod(&place.0, &["cert", "trust", "--ca", "next", both[0], both[1], "--json"]);
        assert_eq!(trusted.exit, 0, "{}", trusted.stderr);
        assert!(trusted.lines().iter().all(|line| line["authorities"] == 2));
    }
    assert_eq!(synod(&place.0, &["cert", "renew", "--ca", "next", both[0]]).exit, 0);
    let mut nodes: Vec<Running> = bundles.iter().map(|bundle| Running::node(bundle)).collect();
    for node in &mut nodes {
        node.says(&["\"event\":\"state\"", "\"leader\":\"n2\""]);
    }
}

#[test]
fn at_the_end_of_a_change_of_authorities_the_old_one_is_dropped_and_what_ends_before_is_told() {
    let place = Place::new("cert-only");
    let init = ["cert", "init", "ca", "--cluster", "demo", "--days", "20"];
    assert_eq!(synod(&place.0, &init).exit, 0);
    assert_eq!(synod(&place.0, &["cert", "init", "next", "--cluster", "demo"]).exit, 0);
    let issue = ["cert", "issue", "--ca", "ca", "n1=127.0.0.1:9", "n2=127.0.0.1:10"];
    assert_eq!(synod(&place.0, &issue).exit, 0);
    let only = ["cert", "trust", "--ca", "next", "--only", "n1.synod"];
    let refused = synod(&place.0, &only);
    assert_eq!(refused.exit, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("needs what it trusts besides"), "{}", refused.stderr);

    let of_next = ["cert", "renew", "--ca", "next", "n1.synod"];
    assert_eq!(synod(&place.0, &of_next).exit, 0);
    let shown = synod(&place.0, &["cert", "inspect", "n1.synod"]);
    assert_eq!(shown.stdout.matches("  trusts       authority ").count(), 2, "{}", shown.stdout);
    assert!(shown.stdout.contains(", 19 days left\n"), "{}", shown.stdout);
    assert!(shown.stdout.contains("  valid until  20"), "{}", shown.stdout);
    let line = synod(&place.0, &["cert", "inspect", "n1.synod", "--json"]).last();
    let own = synod(&place.0, &["cert", "inspect", "next/ca.pem", "--json"]).last();
    assert_eq!(line["authorities"][1]["fingerprint"], own["fingerprint"], "{line}");
    assert_eq!(line["authorities"][0]["days_left"], 19, "{line}");

    let check = ["cert", "check", "n1.synod", "--json"];
    let ends = synod(&place.0, &check);
    assert_eq!((ends.exit, &ends.last()["renew"]), (1, &false.into()), "{}", ends.stderr);
    assert!(ends.stderr.contains("1 of 1 trust an authority that ends"), "{}", ends.stderr);
    assert_eq!(synod(&place.0, &only).exit, 0);
    assert_eq!(synod(&place.0, &check).exit, 0);
}

#[test]
fn a_bundle_whose_certificate_is_of_no_use_to_its_node_must_be_renewed() {
    let place = Place::new("cert-useless");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let texts = [0, 1].map(|it: usize| fs::read_to_string(&bundles[it]).expect("a bundle"));
    let part = |text: &str, what: &str| {
        let (_, rest) = text.split_once(&format!("{what} = \"\"\"")).expect("it is there");
        String::from(rest.split_once("\"\"\"").expect("its end").0)
    };
    let with = |what: &str| texts[0].replace(&part(&texts[0], what), &part(&texts[1], what));
    let another = with("certificate").replace(&part(&texts[0], "key"), &part(&texts[1], "key"));
    for (text, words) in [
        (another, "the certificate is that of n2"),
        (with("key"), "is not that of its certificate"),
    ] {
        fs::write(&bundles[0], text).expect("written");
        let checked = synod(&place.0, &["cert", "check", "demo/n1.synod", "--json"]);
        assert_eq!((checked.exit, &checked.last()["renew"]), (1, &true.into()), "{words}");
        let fault = checked.last()["fault"].as_str().map(String::from);
        assert!(fault.is_some_and(|fault| fault.contains(words)), "{}", checked.stdout);
        let renewed = synod(&place.0, &["cert", "renew", "--ca", "demo", "demo/n1.synod"]);
        assert_eq!(renewed.exit, 0, "{}", renewed.stderr);
        assert_eq!(synod(&place.0, &["cert", "check", "demo/n1.synod"]).exit, 0);
    }
}

#[test]
fn a_bundle_of_another_cluster_is_not_renewed() {
    let place = Place::new("cert-other");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    let before = fs::read(&bundles[0]).expect("the bundle");
    assert_eq!(synod(&place.0, &["cert", "init", "other", "--cluster", "other"]).exit, 0);
    let refused = synod(&place.0, &["cert", "renew", "--ca", "other", "demo/n1.synod"]);
    assert_eq!(refused.exit, 2);
    assert!(refused.stderr.contains("cluster demo"), "{}", refused.stderr);
    assert_eq!(fs::read(&bundles[0]).expect("the bundle"), before);
}

#[test]
fn a_running_node_heeds_a_list_of_revoked_certificates_within_seconds() {
    let place = Place::new("cert-revoke");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let mut nodes: Vec<Running> = bundles.iter().map(|bundle| Running::node(bundle)).collect();
    for node in &mut nodes {
        node.says(&["\"event\":\"state\"", "\"leader\":\"n2\""]);
    }
    fs::write(place.0.join("demo/revoked.crl"), "half a list").expect("written");
    nodes[0].says(&["the new revoked.crl is not used", "cert revoke"]);
    fs::remove_file(place.0.join("demo/revoked.crl")).expect("removed");
    // In this test the authority and the bundles share a directory, and so the list.
    let revoked = synod(&place.0, &["cert", "revoke", "--ca", "demo", "demo/n2.synod", "--json"]);
    assert_eq!(revoked.exit, 0, "{}", revoked.stderr);
    assert_eq!(revoked.last()["number"], 1);
    nodes[0].says(&["\"event\":\"link\"", "\"peer\":\"n2\"", "\"up\":false"]);
    nodes[1].says(&["was revoked by its authority", "cert renew"]);
    let again = synod(&place.0, &["cert", "revoke", "--ca", "demo", "--serial", "0a", "--json"]);
    assert_eq!(again.last()["revoked"], 2, "{}", again.stderr);
    let shown = synod(&place.0, &["cert", "inspect", "demo/revoked.crl", "--json"]);
    assert_eq!((shown.exit, &shown.last()["number"]), (0, &2.into()));
    let shown = synod(&place.0, &["cert", "inspect", "demo/revoked.crl"]);
    assert!(shown.stderr.ends_with("beside the bundle of every node\n"), "{}", shown.stderr);
    for nonsense in [vec!["--serial", "xyz"], vec!["demo/ca.pem"], vec![]] {
        let args = [vec!["cert", "revoke", "--ca", "demo"], nonsense].concat();
        assert_eq!(synod(&place.0, &args).exit, 2, "{args:?}");
    }
}

#[test]
fn a_node_whose_store_knows_a_later_list_of_revoked_certificates_does_not_start_with_an_older_one()
{
    let place = Place::new("cert-older-list");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    let revoke = |serial| {
        let args = ["cert", "revoke", "--ca", "demo", "--serial", serial];
        assert_eq!(synod(&place.0, &args).exit, 0);
        fs::read(place.0.join("demo/revoked.crl")).expect("a list")
    };
    let older = revoke("0a");
    let latest = revoke("0b");
    let store = place.0.join("n1");
    let flags = ["--store", store.to_str().expect("UTF-8")];
    drop(Running::configured(&bundles[0], &flags).says(&["\"event\":\"started\""]));
    let checked = synod(&place.0, &["store", "check", "n1"]);
    assert_eq!(checked.exit, 0, "{}", checked.stderr);
    assert_eq!(synod(&place.0, &["store", "backup", "n1", "--to", "copy"]).exit, 0);
    fs::write(place.0.join("demo/revoked.crl"), older).expect("put back");
    for command in ["node", "doctor"] {
        for store in ["n1", "copy"] {
            let refused = synod(&place.0, &[command, "demo/n1.synod", "--store", store]);
            assert_eq!(refused.exit, 2, "{}", refused.stderr);
            for words in ["list number 2", "has number 1", "copy it again from the authority"] {
                assert!(refused.stderr.contains(words), "{}", refused.stderr);
            }
        }
    }
    fs::write(place.0.join("demo/revoked.crl"), latest).expect("brought back");
    let healthy = synod(&place.0, &["doctor", "demo/n1.synod", "--store", "n1", "--json"]);
    let lists = healthy.lines().into_iter().find(|line| line["check"] == "lists");
    assert_eq!(lists.expect("a line")["state"], "fine");
    Running::configured(&bundles[0], &flags).says(&["\"event\":\"started\""]);
}

#[test]
fn a_damaged_bundle_keeps_no_list_from_being_heeded_nor_a_damaged_list_a_bundle_and_both_are_told()
{
    let place = Place::new("cert-unusable");
    let bundles = cluster(&place.0, "demo", &["n1", "n2", "n3"]);
    let mut nodes: Vec<Running> = bundles.iter().map(|bundle| Running::node(bundle)).collect();
    nodes[0].says(&["\"event\":\"state\"", "\"leader\":\"n3\""]);
    let address = crate::operating::admin(&mut nodes[0]);
    let good = fs::read_to_string(&bundles[0]).expect("the bundle");
    fs::write(&bundles[0], format!("{good}n5 = \"\"\n")).expect("written");
    nodes[0].says(&["ERROR", "the new bundle is not used", "peers.n5"]);
    let revoked = synod(&place.0, &["cert", "revoke", "--ca", "demo", "demo/n3.synod"]);
    assert_eq!(revoked.exit, 0, "{}", revoked.stderr);
    nodes[0].says(&["\"event\":\"link\"", "\"peer\":\"n3\"", "\"up\":false"]);
    let told = synod(&place.0, &["status", &address]).stdout;
    assert!(told.contains("bundle not used") && !told.contains("revoked.crl not"), "{told}");

    let list = place.0.join("demo/revoked.crl");
    let text = fs::read_to_string(&list).expect("the list");
    let cut = text.split_once("-----END").expect("its end").0;
    fs::write(&list, cut).expect("written");
    let line = nodes[0].says(&["the new revoked.crl is not used", "its end is missing"]);
    assert!(line.contains("copy the list again") && !line.contains('['), "{line}");
    let kept = good.lines().filter(|line| !line.starts_with("n2 = "));
    fs::write(&bundles[0], kept.collect::<Vec<_>>().join("\n")).expect("written");
    nodes[0].says(&["\"event\":\"link\"", "\"peer\":\"n2\"", "\"up\":false"]);
    let told = synod(&place.0, &["status", "demo/n1.synod", &address]).stdout;
    assert!(!told.contains("bundle not used") && told.contains("revoked.crl not used"), "{told}");
    let renewed = synod(&place.0, &["cert", "renew", "--ca", "demo", "demo/n1.synod"]);
    assert_eq!(renewed.exit, 0, "{}", renewed.stderr);
    nodes[0].says(&["bundle renewed", "new_key=true"]);
}

#[test]
fn a_malformed_bundle_exits_with_2_whatever_reads_it_and_one_that_is_not_there_with_6() {
    let place = Place::new("cert-malformed");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let good = fs::read_to_string(&bundles[0]).expect("a bundle");
    let malformed =
        [String::from("format ="), good.replace("node = \"n1\"", "node = \"n0\""), good.repeat(2)];
    for text in malformed {
        fs::write(place.0.join("demo/bad.synod"), text).expect("written");
        for command in
            [&["node"][..], &["doctor"], &["status"], &["cert", "inspect"], &["cert", "check"]]
        {
            let refused = synod(&place.0, &[command, &["demo/bad.synod"]].concat());
            assert_eq!(refused.exit, 2, "{command:?}: {}", refused.stderr);
            assert!(refused.stderr.contains("demo/bad.synod"), "{}", refused.stderr);
        }
    }
    let garbled = good.replace("BEGIN CERTIFICATE", "BEGIN CERTIFICATES");
    let foreign = fs::read_to_string(&bundles[1]).expect("a bundle");
    let key = |text: &str| {
        let (_, rest) = text.split_once("-----BEGIN PRIVATE KEY-----").expect("a key");
        String::from(rest.split("-----END").next().expect("its end"))
    };
    let of_another = good.replace(&key(&good), &key(&foreign));
    for (text, words) in [(garbled, "certificate"), (of_another, "is not that of its certificate")]
    {
        fs::write(place.0.join("demo/bad.synod"), text).expect("written");
        let refused = synod(&place.0, &["node", "demo/bad.synod"]);
        assert_eq!(refused.exit, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    for command in [&["node"][..], &["cert", "inspect"]] {
        let refused = synod(&place.0, &[command, &["demo/none.synod"]].concat());
        assert_eq!(refused.exit, 6, "{command:?}: {}", refused.stderr);
    }
}

#[test]
fn what_to_type_next_is_typed_as_it_stands_also_with_a_space_in_it() {
    let place = Place::new("cert-space");
    let made = synod(&place.0, &["cert", "init", "my ca", "--cluster", "demo"]);
    assert!(made.stderr.contains("cert issue --ca 'my ca' n1="), "{}", made.stderr);
    let issued = synod(
        &place.0,
        &["cert", "issue", "--ca", "my ca", "--out", "the nodes", "n1=127.0.0.1:9"],
    );
    assert!(issued.stderr.contains("node 'the nodes/n1.synod'"), "{}", issued.stderr);
}
