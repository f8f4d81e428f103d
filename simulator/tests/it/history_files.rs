//! Histories from files: what each form means, and that damage is told.

use proptest::prelude::*;
use serde_json::json;
use synod_simulator::history::models::{Register, RegisterAnswer, RegisterCall};
use synod_simulator::history::read::{BadHistory, Form, Model, check_text, value_of};
use synod_simulator::history::{
    Checked, Consistency, History, Limit, Value, Verdict, check, history_lines,
};

use edn::edn;

mod edn;

fn judged(text: &str, model: &str, initial: Option<&str>) -> Result<Checked, BadHistory> {
    let model = Model::named(model, initial.map(value_of)).expect("a model");
    let mut limit = Limit::steps(5_000_000);
    let read = check_text(text.as_bytes(), None, &model, Consistency::Linearizable, &mut limit);
    read.map(|(_, checked)| checked)
}

fn holds(text: &str, model: &str, initial: Option<&str>) -> bool {
    match judged(text, model, initial).expect("a history").verdict {
        Verdict::Consistent => true,
        Verdict::Inconsistent(_) => false,
        Verdict::Unknown(limited) => panic!("{limited}"),
    }
}

/// A log of etcd tests from lines like `3 invoke cas [1 2]`.
fn etcd(lines: &[&str]) -> String {
    let line = |line: &&str| {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (process, kind, f, value) = (word(), word(), word(), word());
        format!("INFO  jepsen.util - {process}\t:{kind}\t:{f}\t{value}\n")
    };
    lines.iter().map(line).collect()
}

#[test]
fn in_the_etcd_form_a_failed_cas_is_a_comparison_that_was_false() {
    let failed = |old| {
        etcd(&[
            "0 invoke write 1",
            "0 ok write 1",
            &format!("0 invoke cas [{old} 2]"),
            &format!("0 fail cas [{old} 2]"),
        ])
    };
    assert!(holds(&failed(3), "cas-register", None));
    assert!(!holds(&failed(1), "cas-register", None));
}

#[test]
fn in_the_etcd_form_nil_is_what_is_read_before_any_write() {
    let read = |value| etcd(&["0 invoke read nil", &format!("0 ok read {value}")]);
    assert!(holds(&read("nil"), "cas-register", None));
    assert!(!holds(&read("0"), "cas-register", None));
    assert!(holds(&read("0"), "cas-register", Some("0")));
    assert!(!holds(&read("nil"), "cas-register", Some("0")));
    assert!(holds(&read("-3"), "register", Some("-3")));
}

#[test]
fn what_timed_out_may_have_happened_or_not_at_any_later_time() {
    let lines = ["0 invoke write 1", "0 ok write 1", "1 invoke write 2", "1 info write :timed-out"];
    let reads = |values: &[u8]| {
        let mut lines: Vec<String> = lines.map(String::from).into();
        // The process that came back has another number; the line may stand there twice.
        lines.push(String::from("1 info write :timed-out"));
        for value in values {
            lines.extend([String::from("6 invoke read nil"), format!("6 ok read {value}")]);
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        etcd(&lines)
    };
    for (values, expected) in
        [(&[1, 1][..], true), (&[2, 2], true), (&[1, 1, 2], true), (&[1, 2, 1], false)]
    {
        assert_eq!(holds(&reads(values), "cas-register", None), expected, "{values:?}");
    }
    let timed_out = etcd(&[
        "0 invoke read nil",
        "0 fail read :timed-out",
        "0 invoke read nil",
        "0 ok read nil",
    ]);
    assert!(holds(&timed_out, "register", None));
    let cas = etcd(&[
        "0 invoke cas [1 2]",
        "0 fail cas :timed-out",
        "0 invoke read nil",
        "0 ok read nil",
    ]);
    assert!(holds(&cas, "cas-register", None));
}

#[test]
fn the_columns_of_a_log_are_set_apart_by_tabs_or_by_spaces() {
    let tabs =
        etcd(&["10 invoke cas [2 1]", "10 fail cas [2 1]", "3 invoke read nil", "3 ok read 1"]);
    let after_the_logger = ["\t-\t", "  -  ", " - \t", ": ", "\t"];
    let spaced =
        after_the_logger.map(|gap| tabs.replace("jepsen.util - ", &format!("jepsen.util{gap}")));
    for text in [tabs.replace('\t', "   "), tabs.replace('\n', "\r\n"), tabs].iter().chain(&spaced)
    {
        assert!(holds(text, "cas-register", Some("1")), "{text}");
        assert!(!holds(text, "cas-register", Some("2")), "{text}");
    }
}

#[test]
fn an_operation_of_a_log_is_never_skipped_silently() {
    let sound = etcd(&["3 invoke read nil", "3 ok read nil"]);
    for (from, to) in [("jepsen.util", "jepsen.utils"), ("INFO  jepsen.util - ", "INFO  worker - ")]
    {
        let lost =
            format!("{sound}{}", etcd(&["4 invoke write 1", "4 ok write 1"]).replace(from, to));
        let bad = judged(&lost, "register", None).expect_err("which history is it?");
        assert_eq!(bad.line, 3, "{bad}");
        assert!(bad.what.ends_with("is an operation, but not of `jepsen.util`"), "{bad}");
    }
}

#[test]
fn every_form_may_begin_with_a_byte_order_mark_and_have_blank_lines_and_windows_line_ends() {
    let lines = ["0 invoke write -1", "0 ok write -1", "0 invoke read nil", "0 ok read -1"];
    let json = "{\"synod_history\":1}
        {\"event\":\"invoke\",\"client\":\"a\",\"id\":1,\"f\":\"write\",\"value\":\"\\u00e9 \\\"b\\\"\"}
        {\"event\":\"return\",\"id\":1}
        {\"event\":\"invoke\",\"client\":\"a\",\"id\":2,\"f\":\"read\"}
        {\"event\":\"return\",\"id\":2,\"value\":\"é \\\"b\\\"\"}\n";
    for text in [etcd(&lines), edn(&lines), String::from(json)] {
        let text = format!("\u{feff}{}", text.replace('\n', "\r\n\r\n"));
        assert!(holds(&text, "register", None), "{text}");
        let other =
            text.replace("read\t-1", "read\t1").replace(":read, :value -1", ":read, :value 1");
        let other = other.replace("\"value\":\"é", "\"value\":\"e");
        assert!(!holds(&other, "register", None), "{other}");
    }
}

#[test]
fn in_json_lines_null_was_read_and_an_answer_that_is_left_out_is_not_known() {
    let read = |value: &str| {
        format!(
            "{{\"synod_history\":1}}\n{{\"event\":\"invoke\",\"client\":\"a\",\"id\":5,\"f\":\"read\"}}
             {{\"event\":\"return\",\"id\":5{value}}}\n"
        )
    };
    for (value, initial, expected) in [
        (",\"value\":null", None, true),
        (",\"value\":null", Some("0"), false),
        ("", Some("0"), true),
        (",\"value\":0", Some("0"), true),
    ] {
        assert_eq!(holds(&read(value), "register", initial), expected, "{value}");
    }
}

#[test]
fn the_other_lines_of_a_log_are_skipped() {
    let log = format!(
        "INFO  jepsen.core - Running worker 0\n{}WARN  jepsen.client - gone\n\
         java.net.SocketTimeoutException: Read timed out\n\tat java.net.SocketInputStream\n\n\
         INFO  jepsen.util - :nemesis\t:info\t:start\tnil\n{}",
        etcd(&["0 invoke write 1"]),
        etcd(&["0 ok write 1"]),
    );
    let checked = judged(&log, "register", None).expect("a history");
    assert_eq!((checked.operations, checked.open), (1, 0));
}

#[test]
fn what_is_no_history_is_refused_with_its_line_and_what_would_be_one() {
    let header = "{\"synod_history\":1}\n";
    let invoke = "{\"event\":\"invoke\",\"client\":\"a\",\"id\":1,\"f\":\"read\"}\n";
    let ok = "{\"event\":\"return\",\"id\":1}\n";
    for (text, line, says) in [
        (etcd(&["0 ok read 1"]), 1, "never invoked"),
        (etcd(&["0 invoke read nil", "0 ok write 1"]), 2, "under way is the read of line 1"),
        (etcd(&["0 invoke read nil", "0 invoke read nil"]), 2, "while its read of line 1"),
        (etcd(&["0 invoke write 1", "0 ok write 2"]), 2, "returns 2, but what was invoked is 1"),
        (etcd(&["0 invoke read nil"]) + "\u{1}garbage", 2, "neither an operation nor"),
        (etcd(&["0 invoke read nil"]) + "INFO  jepsen.ut", 2, "neither an operation nor"),
        (etcd(&["0 invoke read nil"]) + "INFO  jepsen.util - 0\t:o", 2, "does not say what"),
        (etcd(&["0 invoke cas [1"]), 1, "no value"),
        (etcd(&["0 invoke cas 1"]), 1, "expected [old new]"),
        (String::from("hello\n"), 1, "neither an operation nor"),
        (String::new(), 1, "no history"),
        (String::from("{:process 0 :type :invoke :f :read"), 1, "ends before the `}`"),
        (String::from("[{:process 0 :type :invoke :f :read}\n"), 2, "begins in line 1"),
        (String::from("{:process 0 :type :invoke :f :jump :value 1}"), 1, "no operation jump"),
        (String::from("{:process 0 :type :oops :f :read}"), 1, "no :type"),
        (String::from("\n{:type :invoke :f :read}"), 2, "no :process"),
        (String::from("{:process 0 :type :invoke :f :read :key 1}"), 1, "has the key 1"),
        (String::from("[1 2]"), 1, "no map"),
        ("#_[".repeat(5_000), 1, "nested deeper"),
        (format!("{header}{ok}"), 2, "not under way"),
        (format!("{header}{invoke}{ok}{ok}"), 4, "not under way"),
        (format!("{header}{invoke}{invoke}"), 3, "a second time"),
        (format!("{header}{{\"event\":\"invoke\",\"id\":1}}"), 2, "needs `client` and `f`"),
        (format!("{header}{{\"event\":\"in"), 2, "EOF"),
        (format!("{header}{{\"event\":\"return\",\"id\":1,\"at\":3}}"), 2, "unknown field"),
        (String::from(invoke), 1, "which form"),
    ] {
        let bad = judged(&text, "cas-register", None).expect_err(&text);
        assert_eq!(bad.line, line, "{bad}: {text}");
        assert!(bad.what.contains(says), "{says}: {bad}");
        assert!(!bad.allowed.is_empty());
    }
    let text = [b"INFO  jepsen.util - 0 :invoke :read nil\n\xff".as_slice()].concat();
    let model = Model::Register(Value::Nil);
    let bad = check_text(&text, None, &model, Consistency::Linearizable, &mut Limit::none());
    assert_eq!(bad.expect_err("no text").line, 2);
}

#[test]
fn a_history_that_is_written_as_json_lines_is_read_as_the_same() {
    let mut history = History::default();
    history.invoke("a", 1, RegisterCall::Write(3)).unwrap();
    history.invoke("b", 2, RegisterCall::Read).unwrap();
    history.invoke("c", 3, RegisterCall::Cas { old: 3, new: 4 }).unwrap();
    history.returned(2, Some(RegisterAnswer::Value(3))).unwrap();
    history.returned(3, Some(RegisterAnswer::Swapped(true))).unwrap();
    let text = history_lines(
        &history,
        |call| match call {
            RegisterCall::Read => ("read".into(), None, json!(null)),
            RegisterCall::Write(value) => ("write".into(), None, json!(value)),
            RegisterCall::Cas { old, new } => ("cas".into(), None, json!([old, new])),
        },
        |answer| match answer {
            RegisterAnswer::Value(value) => json!(value),
            RegisterAnswer::Written => json!(null),
            RegisterAnswer::Swapped(swapped) => json!(swapped),
        },
    );
    assert_eq!(Form::guess(text.as_bytes()), Form::JsonLines);
    let read = judged(&text, "cas-register", None).expect("a history");
    let direct = check(&history, &Register::new(0), Consistency::Linearizable, &mut Limit::none());
    assert!(matches!((read.verdict, direct.verdict), (Verdict::Consistent, Verdict::Consistent)));
    assert_eq!((read.operations, read.open), (3, 1));
    let stale = text.replace("\"id\":2,\"value\":3", "\"id\":2,\"value\":5");
    assert!(!holds(&stale, "cas-register", None));
    let failed = text
        .replace("{\"event\":\"return\",\"id\":3,\"value\":true}", "{\"event\":\"fail\",\"id\":3}");
    assert_eq!(judged(&failed, "cas-register", None).expect("a history").operations, 2);
}

/// Texts of every form, to be damaged.
fn sound() -> Vec<String> {
    let lines = [
        "0 invoke write 1",
        "0 ok write 1",
        "1 invoke cas [1 2]",
        "2 invoke read nil",
        "1 ok cas [1 2]",
        "2 ok read 2",
    ];
    vec![
        etcd(&lines),
        edn(&lines),
        format!("[{}]", edn(&lines)),
        String::from(
            "{\"synod_history\":1}\n\
             {\"event\":\"invoke\",\"client\":\"a\",\"id\":1,\"f\":\"write\",\"value\":[1,{\"x\":2}]}\n\
             {\"event\":\"return\",\"id\":1,\"value\":null}\n",
        ),
    ]
}

proptest! {
    #[test]
    fn damaged_texts_are_read_or_refused_and_never_a_panic(
        which in 0..4_usize,
        cuts in proptest::collection::vec((any::<usize>(), any::<usize>(), any::<u8>()), 1..6),
        form in 0..4_usize,
        model in 0..Model::NAMES.len(),
    ) {
        let mut bytes = sound().swap_remove(which).into_bytes();
        for (from, length, byte) in cuts {
            let from = from % (bytes.len() + 1);
            let to = (from + length % 9).min(bytes.len());
            let put = [byte % 128, b"[]{}()#\"\\:; \n,"[usize::from(byte) % 14], byte];
            bytes.splice(from..to, put[..usize::from(byte) % 4].to_vec());
        }
        let form = [None, Some(Form::Etcd), Some(Form::Edn), Some(Form::JsonLines)][form];
        let model = Model::named(Model::NAMES[model], None).unwrap();
        let mut limit = Limit::steps(10_000);
        let read = check_text(&bytes, form, &model, Consistency::Linearizable, &mut limit);
        if let Err(bad) = read {
            let lines = bytes.iter().filter(|it| **it == b'\n').count() + 1;
            prop_assert!(1 <= bad.line && bad.line <= lines, "{bad}");
        }
    }
}

/// Every value may matter to somebody, and an operation that never returned leads to new ones from each.
#[test]
fn a_store_whose_clients_crashed_while_they_appended_is_judged_at_once() {
    let events = "2 invoke put y, 1 invoke append z, 5 invoke append x, 5 ok append x, 3 invoke append x,\
                 5 invoke put z, 0 invoke append x, 4 invoke append y, 0 ok append x, 0 invoke get nil,\
                 0 ok get zx, 2 info put y, 4 ok append y, 6 invoke get nil, 0 invoke append x,\
                 1 ok append z, 1 invoke append x, 4 invoke append y, 5 ok put z, 5 invoke append y,\
                 1 ok append x, 1 invoke get nil, 0 ok append x, 0 invoke append z, 0 ok append z,\
                 6 ok get zxyxzxyxz, 1 info get nil, 7 invoke append z, 3 ok append x, 3 invoke append z,\
                 5 ok append y, 7 ok append z, 4 ok append y, 3 ok append z";
    let event = |event: &str| {
        let words: Vec<&str> = event.split_whitespace().collect();
        let [process, kind, f, value] = words[..] else { panic!("{event}") };
        let value = if value == "nil" { String::from(value) } else { format!("{value:?}") };
        format!("{{:process {process} :type :{kind} :f :{f} :key \"k\" :value {value}}}\n")
    };
    assert!(holds(&events.split(',').map(event).collect::<String>(), "kv", None));
}
