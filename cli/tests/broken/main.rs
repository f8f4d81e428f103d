//! What a program says of what panics in it. It is one that calls itself: with algorithms of which one has a
//! property that panics, one a monitor and one a summary that does. The last is at fault itself.

use std::io::{self, Write};
use std::process::{Command, ExitCode, Output};

use serde::Serialize;
use serde_json::Value;
use synod::{
    Algorithm, App, Context, Envelope, Event, Faults, Handlers, Model, NodeId, Property, Summary,
    Tolerance,
};

/// Is in the environment of the one that is called.
const CALLED: &str = "SYNOD_TEST_CALLED";
/// The name of the only test, for whoever lists tests.
const TEST: &str = "a_defect_is_told_with_its_place_and_its_run";

#[derive(Event, Debug, Serialize, serde::Deserialize)]
#[event(name = "brittle.ping")]
struct Ping;

/// Looks after its nodes in a way that breaks when one is down.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Brittle;

impl Brittle {
    fn ping(&mut self, _: Ping) {}
}

impl Algorithm for Brittle {
    const NAME: &'static str = "brittle";
    const MODEL: Model = Model::ASYNCHRONOUS.tolerating(Faults::CrashStop(Tolerance::AllButOne));

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::ping)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.broadcast(&Ping);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("somebody answers", |cluster| {
            assert!(cluster.live().count() == cluster.size(), "who is down answers nobody");
            Ok(())
        })]
    }
}

#[derive(Event, Debug, Serialize, serde::Deserialize)]
#[event(name = "overheard.word", local)]
struct Word;

/// Its monitor breaks on the second node.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Overheard;

impl Algorithm for Overheard {
    const NAME: &'static str = "overheard";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.trigger(&Word);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::monitor("one word", || {
            |node: NodeId, _: &Envelope| {
                assert!(node.0 != 2, "a second word is too much");
                Ok(())
            }
        })]
    }
}

/// Cannot say what it is.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Speechless;

impl Algorithm for Speechless {
    const NAME: &'static str = "speechless";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
    }

    fn summary(&self) -> Summary {
        panic!("words fail me")
    }
}

/// Does nothing, under a name that a shell would take apart.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct TwoWords;

impl Algorithm for TwoWords {
    const NAME: &'static str = "two words";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
    }
}

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().collect();
    if std::env::var_os(CALLED).is_some() {
        return App::new()
            .algorithm::<Brittle>()
            .algorithm::<Overheard>()
            .algorithm::<Speechless>()
            .algorithm::<TwoWords>()
            .run();
    }
    if asked.iter().any(|it| it == "--list") {
        if !asked.iter().any(|it| it == "--ignored") {
            writeln!(io::stdout(), "{TEST}: test").expect("somebody reads");
        }
        return ExitCode::SUCCESS;
    }
    a_property_that_panics_is_violated();
    a_run_that_breaks_is_told_by_its_seed();
    a_summary_that_panics_is_a_defect_of_every_command();
    a_name_of_two_words_is_quoted_in_the_next_command();
    ExitCode::SUCCESS
}

fn call(words: &[&str]) -> Output {
    let own = std::env::current_exe().expect("a path");
    let mut command = Command::new(own);
    // What it finds it writes down, where tests may.
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.args(words).env(CALLED, "1").env_remove("CARGO").env_remove("RUST_BACKTRACE");
    command.output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn a_property_that_panics_is_violated() {
    let somebody = "somebody answers: it panicked: who is down answers nobody at ";
    let word = "one word: it panicked: a second word is too much at ";
    for (words, panic) in [
        (&["sim", "brittle", "--seeds", "1000", "--nodes=3"][..], somebody),
        (&["check", "brittle", "--nodes", "2", "--crashes", "1"], somebody),
        (&["sim", "overheard", "--seeds", "100"], word),
    ] {
        let output = call(words);
        let told = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {told}");
        assert!(told.contains(&format!("{panic}cli/tests/broken/main.rs:")), "{words:?}: {told}");
    }
}

fn a_run_that_breaks_is_told_by_its_seed() {
    let output = call(&["sim", "speechless", "--seeds", "1000", "--nodes=3", "--threads=1"]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(70), "{told}");
    for words in [
        "error: a defect of the program: words fail me\n",
        "\n  at cli/tests/broken/main.rs:",
        "\n  in the run of seed ",
        "\n  the same again: ",
        "report these lines",
        concat!("/issues (synod ", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_eq!(told.matches("words fail me").count(), 1, "one block: {told}");
    let (_, seed) = told.split_once("in the run of seed ").expect("a seed");
    let seed = seed.lines().next().expect("a number");
    let again = format!("sim speechless --nodes=3 --threads=1 --seed {seed} --seeds 1\n");
    assert!(told.contains(&again), "{again}: {told}");
    let again: Vec<&str> = again.split_whitespace().chain(["--json"]).collect();
    let output = call(&again);
    let line = text(&output.stdout);
    let last: Value = serde_json::from_str(line.lines().last().expect("a line")).expect("JSON");
    assert_eq!((output.status.code(), last.get("exit")), (Some(70), Some(&70.into())), "{last}");
    let hint = last.get("hint").and_then(Value::as_str).expect("a text");
    assert!(hint.contains(&format!("in the run of seed {seed}\n")), "{hint}");
}

fn a_summary_that_panics_is_a_defect_of_every_command() {
    for words in
        [&["sim", "speechless", "--seeds", "65"][..], &["check", "speechless", "--nodes", "2"]]
    {
        let output = call(words);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(70), "{words:?}: {told}");
        assert!(told.starts_with("error: a defect of the program: "), "{told}");
        assert!(told.contains("\n  at cli/tests/broken/main.rs:"), "{told}");
    }
}

fn a_name_of_two_words_is_quoted_in_the_next_command() {
    for (command, next) in [
        ("sim", "check 'two words' --nodes 3\n"),
        ("sweep", "check 'two words' --nodes 3\n"),
        ("check", "sweep 'two words' --nodes 3..5 --seeds 20\n"),
    ] {
        let output = call(&[command, "two words"]);
        let told = text(&output.stderr);
        assert!(output.status.success() && told.ends_with(next), "{command}: {told}");
    }
}
