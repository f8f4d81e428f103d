//! Hello: the smallest exchange there is. One node introduces somebody, the others say goodbye.
//!
//! Source: the customary first program.
//!
//! | Assumes   | asynchronous; no failures; reliable links                     |
//! | Safety    | a goodbye answers a hello                                     |
//! | Liveness  | every greeted node greets back                                |
//! | Messages  | 2(n−1)                                                        |
//! | Checked   | 2 nodes, every schedule: 3 states; 3 nodes: 9                 |
//!
//! ```text
//! upon <Init>:                    send <Hello | name, surname, age> to all others
//! upon <Hello | person> from p:   greeted := person; send <Goodbye> to p
//! upon <Goodbye> from p:          goodbyes := goodbyes + 1
//! ```

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Handlers, NodeId, Property, Snapshots, Summary, Verdict,
};

/// The state of one node.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct HelloWorld {
    /// Who was introduced to this node.
    greeted: Option<Hello>,
    /// How many nodes have said goodbye to this one.
    goodbyes: usize,
}

impl Algorithm for HelloWorld {
    const NAME: &'static str = "hello";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::init).on(Self::hello).on(Self::goodbye)
    }

    fn snapshots() -> Snapshots<Self> {
        Snapshots::encoded()
    }

    /// The first node begins.
    fn start(&mut self, ctx: &mut Context) {
        if ctx.peers().first() == Some(&ctx.me()) {
            ctx.trigger(&Init);
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::at_rest("everybody is greeted and says goodbye", everybody_is_greeted)]
    }

    fn summary(&self) -> Summary {
        let summary = Summary::default().with("goodbyes", self.goodbyes);
        match &self.greeted {
            Some(Hello { name, .. }) => summary.with("greeted", name),
            None => summary,
        }
    }
}

impl HelloWorld {
    /// Upon `Init`: introduce somebody to all others.
    fn init(&mut self, _: Init, ctx: &mut Context) {
        let bob = Hello { name: "Bob".into(), surname: "Marley".into(), age: 50 };
        let me = ctx.me();
        ctx.send_where(&bob, |peer| peer != me);
    }

    /// Upon `Hello` from p: remember who it is; say goodbye to p.
    fn hello(&mut self, hello: Hello, from: NodeId, ctx: &mut Context) {
        ctx.log(format_args!("hello, {} {}, {}", hello.name, hello.surname, hello.age));
        self.greeted = Some(hello);
        ctx.send(from, &Goodbye);
    }

    /// Upon `Goodbye` from p: one more.
    fn goodbye(&mut self, _: Goodbye, from: NodeId, ctx: &mut Context) {
        ctx.log(format_args!("{from} says goodbye"));
        self.goodbyes += 1;
    }

    /// Who was introduced to this node: name, surname, age.
    #[must_use]
    pub fn greeted(&self) -> Option<(&str, &str, u32)> {
        self.greeted.as_ref().map(|it| (it.name.as_str(), it.surname.as_str(), it.age))
    }

    /// How many nodes have said goodbye to this one.
    #[must_use]
    pub fn goodbyes(&self) -> usize {
        self.goodbyes
    }
}

fn everybody_is_greeted(cluster: &Cluster<'_, HelloWorld>) -> Verdict {
    for (index, (node, state)) in cluster.live().enumerate() {
        let heard = if index == 0 { state.goodbyes + 1 } else { cluster.size() };
        if heard != cluster.size() {
            return Err(format!("{} said goodbye to {node}", state.goodbyes));
        }
        if 0 < index && state.greeted() != Some(("Bob", "Marley", 50)) {
            return Err(format!("{node} was greeted with {:?}", state.greeted()));
        }
    }
    Ok(())
}

/// Begin.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "hello.init", local)]
struct Init;

/// "This is somebody."
#[derive(Event, Clone, Debug, Hash, Serialize, Deserialize)]
#[event(name = "hello.hello")]
struct Hello {
    name: String,
    surname: String,
    age: u32,
}

/// "Goodbye."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "hello.goodbye")]
struct Goodbye;

#[cfg(test)]
mod tests;
