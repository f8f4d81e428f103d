use serde::{Deserialize, Serialize};
use synod_core::Event;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "Clock.Tick")]
struct UpperCase;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "clock..tick")]
struct EmptyWord;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "")]
struct Empty;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = clock)]
struct NotText;

fn main() {}
