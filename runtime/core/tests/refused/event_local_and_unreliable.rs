use serde::{Deserialize, Serialize};
use synod_core::Event;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "refused.tick", local, unreliable)]
struct Tick;

fn main() {}
