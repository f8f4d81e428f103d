use serde::{Deserialize, Serialize};
use synod_core::Event;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "refused.tick", bytes_max = 5_000_000_000)]
struct Tick;

fn main() {}
