use super::*;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);
const NOW: Duration = Duration::from_secs(1);

fn book(me: NodeId, incarnation: u64) -> AddressBook {
    AddressBook::new(me, incarnation, [N1, N2, N3].into())
}

fn entry(node: NodeId, incarnation: u64, revision: u64, address: &str) -> Entry {
    Entry { node, version: Version { incarnation, revision }, address: String::from(address) }
}

#[test]
fn an_entry_is_told_once_and_again_only_while_it_is_not_confirmed() {
    let mut book = book(N1, 1);
    book.announce("10.0.0.1:7400");
    book.connected(N2, 5);
    let told = book.due(N2, NOW);
    assert_eq!(told, [entry(N1, 1, 1, "10.0.0.1:7400")]);
    assert_eq!(book.due(N2, NOW), [], "it is under way");
    assert!(book.is_waiting(N2));
    assert_eq!(book.due(N2, NOW + RESEND), told, "it may be lost");
    book.confirmed(N2, &[(N1, told[0].version)]);
    assert!(!book.is_waiting(N2));
    assert_eq!(book.due(N2, NOW + 9 * RESEND), []);
}

#[test]
fn what_may_be_lost_with_a_connection_is_told_at_once_on_the_next_one() {
    let mut book = book(N1, 1);
    book.announce("10.0.0.1:7400");
    book.connected(N2, 5);
    let told = book.due(N2, NOW);
    book.connected(N2, 5);
    assert_eq!(book.due(N2, NOW), told);
    book.confirmed(N2, &[(N1, told[0].version)]);
    book.connected(N2, 5);
    assert_eq!(book.due(N2, NOW), [], "the same life has it");
    book.connected(N2, 6);
    assert_eq!(book.due(N2, NOW), told, "another life has nothing");
}

#[test]
fn a_later_entry_takes_the_place_of_an_earlier_one_in_whatever_order_they_come() {
    let old = entry(N3, 1, 2, "10.0.0.3:1");
    let new = entry(N3, 2, 1, "10.0.0.3:2");
    for order in [[&old, &new], [&new, &old]] {
        let mut book = book(N1, 1);
        book.connected(N2, 5);
        for entry in order {
            book.hear(N2, vec![entry.clone()]).unwrap();
        }
        assert_eq!(book.address(N3), Some("10.0.0.3:2"));
    }
}

#[test]
fn only_what_is_new_is_said_to_have_moved_and_nobody_is_told_what_he_told() {
    let mut book = book(N1, 1);
    book.connected(N2, 5);
    let told = vec![entry(N3, 1, 1, "10.0.0.3:1")];
    assert_eq!(book.hear(N2, told.clone()).unwrap().moved, [N3]);
    assert_eq!(book.hear(N2, told).unwrap().moved, []);
    assert_eq!(book.due(N2, NOW), []);
    book.connected(N3, 1);
    assert_eq!(book.due(N3, NOW), [], "it knows where it is");
}

#[test]
fn nobody_else_says_where_this_node_is() {
    let mut book = book(N1, 1);
    book.announce("10.0.0.1:7400");
    let heard = book.hear(N2, vec![entry(N1, 9, 9, "6.6.6.6:1")]).unwrap();
    assert_eq!(heard.moved, []);
    assert_eq!(book.address(N1), Some("10.0.0.1:7400"));
    book.announce("10.0.0.1:7400");
    book.announce("10.0.0.9:7400");
    book.connected(N2, 1);
    assert_eq!(book.due(N2, NOW), [entry(N1, 1, 2, "10.0.0.9:7400")]);
}

#[test]
fn a_node_that_does_not_know_where_it_is_believes_its_peers() {
    let mut unsure = book(N3, 1);
    unsure.seen_at("127.0.0.1:9");
    assert_eq!(unsure.address(N3), Some("127.0.0.1:9"));
    unsure.seen_at("127.0.0.1:10");
    assert_eq!(unsure.address(N3), Some("127.0.0.1:10"), "it has moved within its machine");
    unsure.seen_at("10.0.0.3:7400");
    unsure.seen_at("127.0.0.1:9");
    unsure.seen_at("nonsense");
    assert_eq!(unsure.address(N3), Some("10.0.0.3:7400"));
    unsure.seen_at("10.9.0.3:7400");
    assert_eq!(unsure.address(N3), Some("10.9.0.3:7400"), "it has moved");
    let mut sure = book(N3, 1);
    sure.announce("n3.example.org:7400");
    sure.seen_at("10.0.0.3:7400");
    assert_eq!(sure.address(N3), Some("n3.example.org:7400"));
}

#[test]
fn strangers_are_not_entered_and_are_confirmed_so_that_they_do_not_come_again() {
    let mut book = book(N1, 1);
    let heard = book.hear(N2, vec![entry(NodeId(9), 1, 1, "10.0.0.9:1")]).unwrap();
    assert_eq!(heard.strangers, [NodeId(9)]);
    assert_eq!(heard.taken.len(), 1);
    assert_eq!(book.address(NodeId(9)), None);
}

#[test]
fn nonsense_is_refused_as_a_whole() {
    let mut book = book(N1, 1);
    let many = vec![entry(N3, 1, 1, "10.0.0.3:1"); ENTRIES_MAX + 1];
    assert_eq!(book.hear(N2, many), Err(Nonsense::TooMany(ENTRIES_MAX + 1)));
    let told = vec![entry(N2, 1, 1, "10.0.0.2:1"), entry(N3, 1, 1, "nowhere")];
    assert_eq!(book.hear(N2, told), Err(Nonsense::NoAddress(N3)));
    assert_eq!(book.address(N2), None);
    for good in ["10.0.0.1:7400", "n1.example.org:1", "[fe80::1%eth0]:65535", "localhost:80"] {
        assert!(is_address(good), "{good}");
    }
    let long = format!("{}:1", "a".repeat(ADDRESS_BYTES_MAX));
    for bad in ["", "a", ":1", "a:0", "a:65536", "a b:1", "a\n:1", "ä:1", &long] {
        assert!(!is_address(bad), "{bad}");
    }
}
