//! Chang and Roberts' election, as in the TLA+ module `ChangRoberts` of S. Merz: the smallest of
//! the numbers 1, 2, 3 that stand round the ring in this order is elected.
//!
//! Some processes begin, in all eight ways. Each comes to life in a step of its own, and what is
//! sent to it waits until then. A process that has lost passes on whatever comes. Messages
//! overtake each other, and who is elected tells nobody.

use serde::Serialize;

use super::Specification;

/// The model as it is published.
pub(crate) const PUBLISHED: u8 = 0;
/// Everybody begins, and all at once.
pub(crate) const AT_ONCE: u8 = 1;
/// And messages keep their order, and each is compared with the own number, as in the paper.
pub(crate) const COMPARING: u8 = 2;
/// And who is elected tells everybody: the algorithm of the library.
pub(crate) const ANNOUNCING: u8 = 3;

const PROCESSES: usize = 3;

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
enum Standing {
    Candidate,
    Lost,
    Won,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Message {
    Claim(usize),
    Elected(usize),
}

#[derive(Clone, Debug, Hash, Serialize)]
struct Process {
    begins: bool,
    is_up: bool,
    standing: Standing,
    leader: Option<usize>,
    /// What has been sent to it: a set in ascending order, or a queue.
    inbox: Vec<Message>,
}

#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// A process comes to life.
    Begin(usize),
    /// It takes this message out of its inbox.
    Receive(usize, Message),
}

/// The model of three processes, so many changes away from the published one.
#[derive(Clone, Debug, Hash, Serialize)]
pub(crate) struct ChangRoberts<const CHANGES: u8>(Vec<Process>);

impl<const CHANGES: u8> Specification for ChangRoberts<CHANGES> {
    const NAME: &'static str = "tla-chang-roberts";

    type Step = Step;

    fn initial() -> Vec<Self> {
        let all = 1_usize << PROCESSES;
        let subsets = if CHANGES < AT_ONCE { 0..all } else { all - 1..all };
        subsets.map(Self::of).collect()
    }

    fn steps(&self) -> impl Iterator<Item = Step> {
        self.0.iter().enumerate().flat_map(|(index, process)| {
            let begins = (!process.is_up).then_some(Step::Begin(index));
            let first = match process.is_up {
                true if CHANGES < COMPARING => process.inbox.len(),
                is_up => usize::from(is_up),
            };
            let inbox = process.inbox.iter().take(first);
            begins.into_iter().chain(inbox.map(move |message| Step::Receive(index, *message)))
        })
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Begin(index) => self.begin(index),
            Step::Receive(index, message) => self.receive(index, message),
        }
    }
}

impl<const CHANGES: u8> ChangRoberts<CHANGES> {
    /// The processes whose bits are set in `begin` do.
    fn of(begin: usize) -> Self {
        let process = |index: usize| {
            let begins = begin & (1_usize << index) != 0;
            let standing = if begins { Standing::Candidate } else { Standing::Lost };
            Process { begins, is_up: false, standing, leader: None, inbox: Vec::new() }
        };
        let mut state = Self((0..PROCESSES).map(process).collect());
        if AT_ONCE <= CHANGES {
            for index in 0..PROCESSES {
                state.begin(index);
            }
        }
        state
    }

    fn begin(&mut self, index: usize) {
        self.0[index].is_up = true;
        if self.0[index].begins {
            self.pass_on(index, Message::Claim(index + 1));
        }
    }

    fn receive(&mut self, index: usize, message: Message) {
        self.0[index].inbox.retain(|it| *it != message);
        match message {
            Message::Claim(number) => self.claim(index, number),
            Message::Elected(number) => {
                self.0[index].leader = Some(number);
                if number != index + 1 {
                    self.pass_on(index, message);
                }
            }
        }
    }

    fn claim(&mut self, index: usize, number: usize) {
        let (own, process) = (index + 1, &mut self.0[index]);
        if process.standing == Standing::Lost || number < own {
            if CHANGES < COMPARING {
                process.standing = Standing::Lost;
            }
            self.pass_on(index, Message::Claim(number));
        } else if number == own {
            process.standing = Standing::Won;
            if ANNOUNCING <= CHANGES {
                process.leader = Some(own);
                self.pass_on(index, Message::Elected(own));
            }
        }
    }

    fn pass_on(&mut self, index: usize, message: Message) {
        let inbox = &mut self.0[(index + 1) % PROCESSES].inbox;
        inbox.push(message);
        if CHANGES < COMPARING {
            inbox.sort_unstable();
        }
    }
}
