//! Stacks that do not fit together are refused before a node exists.

use serde::{Deserialize, Serialize};
use synod_core::{Boot, BuildError, Context, Event, EventId, HandlerSet, Handlers, Node};

use crate::kit::{N2, STRANGER, boot};

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "build.vote")]
struct Vote;

/// Another type with the name of [`Vote`].
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "build.vote")]
struct Ballot(u32);

/// Stands for a type whose name has the hash of `build.vote`.
#[derive(Debug, Serialize, Deserialize)]
struct Unlucky;

impl Event for Unlucky {
    const NAME: &'static str = "build.unlucky";
    const ID: EventId = Vote::ID;
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "build.digest", local)]
struct Digest;

fn hears_vote() -> Handlers<()> {
    Handlers::new().on(|(): &mut (), _: Vote| ())
}

fn refusal(one: Handlers<()>, other: Handlers<()>) -> BuildError {
    let stack = (HandlerSet::with((), one), HandlerSet::with((), other));
    Node::new(boot(N2), stack).expect_err("the stack does not fit together")
}

#[test]
fn algorithms_may_share_an_event_type() {
    let stack = (HandlerSet::with((), hears_vote()), HandlerSet::with((), hears_vote()));
    assert!(Node::new(boot(N2), stack).is_ok());
}

#[test]
fn two_event_types_of_one_name_are_refused() {
    let other = Handlers::new().on(|(): &mut (), _: Ballot| ());
    let refusal = refusal(hears_vote(), other);
    assert_eq!(refusal, BuildError::DuplicateEvent { name: "build.vote" });
    assert_eq!(
        refusal.to_string(),
        "two event types of this node have the wire name `build.vote`: rename one of them"
    );
}

#[test]
fn two_event_types_of_one_name_are_refused_in_whatever_role() {
    let record = Handlers::new().restore(|(): &mut (), _: Ballot| ());
    let output = Handlers::new().indicates::<Ballot>();
    let job = Handlers::new().job(|_: Ballot| Digest);
    for other in [record, output, job] {
        let refusal = refusal(hears_vote(), other);
        assert_eq!(refusal, BuildError::DuplicateEvent { name: "build.vote" });
    }
}

#[test]
fn two_names_of_one_hash_are_refused_with_both_named() {
    let other = Handlers::new().on(|(): &mut (), _: Unlucky| ());
    let expected = BuildError::Collision { one: "build.vote", other: "build.unlucky" };
    assert_eq!(refusal(hears_vote(), other), expected);
}

#[test]
fn two_jobs_for_one_event_are_refused() {
    let digests = || Handlers::new().job(|_: Vote| Digest);
    let expected = BuildError::DuplicateJob { name: "build.vote" };
    assert_eq!(refusal(digests(), digests()), expected);
    assert_eq!(refusal(Handlers::new(), digests().job(|_: Vote| Digest)), expected);
}

#[test]
fn a_node_outside_its_own_cluster_is_refused() {
    let boot = Boot { id: STRANGER, ..boot(N2) };
    let refusal = Node::new(boot, HandlerSet::new(())).err();
    let refusal = refusal.expect("the node is not a member").to_string();
    assert_eq!(refusal, "n9 is not in the list of the cluster's nodes [n1, n2, n3]");
}

#[derive(Debug)]
struct Voter;

impl Voter {
    fn vote(&mut self, _: Vote) {
        *self = Self;
    }

    fn count(&self, _: Vote, ctx: &mut Context) {
        ctx.log(format_args!("{self:?}"));
    }
}

#[test]
#[should_panic(expected = "two handlers for `build.vote`: \
                           it::build::Voter::vote and it::build::Voter::count")]
fn two_handlers_of_one_table_for_one_event_panic_with_both_named() {
    let _ = Handlers::new().on(Voter::vote).on(Voter::count);
}

#[test]
#[should_panic(expected = "two handlers for `build.vote` and `build.unlucky`, which have one hash")]
fn two_handlers_for_two_names_of_one_hash_panic_with_both_named() {
    let _ = hears_vote().on(|(): &mut (), _: Unlucky| ());
}

#[test]
#[should_panic(expected = "two handlers for `build.vote`")]
fn two_handlers_that_restore_one_record_panic() {
    let restores = || |(): &mut (), _: Vote| ();
    let _ = Handlers::new().restore(restores()).restore(restores());
}
