//! `replay --as-test`: a recorded run as a Rust test that fails in the same way until the bug is fixed.

use serde_json::{Map, Value, json};
use synod_simulator::{Bounds, Recorded, Schedule, Settings};

use super::replay::{diverged, entry, parse, text};
use crate::app::App;
use crate::args::Replay;
use crate::printer::Printer;
use crate::problem::{Exit, Problem};

pub(crate) fn run(app: &App, asked: &Replay, printer: &Printer) -> Result<(), Problem> {
    let text = text(&asked.file)?;
    let schedule = parse(&asked.file, &text)?;
    let entry = entry(app, &asked.file, &schedule)?;
    let replayed = entry.replay(&schedule);
    let Some(violation) = &replayed.violation else {
        return Err(diverged(&schedule, &replayed).unwrap_or_else(|| {
            let what = format!("the run of `{}` violates no property", asked.file.display());
            let hint = "`sim` and `check` write the schedules of violations to target/synod";
            Problem::new(Exit::NothingRan, what).hint(hint)
        }));
    };
    let name = format!("{}_is_kept", words(&violation.property));
    let place = Place::of(entry.type_name(), &own_crate());
    let is_added = !entry.declares(&violation.property);
    let test = Test {
        name: &name,
        place: &place,
        is_added,
        asks: entry.made_anew(&schedule, &replayed.trace),
        schedule: &schedule,
        decided: decided(&text),
        property: &violation.property,
    };
    let code = test.code();
    printer.copy(code.trim_end());
    printer.event(&json!({
        "event": "test", "algorithm": schedule.algorithm, "name": name, "code": code,
        "property": violation.property, "reason": violation.reason,
    }));
    printer.advise(advice(&name, &place, is_added, test.asks.is_none()));
    Ok(())
}

/// The name of this program as that of the crate that it was made from.
fn own_crate() -> String {
    let program = std::env::current_exe().unwrap_or_default();
    program.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_")
}

/// Where the code belongs, and what is to be done there before it runs.
fn advice(name: &str, place: &Place, is_added: bool, is_other: bool) -> String {
    let saved = match place.is_within {
        true => format!(
            "save it as src/{name}.rs, put `#[cfg(test)] mod {name};` into src/main.rs (src/lib.rs \
             if the algorithm is declared there)"
        ),
        false => format!("save it as tests/{name}.rs"),
    };
    let add = match (is_other, is_added) {
        (true, _) => ", give it the program's own scenario",
        (false, true) => ", add the property to its scenario",
        (false, false) => "",
    };
    format!("{saved}{add}, then: cargo test {name}")
}

/// The lines of the schedule that become lines of the test.
fn decided(text: &str) -> Vec<Line<'_>> {
    let line = |line| {
        if let Some(action) = str::strip_prefix(line, "act ") {
            return Some(Line::Act(action));
        }
        let (question, choice) = str::strip_prefix(line, "decide ")?.rsplit_once(" = ")?;
        Some(Line::Decide(question, choice.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// A line of a schedule.
enum Line<'a> {
    Decide(&'a str, u64),
    Act(&'a str),
}

/// What the code of a test is made of.
struct Test<'a> {
    name: &'a str,
    place: &'a Place,
    /// Whether the program's scenario promises the property, and the algorithm itself does not.
    is_added: bool,
    /// What follows where the applications ask for something. None if the program's scenario begins in another
    /// way, or asks for more.
    asks: Option<&'static str>,
    schedule: &'a Schedule,
    decided: Vec<Line<'a>>,
    property: &'a str,
}

impl Test<'_> {
    fn code(&self) -> String {
        let Self { name, property, .. } = self;
        let scenario = self.scenario();
        let (world, begin) = self.world();
        let mut uses = vec![format!("use synod::simulator::{{{}}};", self.used().join(", "))];
        uses.extend(self.place.path.as_ref().map(|path| format!("use {path};")));
        uses.sort();
        let uses = uses.join("\n");
        let (added, promised) = self.added();
        let lines: String = self.decided.iter().map(Line::code).collect();
        format!(
            "//! A run that violated a property, decision by decision, as `synod replay --as-test` has
//! written it. What it does not decide is calm. It fails in the same way until the bug is fixed.

{uses}

#[test]
#[rustfmt::skip] // A decision is a line.
fn {name}() {{
{added}    {scenario}
{promised}{world}    {begin}
{lines}        .expect_no_violation(&scenario, {property:?});
}}
"
        )
    }

    /// The statement that makes the scenario: where it cannot be told, the test fails until somebody does.
    fn scenario(&self) -> String {
        let algorithm = &self.place.name;
        // In a type, its own parameters need no brackets around it.
        let bare = algorithm.strip_prefix('<').and_then(|it| it.strip_suffix('>'));
        let bare = bare.unwrap_or(algorithm);
        match self.asks {
            Some(asks) => {
                format!("let scenario = Scenario::of(|_| {algorithm}::default()){asks};")
            }
            None => format!(
                "let scenario: Scenario<{bare}> = todo!(\"what the program gives to `App::scenario`: with `Default` this is another run\");"
            ),
        }
    }

    /// What stands before and after the scenario where the algorithm does not promise the property by itself: a
    /// test that forgets it would pass.
    fn added(&self) -> (&'static str, String) {
        if !self.is_added {
            return ("", String::new());
        }
        let property = self.property;
        let promised = format!(
            "    assert!(scenario.properties().iter().any(|it| it.name == {property:?}), \"it is not promised\");\n"
        );
        let added = "    // The algorithm does not promise it by itself: add `.property(..)`, as the program does.\n";
        (added, promised)
    }

    fn used(&self) -> Vec<&'static str> {
        let Recorded::Simulated { settings, .. } = &self.schedule.run else {
            return vec!["Bounds", "Scenario", "Script"];
        };
        let faults = (!settings.disk_faults.is_empty()).then_some("DiskFault");
        let shape = (settings.shape != Default::default()).then_some("Shape");
        faults.into_iter().chain(["Scenario", "Script", "Settings"]).chain(shape).collect()
    }

    /// The statement that builds the world, and the expression that begins the script.
    fn world(&self) -> (String, &'static str) {
        match &self.schedule.run {
            Recorded::Simulated { settings, .. } => (statement(settings), "Script::new(settings)"),
            Recorded::Explored { bounds, .. } => {
                (bounds_statement(bounds), "Script::exploring(bounds)")
            }
        }
    }
}

impl Line<'_> {
    fn code(&self) -> String {
        match self {
            Self::Decide(question, choice) => {
                format!("        .decide({question:?}, {})\n", grouped(*choice))
            }
            Self::Act(action) => format!("        .act({action:?})\n"),
        }
    }
}

/// The settings, told by what is not calm.
fn statement(settings: &Settings) -> String {
    let calm = fields(&Settings::calm(settings.nodes));
    let mut told = fields(settings);
    told.retain(|field, value| calm.get(field) != Some(value));
    let calm = format!("Settings::calm({})", settings.nodes);
    if told.is_empty() {
        return format!("    let settings = {calm};\n");
    }
    format!("    let settings = Settings {{\n{}        ..{calm}\n    }};\n", literal(&told))
}

/// The bounds, told by what is not calm.
fn bounds_statement(bounds: &Bounds) -> String {
    let calm = fields(&Bounds::calm(bounds.nodes));
    let mut told = fields(bounds);
    told.retain(|field, value| calm.get(field) != Some(value));
    let calm = format!("Bounds::calm({})", bounds.nodes);
    if told.is_empty() {
        return format!("    let bounds = {calm};\n");
    }
    format!("    let bounds = Bounds {{\n{}        ..{calm}\n    }};\n", literal(&told))
}

/// A struct of plain values by the names of its fields.
fn fields(value: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => fields,
        _ => unreachable!("a struct of numbers, truth values and names"),
    }
}

fn literal(fields: &Map<String, Value>) -> String {
    let line = |(field, value): (&String, &Value)| {
        let value = expression(field, value);
        format!("        {field}: {value},\n")
    };
    fields.iter().map(line).collect()
}

/// What Rust calls the value of a field; a field of several variants is called by their plural.
fn expression(field: &str, value: &Value) -> String {
    match value {
        Value::Number(number) => number.as_u64().map_or_else(|| number.to_string(), grouped),
        Value::String(window) if field == "timers" => {
            format!("{window:?}.parse().expect(\"a window\")")
        }
        Value::String(link) if field == "link" => format!("{link:?}.parse().expect(\"a link\")"),
        Value::String(variant) => format!("{}::{}", camel(field), camel(variant)),
        Value::Array(values) => {
            let one = field.trim_end_matches('s');
            let values: Vec<String> = values.iter().map(|it| expression(one, it)).collect();
            format!("vec![{}]", values.join(", "))
        }
        other => other.to_string(),
    }
}

/// `heavy_tail` as `HeavyTail`: a field of a type is called as the type is.
fn camel(name: &str) -> String {
    let capital = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    };
    name.split('_').map(capital).collect()
}

/// How a test calls the type of an algorithm, and where it can do so.
#[derive(Debug, Eq, PartialEq)]
struct Place {
    /// What to import, if it can be.
    path: Option<String>,
    name: String,
    /// Whether the type may be the program's own, which nothing under `tests/` can import.
    is_within: bool,
}

impl Place {
    /// By the path that the compiler gives the type, in a program of the crate `own`.
    fn of(type_name: &str, own: &str) -> Self {
        let told = within(type_name, own);
        let is_within = told != type_name;
        let (path, name) = told.rsplit_once("::").unwrap_or(("", &told));
        let (path, name) = match path {
            // In an expression, the parameters of a type would be comparisons.
            _ if told.contains('<') => (None, format!("<{told}>")),
            "" => (None, told.clone()),
            path if path.starts_with("synod_algorithms") => {
                (Some(format!("synod::algorithms::{name}")), String::from(name))
            }
            path => (Some(format!("{path}::{name}")), String::from(name)),
        };
        Self { path, name, is_within }
    }
}

/// The name of a type as the crate `own` calls it, its parameters too.
fn within(type_name: &str, own: &str) -> String {
    let prefix = format!("{own}::");
    let begins = |at: usize| {
        let before = type_name.get(..at).and_then(|it| it.chars().next_back());
        before.is_none_or(|it| !it.is_alphanumeric() && it != '_' && it != ':')
    };
    let (mut told, mut from) = (String::new(), 0);
    for (at, _) in type_name.match_indices(&prefix).filter(|(at, _)| begins(*at)) {
        told += type_name.get(from..at).unwrap_or_default();
        told += "crate::";
        from = at + prefix.len();
    }
    told + type_name.get(from..).unwrap_or_default()
}

/// A sentence as the name of a function.
fn words(sentence: &str) -> String {
    let name: String = sentence
        .chars()
        .map(|it| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '_' })
        .collect();
    let parts: Vec<&str> = name.split('_').filter(|part| !part.is_empty()).collect();
    match parts.first() {
        Some(first) if first.starts_with(|it: char| it.is_ascii_digit()) => {
            format!("it_{}", parts.join("_"))
        }
        Some(_) => parts.join("_"),
        None => String::from("the_property"),
    }
}

/// A number as Rust writes it.
fn grouped(number: u64) -> String {
    crate::printer::thousands(number).replace(',', "_")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;
    use synod_core::{Algorithm, Event, Handlers, NodeId, Property};
    use synod_simulator::{DiskFault, Scenario, Simulation};

    use super::*;
    use crate::entry::{Entry, Registered};

    /// Counts what it is told, up to a limit.
    #[derive(Clone, Debug, Default, Hash, serde::Serialize)]
    struct Counter {
        told: u32,
        most: u32,
    }

    #[derive(Event, Debug, serde::Serialize, Deserialize)]
    #[event(name = "counter.more", local)]
    struct More;

    impl Algorithm for Counter {
        const NAME: &'static str = "counter";

        fn handlers() -> Handlers<Self> {
            Handlers::new().on(|it: &mut Self, _: More| it.told += 1)
        }

        fn properties() -> Vec<Property<Self>> {
            vec![Property::local("few are told", |_, it: &Self| {
                if it.told <= it.most { Ok(()) } else { Err(format!("{} are", it.told)) }
            })]
        }
    }

    #[test]
    fn a_scenario_that_a_test_cannot_make_anew_is_asked_for() {
        let asked = |scenario: Scenario<Counter>| {
            let failure = Simulation::new(&scenario, 1).run(0..1).failure.expect("it fails");
            let entry = Registered(scenario.showing_states());
            entry.made_anew(&failure.schedule, &entry.replay(&failure.schedule).trace)
        };
        let of = |told| Scenario::of(move |_| Counter { told, most: 0 });
        assert_eq!(asked(of(1)), None, "it begins otherwise");
        assert_eq!(asked(of(0).trigger(NodeId(1), Duration::ZERO, &More)), None, "it is told more");
        let schedule = Schedule {
            algorithm: String::from("counter"),
            property: None,
            dropped: Vec::new(),
            run: Recorded::Explored { bounds: Bounds::calm(1), actions: Vec::new() },
        };
        for name in ["own::Counter", "mine::Over<mine::Link>"] {
            let place = Place::of(name, "own");
            let test = Test {
                name: "kept",
                place: &place,
                is_added: false,
                asks: None,
                schedule: &schedule,
                decided: Vec::new(),
                property: "few are told",
            };
            let named = name.trim_start_matches("own::");
            let told = format!("let scenario: Scenario<{named}> = todo!(");
            assert!(test.code().contains(&told), "{}", test.code());
        }
    }

    #[test]
    fn names_are_names_of_rust() {
        assert_eq!(words("at most one node leads"), "at_most_one_node_leads");
        assert_eq!(words("2 nodes: never both"), "it_2_nodes_never_both");
        assert_eq!(words("…"), "the_property");
        assert_eq!(camel("heavy_tail"), "HeavyTail");
        assert_eq!(grouped(4_211), "4_211");
    }

    #[test]
    fn settings_are_told_as_rust_by_what_is_not_calm() {
        let disk_faults = vec![DiskFault::Lie, DiskFault::Torn];
        let links = vec!["1>2=80..120".parse().expect("a link")];
        let settings = Settings { links, disks: 1, disk_faults, ..Settings::calm(3) };
        let told = "    let settings = Settings {
        links: vec![\"1>2=80..120\".parse().expect(\"a link\")],
        disks: 1,
        disk_faults: vec![DiskFault::Lie, DiskFault::Torn],
        ..Settings::calm(3)
    };
";
        assert_eq!(statement(&settings), told);
    }

    #[test]
    fn bounds_are_told_with_their_window_of_timers() {
        let timers = "80..150".parse().expect("a window");
        let told = "    let bounds = Bounds {
        timers: \"80..150\".parse().expect(\"a window\"),
        ..Bounds::calm(3)
    };
";
        assert_eq!(bounds_statement(&Bounds { timers, ..Bounds::calm(3) }), told);
    }

    fn called(type_name: &str, own: &str) -> (Option<String>, String, bool) {
        let Place { path, name, is_within } = Place::of(type_name, own);
        (path, name, is_within)
    }

    #[test]
    fn types_of_libraries_are_imported_from_where_they_are_public() {
        let imported = |path, name| (Some(String::from(path)), String::from(name), false);
        assert_eq!(
            called("synod_algorithms::election::bully::Bully", "synod"),
            imported("synod::algorithms::Bully", "Bully")
        );
        assert_eq!(called("mine::Election", "app"), imported("mine::Election", "Election"));
        let generic = (None, String::from("<mine::Over<mine::Link>>"), false);
        assert_eq!(called("mine::Over<mine::Link>", "app"), generic);
    }

    #[test]
    fn a_type_of_the_program_itself_is_tested_within_its_crate() {
        assert_eq!(
            called("lease_lock::lease::Lock", "lease_lock"),
            (Some(String::from("crate::lease::Lock")), String::from("Lock"), true)
        );
        assert_eq!(
            called("lib::Over<lease_lock::Lock>", "lease_lock"),
            (None, String::from("<lib::Over<crate::Lock>>"), true)
        );
        for (of_another, imported) in
            [("mine::app::Lock", "mine::app::Lock"), ("myapp::Lock", "myapp::Lock")]
        {
            let expected = (Some(String::from(imported)), String::from("Lock"), false);
            assert_eq!(called(of_another, "app"), expected);
        }
        let advice = advice("it_fails", &Place::of("own::Lock", "own"), true, false);
        assert!(advice.starts_with("save it as src/it_fails.rs, put `#[cfg(test)] mod it_fails;`"));
        assert!(advice.ends_with(", add the property to its scenario, then: cargo test it_fails"));
    }
}
