//! The published TLA+ models under every command of `synod`:
//! `cargo run -p synod-tests --example published -- check tla-echo --nodes 1 --json`.

mod models;

use std::process::ExitCode;

use models::{Published, chang_roberts, echo, two_phase};

fn main() -> ExitCode {
    synod::App::new()
        .algorithm::<Published<two_phase::TwoPhase<3>>>()
        .algorithm::<Published<chang_roberts::ChangRoberts<{ chang_roberts::PUBLISHED }>>>()
        .algorithm::<Published<echo::Echo<false>>>()
        .run()
}
