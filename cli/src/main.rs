//! The binary `synod`: every command over the algorithms of the library.

use std::process::ExitCode;

use synod::App;
use synod::algorithms::{Bully, ChangRoberts, HelloWorld};

fn main() -> ExitCode {
    App::new().algorithm::<Bully>().algorithm::<ChangRoberts>().algorithm::<HelloWorld>().run()
}
