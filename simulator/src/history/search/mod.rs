//! The search for an order, over numbers: which states and which operations they stand for, it
//! does not know. So it is compiled once, for every specification.

mod chains;
mod list;
mod memo;
mod space;
mod walk;

pub(super) use space::Space;
pub(super) use walk::{Ended, Found, Placed, Stop, Stuck, search};

/// A state's number.
pub(super) type StateId = u32;
/// The number of a class of operations that are equal in input and output.
pub(super) type ClassId = u32;

/// Operations to be put in an order.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// Those that took effect, sorted by return.
    pub(super) calls: Vec<Call>,
    /// Those that may take effect, sorted by invocation.
    pub(super) opens: Vec<Open>,
    /// Whether an order must keep that of time, or only that of each client.
    pub(super) in_time: bool,
}

/// An operation that took effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) class: ClassId,
    pub(super) client: u32,
    pub(super) invoked: u64,
    pub(super) returned: u64,
}

/// An operation that may take effect at any time after its invocation, or never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) class: ClassId,
    pub(super) client: u32,
    pub(super) invoked: u64,
    /// When it is too late: never, for what never returned.
    pub(super) until: Option<u64>,
    /// Whether it may take effect before its invocation as well.
    pub(super) free: bool,
}

/// How many of the open operations of one kind may be used, and how many of these it is too late
/// for. All of a kind are alike but in when they become possible, or in when they cease to be; the
/// first ones are used first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Supply {
    pub(super) have: u32,
    pub(super) gone: u32,
}

/// What classes of operations do to states.
pub(super) trait Machine {
    /// The state after an operation of `class` in `state`, if it is possible there.
    fn step(&mut self, state: StateId, class: ClassId) -> Option<StateId>;
    /// How many states came up; they are numbered from 0 on.
    fn states(&self) -> StateId;
    /// Whether operations of `class` leave every state as it is.
    fn only_reads(&self, class: ClassId) -> bool;
    /// Whether an operation that need not happen is worth happening if it leads to `state`.
    fn is_worth(&self, state: StateId) -> bool;
}

/// Which operations have found their place, and which may come next.
trait Frontier {
    /// Whether every operation that took effect has its place.
    fn is_done(&self) -> bool;
    /// The operations that may come next, the most pressing first.
    fn candidates(&self, into: &mut Vec<u32>);
    /// Gives an operation its place after all that have one.
    fn lift(&mut self, call: u32);
    /// Takes back what was lifted last.
    fn unlift(&mut self, call: u32);
    /// How many of these open operations may come next, or came already. They are sorted by when it
    /// is too late for them, and then by invocation.
    fn supply(&self, opens: &[Open]) -> Supply;
    /// What has its place, in a form that is equal for equal sets.
    fn key(&self, into: &mut Vec<u32>);
    /// The operation that must come before any further one may be invoked.
    fn pressing(&self) -> Option<u32>;
}
