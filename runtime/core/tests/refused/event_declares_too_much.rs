use serde::{Deserialize, Serialize};
use synod_core::Event;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "refused.tick", bytes_max = 1_048_577)]
struct Tick;

fn main() {}
