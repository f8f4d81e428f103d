//! A register's servers and clients as a model: Stateright's own clients, and two ways to treat
//! what changes nothing.

use std::borrow::Cow;
use std::fmt::Debug;
use std::hash::Hash;

use stateright::Expectation;
use stateright::actor::register::{RegisterActor, RegisterActorState, RegisterMsg};
use stateright::actor::{
    Actor, ActorModel, ActorModelState, Id, Network, Out, is_no_op, model_peers,
};
use stateright::semantics::LinearizabilityTester;
use stateright::semantics::register::Register;

use crate::work::Registers;

/// An actor to which every delivery is a step.
///
/// Stateright takes no step, and leaves the message where it is, if the actor neither sends
/// anything nor asks for its state to be changed. So this one asks, and changes nothing.
#[derive(Clone)]
pub struct Taking<A>(A);

impl<A: Actor> Actor for Taking<A> {
    type Msg = A::Msg;
    type State = A::State;
    type Timer = A::Timer;
    type Random = A::Random;
    type Storage = A::Storage;

    fn on_start(&self, id: Id, storage: &Option<A::Storage>, out: &mut Out<Self>) -> A::State {
        let mut sent = Out::new();
        let state = self.0.on_start(id, storage, &mut sent);
        out.append(&mut sent);
        state
    }

    fn on_msg(
        &self,
        id: Id,
        state: &mut Cow<A::State>,
        from: Id,
        msg: A::Msg,
        out: &mut Out<Self>,
    ) {
        let mut sent = Out::new();
        self.0.on_msg(id, state, from, msg, &mut sent);
        if is_no_op(state, &sent) {
            state.to_mut();
        }
        out.append(&mut sent);
    }
}

/// What clients and servers say to each other; `I` is what servers say among themselves.
pub type Said<I> = RegisterMsg<u64, char, I>;

type History = LinearizabilityTester<Id, Register<char>>;

/// The actors of a model, with the servers that `server` makes for so many peers.
fn actors<S>(registers: Registers, server: fn(Vec<Id>) -> S) -> Vec<RegisterActor<S>> {
    let Registers { clients, servers } = registers;
    let server_count = servers as usize;
    let of_servers = (0..server_count)
        .map(|index| RegisterActor::Server(server(model_peers(index, server_count))));
    let of_clients = (0..clients).map(|_| RegisterActor::Client { put_count: 1, server_count });
    of_servers.chain(of_clients).collect()
}

/// The states of the servers.
pub fn servers<S: Actor>(
    state: &ActorModelState<Taking<RegisterActor<S>>>,
) -> impl Iterator<Item = &S::State>
where
    RegisterActor<S>: Actor<State = RegisterActorState<S::State, u64>>,
{
    state.actor_states.iter().filter_map(|actor| match &**actor {
        RegisterActorState::Server(server) => Some(server),
        RegisterActorState::Client { .. } => None,
    })
}

/// Every delivery is a step, and the state holds no history.
pub fn taken<S, I>(
    registers: Registers,
    server: fn(Vec<Id>) -> S,
    name: &'static str,
    holds: fn(&ActorModelState<Taking<RegisterActor<S>>>) -> bool,
) -> ActorModel<Taking<RegisterActor<S>>, fn(&ActorModelState<Taking<RegisterActor<S>>>) -> bool>
where
    S: Actor<Msg = Said<I>>,
    S::Timer: Ord,
    I: Clone + Debug + Eq + Hash + Ord,
{
    ActorModel::new(holds, ())
        .actors(actors(registers, server).into_iter().map(Taking))
        .init_network(Network::new_unordered_nonduplicating([]))
        .property(Expectation::Always, name, |model, state| (model.cfg)(state))
}

/// Stateright's own way: what changes nothing stays, and the state holds the history.
pub fn kept<S, I>(
    registers: Registers,
    server: fn(Vec<Id>) -> S,
) -> ActorModel<RegisterActor<S>, (), History>
where
    S: Actor<Msg = Said<I>>,
    S::Timer: Ord,
    I: Clone + Debug + Eq + Hash + Ord,
{
    ActorModel::new((), LinearizabilityTester::new(Register(char::default())))
        .actors(actors(registers, server))
        .init_network(Network::new_unordered_nonduplicating([]))
        .property(Expectation::Always, "linearizable", |_, state| {
            state.history.serialized_history().is_some()
        })
        .record_msg_in(RegisterMsg::record_returns)
        .record_msg_out(RegisterMsg::record_invocations)
}
