//! The actors of a node: a supervisor, and one child per event type, per peer, and for the clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use synod_core::NodeId;

use crate::cell::Turn;
use crate::failure::EndReason;
use crate::gate::until;
use crate::host::Host;

/// What the supervisor is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// A handler has panicked: begin the next life.
    Revive,
    /// The node has ended: end all actors.
    End,
}

/// The supervisor of one node. Its children have no names: ractor's registry is one for the whole
/// process, and two nodes may live in it.
pub(crate) struct NodeSupervisor;

/// The children, by what they do.
#[derive(Debug)]
pub(crate) struct Children {
    host: Arc<Host>,
    duties: BTreeMap<ActorId, Duty>,
    /// When children were replaced.
    replaced: VecDeque<Instant>,
}

/// What a child does for as long as it lives. Its work waits in the host, so nothing is lost with
/// a child, and the next one goes on where it stopped.
#[derive(Clone, Copy, Debug)]
enum Duty {
    /// Handles the events of one type.
    Handler(usize),
    /// Keeps the link to one peer.
    Link(NodeId),
    /// Fires timers.
    Clock,
}

impl Actor for NodeSupervisor {
    type Msg = Order;
    type State = Children;
    type Arguments = Arc<Host>;

    async fn pre_start(
        &self,
        myself: ActorRef<Order>,
        host: Arc<Host>,
    ) -> Result<Children, ActorProcessingErr> {
        let handlers = (0..host.slots.len()).map(Duty::Handler);
        let links = host.links.keys().copied().map(Duty::Link);
        let duties: Vec<Duty> = handlers.chain(links).chain([Duty::Clock]).collect();
        let mut children = Children { host, duties: BTreeMap::new(), replaced: VecDeque::new() };
        for duty in duties {
            children.spawn(duty, myself.get_cell()).await?;
        }
        Ok(children)
    }

    async fn handle(
        &self,
        myself: ActorRef<Order>,
        order: Order,
        children: &mut Children,
    ) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Revive => children.host.revive().await,
            Order::End => {
                children.duties.clear();
                myself.get_cell().get_children().iter().for_each(ActorCell::kill);
                myself.stop(None);
            }
        }
        Ok(())
    }

    /// Replaces a child that has ended. The default would end the supervisor with it.
    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Order>,
        event: SupervisionEvent,
        children: &mut Children,
    ) -> Result<(), ActorProcessingErr> {
        let (gone, cause) = match event {
            SupervisionEvent::ActorTerminated(gone, _, reason) => (gone, reason),
            SupervisionEvent::ActorFailed(gone, error) => (gone, Some(error.to_string())),
            _ => return Ok(()),
        };
        let Some(duty) = children.duties.remove(&gone.get_id()) else {
            return Ok(());
        };
        if children.host.has_ended() {
            return Ok(());
        }
        tracing::error!(node = %children.host.id, ?duty, cause, "an actor has died");
        if !children.may_replace(Instant::now()) {
            let cause = cause.unwrap_or_else(|| String::from("it stopped"));
            children.host.end(EndReason::Actor(cause));
            return Ok(());
        }
        children.host.actor_restarts.fetch_add(1, Ordering::Relaxed);
        children.spawn(duty, myself.get_cell()).await?;
        Ok(())
    }
}

impl Children {
    /// Whether one child more may be replaced: a bug that kills every one at once must not keep
    /// a processor busy for ever.
    fn may_replace(&mut self, now: Instant) -> bool {
        self.replaced.push_back(now);
        self.replaced.retain(|replaced| now.duration_since(*replaced) < REPLACED_WITHIN);
        self.replaced.len() <= REPLACED_MAX
    }

    async fn spawn(&mut self, duty: Duty, supervisor: ActorCell) -> Result<(), SpawnErr> {
        let host = Arc::clone(&self.host);
        let (child, _) = Actor::spawn_linked(None, Child, (host, duty), supervisor).await?;
        self.duties.insert(child.get_id(), duty);
        Ok(())
    }
}

/// Children that are replaced within [`REPLACED_WITHIN`]; one more ends the node.
const REPLACED_MAX: usize = 50;
/// The time in which replacements are counted.
const REPLACED_WITHIN: Duration = Duration::from_secs(10);

/// A child: one message, which takes its whole life.
struct Child;

impl Actor for Child {
    type Msg = ();
    type State = (Arc<Host>, Duty);
    type Arguments = (Arc<Host>, Duty);

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        myself.cast(())?;
        Ok(arguments)
    }

    async fn handle(
        &self,
        myself: ActorRef<()>,
        (): (),
        (host, duty): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match *duty {
            Duty::Handler(slot) => host.serve(slot).await,
            Duty::Link(peer) => host.keep_link(peer).await,
            Duty::Clock => host.watch_clock().await,
        }
        myself.stop(None);
        Ok(())
    }
}

impl Host {
    /// Handles the events of one type, for ever.
    async fn serve(self: &Arc<Self>, slot: usize) {
        let Some(queue) = self.slots.get(slot).map(|slot| &slot.queue) else {
            return;
        };
        while !self.has_ended() {
            // First what another actor has left in its hands, that is, in the cell.
            self.work(Some(slot)).await;
            queue.filled().await;
        }
    }

    /// Fires timers, for ever, and goes on with what a panic has interrupted.
    async fn watch_clock(self: &Arc<Self>) {
        while !self.has_ended() {
            let turn = self.take_turn(None).await;
            match self.timers.next(self.now()) {
                Some(wait) if wait.is_zero() => {
                    until(&self.changed, || self.is_open() || self.has_ended()).await;
                    let _more: Turn = self.cell.lock().await.fire_timers(self);
                }
                _ if turn == Turn::More => (),
                Some(wait) => {
                    let _earlier = tokio::time::timeout(wait, self.timers.changed.notified()).await;
                }
                None => self.timers.changed.notified().await,
            }
        }
    }
}

/// Starts the actors. They end when the host does, or with the reason [`EndReason::Lost`].
pub(crate) async fn spawn(host: &Arc<Host>) -> Result<(), SpawnErr> {
    let (supervisor, ended) = Actor::spawn(None, NodeSupervisor, Arc::clone(host)).await?;
    host.supervised_by(supervisor);
    let host = Arc::clone(host);
    tokio::spawn(async move {
        let _ended_or_panicked = ended.await;
        host.end(EndReason::Lost); // Does nothing if the node has ended for a reason.
    });
    Ok(())
}
