//! Traces read back, and written for other tools.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use proptest::prelude::*;
use serde_json::Value;
use synod_simulator::{Format, Step, Trace, convert};

use arbitrary::{damaged, sound, text, wild};

mod arbitrary;

/// Put together by hand: everything that a trace can hold, with texts that every format has to
/// escape.
const HAND: &str = include_str!("../golden/hand.jsonl");
/// A run of the bully algorithm with a crash, as the simulator wrote it.
const BULLY: &str = include_str!("../golden/bully.jsonl");

fn traces() -> [(&'static str, Trace); 2] {
    let read = |text| Trace::read(text).expect("a trace");
    [("hand", read(HAND)), ("bully", read(BULLY))]
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn every_format_is_written_as_it_was() {
    for (name, trace) in traces() {
        // A page is mostly the program in it, and is looked at in a browser.
        for format in Format::ALL.into_iter().filter(|it| *it != Format::Html) {
            let text = convert(&trace, format);
            let path = golden(&format!("{name}.{}", format.ending()));
            if env::var_os("UPDATE_EXPECT").is_some() {
                fs::write(&path, &text).expect("written");
            }
            let expected = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                text == expected,
                "{} differs; UPDATE_EXPECT=1 renews it. Now:\n{text}",
                path.display()
            );
        }
    }
}

#[test]
fn what_is_read_is_written_to_the_same_bytes() {
    for (text, (_, trace)) in [HAND, BULLY].into_iter().zip(traces()) {
        assert_eq!(trace.json_lines(), text);
    }
}

/// An event of a ShiViz log: what happened, the host, its vector clock.
type ShiVizEvent<'a> = (&'a str, &'a str, BTreeMap<String, u64>);

/// Takes a log apart as the expression on its first line does, which is
/// `(?<event>.*)\n(?<host>\S*) (?<clock>{.*})`: from each place that the last match left, the first
/// two lines of which the second is a word, a space and a text in braces.
fn shiviz(log: &str) -> Vec<ShiVizEvent<'_>> {
    let mut events = Vec::new();
    // A match ends within a line; what is left of that line may be the next event.
    let mut event = "";
    for (number, line) in log.lines().enumerate() {
        let parts = line.split_once(' ').filter(|(host, _)| !host.contains(char::is_whitespace));
        let clock = parts.and_then(|(host, rest)| {
            let (clock, left) = rest.strip_prefix('{')?.rsplit_once('}')?;
            Some((host, format!("{{{clock}}}"), left))
        });
        event = match clock {
            Some((host, clock, left)) if 0 < number => {
                events.push((event, host, serde_json::from_str(&clock).expect("a clock")));
                left
            }
            _ => line,
        };
    }
    events
}

#[test]
fn shiviz_finds_every_step_and_a_clock_that_fits() {
    for (_, trace) in traces() {
        let log = convert(&trace, Format::ShiViz);
        assert!(log.starts_with("(?<event>.*)\\n(?<host>\\S*) (?<clock>{.*})\n\n#0 "));
        let events = shiviz(&log);
        assert_eq!(events.len(), trace.steps.len());
        let mut own: BTreeMap<&str, u64> = BTreeMap::new();
        for (place, (step, (event, host, clock))) in trace.steps.iter().zip(&events).enumerate() {
            assert!(event.starts_with(&format!("#{place} ")), "{event}");
            *own.entry(host).or_default() += 1;
            assert_eq!(clock[*host], own[host], "{event}");
            if let Some(cause) = step.cause {
                let before = &events[cause].2;
                assert!(before.iter().all(|(host, count)| *count <= clock[host]), "{event}");
            }
        }
    }
}

#[test]
fn a_message_that_arrives_at_nobody_does_not_reach_its_receiver_s_clock() {
    let [(_, hand), _] = traces();
    let log = convert(&hand, Format::ShiViz);
    let events = shiviz(&log);
    assert_eq!(events[6].1, "network");
    assert!(!events[11].2.contains_key("n1"), "n3 knows nothing of n1: {:?}", events[11]);
}

#[test]
fn mermaid_gets_no_more_text_than_it_takes() {
    let [(_, hand), _] = traces();
    let begin = hand.steps.iter().find(|step| !step.sends.is_empty()).expect("sends");
    let mut sent = begin.sends[0].clone();
    sent.lost = Some(String::from("partition"));
    let step = Step { sends: vec![sent; 30], ..begin.clone() };
    let steps = (0..100).map(|index| Step { index, time_us: 1_000 * index as u64, ..step.clone() });
    let text = convert(&Trace { steps: steps.collect(), ..hand.clone() }, Format::Mermaid);
    assert!((45_000..50_000).contains(&text.len()), "{}", text.len());
    assert!(text.contains("more lines are left out, the first ones"), "{text}");
    assert!(text.lines().last().is_some_and(|line| line.contains("99.000ms")));
    assert!(!convert(&hand, Format::Mermaid).contains("left out"));
}

#[test]
fn perfetto_finds_each_flow_s_two_ends_and_no_markup() {
    for (_, trace) in traces() {
        let text = convert(&trace, Format::Chrome);
        assert!(!text.contains('<'));
        let parsed: Value = serde_json::from_str(&text).expect("JSON");
        let events = parsed["traceEvents"].as_array().expect("events");
        let all = |phase: &'static str| events.iter().filter(move |event| event["ph"] == phase);
        let steps = all("X").filter(|event| event["tid"] == 1).count();
        assert_eq!(steps, trace.steps.len());
        let key =
            |event: &Value| (event["id"].clone(), event["name"].clone(), event["cat"].clone());
        let (begins, ends): (Vec<_>, Vec<_>) =
            (all("s").map(key).collect(), all("f").map(key).collect());
        assert!(!begins.is_empty() && begins.len() == ends.len());
        assert!(ends.iter().all(|end| begins.contains(end)));
    }
}

#[test]
fn a_payload_survives_json_and_csv() {
    let [(_, hand), _] = traces();
    let json: Value = serde_json::from_str(&convert(&hand, Format::Chrome)).expect("JSON");
    let payloads: Vec<&str> = json["traceEvents"]
        .as_array()
        .expect("events")
        .iter()
        .filter_map(|event| event["args"]["payload"].as_str())
        .collect();
    let table = csv(&convert(&hand, Format::Csv));
    assert!(table.iter().all(|row| row.len() == table[0].len()), "{table:?}");
    for (step, (payload, row)) in hand.steps.iter().zip(payloads.iter().zip(&table[1..])) {
        assert_eq!(*payload, step.payload);
        assert_eq!(row[5].trim_start_matches('\''), step.payload);
    }
}

/// The cells of a table, by the rules of RFC 4180.
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut letters) = (false, text.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            letter => cell.push(letter),
        }
    }
    rows
}

/// Whether elements nest, attributes are closed, and no entity is undefined.
fn is_well_formed(svg: &str) -> bool {
    let mut open = Vec::new();
    for part in svg.split('<').skip(1) {
        let Some((tag, text)) = part.split_once('>') else { return false };
        let is_text = text.split('&').skip(1).all(|rest| {
            ["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|entity| rest.starts_with(entity))
        });
        if !is_text || !tag.matches('"').count().is_multiple_of(2) {
            return false;
        }
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return false;
            }
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    open.is_empty()
}

#[test]
fn a_picture_is_well_formed_and_runs_nothing() {
    for (_, trace) in traces() {
        let svg = convert(&trace, Format::Svg);
        assert!(is_well_formed(&svg), "{svg}");
        for refused in ["<script", "\u{202e}", "href", "onload"] {
            assert!(!svg.contains(refused), "{refused}");
        }
    }
}

#[test]
fn a_picture_shows_what_was_lost_and_what_went_wrong() {
    let [(_, hand), _] = traces();
    let svg = convert(&hand, Format::Svg);
    for (part, count) in [
        ("class=\"split\"", 1),
        ("class=\"gone\"", 1),
        ("class=\"crash\"", 1),
        ("class=\"lost\"", 3),
        ("class=\"pending\" d=", 1),
        ("class=\"message\"", 4),
    ] {
        assert_eq!(svg.matches(part).count(), count, "{part}");
    }
}

#[test]
fn no_text_leaves_its_line_in_a_sequence_diagram() {
    let [(_, hand), _] = traces();
    for (format, refused) in [
        (Format::PlantUml, &["%getenv", "</script", "\u{202e}"][..]),
        (Format::Mermaid, &["; #1", "</script", "\u{202e}"]),
    ] {
        let text = convert(&hand, format);
        for refused in refused {
            assert!(!text.contains(refused), "{format}: {refused}\n{text}");
        }
    }
}

#[test]
fn a_long_trace_is_drawn_from_its_end() {
    let [(_, hand), _] = traces();
    let steps: Vec<Step> = hand.steps.iter().cycle().take(5_000).cloned().collect();
    let long = Trace { steps, ..hand };
    for format in [Format::PlantUml, Format::Mermaid, Format::Svg] {
        let text = convert(&long, format);
        assert!(text.contains("4800 steps are left out"), "{format}");
        assert!(text.lines().count() < 2_000, "{format}");
        // Faults that were over before do not add up.
        assert!(text.len() < 200_000, "{format}: {} bytes", text.len());
    }
}

fn convert_to_everything(trace: &Trace) {
    for format in Format::ALL {
        let text = convert(trace, format);
        match format {
            Format::Svg => assert!(is_well_formed(&text), "{text}"),
            Format::ShiViz => assert_eq!(shiviz(&text).len(), trace.steps.len(), "{text}"),
            Format::Csv => assert_eq!(csv(&text).len(), trace.steps.len() + 1, "{text}"),
            Format::Chrome => assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}"),
            _ => assert!(text.ends_with('\n')),
        }
    }
}

proptest! {
    #[test]
    fn a_trace_survives_its_text(trace in sound()) {
        let text = trace.json_lines();
        let read = Trace::read(&text).expect("what was written");
        prop_assert_eq!(&read, &trace);
        prop_assert_eq!(read.json_lines(), text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in prop_oneof![any::<String>(), text()]) {
        let _ = Trace::read(&text);
        let _ = Trace::read(&format!("{}\n{text}", HAND.lines().next().unwrap_or_default()));
    }

    #[test]
    fn a_damaged_trace_is_an_error_or_is_converted(text in damaged()) {
        match Trace::read(&text) {
            Ok(trace) => convert_to_everything(&trace),
            Err(error) => prop_assert!(error.line <= text.lines().count().max(1), "{error}"),
        }
    }

    #[test]
    fn every_trace_is_converted_to_well_formed_texts(trace in wild()) {
        convert_to_everything(&trace);
    }
}
