//! The page that shows a run, in a real browser.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use synod_simulator::{Format, Step, Trace, convert};

const HAND: &str = include_str!("../golden/hand.jsonl");
/// What a reader does with the page, and what is then to be seen.
const READER: &str = include_str!("page.js");

fn hand() -> Trace {
    Trace::read(HAND).expect("a trace")
}

/// The trace that a page holds.
fn held(page: &str) -> String {
    let (_, rest) = page.split_once("id=\"trace\">\n").expect("the trace's element");
    let (text, _) = rest.split_once("</script>").expect("its end");
    text.replace("\\u003c", "<")
}

#[test]
fn a_page_holds_the_whole_trace_and_asks_for_nothing_else() {
    let page = convert(&hand(), Format::Html);
    assert_eq!(held(&page), HAND);
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    for refused in ["http:", "https:", "//cdn", "import ", "fetch(", "{{"] {
        assert!(!elsewhere.contains(refused), "{refused}");
    }
}

#[test]
fn no_text_of_a_run_ends_an_element_of_its_page() {
    let page = convert(&hand(), Format::Html);
    // Two scripts end, and none begins or ends in between, although payloads say so.
    assert_eq!((page.matches("<script").count(), page.matches("</script>").count()), (2, 2));
    assert_eq!(page.matches("-->").count(), 1);
    assert!(page.contains("chat &lt;&amp;&quot;&gt; demo"), "{page}");
}

#[test]
fn a_page_has_room_for_the_last_steps_of_a_long_run_up_to_what_went_wrong() {
    let payload = "x".repeat(1 << 20);
    let step = |index| Step { index, payload: payload.clone(), ..Step::default() };
    let mut steps: Vec<Step> = (0..40).map(step).collect();
    steps[30].wrong = Some(String::from("too much"));
    let page = convert(&Trace { nodes: 1, steps, ..Trace::default() }, Format::Html);
    assert!(page.len() < 26 << 20, "{} bytes", page.len());
    let text = held(&page);
    let mut kept = text.lines().skip(1).map(|it| serde_json::from_str::<Value>(it).expect("JSON"));
    assert_eq!(kept.next().expect("a step")["i"], 8);
    assert_eq!(kept.last().expect("a step")["i"], 30);
}

/// The browser: `SYNOD_CHROMIUM` names one. None where there is none, unless `SYNOD_REQUIRE_BROWSER` is set.
fn browser() -> Option<PathBuf> {
    if let Some(named) = env::var_os("SYNOD_CHROMIUM") {
        return Some(PathBuf::from(named));
    }
    let names = ["chromium", "chromium-headless-shell", "chromium-browser", "google-chrome"];
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|file| file.is_file());
    let is_needed = env::var_os("SYNOD_REQUIRE_BROWSER").is_some();
    assert!(found.is_some() || !is_needed, "there is no browser: install chromium");
    found
}

/// The page's elements after its scripts have run.
fn opened(browser: &Path, page: &Path, profile: &Path) -> String {
    let opened = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(["--dump-dom", &format!("file://{}", page.display())])
        .output()
        .expect("the browser runs");
    String::from_utf8_lossy(&opened.stdout).into_owned()
}

#[test]
fn a_reader_goes_through_a_page_in_a_browser() {
    let Some(browser) = browser() else {
        eprintln!("left out: there is no browser (SYNOD_CHROMIUM names one)");
        return;
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    fs::create_dir_all(&folder).expect("a folder");
    let page = folder.join("hand.html");
    let text = convert(&hand(), Format::Html) + "<script>\n" + READER + "</script>\n";
    fs::write(&page, text).expect("written");
    let shown = opened(&browser, &page, &folder.join("profile"));
    let outcome =
        shown.split_once("<pre id=\"outcome\">").and_then(|(_, rest)| rest.split_once('<'));
    let (outcome, _) = outcome.unwrap_or_else(|| panic!("the page did not get that far: {shown}"));
    let outcome: Value = serde_json::from_str(outcome).expect("JSON");
    assert_eq!(outcome["failed"].as_array().map(Vec::len), Some(0), "{outcome}");
    assert!(outcome["passed"].as_u64().is_some_and(|passed| 30 < passed), "{outcome}");
}
