//! What clients and servers of a register say to each other, and the client: it puts one value,
//! and then gets one from the next server.

use serde::{Deserialize, Serialize};
use synod_core::{Context, Event, NodeId};

use super::work::Registers;

#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "register.put")]
pub(crate) struct Put {
    pub(crate) request: u64,
    pub(crate) value: char,
}

#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "register.get")]
pub(crate) struct Get(pub(crate) u64);

#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "register.done")]
pub(crate) struct Done(pub(crate) u64);

#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "register.got")]
pub(crate) struct Got {
    pub(crate) request: u64,
    pub(crate) value: char,
}

#[derive(Clone, Debug, Hash)]
pub(crate) struct Client {
    awaiting: Option<u64>,
    operations: u64,
    servers: u32,
}

/// Servers come first, and then clients.
pub(crate) fn is_server(node: NodeId, Registers { servers, .. }: Registers) -> bool {
    node.0 <= servers
}

impl Client {
    pub(crate) fn of(Registers { servers, .. }: Registers) -> Self {
        Self { awaiting: None, operations: 0, servers }
    }

    pub(crate) fn start(&mut self, ctx: &mut Context) {
        let (request, to) = self.next(ctx);
        let which = u8::try_from(ctx.me().0 - self.servers - 1).expect("few clients");
        ctx.send(to, &Put { request, value: char::from(b'A' + which) });
    }

    pub(crate) fn done(&mut self, Done(request): Done, ctx: &mut Context) {
        if self.awaiting == Some(request) {
            let (request, to) = self.next(ctx);
            ctx.send(to, &Get(request));
        }
    }

    pub(crate) fn got(&mut self, got: Got) {
        if self.awaiting == Some(got.request) {
            (self.awaiting, self.operations) = (None, self.operations + 1);
        }
    }

    /// The number of the next request, and whom to ask: each operation another server.
    fn next(&mut self, ctx: &Context) -> (u64, NodeId) {
        let index = u64::from(ctx.me().0 - 1);
        let server = (index + self.operations) % u64::from(self.servers);
        self.operations += 1;
        let request = self.operations * index;
        self.awaiting = Some(request);
        (request, NodeId(u32::try_from(server).expect("few servers") + 1))
    }
}
