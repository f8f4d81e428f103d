//! A peer with a good certificate that says anything at any time.

use std::ops::ControlFlow;
use std::time::Duration;

use synod_core::{NodeId, Transport};
use synod_transport_quic::Authority;

use crate::raw::{Client, Counts, Greeting, Offer, PROTOCOL, Raw, Server, control_frame};
use crate::support::{LANE, N1, N2, N3, Peer, authority, bundle, event, link, start};

/// Connections that are made; more where the environment says so.
const ROUNDS: u64 = 40;

/// What is done on each that was let in, at most.
const DEEDS_MAX: u64 = 8;

#[test]
fn whatever_a_dialler_says_the_node_and_its_other_links_go_on_and_the_peer_may_come_back() {
    let stage = Stage::new();
    let client = Client::new(&stage.authority, N2);
    let mut session = None;
    for round in 0..rounds() {
        let mut liar = Liar { dice: Dice(round), session };
        if let Ok(raw) = client.connect(stage.node.address()) {
            liar.talk(raw, N2);
        }
        session = liar.session;
        stage.friend.send(N1, LANE, round);
    }
    stage.is_fine();
}

#[test]
fn whatever_answers_a_dialler_the_node_and_its_other_links_go_on_and_the_peer_may_come_back() {
    let stage = Stage::new();
    let server = Server::new(&stage.authority, N2);
    stage.node.transport.set_address(N2, server.address());
    for round in 0..rounds() {
        let mut liar = Liar { dice: Dice(round), session: None };
        // It dials by itself only while it has a link to resume.
        stage.node.transport.connect(N2);
        if let Some(raw) = server.try_accept(Duration::from_millis(100)) {
            liar.answer(raw);
        }
        stage.friend.send(N1, LANE, round);
    }
    assert!(stage.node.inbox.look(|told| told.links.len()) > 1, "some came as far as a link");
    stage.is_fine();
}

fn rounds() -> u64 {
    std::env::var("SYNOD_FUZZ").map_or(ROUNDS, |text| text.parse().unwrap())
}

/// A node, and a peer that must not notice anything.
struct Stage {
    authority: Authority,
    node: Peer,
    friend: Peer,
}

impl Stage {
    fn new() -> Self {
        let authority = authority();
        let node = start(&bundle(&authority, N1, &[N1, N2, N3]));
        let friend = start(&bundle(&authority, N3, &[N1, N2, N3]));
        link(&friend, &node);
        Self { authority, node, friend }
    }

    /// The friend has got through with all that it sent, on one link; and so does an honest peer.
    fn is_fine(&self) {
        let told = &self.node.inbox;
        told.wait_until("the friend's events", |told| {
            told.events.iter().filter(|(from, ..)| *from == N3).count() as u64 == rounds()
        });
        assert_eq!(told.look(|told| told.links.iter().filter(|it| it.0 == N3).count()), 1);
        let two = start(&bundle(&self.authority, N2, &[N1, N2, N3]));
        link(&two, &self.node);
        two.send(N1, LANE, 7);
        told.wait_until("an event of the honest peer", |told| {
            told.events.iter().any(|(from, _, it)| *from == N2 && *it == event("a", 7))
        });
    }
}

/// Steele and others 2014, `SplitMix64`: the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.throw() % bound
    }

    /// A number that is small, or near a bound, or any.
    fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(4),
            1 => u64::MAX - self.below(2),
            2 => u64::from(u32::MAX) + self.below(3) - 1,
            _ => self.throw(),
        }
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.throw().to_le_bytes()[0]).collect()
    }

    /// Lets a text as it is, cuts it off, or changes some of its bytes.
    fn damage(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let length = bytes.len() as u64;
        match self.below(3) {
            0 => bytes.truncate(usize::try_from(self.below(length + 1)).unwrap()),
            1 => {
                for _ in 0..=self.below(3) {
                    let place = usize::try_from(self.below(length)).unwrap();
                    bytes[place] = self.throw().to_le_bytes()[0];
                }
            }
            _ => (),
        }
        bytes
    }
}

struct Liar {
    dice: Dice,
    /// The session that was last answered.
    session: Option<u64>,
}

impl Liar {
    fn talk(&mut self, mut raw: Raw, node: NodeId) {
        let hello = Greeting::of(node).hello(PROTOCOL, &self.offer());
        let is_honest = self.dice.below(4) != 0;
        raw.say(&if is_honest { hello } else { self.dice.damage(hello) });
        if is_honest {
            self.hear(&raw.hear());
            if self.dice.below(4) != 0 {
                raw.confirm();
            }
            self.act_for_a_while(&mut raw);
        } else if self.dice.below(2) == 0 {
            raw.break_off();
        }
    }

    /// Answers a hello with a new session, or with anything.
    fn answer(&mut self, mut raw: Raw) {
        let Some(offer) = raw.hear_hello() else { return };
        let answer = Greeting::of(N2).answer(PROTOCOL, offer.fresh);
        let is_honest = self.dice.below(2) == 0;
        raw.say(&if is_honest { answer } else { self.dice.damage(answer) });
        self.act_for_a_while(&mut raw);
    }

    fn act_for_a_while(&mut self, raw: &mut Raw) {
        for _ in 0..=self.dice.below(DEEDS_MAX) {
            if self.act(raw).is_break() {
                break;
            }
        }
    }

    /// A new session, or the last one with any claims of what was received.
    fn offer(&mut self) -> Offer {
        let offer = Offer::new();
        match (self.session, self.dice.below(3)) {
            (Some(session), 0) => {
                let received = (0..self.dice.below(3)).map(|lane| (lane, self.dice.number()));
                Offer { live: Some(session), received: received.collect(), ..offer }
            }
            (Some(session), 1) => Offer { live: Some(session), ..offer },
            _ => offer,
        }
    }

    /// Remembers the session, if that is what was answered.
    fn hear(&mut self, answer: &[u8]) {
        if let [_, _, _, _, 1, body @ ..] = answer {
            let (_, (session, _), _): (Greeting, (u64, Counts), String) =
                postcard::from_bytes(body).unwrap();
            self.session = Some(session);
        }
    }

    fn act(&mut self, raw: &mut Raw) -> ControlFlow<()> {
        match self.dice.below(8) {
            0 => {
                let kind = u8::try_from(self.dice.below(12)).unwrap();
                let body = self.dice.bytes(40);
                raw.say(&control_frame(PROTOCOL, kind, &body));
            }
            1 => {
                let bytes = self.dice.bytes(40);
                raw.say(&bytes);
            }
            2 => drop(raw.connection.send_datagram(self.dice.bytes(40).into())),
            3 => drop(raw.connection.send_datagram(frame(3).into())),
            4 => {
                raw.break_off();
                return ControlFlow::Break(());
            }
            _ => self.write_lane(raw),
        }
        ControlFlow::Continue(())
    }

    /// Opens a lane with some frames, true or not, and leaves it, ends it or breaks it off.
    fn write_lane(&mut self, raw: &Raw) {
        let Some(mut stream) = raw.try_stream(Duration::from_millis(20)) else { return };
        let first = if self.dice.below(3) == 0 { self.dice.number() } else { 0 };
        let mut bytes = [self.dice.number(), first].map(u64::to_le_bytes).concat();
        for number in 0..self.dice.below(5) {
            let frame = frame(number);
            bytes.extend(u32::try_from(frame.len()).unwrap().to_le_bytes());
            bytes.extend(frame);
        }
        raw.write(&mut stream, &self.dice.damage(bytes));
        match self.dice.below(3) {
            0 => drop(stream.finish()),
            1 => drop(stream.reset(quinn::VarInt::from_u32(1))),
            _ => (),
        }
    }
}

fn frame(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    event("a", number).encode_into(&mut bytes);
    bytes
}
