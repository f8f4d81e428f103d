use serde::{Deserialize, Serialize};
use synod_core::Event;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "refused.tick", bytes_max = 65_536)]
struct Tick;

fn main() {}
