//! The binary `synod`: every command over the algorithms of the library.

use std::process::ExitCode;

use synod::App;
use synod::algorithms::{Bully, ChangRoberts, Echo, HelloWorld, Paxos, TwoPhase};

fn main() -> ExitCode {
    App::new()
        .algorithm::<Bully>()
        .algorithm::<ChangRoberts>()
        .algorithm::<HelloWorld>()
        .algorithm::<Echo>()
        .scenario(synod::clients::of_a_register())
        .algorithm::<TwoPhase>()
        .algorithm::<Paxos>()
        .run()
}
