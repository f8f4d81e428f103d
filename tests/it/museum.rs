//! The museum of bugs: defects that the simulator must find, each beside the correct algorithm.
//!
//! `tests/museum/README.md` is the guide.

#[path = "../museum/abd.rs"]
mod abd;
#[path = "../museum/bully.rs"]
mod bully;
#[path = "../museum/byzantine_broadcast.rs"]
mod byzantine_broadcast;
#[path = "../museum/causal_broadcast.rs"]
mod causal_broadcast;
#[path = "../museum/chang_roberts.rs"]
mod chang_roberts;
#[path = "../museum/consistent_broadcast.rs"]
mod consistent_broadcast;
#[path = "../museum/counter.rs"]
mod counter;
#[path = "../museum/dedup.rs"]
mod dedup;
#[path = "../museum/durable_register.rs"]
mod durable_register;
#[path = "../museum/exhibit.rs"]
mod exhibit;
#[path = "../museum/fifo_broadcast.rs"]
mod fifo_broadcast;
#[path = "../museum/lamport_mutex.rs"]
mod lamport_mutex;
#[path = "../museum/lease.rs"]
mod lease;
#[path = "../museum/paxos.rs"]
mod paxos;
#[path = "../museum/reliable_broadcast.rs"]
mod reliable_broadcast;
#[path = "../museum/term_election.rs"]
mod term_election;
#[path = "../museum/token_ring.rs"]
mod token_ring;
#[path = "../museum/two_phase_commit.rs"]
mod two_phase_commit;
#[path = "../museum/uniform_broadcast.rs"]
mod uniform_broadcast;
#[path = "../museum/voting.rs"]
mod voting;
