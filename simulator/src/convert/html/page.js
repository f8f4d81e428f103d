"use strict";
// The page: what is looked at, and what keys and the pointer do.

const run = readRun(document.getElementById("trace").textContent);
const names = roleNames(run);
const part = (id) => document.getElementById(id);
const look = {
  chosen: null,
  isTime: false,
  zoom: 1,
  cone: "none",
  query: "",
  hiddenNodes: new Set(hiddenAtFirst(run)),
  hiddenEvents: new Set(),
  fold: run.steps.length > 500,
};
/** Notes of the reader, by step; they stand in the address. */
const bookmarks = new Map();
let layout = null;
let marks = null;

function html(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.map((child) => (typeof child === "string" ? visible(child) : child)));
  return element;
}

/** Everything anew, after a change of what is shown. */
function arrange() {
  const places = shownPlaces(run, look);
  layout = new Layout(run, places, look.hiddenNodes, look);
  const hidden = run.steps.length - places.length;
  part("hidden").textContent = hidden > 0 ? `${hidden} of ${run.steps.length} steps are not shown` : `${run.steps.length} steps`;
  part("picture").setAttribute("height", layout.height);
  part("picture").setAttribute("width", layout.right + 900);
  part("lanes").setAttribute("width", layout.right + 900);
  part("lanes").replaceChildren(...layout.lanes.map(laneName));
  for (const [id, isOn] of [["axis", look.isTime], ["fold", look.fold], ["cone", look.cone !== "none"]]) {
    part(id).setAttribute("aria-pressed", isOn);
  }
  redraw();
}

function laneName(node) {
  return svg("text", { x: layout.x(node), y: 16, class: "node" }, `n${node}`);
}

/** The picture alone, after scrolling or choosing. */
function redraw() {
  const scroll = part("scroll");
  const [top, bottom] = [scroll.scrollTop, scroll.scrollTop + scroll.clientHeight];
  const sight = { top, bottom, chosen: look.chosen, marks, roles: names };
  draw(part("drawn"), layout, sight);
  overview(part("overview"), layout, sight, colours());
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`);
  const named = ["split", "sight", "wrong", "crash", "chosen"].map((name) => [name, of(name)]);
  return { ...Object.fromEntries(named), roles: Array.from({ length: ROLES }, (_, at) => of(`role${at}`)) };
}

/** Looks at the step at a place; it is scrolled to where it is out of sight. */
function choose(place) {
  if (place === null) return;
  look.chosen = place;
  marks = { none: () => null, past: pastOf, future: futureOf }[look.cone](run, place);
  const scroll = part("scroll");
  const y = layout.y(place);
  if (y < scroll.scrollTop + TOP || y > scroll.scrollTop + scroll.clientHeight - ROW) {
    scroll.scrollTop = y - scroll.clientHeight / 2;
  }
  redraw();
  part("details").replaceChildren(...bookmarked(place), ...details(place));
  tellAddress();
}

/** Lets the address name the step and the bookmarks: as a link, it shows another reader the same. */
function tellAddress() {
  const notes = [...bookmarks].map(([step, note]) => `&note${step}=${encodeURIComponent(note)}`);
  history.replaceState(null, "", `#step=${run.steps[look.chosen].i}${notes.join("")}`);
}

/** Takes the bookmarks that an address names. Returns the place of its step, if it is one of the run's. */
function readAddress() {
  const named = new URLSearchParams(location.hash.slice(1));
  for (const [key, note] of named) {
    const step = Number(/^note(\d+)$/.exec(key)?.[1] ?? NaN);
    if (run.places.has(step)) bookmarks.set(step, note);
  }
  return run.places.get(Number(named.get("step") ?? NaN));
}

/** The bookmark at a step, whose note can be changed. */
function bookmarked(place) {
  const step = run.steps[place].i;
  if (!bookmarks.has(step)) return [];
  const note = html("input", { id: "note", "aria-label": "note", placeholder: "bookmark: a note", value: bookmarks.get(step) });
  note.addEventListener("input", () => {
    bookmarks.set(step, note.value);
    tellAddress();
    listBookmarks();
  });
  note.addEventListener("keydown", (event) => ["Enter", "Escape"].includes(event.key) && note.blur());
  return [note];
}

function toggleBookmark() {
  if (look.chosen === null) return;
  const step = run.steps[look.chosen].i;
  const isGone = bookmarks.delete(step);
  if (!isGone) bookmarks.set(step, "");
  listBookmarks();
  choose(look.chosen);
  if (!isGone) part("note").focus();
}

function listBookmarks() {
  const inOrder = [...bookmarks].sort(([one], [other]) => one - other);
  const line = ([step, note]) => html("p", {}, linkTo(run.places.get(step)), ` ${note}`);
  part("bookmarks").replaceChildren(...inOrder.map(line));
}

function move(way, isAsked = () => true) {
  choose(nextPlace(run, layout.places, look.chosen, way, isAsked));
}

function moveOnNode(way) {
  const node = look.chosen === null ? undefined : run.steps[look.chosen].n;
  move(way, (step) => node === undefined || step.n === node);
}

function toCause() {
  if (look.chosen !== null) choose(run.origins[look.chosen]);
}

function turnCone() {
  look.cone = { none: "past", past: "future", future: "none" }[look.cone];
  arrange();
  part("cone").textContent = { none: "cone", past: "cone: past", future: "cone: future" }[look.cone];
  choose(look.chosen);
}

function toggle(name) {
  look[name] = !look[name];
  arrange();
  choose(look.chosen);
}

function zoom(factor) {
  look.zoom = Math.min(8, Math.max(0.25, look.zoom * factor));
  arrange();
  choose(look.chosen);
}

function search(query) {
  look.query = query;
  try {
    const isHit = searcher(run, query);
    const hits = layout.places.filter(isHit);
    part("hits").textContent = query.trim() === "" ? "" : `${hits.length} hits`;
    return isHit;
  } catch (error) {
    part("hits").textContent = error.message;
    return () => false;
  }
}

function toHit(way) {
  const isHit = search(look.query);
  move(way, (step) => isHit(run.places.get(step.i)));
}

/** The side panel: all that the trace tells of a step. */
function details(place) {
  const step = run.steps[place];
  const who = step.n === null ? "the network" : `n${step.n}`;
  const parts = [html("h2", {}, `step ${step.i} · ${millis(step.t)} · ${who}`), html("p", { class: "event" }, happening(step))];
  if (step.p) parts.push(html("p", { class: "broken" }, `✗ ${step.p}`));
  const origin = run.origins[place];
  if (origin !== null) parts.push(html("p", {}, "because of ", linkTo(origin), step.delay ? `, after ${millis(step.delay)}` : ""));
  const sources = run.header.handlers?.[step.y] ?? [];
  parts.push(...sources.map((it) => html("p", { class: "source" }, `${it.file}:${it.line} ${it.function}`)));
  parts.push(...listed("sends", step.o, (message) => [`to n${message.to}: ${message.d || message.y} `, ...fate(message)]));
  parts.push(...listed("arms", step.w, (timer) => [`${timer.d || timer.y} in ${millis(timer.after_us)}`]));
  parts.push(...listed("tells", step.a, (text) => [text]));
  parts.push(...listed("clients", step.h, (call) => [JSON.stringify(call)]));
  parts.push(...listed("log", step.l, (text) => [text]));
  return [...parts, ...states(place)];
}

function linkTo(place) {
  const step = run.steps[place];
  return html("button", { class: "link", "data-to": place }, `step ${step.i}`);
}

function fate(message) {
  if (message.x !== undefined) return [html("em", {}, `lost: ${message.x}`)];
  const places = run.fates.get(message.m) ?? [];
  return places.length === 0 ? [html("em", {}, "never arrives here")] : places.flatMap((place) => [linkTo(place), " "]);
}

function listed(title, list, words) {
  if ((list ?? []).length === 0) return [];
  return [html("h3", {}, title), html("ul", {}, ...list.map((it) => html("li", {}, ...words(it))))];
}

/** The state of the node that acted, with what changed, and in short what each other node was. */
function states(place) {
  const step = run.steps[place];
  const parts = [];
  if (step.n !== null) parts.push(html("h3", {}, `state of n${step.n} after it`), table(place, step));
  const told = run.nodes.map((node) => [node, summaryAt(run, node, place)]).filter(([, words]) => words !== "");
  if (told.length > 0) {
    const lines = told.map(([node, words]) => html("tr", {}, html("th", {}, `n${node}`), html("td", {}, words)));
    parts.push(html("h3", {}, "all nodes"), html("table", {}, ...lines));
  }
  return parts;
}

function table(place, step) {
  const now = stateAt(run, step.n, place);
  const old = stateAt(run, step.n, place - 1);
  const paths = [...new Set([...old.keys(), ...now.keys()])].sort();
  if (paths.length === 0) return html("p", { class: "quiet" }, "the trace tells nothing of it");
  const value = (state, path) => (state.has(path) ? JSON.stringify(state.get(path)) : "–");
  const lines = paths.map((path) => {
    const [was, is] = [value(old, path), value(now, path)];
    const cells = was === is ? [html("td", {}, is)] : [html("td", {}, html("del", {}, was), " ", html("ins", {}, is))];
    return html("tr", { class: was === is ? "" : "changed" }, html("th", {}, path === "" ? "state" : path), ...cells);
  });
  return html("table", { class: "state" }, ...lines);
}

function copy(text, button) {
  navigator.clipboard?.writeText(text).then(() => {
    const words = button.textContent;
    button.textContent = "copied";
    setTimeout(() => (button.textContent = words), 900);
  });
}

/** Boxes by which nodes and events are shown or not. */
function filters() {
  const events = [...new Set(run.steps.filter((step) => EVENTS.has(step.k)).map((step) => step.y))].sort();
  const box = (set, key, words) => {
    const input = html("input", { type: "checkbox" });
    input.checked = !set.has(key);
    input.addEventListener("change", () => {
      if (input.checked) set.delete(key);
      else set.add(key);
      arrange();
    });
    return html("label", {}, input, words);
  };
  part("nodes").replaceChildren(...run.nodes.map((node) => box(look.hiddenNodes, node, `n${node}`)));
  part("events").replaceChildren(...events.map((event) => box(look.hiddenEvents, event, event)));
  part("roles").replaceChildren(...names.map((role, at) => html("span", { class: `key role${at % ROLES}` }, html("i", {}, role))));
}

const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  J: () => moveOnNode(1), K: () => moveOnNode(-1),
  e: () => move(1, (step) => (step.s ?? []).length > 0 || step.summary !== undefined),
  x: () => move(1, isFault),
  v: () => choose(run.broken[0] ?? null),
  b: toggleBookmark, B: () => move(1, (step) => bookmarks.has(step.i)),
  p: toCause, c: turnCone, t: () => toggle("isTime"), z: () => toggle("fold"),
  "+": () => zoom(1.25), "-": () => zoom(0.8),
  g: () => choose(layout.places[0] ?? null), G: () => choose(layout.places.at(-1) ?? null),
  n: () => toHit(1), N: () => toHit(-1),
  "/": () => part("search").focus(),
  "?": () => part("help").toggleAttribute("hidden"),
  Escape: () => part("help").toggleAttribute("hidden", true),
};

function listen() {
  document.addEventListener("keydown", (event) => {
    const isWriting = event.target instanceof HTMLInputElement && event.target.type !== "checkbox";
    const act = KEYS[event.key];
    if (isWriting || !act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
  part("search").addEventListener("input", (event) => search(event.target.value));
  part("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") toHit(event.shiftKey ? -1 : 1);
    if (event.key === "Escape" || event.key === "Enter") event.target.blur();
  });
  let isDue = false;
  const soon = () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      redraw();
    });
  };
  part("scroll").addEventListener("scroll", soon);
  addEventListener("resize", soon);
  part("picture").addEventListener("click", (event) => {
    const top = part("picture").getBoundingClientRect().top;
    choose(layout.nearest(event.clientY - top));
  });
  for (const id of ["details", "bookmarks"]) {
    part(id).addEventListener("click", (event) => {
      const to = event.target.dataset?.to;
      if (to !== undefined) choose(Number(to));
    });
  }
  const scrub = (event) => {
    if (event.buttons === 0 && event.type !== "click") return;
    const share = event.offsetX / part("overview").clientWidth;
    choose(layout.nearest(share * layout.height));
  };
  part("overview").addEventListener("click", scrub);
  part("overview").addEventListener("pointermove", scrub);
  for (const [id, act] of [["axis", KEYS.t], ["fold", KEYS.z], ["cone", KEYS.c], ["keys", KEYS["?"]], ["verdict", KEYS.v]]) {
    part(id)?.addEventListener("click", act);
  }
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copy(button.dataset.copy || location.href, button));
  }
}

/** The step that the address names, else the one that went wrong, else the first. */
function first() {
  return readAddress() ?? run.broken[0] ?? (run.steps.length > 0 ? 0 : null);
}

filters();
listen();
arrange();
choose(first());
listBookmarks();
