use serde::{Deserialize, Serialize};
use synod_core::Event;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "refused.tick", local, bytes_max = 100_000)]
struct Tick;

fn main() {}
