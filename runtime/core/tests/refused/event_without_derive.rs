use synod_core::{Context, Handlers};

struct Tick;

struct Clock;

impl Clock {
    fn tick(&mut self, _: Tick, _: &mut Context) {}
}

fn main() {
    let _ = Handlers::<Clock>::new().on(Clock::tick);
}
