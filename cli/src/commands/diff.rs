//! `trace diff`: two runs side by side.

use serde_json::{Value, json};
use synod_simulator::{Comparison, Likeness, SideBySide, Step, Trace};

use super::convert::read;
use crate::app::App;
use crate::args::TraceDiff;
use crate::printer::{Printer, counted, named, quoted};
use crate::problem::{Exit, Problem};
use crate::terminal;

pub(crate) fn run(app: &App, asked: &TraceDiff, printer: &Printer) -> Result<(), Problem> {
    let (left, right) = (read(app, &asked.left)?, read(app, &asked.right)?);
    if left.algorithm != right.algorithm {
        let what = format!(
            "`{}` is a run of {}, and `{}` one of {}",
            asked.left.display(),
            left.algorithm,
            asked.right.display(),
            right.algorithm
        );
        let hint = "give two runs of one algorithm";
        return Err(Problem::new(Exit::Usage, what).hint(hint));
    }
    let comparison = Comparison::of(&left, &right);
    differences(&comparison, printer);
    draw(asked, &comparison, printer);
    for (side, file, trace) in [("left ", &asked.left, &left), ("right", &asked.right, &right)] {
        let steps = counted(trace.steps.len() as u64, "step", "steps");
        let end =
            wrong(trace).map_or_else(|| String::from("nothing violated"), |it| format!("✗ {it}"));
        printer.say(format!("{side}  {} · {steps} · {end}", file.display()));
    }
    printer.say(counts(&comparison));
    let parts = comparison.parts_at();
    printer.event(&json!({
        "event": "diff", "algorithm": left.algorithm,
        "left": {"file": named(&asked.left), "steps": left.steps.len(), "wrong": wrong(&left)},
        "right": {"file": named(&asked.right), "steps": right.steps.len(), "wrong": wrong(&right)},
        "parts_at": parts,
        "equal": comparison.count(Likeness::Equal), "shifted": comparison.count(Likeness::Shifted),
        "changed": comparison.count(Likeness::Changed),
        "only_left": comparison.count(Likeness::OnlyOne),
        "only_right": comparison.count(Likeness::OnlyOther),
    }));
    let [left, right] = [&asked.left, &asked.right].map(quoted);
    match parts {
        None => {
            printer.next(format!("trace convert {left} --to html --out run.html"));
            Ok(())
        }
        Some(step) => {
            printer.next(match asked.full {
                false => format!("trace diff {left} {right} --full"),
                true => format!("trace convert {left} --to html --out left.html"),
            });
            let what = format!("the runs are not the same: they part at step {step}");
            Err(Problem { told: true, ..Problem::new(Exit::Diverged, what) })
        }
    }
}

fn draw(asked: &TraceDiff, comparison: &Comparison<'_>, printer: &Printer) {
    if printer.is_for_programs() {
        return;
    }
    let width = asked.width.map_or_else(terminal::columns, usize::from);
    let [left, right] = [&asked.left, &asked.right].map(|file| file.display().to_string());
    let picture = SideBySide::of(comparison, [&left, &right], width);
    let picture = if printer.is_ascii() { picture.ascii() } else { picture };
    let picture = if asked.full { picture.full() } else { picture };
    printer.say(picture.to_string());
}

/// Every pair that is not the same in both runs, for programs.
fn differences(comparison: &Comparison<'_>, printer: &Printer) {
    let differ = comparison.pairs().iter().filter(|pair| pair.likeness != Likeness::Equal);
    for pair in differ {
        let step = |step: Option<&Step>| serde_json::to_value(step).unwrap_or(Value::Null);
        printer.event(&json!({
            "event": "difference", "likeness": pair.likeness.word(),
            "left": step(pair.one), "right": step(pair.other), "elsewhere": pair.elsewhere,
        }));
    }
}

/// What a run violates, as its last step that says so tells it.
fn wrong(trace: &Trace) -> Option<&str> {
    trace.steps.iter().rev().find_map(|step| step.wrong.as_deref())
}

/// How many pairs compare in which way, with the signs of the picture.
fn counts(comparison: &Comparison<'_>) -> String {
    let parts = [
        (Likeness::Equal, "alike"),
        (Likeness::Shifted, "~ at other times"),
        (Likeness::Changed, "≠ come to something else"),
        (Likeness::OnlyOne, "< only left"),
        (Likeness::OnlyOther, "> only right"),
    ];
    let parts = parts.map(|(likeness, words)| (comparison.count(likeness), words));
    let parts = parts.iter().filter(|(count, _)| 0 < *count);
    let words: Vec<String> = parts.map(|(count, words)| format!("{count} {words}")).collect();
    format!("steps: {}", words.join(" · "))
}
