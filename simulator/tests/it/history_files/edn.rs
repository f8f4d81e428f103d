//! Histories in EDN, and what each model reads from them.

use synod_simulator::history::Verdict;

use super::{holds, judged};

#[test]
fn edn_is_read_however_it_is_laid_out() {
    let events = [
        "{:process 0, :type :invoke, :f :write, :value 3}",
        "{:type :ok :f :write\n  :process 0 :value 3, :time 12, :error [:none nil \"x\\n\"]}",
        "#jepsen.history.Op{:index 2, :process 1, :type :invoke, :f :compare-and-set, :value (3 4)}",
        "{:process :nemesis, :type :info, :f :start, :value #{:n1 \"n2\" 3.5 1/2 \\a}}",
        "; a comment { [\n",
        "{:process 1 :type :ok :f :compare-and-set :value [3, 4] :x #inst \"2020\" #_ {:not this}}",
        "{:process 2, :type :invoke, :f :read, :value nil}, {:process 2, :type :ok, :f :read, :value 4}",
    ];
    let lines = events.join("\n");
    for text in [lines.clone(), format!("[{lines}]"), format!(";; log\n({lines}\n)\n; end\n")] {
        let checked = judged(&text, "cas-register", None).expect("a history");
        assert_eq!(checked.operations, 3, "{text}");
        assert!(matches!(checked.verdict, Verdict::Consistent), "{text}");
    }
    let wrong = lines.replace(":value 4}", ":value 3}");
    assert!(!holds(&wrong, "cas-register", None));
}

#[test]
fn maps_with_texts_for_keys_are_edn_and_not_json() {
    let invoke = "{\"process\" 0, \"type\" :invoke, \"f\" \"read\", \"value\" nil}\n";
    let ok = "{\"type\" :ok, \"process\" 0, \"f\" :read, \"value\" 4}\n";
    let swapped = "{\"type\" :invoke, \"process\" 0, \"f\" :read}\n";
    for text in [format!("{invoke}{ok}"), format!("{swapped}{ok}")] {
        assert!(holds(&text, "register", Some("4")), "{text}");
        assert!(!holds(&text, "register", Some("5")), "{text}");
    }
}

/// Events in EDN from lines like `3 invoke cas [1 2]`.
pub(super) fn edn(lines: &[&str]) -> String {
    let line = |line: &&str| {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (process, kind, f, value) = (word(), word(), word(), word());
        format!("{{:process {process}, :type :{kind}, :f :{f}, :value {value}}}\n")
    };
    lines.iter().map(line).collect()
}

#[test]
fn in_edn_what_failed_did_not_happen_and_a_read_of_nil_read_anything() {
    let lines = ["0 invoke write 1", "0 ok write 1", "0 invoke cas [1 2]", "0 fail cas [1 2]"];
    let reads = |value: &str| {
        let read = format!("2 ok read {value}");
        edn(&[&lines[..], &["2 invoke read nil", &read]].concat())
    };
    assert!(holds(&reads("1"), "cas-register", None));
    assert!(holds(&reads("nil"), "cas-register", None));
    assert!(!holds(&reads("2"), "cas-register", None));
    let failed = edn(&["1 invoke read nil", "7 invoke write 3", "7 fail write 3", "1 ok read 3"]);
    assert!(!holds(&failed, "cas-register", None), "nobody wrote 3");
    let ended = edn(&[
        "7 invoke write 3",
        "7 info write 3",
        "7 ok write 3",
        "1 invoke read nil",
        "1 ok read nil",
    ]);
    assert_eq!(
        judged(&ended, "register", None).expect("a history").open,
        0,
        "it returned after all"
    );
}

#[test]
fn in_edn_what_was_done_is_what_the_return_tells_of_it() {
    let told = |f: &str, planned: &str, done: &str, read: &str, model: &str, initial| {
        let lines = [
            format!("0 invoke {f} {planned}"),
            format!("0 ok {f} {done}"),
            String::from("1 invoke read nil"),
            format!("1 ok read {read}"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        holds(&edn(&lines), model, initial)
    };
    for (done, read, expected) in
        [("2", "2", true), ("2", "1", false), ("nil", "1", true), ("nil", "2", false)]
    {
        assert_eq!(told("write", "1", done, read, "register", None), expected, "{done} {read}");
    }
    assert!(told("write", "nil", "2", "2", "register", None), "chosen by the store");
    assert!(told("cas", "[7 8]", "[0 3]", "3", "cas-register", Some("0")));
    assert!(!told("cas", "[0 3]", "[7 8]", "3", "cas-register", Some("0")));
    assert!(told("add", "1", "2", "#{2}", "set", None));
    assert!(!told("add", "1", "2", "#{1}", "set", None));

    let contains = ["0 invoke add 1", "0 ok add 1", "0 invoke contains 1", "0 ok contains true"];
    assert!(holds(&edn(&contains), "set", None), "an answer is not what was asked");
    let several = ["0 invoke txn [[:write :x 2] [:read :y nil]]", "0 ok txn [[:read :y 1]]"];
    assert!(holds(&edn(&several), "multi-register", Some("1")));
    let put = "{:process 0 :type :invoke :f :put :key \"a\" :value \"1\"}
               {:process 0 :type :ok :f :put :key \"a\" :value \"2\"}
               {:process 0 :type :invoke :f :get :key \"a\"}
               {:process 0 :type :ok :f :get :key \"a\" :value \"READ\"}";
    assert!(holds(&put.replace("READ", "2"), "kv", None));
    assert!(!holds(&put.replace("READ", "1"), "kv", None));

    let wrong = edn(&["0 invoke cas [1 2]", "0 ok cas true"]);
    let bad = judged(&wrong, "cas-register", None).expect_err("no pair");
    assert_eq!(bad.line, 2);
    let given_up = ["0 invoke write 1", "0 info write 2", "1 invoke read nil", "1 ok read 2"];
    assert!(!holds(&edn(&given_up), "register", None), "only a return tells what was done");
}

#[test]
fn in_edn_events_carry_more_than_they_need_or_less() {
    let text = "; a cluster that lost its leader
        [{:type :invoke, :f :release, :process :a, :time 3411, :index 0}
        {:type :fail, :f :release, :process :a, :error [:gone \"no \\\"lease\\\" {:t 1}\"], :index 1}
        {:type :info, :f :start, :process :nemesis, :index 2}
        {:type :info, :f :stop, :process :nemesis, :value {:n1 #{:n2}}, :index 3}
        ; nobody holds it
        {:process :b :type :invoke, :f :acquire}
        {:process 22  :type :invoke,\n  :f :acquire}
        {:type :info,\n  :process :b,\n  :f :crash,\n  :error nil}
        {:type :info, :process 9, :f :crash, :value nil}
        {:process 22, :type :ok, :f :acquire}]\n";
    let checked = judged(text, "mutex", None).expect("a history");
    assert_eq!((checked.operations, checked.open), (2, 1));
    assert!(matches!(checked.verdict, Verdict::Consistent));
    for nothing in ["[]", "()", "; nothing\n[ ]\n"] {
        assert!(holds(nothing, "mutex", None), "{nothing}: it did nothing wrong");
    }
}

#[test]
fn locks_queues_sets_and_several_registers_are_read_from_edn() {
    let lock = ["0 invoke acquire nil", "0 ok acquire nil", "1 invoke acquire nil"];
    assert!(!holds(&edn(&[&lock[..], &["1 ok acquire nil"]].concat()), "mutex", None));
    assert!(holds(&edn(&[&lock[..], &["1 fail acquire nil"]].concat()), "mutex", None));
    let freed = ["0 invoke release nil", "0 info release nil", "1 ok acquire nil"];
    assert!(holds(&edn(&[&lock[..], &freed].concat()), "mutex", None));
    let bare = "{:type :invoke, :f :acquire, :process 1} {:type :ok, :f :acquire, :process 1}";
    assert!(holds(bare, "mutex", None));

    let queue = [
        "0 invoke enqueue 1",
        "0 ok enqueue 1",
        "0 invoke enqueue 2",
        "0 ok enqueue 2",
        "0 invoke dequeue nil",
    ];
    assert!(holds(&edn(&[&queue[..], &["0 ok dequeue 1"]].concat()), "queue", None));
    assert!(!holds(&edn(&[&queue[..], &["0 ok dequeue 2"]].concat()), "queue", None));

    let set = ["0 invoke add :a", "0 ok add :a", "0 invoke read nil"];
    assert!(holds(&edn(&[&set[..], &["0 ok read #{:a}"]].concat()), "set", None));
    assert!(!holds(&edn(&[&set[..], &["0 ok read #{}"]].concat()), "set", None));
    assert!(!holds(&edn(&[&set[..], &["0 ok read [:a :a]"]].concat()), "set", None));

    let several =
        ["0 invoke txn [[:write :x 2] [:read :y nil]]", "0 ok txn [[:write :x 2] [:read :y 1]]"];
    assert!(holds(&edn(&several), "multi-register", Some("{:x 0, :y 1}")));
    assert!(!holds(&edn(&several), "multi-register", Some("0")));
}

#[test]
fn a_store_is_read_key_by_key() {
    let line = |kind: &str, f: &str, key: &str, value: &str| {
        format!("{{:process 0, :type :{kind}, :f :{f}, :key \"{key}\", :value {value}}}\n")
    };
    let append = [line("invoke", "append", "0", "\"x 0\""), line("ok", "append", "0", "\"x 0\"")];
    let get =
        |key, value| [line("invoke", "get", key, "nil"), line("ok", "get", key, value)].concat();
    let text = append.concat() + &get("0", "\"x 0\"") + &get("1", "\"\"");
    let checked = judged(&text, "kv", None).expect("a history");
    assert_eq!((checked.parts, checked.operations), (2, 3));
    assert!(matches!(checked.verdict, Verdict::Consistent));
    assert!(!holds(&(append.concat() + &get("0", "\"\"")), "kv", None));
    assert!(!holds(&(append.concat() + &get("1", "\"x 0\"")), "kv", None));
}

#[test]
fn in_edn_a_value_may_be_a_key_with_a_value_where_operations_have_one_key() {
    let lines = [
        "0 invoke append [:x \"a\"]",
        "0 ok append [:x \"a\"]",
        "1 invoke get [:y nil]",
        "1 ok get [:y \"\"]",
        "1 invoke get [:x nil]",
    ];
    let reads = |value: &str| edn(&[&lines[..], &[&format!("1 ok get {value}")]].concat());
    assert_eq!(judged(&reads("[:x \"a\"]"), "kv", None).expect("a history").parts, 2);
    for (value, expected) in
        [("[:x \"a\"]", true), ("[:x nil]", true), ("nil", true), ("[:x \"\"]", false)]
    {
        assert_eq!(holds(&reads(value), "kv", None), expected, "{value}");
    }
    let bad = judged(&reads("[:y \"a\"]"), "kv", None).expect_err("another key");
    assert_eq!(bad.line, 6);
    assert!(bad.what.contains("get :y that it never invoked"), "{bad}");

    let several = ["0 invoke write [1 [2 3]]", "0 ok write [1 [2 3]]", "0 invoke read [1 nil]"];
    let reads = |value: &str| edn(&[&several[..], &[&format!("0 ok read {value}")]].concat());
    assert!(holds(&reads("[1 [2 3]]"), "multi-register", None));
    assert!(!holds(&reads("[1 4]"), "multi-register", None));
    // With a key of its own, a list is a value.
    let list = "{:process 0 :type :invoke :f :write :key 1 :value [2 3]}
                {:process 0 :type :ok :f :write :key 1 :value [2 3]}
                {:process 0 :type :invoke :f :read :key 1}
                {:process 0 :type :ok :f :read :value [2 3]}";
    assert!(holds(list, "multi-register", None));
    assert!(!holds(
        &list.replace("read :value [2 3]", "read :value [2 4]"),
        "multi-register",
        None
    ));
    let pair = ["0 invoke write [1 2]", "0 ok write [1 2]", "0 invoke read nil", "0 ok read [1 2]"];
    assert!(holds(&edn(&pair), "register", None), "a register without keys holds a list");
}

#[test]
fn a_process_that_got_no_answer_may_go_on_and_its_operation_takes_effect_later_or_never() {
    let lines = ["0 invoke write 1", "0 info write 1", "0 invoke write 2", "0 ok write 2"];
    let reads = |values: &[u8]| {
        let reads = values
            .iter()
            .flat_map(|value| [String::from("0 invoke read nil"), format!("0 ok read {value}")]);
        let lines: Vec<String> = lines.iter().map(ToString::to_string).chain(reads).collect();
        edn(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    };
    for (values, expected) in
        [(&[2, 2][..], true), (&[1], true), (&[2, 1], true), (&[1, 2], false), (&[3], false)]
    {
        assert_eq!(holds(&reads(values), "register", None), expected, "{values:?}");
    }
    // Its second return answers nothing that is under way.
    let bad = judged(&(reads(&[]) + &edn(&["0 ok write 1"])), "register", None);
    assert_eq!(bad.expect_err("no second return").line, 5);
}

#[test]
fn values_in_edn_are_of_any_kind_and_equal_only_to_their_own() {
    for value in
        ["-7", "\"a \\\"b\\\" \\u00e9\\n\"", ":k", "1.50", "[1 nil]", "{:a 1}", "true", "\\a"]
    {
        let [write, read] = [format!("0 invoke write {value}"), format!("0 ok read {value}")];
        let text = edn(&[&write, "0 ok write nil", "0 invoke read nil", &read]);
        assert!(holds(&text.replace('\n', "\r\n\r\n"), "register", None), "{value}");
        let other = text.replace(&read_of(value), &read_of("8"));
        assert!(!holds(&other, "register", None), "{value}");
    }
    let as_text =
        edn(&["0 invoke write 1", "0 ok write 1", "0 invoke read nil", "0 ok read \"1\""]);
    assert!(!holds(&as_text, "register", None), "a text is no number");
    let store = "{:process 0 :type :invoke :f :put :key 3 :value 1}
                 {:process 0 :type :ok :f :put :key 3 :value 1}
                 {:process 0 :type :invoke :f :append :key 3 :value -2}
                 {:process 0 :type :ok :f :append :key 3 :value -2}
                 {:process 0 :type :invoke :f :get :key 3}
                 {:process 0 :type :ok :f :get :key 3 :value \"1-2\"}";
    assert!(holds(store, "kv", None), "a store keeps digits");
    assert!(!holds(&store.replace("1-2", "-21"), "kv", None));
}

fn read_of(value: &str) -> String {
    edn(&[&format!("0 ok read {value}")])
}

#[test]
fn in_edn_whoever_acquires_holds_the_lock_whatever_the_answer_carries() {
    let text = "{:process :a, :type :invoke, :f :acquire} {:process :a, :type :ok, :f :acquire, :value false}
                {:process :b, :type :invoke, :f :acquire} {:process :b, :type :ok, :f :acquire, :value {:token 7}}";
    assert!(!holds(text, "mutex", None));
    assert!(holds(
        &text.replace(":ok, :f :acquire, :value {", ":fail, :f :acquire, :value {"),
        "mutex",
        None
    ));
}
