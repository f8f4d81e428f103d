//! The binary `synod`: every command over the algorithms of the library.

use std::process::ExitCode;

use synod::App;
use synod::algorithms::{Abd, Bully, ChangRoberts, Echo, HelloWorld, Paxos, TwoPhase};

fn main() -> ExitCode {
    App::new()
        .algorithm::<Bully>()
        .algorithm::<ChangRoberts>()
        .algorithm::<HelloWorld>()
        .algorithm::<Echo>()
        .algorithm_with::<Abd>([synod::clients::one_register()])
        .algorithm::<TwoPhase>()
        .algorithm::<Paxos>()
        .run()
}
