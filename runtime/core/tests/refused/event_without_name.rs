use serde::{Deserialize, Serialize};
use synod_core::Event;

#[derive(Event, Debug, Serialize, Deserialize)]
struct Tick;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(local)]
struct Tock;

fn main() {}
