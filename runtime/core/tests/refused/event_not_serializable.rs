use synod_core::Event;

#[derive(Event, Debug)]
#[event(name = "refused.tick")]
struct Tick;

fn main() {}
