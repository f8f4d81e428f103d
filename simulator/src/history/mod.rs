//! Histories of client operations, judged: is there an order of the operations that the
//! specification allows?
//!
//! Read in this order: [`History`], what clients invoked and what came back; [`Specification`],
//! what one client alone would see; [`check`], whether some order of the history is allowed;
//! [`models`], the specifications that are there; [`read`], histories from files.
//!
//! ```
//! use synod_simulator::history::models::{Register, RegisterAnswer, RegisterCall};
//! use synod_simulator::history::{Consistency, History, Limit, Verdict, check};
//!
//! let mut history = History::default();
//! history.invoke("a", 1, RegisterCall::Write(3)).unwrap();
//! history.invoke("b", 2, RegisterCall::Read).unwrap();
//! history.returned(2, Some(RegisterAnswer::Value(3))).unwrap(); // The write is under way.
//! history.invoke("b", 3, RegisterCall::Read).unwrap();
//! history.returned(3, Some(RegisterAnswer::Value(0))).unwrap(); // 3 was there already.
//!
//! let checked =
//!     check(&history, &Register::new(0), Consistency::Linearizable, &mut Limit::none());
//! assert!(matches!(checked.verdict, Verdict::Inconsistent(_)));
//! ```
//!
//! This module knows no node, no network and no clock: a history is an order of events.

mod check;
mod configurations;
mod judge;
pub mod models;
mod operation;
mod picture;
pub mod read;
mod search;
mod smallest;
mod specification;
mod value;
mod write;

pub use check::{Checked, Consistency, Limit, Limited, Verdict, check};
pub use judge::{Judge, Seen, judge, linearizable};
pub use operation::{History, Misuse, Operation, Outcome};
pub use picture::Shown;
pub use smallest::Part;
pub use specification::Specification;
pub use value::Value;
pub(crate) use write::lines;
pub use write::{ClientEvent, Named, Writer, history_lines};
