//! Writes numbered records to a store, and says of each when it is acknowledged; afterwards, says
//! whether what was acknowledged is there. `tests/store-sweep.sh` ends the first at every system
//! call, and `tests/power-cut.sh` cuts the power of its disk.
//!
//! ```text
//! store_sweep write DIR [N]    one line for each acknowledged record: its number
//! store_sweep verify DIR N     exit code 0 if the records 1 to N are there, in order, and perhaps more
//! ```

#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::error::Error;
use std::io::Write;

use bytes::Bytes;
use synod_core::{Envelope, EventId, Instance, Tag};
use synod_runtime::{FileStore, Opened, Store};

/// Records that one call of `write` adds unless told.
const RECORDS: u64 = 6;
const NUMBERED: EventId = EventId::of("sweep.numbered");
const COUNTED: EventId = EventId::of("sweep.counted");

fn main() -> Result<(), Box<dyn Error>> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    match asked.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write", directory] => write(directory, RECORDS),
        ["write", directory, records] => write(directory, records.parse()?),
        ["verify", directory, acknowledged] => verify(directory, acknowledged.parse()?),
        _ => Err("store_sweep write DIR [N] | verify DIR N".into()),
    }
}

fn record(event: EventId, number: u64) -> Envelope {
    let body = Bytes::copy_from_slice(&number.to_le_bytes().repeat(20));
    Envelope::from_parts(event, Instance::ROOT, Tag::Plain, body)
}

/// The number up to which a store holds records: a checkpoint of a count, and what came after it.
fn last(opened: &Opened) -> Result<u64, Box<dyn Error>> {
    let mut last = 0;
    for held in &opened.records {
        let is_checkpoint = held.event() == COUNTED;
        let number = held.body().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if !is_checkpoint && number != last + 1 || *held != record(held.event(), number) {
            return Err(format!("record {number} follows {last}").into());
        }
        last = number;
    }
    Ok(last)
}

fn write(directory: &str, records: u64) -> Result<(), Box<dyn Error>> {
    let mut store = FileStore::new(directory);
    let last = last(&store.open()?)?;
    for number in last + 1..=last + records {
        if number % 4 == 0 {
            store.checkpoint(&record(COUNTED, number), &[COUNTED, NUMBERED])?;
        } else {
            store.append(&record(NUMBERED, number))?;
        }
        store.sync()?;
        println!("{number}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn verify(directory: &str, acknowledged: u64) -> Result<(), Box<dyn Error>> {
    let last = last(&FileStore::new(directory).open()?)?;
    if last < acknowledged {
        return Err(format!("{acknowledged} was acknowledged, and {last} is the last one").into());
    }
    Ok(())
}
