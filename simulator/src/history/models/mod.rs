//! Specifications of common objects.

mod kv;
mod multi;
mod mutex;
mod queue;
mod register;
mod set;

pub use kv::{Kv, KvAnswer, KvCall};
pub use multi::{Access, MultiRegister};
pub use mutex::{Mutex, MutexAnswer, MutexCall};
pub use queue::{Queue, QueueAnswer, QueueCall};
pub use register::{Register, RegisterAnswer, RegisterCall};
pub use set::{Set, SetAnswer, SetCall};

use std::fmt::Debug;
use std::hash::Hash;

/// What can be stored: anything that can be compared and shown.
pub trait Stored: Clone + Debug + Hash + Ord {
    /// The value as people see it.
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

macro_rules! stored {
    ($($type:ty),*) => { $(impl Stored for $type {})* };
}

stored!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, bool, char, String, ());

impl<T: Stored> Stored for Option<T> {
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| String::from("nil"), T::show)
    }
}

impl<T: Stored, U: Stored> Stored for (T, U) {}

impl Stored for super::Value {
    fn show(&self) -> String {
        self.to_string()
    }
}

/// Histories with more operations than this are judged with states that forget values which no
/// operation can tell apart. Below, every value is kept, for better explanations.
const FOCUS_FROM: usize = 64;
