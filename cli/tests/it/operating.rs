//! What an operator sees of a node, and sets.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::running::{Running, cluster, free_port};
use crate::{Place, synod};

/// The address of a node's admin port.
pub(crate) fn admin(node: &mut Running) -> String {
    let started: Value =
        serde_json::from_str(&node.says(&["\"event\":\"started\""])).expect("JSON");
    started.get("admin").and_then(Value::as_str).map(String::from).expect("an address")
}

/// Two nodes, of which the first knows that the second leads.
fn pair(place: &Place) -> Vec<Running> {
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let mut nodes: Vec<Running> = bundles.iter().map(|bundle| Running::node(bundle)).collect();
    let first = nodes.first_mut().expect("two nodes");
    first.says(&["\"event\":\"state\"", "\"leader\":\"n2\""]);
    nodes
}

/// Sends `request` and returns what comes back.
pub(crate) fn http(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the port is open");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn get(address: &str, path: &str) -> String {
    http(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

#[test]
fn a_node_tells_its_metrics_and_its_health_over_http() {
    let place = Place::new("metrics");
    let mut nodes = pair(&place);
    let up = nodes[0].says(&["the link is up"]);
    assert!(up.contains("INFO the link is up node=n1 peer=n2"), "no number of an actor: {up}");
    let address = admin(&mut nodes[0]);
    let page = get(&address, "/metrics");
    for line in [
        "synod_peer_up{node=\"n1\",peer=\"n2\"} 1",
        "synod_peer_protocol{node=\"n1\",peer=\"n2\"} 8",
        "synod_summary_info{node=\"n1\",key=\"leader\",value=\"n2\"} 1",
        "synod_summary{node=\"n1\",key=\"epoch\"} ",
        "synod_events_handled_total{node=\"n1\",event=\"bully.coordinator\"}",
        "synod_handler_seconds_bucket{node=\"n1\",le=\"0.000001\",event=\"bully.coordinator\"} ",
        "synod_handler_seconds_count{node=\"n1\",event=\"timer or link\"} ",
        "synod_store_sync_seconds_bucket{node=\"n1\",le=\"+Inf\"} ",
        "synod_rtt_seconds{node=\"n1\",peer=\"n2\"} 0.0",
        "synod_packets_sent{node=\"n1\",peer=\"n2\"} ",
        "synod_packets_lost{node=\"n1\",peer=\"n2\"} ",
        "synod_inbox_depth_max{node=\"n1\",event=\"bully.coordinator\"} 1",
        "synod_store_torn_bytes_total{node=\"n1\"} 0",
        "synod_lane_queued{node=\"n1\",peer=\"n2\",lane=\"bully\"} 0",
        "synod_lane_unacknowledged{node=\"n1\",peer=\"n2\",lane=\"bully\"} ",
        "synod_lane_kept_bytes{node=\"n1\",peer=\"n2\",lane=\"bully\"} ",
        "synod_lane_lost_total{node=\"n1\",peer=\"n2\",lane=\"bully\"} 0",
        "synod_lane_refused_total{node=\"n1\",peer=\"n2\",lane=\"bully\"} ",
        "synod_peer_cert_expiry_seconds{node=\"n1\",peer=\"n2\"} ",
        "synod_certificate_not_after_seconds",
        "synod_file_unusable{node=\"n1\",file=\"bundle\"} 0",
        "synod_drops_total{node=\"n1\",reason=\"poison\"} 0",
        "synod_peers_rejected_total{node=\"n1\",reason=\"duplicate\"} 0",
        concat!("synod_build_info{node=\"n1\",version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "synod_file_unusable{node=\"n1\",file=\"revoked.crl\"} 0",
        "synod_datagrams_dropped_total{node=\"n1\"} 0",
        "# EOF",
    ] {
        assert!(page.contains(line), "no {line} in {page}");
    }
    assert!(get(&address, "/readyz").starts_with("HTTP/1.1 200 "));
    assert!(get(&address, "/livez").starts_with("HTTP/1.1 200 "));
    assert!(get(&address, "/nothing").starts_with("HTTP/1.1 404 "));
    let posted =
        http(&address, "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");
    for path in ["/status", "/metrics", "/livez"] {
        let led =
            http(&address, &format!("GET {path} HTTP/1.1\r\nHost: evil.example:7401\r\n\r\n"));
        assert!(led.starts_with("HTTP/1.1 403 ") && led.contains("localhost"), "{led}");
    }
    let nonsense = http(&address, "nonsense\r\n\r\n");
    assert!(nonsense.starts_with("HTTP/1.1 400 "), "{nonsense}");
    let endless = http(&address, &format!("{:a<16384}", "GET /livez HTTP/1.1\r\nname: "));
    assert!(endless.starts_with("HTTP/1.1 431 "), "{endless}");
    let mut stream = TcpStream::connect(&address).expect("the port is open");
    stream.write_all(b"GET /livez?verb").expect("sent");
    thread::sleep(Duration::from_millis(50));
    stream.write_all(b"ose HTTP/1.0\r\n\r\n").expect("sent");
    let mut in_pieces = String::new();
    stream.read_to_string(&mut in_pieces).expect("an answer");
    assert!(in_pieces.ends_with("\r\ncontent-length: 6\r\nconnection: close\r\n\r\nalive\n"));
}

#[test]
fn status_is_a_table_of_nodes_and_peers() {
    let place = Place::new("status");
    let mut nodes = pair(&place);
    let address = admin(&mut nodes[0]);
    let table = synod(&place.0, &["status", &address]);
    assert_eq!(table.exit, 0, "{}", table.stderr);
    let rows: Vec<&str> = table.stdout.lines().collect();
    assert!(rows[1].starts_with("n1") && rows[1].contains("leader:n2"), "{}", table.stdout);
    assert!(rows[2].contains("n2    up") && rows[2].ends_with("synod/8"), "{}", table.stdout);
    assert!(rows[2].contains("at 127.0.0.1:"), "where it is: {}", table.stdout);
    assert!(table.stderr.ends_with(&format!("status {address} --watch\n")), "{}", table.stderr);
    let line = synod(&place.0, &["status", &address, "--json"]).last();
    assert_eq!(line["told"]["status"]["peers"][0]["up"], true);
    let lane = &line["told"]["status"]["lanes"][0];
    assert_eq!((&lane["peer"], &lane["lane"]), (&"n2".into(), &"bully".into()), "{lane}");
    assert!(lane["received"].as_u64().is_some_and(|received| 0 < received), "{lane}");
    drop(nodes);
    let gone = synod(&place.0, &["status", &address]);
    assert_eq!(gone.exit, 6);
    assert!(gone.stderr.contains("does not answer"), "{}", gone.stderr);
}

#[test]
fn a_node_that_waits_for_peers_is_alive_and_not_ready_and_a_watched_status_is_drawn_again() {
    let place = Place::new("waits");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let flags = ["--start-after", "1", "--log-format", "json"];
    let mut node = Running::configured(&bundles[0], &flags);
    let address = admin(&mut node);
    assert!(get(&address, "/livez").starts_with("HTTP/1.1 200 "));
    let waits = get(&address, "/readyz");
    assert!(waits.starts_with("HTTP/1.1 503 ") && waits.ends_with("waits for peers\n"), "{waits}");
    let logged = node.says(&["\"message\":\"listening\""]);
    let logged: Value = serde_json::from_str(&logged).expect("a log line in JSON");
    assert_eq!((&logged["level"], &logged["node"]), (&"INFO".into(), &"n1".into()), "{logged}");

    let mut watching = Command::new(env!("CARGO_BIN_EXE_synod"))
        .args(["status", &address, "--watch"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let drawn = BufReader::new(watching.stdout.take().expect("piped")).lines();
    let rows = drawn.map_while(Result::ok).filter(|line| line.contains("waits for peers")).take(2);
    assert_eq!(rows.count(), 2);
    watching.kill().expect("it runs on");
    watching.wait().expect("it ends");
    let _second = Running::node(&bundles[1]);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !get(&address, "/readyz").starts_with("HTTP/1.1 200 ") {
        assert!(Instant::now() < deadline, "{}", get(&address, "/readyz"));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_node_that_every_peer_turns_away_is_not_ready_and_the_doctor_says_why() {
    let place = Place::new("shut-out");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let text = fs::read_to_string(&bundles[1]).expect("a bundle");
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("n1 = ")).collect();
    fs::write(&bundles[1], without.join("\n")).expect("written");
    let mut node = Running::node(&bundles[0]);
    let address = admin(&mut node);
    assert!(get(&address, "/readyz").starts_with("HTTP/1.1 200 "), "nobody has said anything");
    let _other = Running::node(&bundles[1]);
    node.says(&["refuses n1"]);
    let deadline = Instant::now() + Duration::from_secs(30);
    let ready = loop {
        let ready = get(&address, "/readyz");
        if !ready.starts_with("HTTP/1.1 200 ") || deadline < Instant::now() {
            break ready;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let words = "every peer turns this node away, n2 since ";
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains(words), "{ready}");
    assert!(get(&address, "/livez").starts_with("HTTP/1.1 200 "));
    let bundle = bundles[0].to_str().expect("UTF-8");
    let told = synod(&place.0, &["doctor", bundle, "--admin", &address]);
    assert_eq!(told.exit, 6, "{}", told.stdout);
    assert!(told.stdout.contains(words), "{}", told.stdout);
}

#[test]
fn a_node_that_is_told_to_end_twice_ends_at_once_and_says_what_was_not_acknowledged() {
    let place = Place::new("twice");
    let mut nodes = pair(&place);
    let address = admin(&mut nodes[0]);
    // A peer that is stopped confirms nothing and hears no good-bye, so draining takes its time.
    signal("-STOP", &nodes[1]);
    let lane = "synod_lane_unacknowledged{node=\"n1\",peer=\"n2\",lane=\"bully\"} ";
    let deadline = Instant::now() + Duration::from_secs(15);
    while get(&address, "/metrics").contains(&format!("{lane}0\n")) {
        assert!(Instant::now() < deadline, "n1 asks n2 nothing");
        thread::sleep(Duration::from_millis(20));
    }
    signal("-TERM", &nodes[0]);
    nodes[0].says(&["\"event\":\"draining\""]);
    let told = Instant::now();
    signal("-TERM", &nodes[0]);
    let report = nodes[0].says(&["\"event\":\"stopped\""]);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["drained"], false, "{report}");
    assert!(report["unacknowledged"].as_u64().is_some_and(|events| 0 < events), "{report}");
    assert_eq!(nodes[0].child.wait().expect("it has ended").code(), Some(3));
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    nodes[0].says(&["n1 has ended with something undone"]);
    signal("-CONT", &nodes[1]);
}

#[test]
fn a_service_that_is_told_its_files_are_new_goes_on_and_every_signal_to_end_lets_it_drain() {
    let place = Place::new("signals");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    let mut node = Running::node(&bundles[0]);
    node.says(&["\"event\":\"state\""]);
    signal("-HUP", &node);
    node.says(&["SIGHUP", "the files are looked at every few seconds"]);
    assert_eq!(node.child.try_wait().expect("it can be asked"), None);
    signal("-QUIT", &node);
    node.says(&["\"event\":\"stopped\"", "\"drained\":true"]);
    assert_eq!(node.child.wait().expect("it has ended").code(), Some(0));
}

#[test]
fn a_process_that_was_stopped_says_so_when_it_goes_on() {
    let place = Place::new("stopped");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    let mut node = Running::node(&bundles[0]);
    let address = admin(&mut node);
    signal("-STOP", &node);
    thread::sleep(Duration::from_millis(1_600));
    signal("-CONT", &node);
    let said = node.says(&["the process did not run for "]);
    assert!(said.contains("node=n1"), "{said}");
    let page = get(&address, "/metrics");
    assert!(!page.contains("synod_pauses_total{node=\"n1\"} 0\n"), "{page}");
    assert!(page.contains("synod_clock_jumps_total{node=\"n1\"} 0\n"), "{page}");
}

#[test]
fn a_peer_that_is_stopped_is_silent_in_the_status_although_its_link_is_up_until_it_goes_on() {
    let place = Place::new("silent");
    let mut nodes = pair(&place);
    let address = admin(&mut nodes[0]);
    let until = |says: fn(&str) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let row = synod(&place.0, &["status", &address]).stdout;
            let row = row.lines().nth(2).map(String::from).expect("a row of the peer");
            if says(&row) {
                return row;
            }
            assert!(Instant::now() < deadline, "{row}");
        }
    };
    signal("-STOP", &nodes[1]);
    let silent = until(|row| row.contains(", silent for "));
    assert!(silent.contains("n2    up, ") && !silent.contains(" ms "), "{silent}");
    let page = get(&address, "/metrics");
    assert!(!page.contains("synod_peer_silent_seconds{node=\"n1\",peer=\"n2\"} 0\n"), "{page}");
    signal("-CONT", &nodes[1]);
    until(|row| row.contains("n2    up  ") && row.contains(" ms "));
}

#[test]
fn idle_clients_of_the_admin_port_keep_nobody_out_and_those_that_give_way_are_counted() {
    let place = Place::new("idle-clients");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    let mut node = Running::node(&bundles[0]);
    let address = admin(&mut node);
    let idle: Vec<TcpStream> =
        (0..64).map(|_| TcpStream::connect(&address).expect("the port is open")).collect();
    let table = synod(&place.0, &["status", &address]);
    assert_eq!(table.exit, 0, "{}", table.stderr);
    node.says(&["WARN", "a client of the admin port that was not done gives way"]);
    let page = get(&address, "/metrics");
    assert!(!page.contains("synod_admin_displaced_total{node=\"n1\"} 0\n"), "{page}");
    let mut nothing = String::new();
    let ended = (&idle[0]).read_to_string(&mut nothing);
    assert!(ended.is_err() || nothing.is_empty(), "the oldest one is let go: {nothing}");
}

#[test]
fn a_node_whose_readers_have_left_goes_on() {
    let place = Place::new("unread");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let address = format!("127.0.0.1:{}", free_port());
    let mut node = Running::unread(&bundles[0], &address);
    let mut peer = Running::node(&bundles[1]);
    peer.says(&["\"event\":\"link\"", "\"peer\":\"n1\"", "\"up\":true"]);
    let called = synod(&place.0, &["status", &address]);
    assert_eq!(called.exit, 0, "{}", called.stderr);
    assert!(called.stdout.contains("n2    up"), "{}", called.stdout);
    assert!(get(&address, "/status").contains("\"running\":true"), "{}", called.stdout);
    assert_eq!(node.child.try_wait().expect("it can be asked"), None);
}

fn signal(which: &str, node: &Running) {
    let pid = node.child.id().to_string();
    let sent = Command::new("kill").args([which, &pid]).status().expect("kill runs");
    assert!(sent.success());
}

#[test]
fn a_service_manager_is_told_that_a_node_is_up_that_it_lives_and_that_it_ends() {
    let place = Place::new("service");
    let path = place.0.join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let heard = || {
        let mut word = [0; 64];
        let size = manager.recv(&mut word).expect("a word");
        String::from_utf8_lossy(&word[..size]).into_owned()
    };
    let bundle = cluster(&place.0, "demo", &["n1"]).remove(0);
    let place = path.to_str().expect("UTF-8");
    let asked = [("NOTIFY_SOCKET", place), ("WATCHDOG_USEC", "60000")];
    let node = Running::with_environment(&bundle, &[], &asked);
    assert_eq!([heard(), heard(), heard()], ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
    let told = Command::new("kill").arg(node.child.id().to_string()).status();
    assert!(told.expect("kill is there").success());
    while heard() != "STOPPING=1" {}

    let unit = include_str!("../../deploy/synod@.service");
    for line in [
        "Type=notify",
        "UMask=0077",
        "LimitCORE=0",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "SuccessExitStatus=3",
    ] {
        assert!(unit.lines().any(|it| it == line), "{line}");
    }
}

#[test]
fn a_node_that_is_told_to_end_drains_and_reports() {
    let place = Place::new("drain");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    let mut node = Running::node(&bundles[0]);
    node.says(&["\"event\":\"state\""]);
    let pid = node.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    let report = node.says(&["\"event\":\"stopped\""]);
    assert!(report.contains("\"drained\":true"), "{report}");
    assert_eq!(node.child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_configuration_file_is_overruled_by_flags_and_its_mistakes_are_named() {
    let place = Place::new("configuration");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    let file = place.0.join("node.toml");
    let path = file.to_str().expect("UTF-8");
    fs::write(&file, "algorithm = 'bully'\nadmin = 'off'\n[log]\nformat = 'json'\n")
        .expect("written");
    let mut node = Running::configured(&bundles[0], &["--config", path]);
    node.says(&["\"event\":\"started\"", "\"admin\":\"127.0.0.1:"]);
    let bundle = bundles[0].to_str().expect("UTF-8");
    for (text, words) in [
        ("store = ''\n", "line 1: `store = ''`: key `store`: expected a path"),
        ("[log]\nlevel = 'loud'\n", "key `log.level`: `loud` is not known: expected one of off"),
        ("alogrithm = 'bully'\n", "line 1: `alogrithm = 'bully'`: unknown field"),
        ("admin = '0.0.0.0:1'\n", "key `admin`: `0.0.0.0:1` can be reached from elsewhere"),
        ("algorithm = 'bulli'\n", "key `algorithm`: there is no algorithm `bulli`"),
        (
            "[limits]\nidle_timeout_ms = 1\n",
            "line 2: `idle_timeout_ms = 1`: key `limits.idle_timeout_ms`: 1 is not allowed",
        ),
    ] {
        fs::write(&file, text).expect("written");
        let refused = synod(&place.0, &["node", bundle, "--config", path]);
        assert_eq!(refused.exit, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    fs::remove_file(&file).expect("removed");
    let refused = synod(&place.0, &["node", bundle, "--config", path]);
    assert_eq!(refused.exit, 6, "{}", refused.stderr);
    assert!(refused.stderr.contains("cannot read `"), "{}", refused.stderr);
}

#[test]
fn a_taken_admin_port_is_told_with_a_way_out() {
    let place = Place::new("admin-port");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let bundle = bundles[0].to_str().expect("UTF-8");
    let refused = synod(&place.0, &["node", bundle, "--admin", &address]);
    assert_eq!(refused.exit, 6);
    assert!(refused.stderr.contains("--admin off"), "{}", refused.stderr);
    assert!(
        !refused.stderr.contains("the node is up"),
        "nobody has heard of it: {}",
        refused.stderr
    );
}

#[test]
fn a_node_says_its_version_and_that_a_workload_asks_it_for_nothing() {
    let place = Place::new("version");
    let bundles = cluster(&place.0, "demo", &["n1", "n2", "n3"]);
    let mut node = Running::configured(&bundles[2], &["--algorithm", "paxos", "--workload"]);
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    node.says(&["INFO", "node=n3", "algorithm=\"paxos\"", &version, "admin=127.0.0.1:"]);
    node.says(&["WARN", "the workload asks for nothing at this node"]);
    let address = admin(&mut node);
    let told = synod(&place.0, &["status", &address]).stdout;
    assert!(told.contains(concat!("version ", env!("CARGO_PKG_VERSION"))), "{told}");
}

#[test]
fn a_bundle_that_names_no_port_does_not_say_where_the_node_can_be_asked() {
    let place = Place::new("any-port");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    let text = fs::read_to_string(&bundles[0]).expect("a bundle");
    let (before, rest) = text.split_once("listen = \"127.0.0.1:").expect("an address");
    let after = rest.split_once('"').expect("its end").1;
    fs::write(&bundles[0], format!("{before}listen = \"127.0.0.1:0\"{after}")).expect("written");
    let refused = synod(&place.0, &["status", "demo/n1.synod"]);
    assert_eq!(refused.exit, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("as the node says at its start"), "{}", refused.stderr);
}

#[test]
fn a_node_listens_where_it_is_told_to_and_tells_of_itself_beside_that() {
    let place = Place::new("listen");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    let at = format!("127.0.0.1:{}", free_port());
    let mut node = Running::configured(&bundles[0], &["--listen", &at]);
    node.says(&["\"event\":\"started\"", &format!("\"address\":\"{at}\"")]);
    let asked = ["doctor", "demo/n1.synod", "--listen", &at, "--admin", "off"];
    let found = synod(&place.0, &asked).stdout;
    assert!(found.contains(&format!("{at}/udp is taken")), "{found}");
}

#[test]
fn a_second_node_of_one_bundle_is_told_that_the_first_may_run() {
    let place = Place::new("second");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    let mut node = Running::node(&bundles[0]);
    node.says(&["\"event\":\"started\""]);
    let second = synod(&place.0, &["node", bundles[0].to_str().expect("UTF-8"), "--admin", "off"]);
    assert_eq!(second.exit, 6);
    assert!(second.stderr.contains("n1 may run here already, which tells: "), "{}", second.stderr);
}

#[test]
fn the_unit_reads_the_bundle_where_lists_of_revoked_certificates_are_copied_to() {
    let unit = include_str!("../../deploy/synod@.service");
    let guide = include_str!("../../../docs/operating.md");
    let mut lines = guide.lines();
    let folder = lines.find_map(|line| line.strip_prefix("scp ca/revoked.crl 10.0.0.1:"));
    let start = format!("ExecStart=/usr/local/bin/synod node {}%i.synod", folder.expect("a place"));
    assert!(unit.lines().any(|line| line.starts_with(&start)), "{start}");
}

#[test]
fn alerts_and_dashboard_ask_for_nothing_that_a_node_does_not_tell() {
    let place = Place::new("alerts");
    let mut nodes = pair(&place);
    let address = admin(&mut nodes[0]);
    let page = get(&address, "/metrics");
    let alerts = include_str!("../../deploy/alerts.yml");
    let dashboard = include_str!("../../deploy/grafana.json");
    let _: Value = serde_json::from_str(dashboard).expect("JSON");
    assert!(
        alerts.contains("expr: up{job=\"synod\"} == 0\n"),
        "a node that nobody scrapes is told of"
    );
    let is_of_name = |it: char| it.is_ascii_lowercase() || it == '_';
    for text in [alerts, dashboard] {
        let names = text.split(|it| !is_of_name(it)).filter(|word| word.starts_with("synod_"));
        let names: Vec<&str> = names.collect();
        assert!(5 < names.len(), "{names:?}");
        for name in names {
            // A family of which there is none yet has no samples, but what it is stands there.
            let family = name.trim_end_matches("_total").trim_end_matches("_bucket");
            assert!(page.contains(&format!("# TYPE {family} ")), "no {name} in {page}");
        }
    }
}

#[test]
fn a_node_whose_bundle_others_may_read_says_so() {
    let place = Place::new("open-bundle");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    fs::set_permissions(&bundles[0], fs::Permissions::from_mode(0o644)).expect("the owner may");
    let mut node = Running::node(&bundles[0]);
    node.says(&["WARN", "others may read the key in it (mode 644): chmod 600"]);
}
