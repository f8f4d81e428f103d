"use strict";
// A run, as its trace tells it, and what follows from that. Nothing here touches the page.

/** Reads the lines of a trace: its header, and a line for each step. */
function readRun(text) {
  const [head, ...lines] = text.trim().split("\n");
  const header = JSON.parse(head);
  const steps = lines.map((line) => JSON.parse(line));
  const places = new Map(steps.map((step, place) => [step.i, place]));
  const run = { header, steps, places };
  run.nodes = nodesOf(run);
  link(run);
  run.spans = spansOf(run);
  run.crashes = placesOf(run, (step) => step.k === "crash");
  run.broken = placesOf(run, (step) => step.p);
  run.roles = rolesOf(run);
  run.states = new Map([...run.own].map(([node, places]) => [node, statesOf(run, places)]));
  return run;
}

/** Nodes up to which all are shown at first; beyond, those of the last steps. */
const SHOWN = 32;

/** The nodes of the cluster; of a large one those that act. */
function nodesOf({ header, steps }) {
  if (header.nodes <= SHOWN) return Array.from({ length: header.nodes }, (_, at) => at + 1);
  const acting = new Set(steps.map((step) => step.n).filter((node) => node !== null));
  return [...acting].sort((one, other) => one - other);
}

/** The nodes that are not shown at first. */
function hiddenAtFirst(run) {
  const shown = new Set();
  for (const { n } of run.steps.toReversed()) {
    if (shown.size < SHOWN && n !== null) shown.add(n);
  }
  return run.nodes.filter((node) => run.nodes.length > SHOWN && !shown.has(node));
}

/** Finds each node's steps, for each step the one that caused it and the one before it on its node, and what became
 * of each message. */
function link(run) {
  const sent = new Map();
  const last = new Map();
  run.origins = [];
  run.before = [];
  run.own = new Map(run.nodes.map((node) => [node, []]));
  run.fates = new Map();
  run.steps.forEach((step, place) => {
    const cause = run.places.get(step.c) ?? sent.get(step.m);
    run.origins.push(cause !== undefined && cause < place ? cause : null);
    run.before.push(last.get(step.n) ?? null);
    if (step.n !== null) last.set(step.n, place);
    run.own.get(step.n)?.push(place);
    if (step.m) run.fates.set(step.m, [...(run.fates.get(step.m) ?? []), place]);
    for (const message of step.o ?? []) sent.set(message.m, place);
  });
}

function placesOf(run, isAsked) {
  return [...run.steps.keys()].filter((place) => isAsked(run.steps[place]));
}

/** When nodes are down, and when the network is not whole: from one step to another, or to the end. */
function spansOf(run) {
  const spans = [];
  const open = new Map();
  const begin = (key, span) => open.has(key) || open.set(key, span);
  const end = (key, place) => {
    if (open.has(key)) spans.push({ ...open.get(key), end: place });
    open.delete(key);
  };
  run.steps.forEach((step, place) => {
    if (step.k === "crash") begin(`n${step.n}`, { down: step.n, begin: place });
    if (step.k === "start" || step.k === "restart") end(`n${step.n}`, place);
    if (step.k === "partition") begin(step.y, { split: step.y, begin: place });
    if (step.k === "heal") end(step.y, place);
  });
  return [...spans, ...open.values()].map((span) => ({ end: run.steps.length, ...span }));
}

/** The named values of a summary: "role:leader term:3". */
function summaryOf(text) {
  const pairs = (text ?? "").split(" ").map((pair) => pair.split(/:(.*)/s));
  return Object.fromEntries(pairs.filter(([name, value]) => name && value !== undefined));
}

/** For each node the roles that it takes on, and from which step. */
function rolesOf(run) {
  const roles = new Map(run.nodes.map((node) => [node, []]));
  run.steps.forEach((step, place) => {
    const own = roles.get(step.n);
    if (!own) return;
    const now = own.at(-1)?.role ?? null;
    // A summary is told where it changed: a node that comes back without one is what it was before.
    const before = step.k === "restart" ? (own.at(-2)?.role ?? undefined) : undefined;
    const role = step.k === "crash" ? null : (summaryOf(step.summary).role ?? before);
    if (role !== undefined && role !== now) own.push({ place, role });
  });
  return roles;
}

/** Every role of the run, in the order of their first appearance. */
function roleNames(run) {
  const all = [...run.roles.values()].flat().filter(({ role }) => role);
  all.sort((one, other) => one.place - other.place);
  return [...new Set(all.map(({ role }) => role))];
}

/** Puts `value` into a flat state, in place of all that stood at `path`. */
function put(state, path, value) {
  if (path === "") state.clear();
  // What is there itself has nothing below it.
  const inner = state.has(path) ? [path] : [...state.keys()].filter((key) => key.startsWith(`${path}.`));
  for (const key of inner) state.delete(key);
  if (value !== null) flatten(state, path, value);
}

function flatten(state, path, value) {
  const isTree = value !== null && typeof value === "object" && Object.keys(value).length > 0;
  if (!isTree) return void state.set(path, value);
  for (const [key, inner] of Object.entries(value)) {
    flatten(state, path === "" ? key : `${path}.${key}`, inner);
  }
}

/** A node's states before each of its steps that are [`APART`]. */
function statesOf(run, places) {
  const state = knownAtFirst(run, places);
  const kept = [];
  places.forEach((place, at) => {
    if (at % APART === 0) kept.push(new Map(state));
    pass(state, run.steps[place]);
  });
  return kept.length > 0 ? kept : [state];
}

/** Steps of a node between two of its states that are kept: the others are made from them. */
const APART = 256;

/** What is known of a node's state before its first step: what its steps say that was there. */
function knownAtFirst(run, places) {
  const state = new Map();
  for (const place of places.toReversed()) {
    for (const [path, old] of (run.steps[place].s ?? []).toReversed()) put(state, path, old);
  }
  return state;
}

function pass(state, step) {
  for (const [path, , now] of step.s ?? []) put(state, path, now);
}

/** A node's state after the step at `place`, as far as the trace tells it: values by their paths. */
function stateAt(run, node, place) {
  const [places, kept] = [run.own.get(node), run.states.get(node)];
  const passed = lowerBound(places, place + 1);
  const from = Math.min(kept.length - 1, Math.floor(passed / APART));
  const state = new Map(kept[from]);
  for (const at of places.slice(from * APART, passed)) pass(state, run.steps[at]);
  return state;
}

/** How many of the sorted numbers are smaller. */
function lowerBound(numbers, wanted) {
  let [from, to] = [0, numbers.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (numbers[middle] < wanted) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** A node's summary after the step at `place`. */
function summaryAt(run, node, place) {
  const places = run.own.get(node);
  let isBack = false;
  for (let at = lowerBound(places, place + 1) - 1; at >= 0; at--) {
    const step = run.steps[places[at]];
    if (step.k === "crash" && !isBack) return "down";
    if (step.summary !== undefined) return step.summary;
    isBack ||= step.k === "restart";
  }
  return "";
}

/** Marks the steps without which the one at `place` could not be as it is; itself as well. */
function pastOf(run, place) {
  const marks = new Uint8Array(run.steps.length);
  const open = [place];
  while (open.length > 0) {
    const at = open.pop();
    if (at === null || marks[at]) continue;
    marks[at] = 1;
    open.push(run.origins[at], run.before[at]);
  }
  return marks;
}

/** Marks the steps that the one at `place` may have had a part in; itself as well. */
function futureOf(run, place) {
  const marks = new Uint8Array(run.steps.length);
  marks[place] = 1;
  const marked = (at) => at !== null && marks[at] === 1;
  for (let at = place + 1; at < run.steps.length; at++) {
    if (marked(run.origins[at]) || marked(run.before[at])) marks[at] = 1;
  }
  return marks;
}

/** The kinds of steps that are about an event of the algorithm. */
const EVENTS = new Set(["deliver", "lost", "timer", "told"]);
const FAULTS = new Set(["crash", "restart", "partition", "heal", "fault", "lost"]);

function isFault(step) {
  return FAULTS.has(step.k) || (step.o ?? []).some((message) => message.x !== undefined);
}

/** Whether nothing is missed if the step is not shown: it changed nothing, told nothing, broke nothing. */
function isQuiet(step) {
  const told = [step.s, step.a, step.h, step.l].some((list) => (list ?? []).length > 0);
  return !told && !step.summary && !step.p && !isFault(step) && ["deliver", "timer", "told", "tick"].includes(step.k);
}

/** The places of the steps that are shown. What went wrong always is. */
function shownPlaces(run, { hiddenNodes, hiddenEvents, fold }) {
  const shown = (step) => {
    if (step.p) return true;
    const isHidden = hiddenNodes.has(step.n) || hiddenEvents.has(step.y);
    return !isHidden && !(fold && isQuiet(step));
  };
  return placesOf(run, shown);
}

/** The next place after `from` (before it if `way` is -1) of those shown whose step is one that is asked for. */
function nextPlace(run, places, from, way, isAsked) {
  const first = way > 0 ? 0 : places.length - 1;
  let at = from === null ? first : way > 0 ? lowerBound(places, from + 1) : lowerBound(places, from) - 1;
  while (at in places && !isAsked(run.steps[places[at]])) at += way;
  return places[at] ?? null;
}

/** Whether the step at a place is what a query asks for: terms joined by `&`, each a node, `path=value`, a number
 * compared, a `/pattern/`, or any text. Throws what is wrong with a pattern. */
function searcher(run, query) {
  const terms = query.split("&").map((term) => term.trim()).filter((term) => term !== "");
  const tests = terms.map(testOf);
  return (place) => tests.length > 0 && tests.every((test) => test(run.steps[place]));
}

function testOf(term) {
  const node = /^n(\d+)$/.exec(term);
  if (node) return (step) => step.n === Number(node[1]);
  const pattern = /^\/(.+)\/$/.exec(term);
  if (pattern) {
    const expression = new RegExp(pattern[1], "i");
    return (step) => expression.test(wordsOf(step));
  }
  const compared = /^([\w.]+)\s*(=|<|>)\s*(.+)$/.exec(term);
  if (compared) return (step) => compares(step, ...compared.slice(1));
  const wanted = term.toLowerCase();
  return (step) => wordsOf(step).toLowerCase().includes(wanted);
}

/** Whether the step gave the field of that name, in the state or the summary, such a value. */
function compares(step, path, sign, value) {
  const isIt = (name) => name === path || name.endsWith(`.${path}`);
  const changed = (step.s ?? []).filter(([name]) => isIt(name)).map(([, , now]) => now);
  const told = Object.entries(summaryOf(step.summary)).filter(([name]) => isIt(name));
  return [...changed, ...told.map(([, now]) => now)].some((now) => {
    if (sign === "=") return String(now) === value || JSON.stringify(now) === value;
    return sign === "<" ? Number(now) < Number(value) : Number(now) > Number(value);
  });
}

/** All that a step says, for a search. */
function wordsOf(step) {
  return `n${step.n} ${JSON.stringify(step)}`;
}

/** What happened, in a few words. */
function happening(step) {
  const what = step.d ? step.d : step.y;
  if (step.k === "deliver") return `${what} from ${step.m.split(".")[0]}`;
  if (step.k === "lost") return `${what} from ${step.m.split(".")[0]} is lost: ${(step.l ?? []).join(", ")}`;
  const before = { timer: "◷ ", partition: "partition: ", heal: "healed: " };
  return `${before[step.k] ?? ""}${what}`;
}

/** What the step came to, in a few words. */
function outcome(step) {
  const lost = (step.o ?? []).filter((message) => message.x !== undefined);
  const sends = (step.o ?? []).length;
  const words = [];
  if (sends > 0) words.push(`→ ${sends} msg${lost.length > 0 ? `, ${lost.length} lost` : ""}`);
  if (step.summary) words.push(`[${step.summary}]`);
  return words.concat(step.a ?? []).join("  ");
}

/** A time in microseconds, in milliseconds. */
function millis(micros) {
  return `${(micros / 1000).toFixed(3)} ms`;
}

/** Text with what would move or hide other text written as its number. */
function visible(text) {
  const moves = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
  return String(text).replace(moves, (it) => `\\u{${it.codePointAt(0).toString(16)}}`);
}
