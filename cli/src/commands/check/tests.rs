use clap::Parser;
use serde::Serialize;
use synod_core::{Algorithm, Handlers, Property};
use synod_simulator::{Bounds, Explored};

use super::verdicts;
use crate::app::App;
use crate::args::{Args, Command};
use crate::look::Look;
use crate::printer::Printer;
use crate::problem::{Exit, Problem};

/// Does nothing, and is to do something at times.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Idle {
    is_busy: bool,
}

impl Algorithm for Idle {
    const NAME: &'static str = "idle";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
    }

    fn properties() -> Vec<Property<Self>> {
        let somebody = |name, is_busy| {
            Property::sometimes(name, move |cluster| {
                cluster.live().any(|(_, state): (_, &Self)| state.is_busy == is_busy)
            })
        };
        vec![somebody("somebody is busy", true), somebody("somebody is idle", false)]
    }
}

fn check(args: &[&str]) -> Result<(), Problem> {
    let args = Args::parse_from([&["synod", "check", "idle"], args].concat());
    let Some(Command::Check(check)) = args.command else {
        panic!("a check was asked for");
    };
    super::run(
        &App::new().algorithm::<Idle>(),
        &check,
        &Printer::new(Look { json: true, ..Look::default() }),
    )
}

#[test]
fn what_should_happen_in_some_state_and_does_in_none_is_not_a_pass() {
    let problem = check(&[]).expect_err("nobody is ever busy");
    assert_eq!(problem.exit, Exit::Inconclusive);
    assert_eq!(problem.what, "in no state was there ever: somebody is busy");
}

#[test]
fn what_has_been_in_some_state_holds_although_a_bound_has_cut() {
    let app = App::new().algorithm::<Idle>();
    let entry = app.entry(Some("idle")).expect("it is there");
    let mut explored = Explored::default();
    explored.never.push("somebody is busy");
    assert!(!explored.complete);
    let verdicts = verdicts(entry, &explored, false);
    assert_eq!(verdicts, ["  ? somebody is busy", "  ✓ somebody is idle"]);
}

#[test]
fn crashes_that_no_run_can_have_are_refused() {
    for (args, says) in [
        (&["--crashes", "1"][..], "at most 0 can crash"),
        (&["--recoveries", "1"], "at most 0 node(s) crash"),
        (&["--disk", "lying=1"], "a lie is found out when the node comes back"),
    ] {
        let problem = check(args).expect_err("nobody may crash");
        assert_eq!(problem.exit, Exit::Usage);
        assert!(problem.what.contains(says), "{}", problem.what);
    }
}

#[test]
fn symmetry_that_nobody_declares_is_refused() {
    let problem = check(&["--symmetry"]).expect_err("idle declares nothing");
    assert_eq!(problem.exit, Exit::Usage);
    assert_eq!(problem.what, "idle does not declare that its nodes are interchangeable");
}

#[test]
fn a_bound_on_delays_is_told_to_the_microsecond() {
    let app = App::new().algorithm::<Idle>();
    let entry = app.entry(Some("idle")).expect("it is there");
    for (tick_us, told) in [(50_000, "delays up to 50 ms"), (1_500, "delays up to 1500 us")] {
        let bounds = Bounds { tick_us, ..Bounds::calm(3) };
        let heading = super::heading(entry, &bounds);
        assert!(heading.contains(&format!(" · {told} · ")), "{heading}");
    }
}
