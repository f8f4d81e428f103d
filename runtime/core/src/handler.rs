//! From a plain function to an entry of a dispatch table.

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;

use crate::catalogue::{EventInfo, Role};
use crate::context::Context;
use crate::decoding::{Refused, refused};
use crate::envelope::{DecodeError, Envelope, EnvelopeRef, Tag};
use crate::event::{Event, NodeId};
use crate::node::StepError;
use crate::request::{Call, Reply, Request, Ticket};
use crate::schema::Schema;

/// A function that can be registered with [`Handlers::on`](crate::Handlers::on).
///
/// Implemented for functions and closures of the shapes
///
/// - `fn(&mut self, event: E [, from: NodeId] [, ctx: &mut Context])`,
/// - `fn(&self, event: E [, from: NodeId], ctx: &mut Context)`,
/// - `fn(&self | &mut self, call: Call<R>, ctx: &mut Context)`,
/// - `fn(&mut self, reply: Reply<R>, ctx: &mut Context)`.
///
/// The parameter `M` only tells the shapes apart; it is always inferred.
#[diagnostic::on_unimplemented(
    message = "this function is not an event handler of `{S}`",
    label = "expected `fn(&mut self, event: E [, from: NodeId] [, ctx: &mut Context])`",
    note = "the state must be `{S}` and the event type must implement `Event`",
    note = "for an `R` that implements `Request`: `fn(&mut self, call: Call<R>, ctx: &mut Context)`, and \
            `fn(&mut self, reply: Reply<R>, ctx: &mut Context)`",
    note = "a handler returns nothing and is not `async`: ask the `Context` for effects instead"
)]
pub trait IntoHandler<S, M> {
    /// Turns the function into a table entry.
    fn into_handler(self) -> Handler<S>;
}

/// What a handler may do with the state, read off its receiver.
///
/// It is a permission, not an order: a host may run [`Access::Shared`] handlers in parallel,
/// the simulator never does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// `&mut self`: runs alone.
    Exclusive,
    /// `&self`: may run beside other shared handlers of the same state.
    Shared,
}

/// A type-erased handler: decodes the event, then calls the function.
pub struct Handler<S> {
    pub(crate) info: EventInfo,
    /// How the compiler calls the function, for the author of a table.
    pub(crate) function: &'static str,
    run: Run<S>,
}

/// How an event must come to its handler, read off the shape of that.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Takes {
    /// In any way: the handler does not look at it.
    Events,
    /// As an answer: the handler takes a [`Reply`].
    Replies,
    /// Asked for: the handler takes a [`Call`].
    Calls,
}

/// The erased function: decode, then call. The envelope stays where it is: what was just written is slow
/// to copy.
type Run<S> = Arc<
    dyn Fn(&mut S, &EnvelopeRef<'_>, NodeId, &mut Context) -> Result<(), Refused> + Send + Sync,
>;

impl<S> Clone for Handler<S> {
    fn clone(&self) -> Self {
        Self { info: self.info.clone(), run: Arc::clone(&self.run), ..*self }
    }
}

impl<S> Handler<S> {
    #[inline(always)]
    pub(crate) fn run(
        &self,
        state: &mut S,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
        ctx: &mut Context,
    ) -> Result<(), StepError> {
        self.admit(envelope, from, ctx.me)?;
        if let (Tag::Expired(_), Takes::Events) = (envelope.tag(), self.info.takes) {
            return Ok(()); // A handler that takes the bare answer does not care for none.
        }
        let run = (self.run)(state, &envelope, from, ctx);
        run.map_err(|refused| self.undecodable(from, refused.why()))
    }

    /// Refuses what this handler must not see, whatever its body. Nothing has run then.
    #[inline]
    pub(crate) fn admit(
        &self,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
        me: NodeId,
    ) -> Result<(), StepError> {
        if self.info.local && from != me {
            return Err(StepError::LocalOnly { event: self.info.id, from });
        }
        match (self.info.takes, envelope.tag()) {
            (Takes::Events, _)
            | (Takes::Calls, Tag::Ask(_))
            | (Takes::Replies, Tag::Answer(_) | Tag::Expired(_)) => Ok(()),
            (Takes::Calls, _) => Err(self.undecodable(from, DecodeError::new(NOT_ASKED))),
            (Takes::Replies, _) => Err(self.undecodable(from, DecodeError::new(NO_ANSWER))),
        }
    }

    #[cold]
    fn undecodable(&self, from: NodeId, cause: DecodeError) -> StepError {
        StepError::Decode { event: self.info.name, from, cause }
    }
}

impl<S> fmt::Debug for Handler<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.info.name, self.info.access)
    }
}

/// Markers of the shapes. They are never constructed.
pub mod shape {
    macro_rules! markers {
        ($($marker:ident = $shape:literal),* $(,)?) => {
            $(#[doc = $shape] #[derive(Debug)] pub enum $marker {})*
        };
    }
    markers! {
        Exclusive = "`(&mut self, event, ctx)`",
        ExclusiveFrom = "`(&mut self, event, from, ctx)`",
        ExclusiveQuiet = "`(&mut self, event)`",
        ExclusiveFromQuiet = "`(&mut self, event, from)`",
        ExclusiveCall = "`(&mut self, call, ctx)`",
        ExclusiveReply = "`(&mut self, reply, ctx)`",
        Shared = "`(&self, event, ctx)`",
        SharedFrom = "`(&self, event, from, ctx)`",
        SharedCall = "`(&self, call, ctx)`",
    }
}

macro_rules! impl_into_handler {
    ($shape:ident: $access:ident $takes:ident $bound:ident $event:ty,
        fn($state:ty $(, $arg_ty:ty)*) => |$it:ident, $from:ident, $ctx:ident| ($($arg:expr),*)) => {
        impl<S, E, F> IntoHandler<S, (E, shape::$shape)> for F
        where
            E: $bound,
            F: Fn($state $(, $arg_ty)*) + Send + Sync + 'static,
        {
            fn into_handler(self) -> Handler<S> {
                Handler {
                    info: EventInfo { takes: Takes::$takes, ..info::<$event>(Access::$access) },
                    function: std::any::type_name::<F>(),
                    run: Arc::new(move |state, $it, $from, $ctx| {
                        self(state $(, $arg)*);
                        Ok(())
                    }),
                }
            }
        }
    };
}

impl_into_handler!(Exclusive: Exclusive Events Event E, fn(&mut S, E, &mut Context)
    => |it, _from, ctx| (it.read()?, ctx));
impl_into_handler!(ExclusiveFrom: Exclusive Events Event E, fn(&mut S, E, NodeId, &mut Context)
    => |it, from, ctx| (it.read()?, from, ctx));
impl_into_handler!(ExclusiveQuiet: Exclusive Events Event E, fn(&mut S, E)
    => |it, _from, _ctx| (it.read()?));
impl_into_handler!(ExclusiveFromQuiet: Exclusive Events Event E, fn(&mut S, E, NodeId)
    => |it, from, _ctx| (it.read()?, from));
impl_into_handler!(ExclusiveCall: Exclusive Calls Request E, fn(&mut S, Call<E>, &mut Context)
    => |it, from, ctx| (call(it, from)?, ctx));
impl_into_handler!(ExclusiveReply: Exclusive Replies Request E::Answer,
    fn(&mut S, Reply<E>, &mut Context) => |it, from, ctx| (reply(it, from, ctx.me)?, ctx));
impl_into_handler!(Shared: Shared Events Event E, fn(&S, E, &mut Context)
    => |it, _from, ctx| (it.read()?, ctx));
impl_into_handler!(SharedFrom: Shared Events Event E, fn(&S, E, NodeId, &mut Context)
    => |it, from, ctx| (it.read()?, from, ctx));
impl_into_handler!(SharedCall: Shared Calls Request E, fn(&S, Call<E>, &mut Context)
    => |it, from, ctx| (call(it, from)?, ctx));

pub(crate) fn info<E: Event>(access: Access) -> EventInfo {
    const {
        assert!(E::BYTES_MAX <= Envelope::BYTES_CAP, "`BYTES_MAX` is over `Envelope::BYTES_CAP`");
    }
    EventInfo {
        id: E::ID,
        name: E::NAME,
        role: Role::Handler,
        local: E::LOCAL,
        unreliable: E::UNRELIABLE,
        bytes_max: E::BYTES_MAX,
        commutes: false,
        access,
        takes: Takes::Events,
        registered: None,
        kind: TypeId::of::<E>(),
        layout: Schema::layout_of::<E>,
        show: |envelope| envelope.open::<E>().map(|event| format!("{event:?}")),
        rename: |envelope, renamer| envelope.renamed::<E>(renamer),
    }
}

fn call<R: Request>(envelope: &EnvelopeRef<'_>, from: NodeId) -> Result<Call<R>, Refused> {
    match envelope.tag() {
        Tag::Ask(number) => {
            Ok(Call { request: envelope.read()?, ticket: Ticket::new(from, number) })
        }
        _ => Err(refused(NOT_ASKED)),
    }
}

fn reply<R: Request>(
    envelope: &EnvelopeRef<'_>,
    from: NodeId,
    me: NodeId,
) -> Result<Reply<R>, Refused> {
    let (number, answer) = match envelope.tag() {
        Tag::Answer(number) => (number, Some((from, envelope.read()?))),
        Tag::Expired(number) => (number, None),
        Tag::Plain | Tag::Ask(_) => return Err(refused(NO_ANSWER)),
    };
    Ok(Reply { ticket: Ticket::new(me, number), answer })
}

const NOT_ASKED: &str = "its handler takes a `Call`, and it was sent or triggered instead of asked";
const NO_ANSWER: &str = "its handler takes a `Reply`, and it answers nothing";
