//! `check`: every schedule of a small cluster.

use std::sync::Mutex;

use serde_json::json;
use synod_simulator::{
    Bounds, Counterexample, Diagram, Estimate, Explored, Folded, Limit, Untrue, Window,
};

use self::watcher::{Cost, Watcher};
use super::progress::{States, telling};
use super::{cluster, keep, keep_page};
use crate::app::App;
use crate::args::{Check, OrderArg, TimingArg};
use crate::entry::{Entry, Exploring, Way};
use crate::printer::{Printer, named, quoted, thousands, typed_again};
use crate::problem::{Exit, Problem};

pub(crate) mod watcher;

pub(crate) fn run(app: &App, check: &Check, printer: &Printer) -> Result<(), Problem> {
    let entry = app.entry(Some(&check.algorithm))?;
    let bounds = bounds(entry, check)?;
    if let Some(probes) = check.estimate {
        estimate(entry, check, &bounds, probes, printer);
        return Ok(());
    }
    let latest = Mutex::default();
    let mut watcher = Watcher::new(printer, check.max_time, &latest);
    let mut watch = |progress: &_| watcher.watch(progress);
    let way = match check.order {
        _ if check.reduce => Way::Reduced,
        OrderArg::Breadth => Way::Breadth,
        OrderArg::Depth => Way::Depth,
    };
    let Check { threads, symmetry, live, .. } = *check;
    let how = Exploring { threads, way, symmetry, live, watch: &mut watch };
    let explored = telling(printer, States::new(&latest), || entry.explore(&bounds, how))?;
    let cost = watcher.finish(explored.states);
    numbers(entry, &bounds, &explored, printer);
    printer.say(format!("  {cost}"));
    if let Some(untrue) = &explored.untrue {
        return Err(untrue_of(entry, untrue));
    }
    if let Some(failure) = &explored.failure {
        return violated(check, &bounds, &explored, &cost, failure, printer);
    }
    let for_ever = bounds.copies == u32::MAX && bounds.tick_us == 0;
    properties(entry, &explored, for_ever, printer);
    for left_out in bounds.not_explored(&entry.model()) {
        printer.say(format!("  – {left_out}: not explored, `sim` meets them"));
    }
    if explored.draws {
        printer.say("  – other numbers of `Context::random`: not explored, those of `choose` are");
    }
    if entry.offers() {
        printer.say("  – requests that clients offer: not explored, `sim` draws them");
    }
    for nobody in &explored.nobody {
        printer.say(format!("  – no run has {nobody}"));
    }
    printer.event(&event(check, &bounds, &explored, &cost));
    if let Some(limit) = explored.cut {
        return Err(cut(check, &explored, limit));
    }
    if !explored.never.is_empty() {
        let what = format!("in no state was there ever: {}", explored.never.join(", "));
        let hint = "more --nodes or --crashes may show it";
        return Err(Problem::new(Exit::Inconclusive, what).hint(hint));
    }
    if !explored.undue.is_empty() {
        let what = format!("in no state were these judged: {}", explored.undue.join(", "));
        let hint = "what holds at rest needs an end of messages and timers, what judges clients a client that asks";
        return Err(Problem::new(Exit::Inconclusive, what).hint(hint));
    }
    printer.next(cluster::suggested(entry));
    Ok(())
}

/// What the algorithm says of itself and is not so.
fn untrue_of(entry: &dyn Entry, untrue: &Untrue) -> Problem {
    let what =
        format!("{} is declared {}, and is not: {}", entry.name(), untrue.declared, untrue.reason);
    Problem::new(Exit::Usage, what).hint("mend the handler or the declaration, or explore in full")
}

/// Says what came of each property where none is violated; messages may come again `for_ever`.
pub(crate) fn properties(
    entry: &dyn Entry,
    explored: &Explored,
    for_ever: bool,
    printer: &Printer,
) {
    verdicts(entry, explored, for_ever).iter().for_each(|line| printer.say(line));
}

fn verdicts(entry: &dyn Entry, explored: &Explored, for_ever: bool) -> Vec<String> {
    let (monitors, sometimes) = (entry.monitors(), entry.sometimes());
    let verdict = |property| {
        if monitors.contains(&property) {
            format!("  – {property}: not checked, what it remembers is not known; `sim` does")
        } else if explored.skipped.contains(&property) {
            let why = if for_ever {
                "messages come again for ever"
            } else {
                "it needs a bound on delays, or --live"
            };
            format!("  – {property}: not checked, {why}")
        } else if explored.complete && explored.never.contains(&property) {
            format!("  ? never: {property}")
        } else if explored.complete && explored.undue.contains(&property) {
            format!("  ? never judged: {property}")
        // What has been in some state is so, whatever a bound has cut off.
        } else if explored.complete
            || sometimes.contains(&property) && !explored.never.contains(&property)
        {
            format!("  ✓ {property}")
        } else {
            format!("  ? {property}")
        }
    };
    entry.properties().into_iter().map(verdict).collect()
}

/// Says how many runs there may be.
fn estimate(entry: &dyn Entry, check: &Check, bounds: &Bounds, probes: u32, printer: &Printer) {
    let estimate = entry.estimate(bounds, probes);
    let Estimate { probes, runs, runs_median, depth, cut, violations, .. } = estimate;
    printer.say(heading(entry, bounds));
    printer.say(match runs.is_finite() {
        true => format!(
            "  about {runs:.1e} runs, of {depth} steps at most, by {probes} random ones (half of them \
             say {runs_median:.1e} or fewer)"
        ),
        false => format!(
            "  no end in sight after {depth} steps, by {probes} random runs: see --max-depth"
        ),
    });
    printer.say("  runs meet in states: how many there are of these, an exploration tells");
    if 0 < cut {
        printer.say(format!("  {cut} of them were cut: there are more runs, and longer ones"));
    }
    if 0 < violations {
        printer.say(format!("  {violations} of them violate a property"));
    }
    printer.event(&json!({
        "event": "estimate", "algorithm": check.algorithm, "nodes": bounds.nodes,
        "probes": probes, "runs": runs, "runs_median": runs_median, "depth": depth,
        "cut": cut, "violating": violations,
    }));
    let explores = typed_again(|word| (!word.starts_with("--estimate")).then_some(word));
    printer.advise(explores + " --max-time 1m");
}

/// What a bound has cut off, and how to see more.
fn cut(check: &Check, explored: &Explored, limit: Limit) -> Problem {
    let [states, frontier] = [explored.states, explored.frontier].map(thousands);
    let (what, hint) = match limit {
        Limit::Depth if check.reduce && check.max_depth.is_none_or(|max| explored.depth < max) => (
            format!("--reduce takes no run of more than {} steps", explored.depth),
            "leave --reduce out, which does not remember the states that a run comes back to",
        ),
        Limit::Depth => (
            format!("no run of more than {} steps was taken", explored.depth),
            "raise --max-depth, or lower --nodes or --crashes",
        ),
        Limit::Watcher => (
            format!("stopped after {states} states, {frontier} of them not gone on from"),
            "raise --max-time, or lower --nodes or --crashes",
        ),
        _ => (
            format!("stopped after {states} states, {frontier} of them not gone on from"),
            "raise --max-states, or lower --nodes or --crashes",
        ),
    };
    Problem::new(Exit::Inconclusive, format!("{what}: not every state was visited")).hint(hint)
}

fn bounds(entry: &dyn Entry, check: &Check) -> Result<Bounds, Problem> {
    let model = entry.model();
    let mut bounds = Bounds::within(&model, check.nodes);
    match check.timing {
        Some(TimingArg::Unbounded) => drop(bounds.unbound()),
        Some(TimingArg::Bounded) if bounds.tick_us == 0 => {
            let what = format!("{} assumes no bound on delays", entry.name());
            return Err(Problem::new(Exit::Usage, what).hint("leave --timing out"));
        }
        _ => (),
    }
    bounds.timers = windows(check, &bounds)?;
    if let Some(crashes) = check.crashes {
        bounds.crashes = crashes;
        bounds.recoveries = if bounds.recoveries > 0 { crashes } else { 0 };
    }
    bounds.recoveries = check.recoveries.unwrap_or(bounds.recoveries);
    bounds.lies = check.disk;
    possible(entry.name(), &bounds)?;
    bounds.losses = check.losses.unwrap_or(bounds.losses);
    (bounds.copies, bounds.unordered) = (check.copies, check.unordered);
    bounds.lossy = check.lossy;
    bounds.states_max = check.max_states.unwrap_or(bounds.states_max);
    bounds.depth_max = check.max_depth.unwrap_or(bounds.depth_max);
    Ok(bounds)
}

/// How early and how late timers fire.
fn windows(check: &Check, bounds: &Bounds) -> Result<Window, Problem> {
    match check.timers {
        Some(window) if bounds.tick_us == 0 => {
            let what = format!(
                "--timers {window}: without a bound on delays a clock goes on only when a timer \
                 fires, so that no timer is early or late"
            );
            let hint = "leave --timers out: timers fire around any message of other nodes as it is";
            Err(Problem::new(Exit::Usage, what).hint(hint))
        }
        window => Ok(window.unwrap_or_default()),
    }
}

/// Refuses crashes and recoveries that no run can have: the result would tell of more than was
/// explored.
fn possible(algorithm: &str, bounds: &Bounds) -> Result<(), Problem> {
    let Bounds { nodes, crashes, recoveries, down_max, lies, .. } = *bounds;
    let wrong = |what, hint: &str| Err(Problem::new(Exit::Usage, what).hint(hint));
    if crashes < recoveries {
        let what = format!("--recoveries {recoveries}: at most {crashes} node(s) crash in a run");
        return wrong(what, "raise --crashes, or lower --recoveries");
    }
    if 0 < lies && recoveries == 0 {
        let what = format!(
            "--disk lying={lies}: a lie is found out when the node comes back, and none does"
        );
        return wrong(what, "leave --disk out, or raise --recoveries");
    }
    let most = if down_max == 0 { 0 } else { down_max.saturating_add(recoveries) };
    if most < crashes {
        let what = format!(
            "--crashes {crashes}: {algorithm} on {nodes} node(s) claims to survive {down_max} down \
             at once, so that with {recoveries} recoveries at most {most} can crash in a run"
        );
        return wrong(what, "lower --crashes, or raise --nodes");
    }
    Ok(())
}

/// What was visited.
pub(crate) fn numbers(entry: &dyn Entry, bounds: &Bounds, explored: &Explored, printer: &Printer) {
    printer.say(heading(entry, bounds));
    let runs = match explored.executions {
        0 => String::new(),
        runs => format!(" · {} runs", thousands(runs)),
    };
    printer.say(format!(
        "  {} states · {} transitions · depth {}{runs}{}",
        thousands(explored.states),
        thousands(explored.transitions),
        explored.depth,
        if explored.complete { " · complete" } else { "" },
    ));
    if !explored.collected.is_empty() {
        let events = explored.collected.join(", ");
        printer.say(format!("  one order for each set of {events}: they commute, as was tried"));
    }
    if let Some(it) = &explored.folded {
        printer.say(folded(it, explored.states));
    }
}

/// What one state stands for.
fn folded(folded: &Folded, states: u64) -> String {
    let nodes: Vec<String> = folded.nodes.iter().map(ToString::to_string).collect();
    format!(
        "  one state for all that differ in the names of {} ({} permutations): for {} states, factor {:.1}",
        nodes.join(", "),
        thousands(folded.permutations),
        thousands(folded.states),
        folded.states as f64 / states.max(1) as f64,
    )
}

/// What is explored.
fn heading(entry: &dyn Entry, bounds: &Bounds) -> String {
    let timing = match bounds.tick_us {
        0 => String::from("delays without a bound"),
        tick if tick % 1_000 == 0 => format!("delays up to {} ms", tick / 1_000),
        tick => format!("delays up to {tick} us"),
    };
    let timing = match bounds.timers {
        Window::EXACT => timing,
        window => format!("{timing} · timers fire within {window} % of their time"),
    };
    let mut heading = format!(
        "{} on {} · every schedule · {timing} · at most {}, {}",
        entry.name(),
        counted(bounds.nodes, "node", "nodes"),
        counted(bounds.crashes, "crash", "crashes"),
        counted(bounds.recoveries, "recovery", "recoveries"),
    );
    match (bounds.losses, bounds.lossy) {
        (u32::MAX, false) => (),
        (u32::MAX, true) => heading += ", any number of lost messages",
        (losses, false) => {
            heading += &format!(", {}", counted(losses, "lost datagram", "lost datagrams"));
        }
        (losses, true) => {
            heading += &format!(", {}", counted(losses, "lost message", "lost messages"));
        }
    }
    match bounds.copies {
        0 => (),
        u32::MAX => heading += ", messages come again any number of times",
        copies => {
            heading += &format!(", {}", counted(copies, "repeated message", "repeated messages"));
        }
    }
    if 0 < bounds.lies {
        heading += &format!(", {}", counted(bounds.lies, "lying sync", "lying syncs"));
    }
    if bounds.unordered {
        heading += " · messages overtake each other";
    }
    heading
}

fn counted(count: u32, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

fn violated(
    check: &Check,
    bounds: &Bounds,
    explored: &Explored,
    cost: &Cost,
    failure: &Counterexample,
    printer: &Printer,
) -> Result<(), Problem> {
    let name = format!(
        "{}-check-{}",
        check.algorithm,
        if bounds.tick_us == 0 { "unbounded" } else { "bounded" }
    );
    let Counterexample { violation, trace, schedule, .. } = failure;
    printer.say(format!("  ✗ {}: {}", violation.property, violation.reason));
    if let Some(place) = violation.place_in_words() {
        printer.say(format!("    {place}"));
    }
    for assumption in &schedule.dropped {
        printer.say(format!("    outside the model: dropped the assumption that {assumption}"));
    }
    printer.say("");
    printer.draw(Diagram::of(trace));
    // What was found is told, even if it cannot be kept.
    let kept = keep(&check.out, &name, &failure.text);
    let file = kept.as_ref().ok().map(named);
    let page = keep_page(&check.out, &name, trace, printer);
    let mut line = event(check, bounds, explored, cost);
    let more = json!({
        "property": violation.property, "reason": violation.reason, "place": violation.place,
        "schedule": file, "page": page.map(named), "dropped": schedule.dropped,
        "steps": trace.steps.len(), "trace_hash": trace.hash(),
    });
    if let (Some(line), Some(more)) = (line.as_object_mut(), more.as_object()) {
        line.extend(more.clone());
    }
    printer.event(&line);
    printer.next(format!("replay {}", quoted(kept?)));
    Err(Problem::violated(&violation.property))
}

/// The line for programs.
fn event(check: &Check, bounds: &Bounds, explored: &Explored, cost: &Cost) -> serde_json::Value {
    json!({
        "event": "check", "algorithm": check.algorithm, "nodes": bounds.nodes,
        "crashes": bounds.crashes, "recoveries": bounds.recoveries,
        "bounded": bounds.tick_us > 0, "unordered": bounds.unordered, "lossy": bounds.lossy, "lies": bounds.lies,
        "timers": (0 < bounds.tick_us).then_some(bounds.timers),
        "copies": (bounds.copies < u32::MAX).then_some(bounds.copies),
        "losses": (bounds.losses < u32::MAX).then_some(bounds.losses),
        "states": explored.states, "complete": explored.complete,
        "violations": u32::from(explored.failure.is_some()),
        "transitions": explored.transitions, "depth": explored.depth,
        "symmetry": explored.folded.as_ref().map(|folded| json!({
            "nodes": folded.nodes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "permutations": folded.permutations, "states": folded.states,
        })),
        "commuting": explored.collected, "draws": explored.draws, "executions": explored.executions, "frontier": explored.frontier, "cut": explored.cut.map(limit),
        "skipped": explored.skipped, "never": explored.never, "undue": explored.undue, "nobody": explored.nobody,
        "seconds": cost.seconds, "states_per_second": cost.states_per_second,
        "peak_bytes": cost.peak_bytes, "bytes_per_state": cost.bytes_per_state,
    })
}

fn limit(limit: Limit) -> &'static str {
    match limit {
        Limit::Depth => "depth",
        Limit::Watcher => "time",
        _ => "states",
    }
}

#[cfg(test)]
mod tests;
