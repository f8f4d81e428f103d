use serde::{Deserialize, Serialize};
use synod_core::{Context, Event, Handlers};

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "refused.tick")]
struct Tick;

struct Clock;

impl Clock {
    async fn tick(&mut self, _: Tick, _: &mut Context) {}
}

fn main() {
    let _ = Handlers::<Clock>::new().on(Clock::tick);
}
