//! A program whose nodes have a client beside them. It is one that calls itself.

use std::error::Error;
use std::io::{self, Write};
use std::process::{self, Command, ExitCode};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod::runtime::{NodeHandle, Output, Outputs};
use synod::{Algorithm, App, Call, Context, Event, Handlers, NodeId, Request, Summary, Workload};

/// Is in the environment of the one that is called, and says what its client is to do.
const CALLED: &str = "SYNOD_TEST_CLIENT";
/// The name of the only test, for whoever lists tests.
const TEST: &str = "a_client_runs_beside_each_node";

#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Counter(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "counter.next", local)]
struct Next;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "counter.number", local)]
struct Number(u64);

impl Request for Next {
    type Answer = Number;
}

impl Algorithm for Counter {
    const NAME: &'static str = "counter";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::next).indicates::<Number>()
    }

    /// Indicates something before any client can have asked for it.
    fn start(&mut self, ctx: &mut Context) {
        ctx.trigger(&Number(0));
    }

    fn summary(&self) -> Summary {
        let value = if self.0 == 0 { String::from("-") } else { self.0.to_string() };
        Summary::default().with("value", value)
    }

    fn workload() -> Workload {
        Workload::default().trigger(NodeId(1), Duration::ZERO, &Next)
    }
}

impl Counter {
    fn next(&mut self, call: Call<Next>, ctx: &mut Context) {
        self.0 += 1;
        ctx.answer(call.ticket, &Number(self.0));
    }
}

async fn client(
    node: NodeHandle,
    mut outputs: Outputs,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let first = outputs.next().await;
    match &*std::env::var(CALLED)? {
        "ask" => {
            let Number(number) = node.ask(&Next, Duration::from_secs(10)).await?;
            let Some(Output::Event(first)) = first else {
                return Err("it has missed the first".into());
            };
            let Number(first) = first.open()?;
            writeln!(io::stdout(), "{} said {first} and {number}", node.id())?;
            node.shutdown(Duration::from_secs(5)).await;
            Ok(())
        }
        "fail" => Err("its port is taken".into()),
        "be done" => Ok(()),
        words => panic!("{words}"),
    }
}

fn main() -> ExitCode {
    if std::env::var_os(CALLED).is_some() {
        return App::new().algorithm::<Counter>().client(client).run();
    }
    let asked: Vec<String> = std::env::args().collect();
    if asked.iter().any(|it| it == "--list") {
        if !asked.iter().any(|it| it == "--ignored") {
            writeln!(io::stdout(), "{TEST}: test").expect("somebody reads");
        }
        return ExitCode::SUCCESS;
    }
    certificates();
    a_client_asks_its_node_and_ends_it();
    a_client_that_fails_or_panics_ends_its_node();
    a_node_outlasts_a_client_that_is_done_and_a_workload_asks_too();
    what_a_client_asks_is_simulated_and_explored();
    ExitCode::SUCCESS
}

fn call(client: &str, words: &[&str]) -> process::Output {
    let own = std::env::current_exe().expect("a path");
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", "120"]).arg(own).args(words);
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).env(CALLED, client);
    command.env_remove("CARGO").env_remove("RUST_BACKTRACE");
    command.output().expect("it starts")
}

/// Calls the program, which is to end with `code`; what it says.
fn told(client: &str, words: &[&str], code: i32) -> String {
    let output = call(client, words);
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8(told).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{client}: {words:?}: {told}");
    told
}

const NODE: [&str; 6] = ["node", "client/n1.synod", "--admin", "off", "--listen", "127.0.0.1:0"];

fn certificates() {
    let place = concat!(env!("CARGO_TARGET_TMPDIR"), "/client");
    let _ = std::fs::remove_dir_all(place);
    told("", &["cert", "init", "client"], 0);
    told("", &["cert", "issue", "--ca", "client", "--out", "client", "n1=127.0.0.1:7400"], 0);
}

fn a_client_asks_its_node_and_ends_it() {
    let told = told("ask", &NODE, 0);
    assert!(told.contains("n1 said 0 and 1\n"), "{told}");
    assert!(told.contains("n1 has ended: shut down"), "{told}");
}

fn a_client_that_fails_or_panics_ends_its_node() {
    let failed = told("fail", &NODE, 6);
    assert!(failed.contains("error: the client of n1 has failed: its port is taken\n"), "{failed}");
    assert!(failed.contains("n1 ends: everything that it took is done"), "{failed}");
    let panicked = told("it has lost its way", &NODE, 70);
    let defect =
        "error: a defect of the program: it has lost its way\n  at cli/tests/client/main.rs:";
    assert!(panicked.contains(defect), "{panicked}");
}

fn a_node_outlasts_a_client_that_is_done_and_a_workload_asks_too() {
    let told = told("be done", &["cluster", "--nodes", "1"], 0);
    assert!(told.contains("value"), "nobody has asked: {told}");
}

fn what_a_client_asks_is_simulated_and_explored() {
    told("", &["sim", "--nodes", "2", "--seeds", "20"], 0);
    told("", &["check", "--nodes", "2"], 0);
}
