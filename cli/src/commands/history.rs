//! `history`: what clients saw, judged.

use std::time::Instant;

use serde_json::{Value, json};
use synod_simulator::history::read::{Form, Model, check_text, value_of};
use synod_simulator::history::{Checked, Limit, Limited, Part, Verdict};

use crate::args::{ConsistencyArg, History, HistoryCheck};
use crate::printer::{Printer, named, quoted, thousands};
use crate::problem::{Exit, Problem};

/// Bytes of a history that are read.
const BYTES_MAX: usize = 256 << 20;

pub(crate) fn run(asked: &History, printer: &Printer) -> Result<(), Problem> {
    match asked {
        History::Check(asked) => run_check(asked, printer),
    }
}

fn run_check(asked: &HistoryCheck, printer: &Printer) -> Result<(), Problem> {
    let model = model(asked)?;
    let path = asked.file.display();
    let hint = "name a history: JSON lines, a log of Jepsen's etcd tests, or EDN";
    let text = super::bytes(&asked.file, BYTES_MAX, hint)?;
    let began = Instant::now();
    let mut is_late = || asked.time_limit.is_some_and(|limit| limit <= began.elapsed());
    let mut limit = Limit::until(&mut is_late);
    let consistency = asked.consistency.consistency();
    let (form, checked) = check_text(&text, asked.format.form(), &model, consistency, &mut limit)
        .map_err(|bad| {
        Problem::new(Exit::Usage, format!("`{path}`, {bad}")).hint(bad.allowed)
    })?;
    if checked.operations + checked.failed == 0 {
        let what = format!("`{path}` has no operations: there is nothing to judge");
        let hint = "is it the right file, and did any client ask for anything?";
        return Err(Problem::new(Exit::NothingRan, what).hint(hint));
    }
    printer.say(format!(
        "{path}: {} operations ({} more failed), {} of them open, in {} part(s)",
        thousands(checked.operations as u64),
        thousands(checked.failed as u64),
        thousands(checked.open as u64),
        thousands(checked.parts as u64),
    ));
    event(asked, form, &checked, printer);
    conclude(asked, &checked.verdict, printer)
}

fn model(asked: &HistoryCheck) -> Result<Model, Problem> {
    let initial = asked.initial.as_deref().map(value_of);
    let text = asked.initial.clone().map(synod_simulator::history::Value::Text);
    // The values of a key-value store are texts, also those that look like numbers.
    let initial = match asked.model.as_str() {
        "kv" => {
            initial.filter(|it| matches!(it, synod_simulator::history::Value::Text(_))).or(text)
        }
        _ => initial,
    };
    Model::named(&asked.model, initial)
        .map_err(|error| Problem::new(Exit::Usage, error.to_string()).hint("leave --initial out"))
}

fn conclude(asked: &HistoryCheck, verdict: &Verdict, printer: &Printer) -> Result<(), Problem> {
    let name = name(asked.consistency);
    match verdict {
        Verdict::Consistent => {
            printer.say(format!("  ✓ {name} as a {}", asked.model));
            printer.next(stricter(asked));
            Ok(())
        }
        Verdict::Inconsistent(part) => {
            printer.say(format!("  ✗ not {name} as a {}", asked.model));
            explain(part, printer);
            printer.next(weaker(asked));
            Err(Problem::violated(&format!("the history is {name}")))
        }
        Verdict::Unknown(limited) => {
            printer.say(format!("  ? not decided: {limited}"));
            let what = format!("no answer: {limited}");
            let hint = match limited {
                Limited::Memory => {
                    "judge a part of it by itself: fewer operations, or fewer clients"
                }
                _ => "raise --time-limit, or leave it out",
            };
            Err(Problem { told: true, ..Problem::new(Exit::Inconclusive, what).hint(hint) })
        }
    }
}

fn explain(part: &Part, printer: &Printer) {
    let count = part.operations.len();
    let small = if part.is_minimal { "the smallest part" } else { "a small part" };
    let others = match part.others {
        0 => String::new(),
        others => format!(", whatever the {others} others of these keys did"),
    };
    printer.say(format!("\n{small} that cannot be ordered: {count} operation(s){others}"));
    let named = part.from.join(", ");
    printer.say(match part.starts {
        1 => format!("from the first state: {named}\n"),
        all if all == part.from.len() => format!("whichever was the state before it: {named}\n"),
        all => format!("whichever of {all} states was before it: {named}, ..\n"),
    });
    printer.say(part.picture(printer.is_ascii()));
    printer.say(&part.why);
}

fn name(consistency: ConsistencyArg) -> &'static str {
    match consistency {
        ConsistencyArg::Linearizable => "linearizable",
        ConsistencyArg::Sequential => "sequentially consistent",
    }
}

/// The question that is left after a good answer.
fn stricter(asked: &HistoryCheck) -> String {
    match asked.consistency {
        ConsistencyArg::Linearizable => format!("{} --json", again(asked)),
        ConsistencyArg::Sequential => again(asked),
    }
}

/// The question that is left after a bad one.
fn weaker(asked: &HistoryCheck) -> String {
    match asked.consistency {
        ConsistencyArg::Linearizable => format!("{} --consistency sequential", again(asked)),
        ConsistencyArg::Sequential => format!("{} --consistency sequential --json", again(asked)),
    }
}

fn again(asked: &HistoryCheck) -> String {
    let initial =
        asked.initial.as_ref().map_or_else(String::new, |it| format!(" --initial {}", quoted(it)));
    format!("history check {} --model {}{initial}", quoted(&asked.file), asked.model)
}

fn event(asked: &HistoryCheck, form: Form, checked: &Checked, printer: &Printer) {
    let name = name(asked.consistency);
    let (verdict, holds) = match &checked.verdict {
        Verdict::Consistent => (name.replace(' ', "-"), Some(true)),
        Verdict::Inconsistent(_) => (format!("not-{}", name.replace(' ', "-")), Some(false)),
        Verdict::Unknown(_) => (String::from("unknown"), None),
    };
    let mut line = json!({
        "event": "history", "verdict": verdict, "valid": holds, "model": asked.model,
        "format": form.to_string(), "operations": checked.operations, "open": checked.open,
        "failed": checked.failed, "parts": checked.parts, "steps": checked.steps, "file": named(&asked.file),
    });
    if let (Verdict::Inconsistent(part), Some(fields)) = (&checked.verdict, line.as_object_mut()) {
        fields.extend(described(part).as_object().cloned().unwrap_or_default());
    }
    if let (Verdict::Unknown(limited), Some(fields)) = (&checked.verdict, line.as_object_mut()) {
        fields.insert(String::from("reason"), Value::from(limited.to_string()));
    }
    printer.event(&line);
}

fn described(part: &Part) -> Value {
    let operations: Vec<Value> = (part.operations.iter())
        .map(|it| {
            json!({
                "client": it.client, "operation": it.text, "invoked": it.invoked,
                "returned": it.returned,
            })
        })
        .collect();
    json!({
        "smallest": operations, "others": part.others, "minimal": part.is_minimal,
        "from": part.from, "starts": part.starts, "why": part.why,
    })
}
