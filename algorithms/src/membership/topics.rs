//! Topics: each item goes to those nodes alone that have asked for its topic.
//!
//! Source: the subscription protocol of P. Eugster, P. Felber, R. Guerraoui, A.-M. Kermarrec, "The
//! many faces of publish/subscribe", ACM Computing Surveys 35(2), 2003, topic-based, without a
//! broker: every node publishes to its subscribers itself. Requests are numbered and sent again
//! until they are confirmed, as over any link that loses.
//!
//! | Assumes   | asynchronous; crash-recovery of all but one; fair-loss links; that the host tells |
//! |           | when a peer comes and goes. Subscriptions are those of one life of a node         |
//! | Safety    | who has confirmed the end of a subscription sends no more of its topic            |
//! | Liveness  | every publisher comes to know every subscription, and every end of one            |
//! | Messages  | an item: one for each subscriber; a subscription: 2(n−1)                          |
//! | Checked   | 2 nodes, which subscribe and end it, 1 crash and its recovery: 1,076 states        |
//!
//! ```text
//! upon <Subscribe | t>, <Unsubscribe | t>: number := number + 1; wish(t) := (number, on or off)
//!                                          unconfirmed(t) := all others that are linked
//!                                          send <Asked | t, number, on or off> to them
//! upon <Asked | t, k, on> from q:          if k is above what q has asked of t: take it
//!                                          send <Confirmed | t, k> to q
//! upon <Confirmed | t, k> from q:          if k is wish(t)'s: unconfirmed(t) := - {q}
//! upon <Again>, every RETRY:               send what is not confirmed once more
//! upon <Publish | t, item>:                send <Item | t, item> to the subscribers of t
//! upon <Item | t, item> from q, t is on:   trigger <Delivered | t, item, q>
//! upon <PeerUp | q>:                       forget what q asked in former lives; ask it for
//!                                          everything
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Links, Model, NodeId, PeerDown, PeerUp,
    Property, Snapshots, Summary, Tolerance, Verdict, Workload,
};

/// How often what is not confirmed is sent again.
pub const RETRY: Duration = Duration::from_millis(200);
/// Topics that one node may ask for. Beyond, a subscription is not taken.
pub const TOPICS_MAX: usize = 1_024;

/// The state of one node.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Topics {
    /// What this node wishes of each topic that it has ever asked for.
    wishes: BTreeMap<u64, Wish>,
    /// The number of the last request.
    number: u64,
    /// What each node has asked of this one, with the life and the number of the request.
    asked: BTreeMap<(u64, NodeId), (u64, u64, bool)>,
    linked: BTreeSet<NodeId>,
}

/// What a node wishes of one topic.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
struct Wish {
    number: u64,
    on: bool,
    /// Who has not confirmed it.
    unconfirmed: BTreeSet<NodeId>,
}

impl Algorithm for Topics {
    const NAME: &'static str = "topics";
    const MODEL: Model = Model::ASYNCHRONOUS
        .tolerating(Faults::CrashRecovery(Tolerance::AllButOne))
        .over(Links::FairLoss);

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::subscribe)
            .on(Self::unsubscribe)
            .on(Self::asked)
            .on(Self::confirmed)
            .on(Self::again)
            .on(Self::publish)
            .on(Self::item)
            .on(Self::peer_up)
            .on(Self::peer_down)
            .indicates::<Delivered>()
            .indicates::<Settled>()
    }

    fn snapshots() -> Snapshots<Self> {
        Snapshots::encoded()
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("a confirmed end is one", an_end_is_one),
            Property::at_rest("every publisher knows every wish", wishes_are_known),
        ]
    }

    fn workload() -> Workload {
        let at = Duration::from_millis;
        Workload::default()
            .trigger(NodeId(2), at(0), &Subscribe { topic: 7 })
            .trigger(NodeId(1), at(500), &Publish { topic: 7, item: 1 })
            .trigger(NodeId(2), at(1_000), &Unsubscribe { topic: 7 })
            .trigger(NodeId(1), at(2_000), &Publish { topic: 7, item: 2 })
            .offer(|_| Subscribe { topic: 7 })
            .offer(|_| Unsubscribe { topic: 7 })
            .offer(|number| Publish { topic: 7, item: 10 + number })
    }

    fn summary(&self) -> Summary {
        let open = self.wishes.values().filter(|wish| !wish.unconfirmed.is_empty()).count();
        Summary::default()
            .with("topics", self.wishes.values().filter(|wish| wish.on).count())
            .with("subscribers", self.asked.values().filter(|(_, _, on)| *on).count())
            .with("unconfirmed", open)
    }
}

impl Topics {
    /// Upon `Subscribe`: from here on this node wants the items of the topic.
    fn subscribe(&mut self, Subscribe { topic }: Subscribe, ctx: &mut Context) {
        if self.wishes.len() < TOPICS_MAX || self.wishes.contains_key(&topic) {
            self.wish(topic, true, ctx);
        }
    }

    /// Upon `Unsubscribe`: no item of the topic is delivered any more.
    fn unsubscribe(&mut self, Unsubscribe { topic }: Unsubscribe, ctx: &mut Context) {
        if self.wishes.contains_key(&topic) {
            self.wish(topic, false, ctx);
        }
    }

    fn wish(&mut self, topic: u64, on: bool, ctx: &mut Context) {
        if self.wishes.get(&topic).is_some_and(|wish| wish.on == on) {
            return;
        }
        self.number += 1;
        let wish = Wish { number: self.number, on, unconfirmed: self.linked.clone() };
        self.wishes.insert(topic, wish);
        self.settle(topic, ctx);
        self.ask(ctx);
    }

    /// Asks for whatever is not confirmed, and comes back to it.
    fn ask(&self, ctx: &mut Context) {
        for (topic, Wish { number, on, unconfirmed }) in &self.wishes {
            let life = ctx.incarnation();
            let asked = Asked { topic: *topic, life, number: *number, on: *on };
            ctx.send_where(&asked, |peer| unconfirmed.contains(&peer));
        }
        if self.wishes.values().any(|wish| !wish.unconfirmed.is_empty()) {
            ctx.after(RETRY, &Again);
        }
    }

    /// Upon `Again`: what was asked may be lost, or its confirmation.
    fn again(&mut self, _: Again, ctx: &mut Context) {
        self.ask(ctx);
    }

    /// Upon `Asked`: the latest request counts. An older one that arrives late is confirmed, too:
    /// the peer has a newer one under way.
    fn asked(&mut self, asked: Asked, from: NodeId, ctx: &mut Context) {
        let Asked { topic, life, number, on } = asked;
        let known = self.asked.entry((topic, from)).or_insert((life, number, on));
        if (known.0, known.1) < (life, number) {
            *known = (life, number, on);
        }
        ctx.send(from, &Confirmed { topic, number });
    }

    /// Upon `Confirmed`: that peer need not be asked again.
    fn confirmed(&mut self, confirmed: Confirmed, from: NodeId, ctx: &mut Context) {
        let Confirmed { topic, number } = confirmed;
        if let Some(wish) = self.wishes.get_mut(&topic)
            && wish.number == number
            && wish.unconfirmed.remove(&from)
        {
            self.settle(topic, ctx);
        }
    }

    fn settle(&self, topic: u64, ctx: &mut Context) {
        if let Some(wish) = self.wishes.get(&topic).filter(|wish| wish.unconfirmed.is_empty()) {
            ctx.trigger(&Settled { topic, on: wish.on });
        }
    }

    /// Upon `Publish`: to the subscribers, and nobody else.
    fn publish(&mut self, Publish { topic, item }: Publish, ctx: &mut Context) {
        let asked = &self.asked;
        let subscribed = |peer| asked.get(&(topic, peer)).is_some_and(|(_, _, on)| *on);
        ctx.send_where(&Item { topic, item }, subscribed);
    }

    /// Upon `Item`: delivered unless the subscription has ended meanwhile.
    fn item(&mut self, Item { topic, item }: Item, from: NodeId, ctx: &mut Context) {
        if self.wishes.get(&topic).is_some_and(|wish| wish.on) {
            ctx.trigger(&Delivered { topic, item, publisher: from });
        }
    }

    /// Upon `PeerUp`: neither knows what the other had asked for in a former life. What it has
    /// asked for in this one may have come first.
    fn peer_up(&mut self, PeerUp { peer, incarnation }: PeerUp, ctx: &mut Context) {
        self.linked.insert(peer);
        self.asked.retain(|(_, by), (life, ..)| *by != peer || incarnation <= *life);
        for wish in self.wishes.values_mut() {
            wish.unconfirmed.insert(peer);
        }
        self.ask(ctx);
    }

    /// Upon `PeerDown`: it cannot confirm, and is asked when it is back.
    fn peer_down(&mut self, PeerDown { peer, .. }: PeerDown, ctx: &mut Context) {
        self.linked.remove(&peer);
        let waited: Vec<u64> = self
            .wishes
            .iter_mut()
            .filter_map(|(topic, wish)| wish.unconfirmed.remove(&peer).then_some(*topic))
            .collect();
        waited.into_iter().for_each(|topic| self.settle(topic, ctx));
    }
}

/// Whether `of` believes that `by` subscribes to `topic`.
fn believes(of: &Topics, by: NodeId, topic: u64) -> bool {
    of.asked.get(&(topic, by)).is_some_and(|(_, _, on)| *on)
}

fn an_end_is_one(cluster: &Cluster<'_, Topics>) -> Verdict {
    for (node, state) in cluster.live() {
        for (topic, wish) in state.wishes.iter().filter(|(_, wish)| !wish.on) {
            let mut confirmed = cluster.live().filter(|(peer, _)| {
                state.linked.contains(peer) && !wish.unconfirmed.contains(peer)
            });
            if let Some((peer, _)) = confirmed.find(|(_, other)| believes(other, node, *topic)) {
                return Err(format!("{peer} has confirmed that {node} left topic {topic}"));
            }
        }
    }
    Ok(())
}

fn wishes_are_known(cluster: &Cluster<'_, Topics>) -> Verdict {
    for (node, state) in cluster.live() {
        for (topic, wish) in &state.wishes {
            let mut others = cluster.live().filter(|(peer, _)| *peer != node);
            if let Some((peer, _)) = others.find(|(_, it)| believes(it, node, *topic) != wish.on) {
                return Err(format!("{peer} does not know what {node} wishes of topic {topic}"));
            }
        }
    }
    Ok(())
}

/// Lets this node ask for the items of a topic. From the application.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "topics.subscribe", local)]
pub struct Subscribe {
    /// The topic.
    pub topic: u64,
}

/// Lets this node have no more items of a topic. From the application.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "topics.unsubscribe", local)]
pub struct Unsubscribe {
    /// The topic.
    pub topic: u64,
}

/// Sends an item to all other nodes that have subscribed to its topic. From the application.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "topics.publish", local)]
pub struct Publish {
    /// The topic.
    pub topic: u64,
    /// What is published.
    pub item: u64,
}

/// Indicates an item of a topic to which this node subscribes.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "topics.delivered", local)]
pub struct Delivered {
    /// The topic.
    pub topic: u64,
    /// The item.
    pub item: u64,
    /// Who published it.
    pub publisher: NodeId,
}

/// Indicates that every linked peer has confirmed the last request for a topic.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "topics.settled", local)]
pub struct Settled {
    /// The topic.
    pub topic: u64,
    /// Whether this node subscribes to it.
    pub on: bool,
}

/// "Send me the items of this topic", or "send me no more".
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "topics.asked")]
struct Asked {
    topic: u64,
    life: u64,
    number: u64,
    on: bool,
}

/// "I do."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "topics.confirmed")]
struct Confirmed {
    topic: u64,
    number: u64,
}

/// It is time to ask once more.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "topics.again", local)]
struct Again;

/// An item.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "topics.item")]
struct Item {
    topic: u64,
    item: u64,
}

#[cfg(test)]
mod tests;
