"use strict";
// The space-time diagram: lanes from left to right, time downwards. Only what is in sight is drawn.

const MARGIN = 96;
const LANE = 96;
const TOP = 40;
const ROW = 26;
/** Rows that are drawn beyond what is in sight, for the arrows that end there. */
const BEYOND = 40;
/** Browsers cannot scroll further than some 16 million pixels. */
const HEIGHT_MAX = 15e6;
/** Between two steps of one moment, where the axis is time. */
const MOMENT = 4;
const ROLES = 6;
/** Where the overview tells of crashes, above the lanes. */
const STRIP = 8;

function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function titled(text, ...children) {
  return svg("g", {}, svg("title", {}, visible(text)), ...children);
}

/** Where everything stands: the lanes, and the rows of the steps that are shown. */
class Layout {
  constructor(run, places, hiddenNodes, { isTime, zoom }) {
    this.run = run;
    this.places = places;
    this.lanes = run.nodes.filter((node) => !hiddenNodes.has(node));
    this.columns = new Map(this.lanes.map((node, at) => [node, MARGIN + LANE * at + LANE / 2]));
    this.right = MARGIN + LANE * this.lanes.length;
    this.rows = isTime ? this.byTime(zoom) : this.byStep(zoom);
    this.height = (this.rows.at(-1) ?? TOP) + 2 * ROW;
  }

  byStep(zoom) {
    const row = Math.min(ROW * zoom, HEIGHT_MAX / (this.places.length + 1));
    return Float64Array.from(this.places, (_, at) => TOP + row * (at + 1));
  }

  /** To scale, with as much room as steps have that are a usual time apart. */
  byTime(zoom) {
    const times = this.places.map((place) => this.run.steps[place].t);
    const apart = times.slice(1).map((time, at) => time - times[at]).filter((gap) => gap > 0);
    apart.sort((one, other) => one - other);
    const usual = apart[apart.length >> 1] ?? 1;
    const whole = Math.max(1, (times.at(-1) ?? 0) - (times[0] ?? 0));
    const scale = Math.min((ROW * zoom) / usual, HEIGHT_MAX / 2 / whole);
    let last = TOP;
    return Float64Array.from(times, (time) => {
      last = Math.max(last + MOMENT, TOP + ROW + (time - times[0]) * scale);
      return last;
    });
  }

  /** How many of the shown steps come before the one at a place. */
  before(place) {
    return lowerBound(this.places, place);
  }

  /** The height of a step; of one that is not shown, that of the next; beyond the last, the end. */
  y(place) {
    return this.rows[this.before(place)] ?? this.height;
  }

  x(node) {
    return this.columns.get(node);
  }

  /** The shown steps between two heights, and some more. */
  within(top, bottom) {
    const first = Math.max(0, lowerBound(this.rows, top) - BEYOND);
    return this.places.slice(first, lowerBound(this.rows, bottom) + BEYOND);
  }

  /** The shown step that is nearest to a height. */
  nearest(y) {
    const at = lowerBound(this.rows, y);
    const isAbove = at > 0 && !(this.rows[at] - y < y - this.rows[at - 1]);
    return this.places[isAbove ? at - 1 : at] ?? null;
  }
}

/** Draws what is in sight between two heights. `chosen` is the place of the step that is looked at, `marks` which steps
 * stand out, if only some do. */
function draw(into, layout, { top, bottom, chosen, marks, roles }) {
  const places = layout.within(top, bottom);
  const sight = { top: Math.max(TOP, top - 2 * ROW), bottom: Math.min(layout.height, bottom + 2 * ROW) };
  const { run } = layout;
  const parts = run.spans.filter(({ split }) => split !== undefined).map((it) => band(layout, it, sight));
  parts.push(...(chosen === null ? [] : [chosenRow(layout, chosen)]));
  parts.push(...layout.lanes.flatMap((node) => lane(layout, node, sight, roles)));
  parts.push(...run.spans.filter(({ down }) => down !== undefined).map((it) => gone(layout, it, sight)));
  const dim = (place) => (marks && !marks[place] ? "dim" : "");
  for (const place of places) {
    parts.push(svg("g", { class: dim(place) }, ...messages(layout, place)));
  }
  let free = -Infinity;
  for (const place of places) {
    const hasRoom = layout.y(place) - free >= 13 || place === chosen;
    if (hasRoom) free = layout.y(place);
    const words = hasRoom ? texts(layout, place) : [];
    parts.push(svg("g", { class: `row ${dim(place)}`, "data-place": place }, ...mark(layout, place), ...words));
  }
  into.replaceChildren(...parts.filter((part) => part !== null));
}

function extent(layout, span, sight) {
  const top = Math.max(sight.top, layout.y(span.begin));
  return { top, bottom: Math.min(sight.bottom, layout.y(span.end)) };
}

function band(layout, span, sight) {
  const { top, bottom } = extent(layout, span, sight);
  if (bottom <= top) return null;
  const box = { x: MARGIN, y: top, width: layout.right - MARGIN, height: bottom - top };
  return titled(`partition: ${span.split}`, svg("rect", { class: "split", ...box }));
}

function chosenRow(layout, place) {
  return svg("rect", { class: "chosen", x: 0, y: layout.y(place) - 10, width: layout.right + 900, height: 20 });
}

/** A lane in the colours of its node's roles. */
function lane(layout, node, { top, bottom }, names) {
  const x = layout.x(node);
  const parts = stays(layout, node, top, bottom).map(({ role, from, to }) => {
    const colour = `role${names.indexOf(role) % ROLES}`;
    return titled(`n${node}: ${role}`, svg("path", { class: `role ${colour}`, d: `M${x} ${from}V${to}` }));
  });
  return [svg("path", { class: "lane", d: `M${x} ${top}V${bottom}` }), ...parts];
}

/** Which roles a node has between two heights, and from where to where. */
function stays(layout, node, top, bottom) {
  const roles = layout.run.roles.get(node);
  const all = roles.map(({ place, role }, at) => {
    const end = at + 1 < roles.length ? layout.y(roles[at + 1].place) : layout.height;
    return { role, from: Math.max(top, layout.y(place)), to: Math.min(bottom, end) };
  });
  return all.filter(({ role, from, to }) => role !== null && from < to);
}

function gone(layout, span, sight) {
  const { top, bottom } = extent(layout, span, sight);
  const x = layout.x(span.down);
  if (bottom <= top || x === undefined) return null;
  const d = `M${x} ${top}V${bottom}`;
  return titled(`n${span.down} is down`, svg("path", { class: "down", d }), svg("path", { class: "gone", d }));
}

/** The message that a step is about, and those that it sent and that end nowhere. */
function messages(layout, place) {
  const step = layout.run.steps[place];
  const stubs = (step.o ?? []).map((message) => stub(layout, place, step, message));
  const from = step.m ? layout.x(Number(step.m.slice(1).split(".")[0])) : undefined;
  const to = layout.x(step.n);
  if (from === undefined || to === undefined) return stubs.filter((part) => part !== null);
  const y = layout.y(place);
  const origin = layout.run.origins[place];
  const begin = origin === null ? y : layout.y(origin);
  const line = step.k === "lost" ? lost([from, begin], between([from, begin], [to, y], 0.8)) : arrow([from, begin], [to, y]);
  return [...stubs.filter((part) => part !== null), titled(happening(step), ...line)];
}

function between([x, y], [toX, toY], part) {
  return [x + (toX - x) * part, y + (toY - y) * part];
}

/** A message that no step tells the end of: lost as it was sent, or still under way. */
function stub(layout, place, step, message) {
  const [from, to, y] = [layout.x(step.n), layout.x(message.to), layout.y(place)];
  const isKnown = message.x === undefined && layout.run.fates.has(message.m);
  if (from === undefined || to === undefined || isKnown) return null;
  const end = [from + Math.max(-LANE, Math.min(LANE, to - from)) * 0.4, y + ROW / 2];
  const what = `to n${message.to}: ${message.d || message.y}`;
  if (message.x !== undefined) return titled(`${what} (lost: ${message.x})`, ...lost([from, y], end));
  const line = svg("path", { class: "pending", d: `M${from} ${y}L${end[0]} ${end[1]}` });
  return titled(`${what} (never arrives in this trace)`, line, svg("circle", { class: "pending", cx: end[0], cy: end[1], r: 3 }));
}

function arrow([x, y], [toX, toY]) {
  const beside = x + LANE / 3;
  const bow = `M${x} ${y}C${beside} ${y} ${beside} ${toY} ${toX} ${toY}`;
  return [svg("path", { class: "message", "marker-end": "url(#head)", d: x === toX ? bow : `M${x} ${y}L${toX} ${toY}` })];
}

function lost([x, y], [toX, toY]) {
  return [svg("path", { class: "lost", d: `M${x} ${y}L${toX} ${toY}` }), svg("path", { class: "cross", d: cross(toX, toY, 4) })];
}

function cross(x, y, arm) {
  return `M${x - arm} ${y - arm}L${x + arm} ${y + arm}M${x - arm} ${y + arm}L${x + arm} ${y - arm}`;
}

function mark(layout, place) {
  const step = layout.run.steps[place];
  const [x, y] = [layout.x(step.n), layout.y(place)];
  if (x === undefined) return [];
  const ring = step.p ? [svg("circle", { class: "wrong", cx: x, cy: y, r: 10 })] : [];
  if (step.k === "lost") return ring;
  if (step.k === "timer") return [svg("circle", { class: "timer", cx: x, cy: y, r: 5 }), ...ring];
  if (step.k === "crash") return [svg("path", { class: "crash", d: cross(x, y, 6) }), ...ring];
  const isUp = step.k === "start" || step.k === "restart";
  const box = svg("rect", { class: "restart", x: x - 5, y: y - 5, width: 10, height: 10 });
  return [isUp ? box : svg("circle", { class: "step", cx: x, cy: y, r: 4 }), ...ring];
}

/** The time at the left, and at the right what happened. */
function texts(layout, place) {
  const step = layout.run.steps[place];
  const y = layout.y(place) + 4;
  const who = step.n === null ? "" : `n${step.n} `;
  const words = `${step.p ? `✗ ${step.p}: ` : ""}${who}${happening(step)}  ${outcome(step)}`;
  const shown = visible(words);
  const short = shown.length > 110 ? `${shown.slice(0, 109)}…` : shown;
  return [
    svg("text", { class: "time", x: MARGIN - 10, y }, millis(step.t)),
    svg("text", { class: step.p ? "says wrong-words" : "says", x: layout.right + 10, y }, short),
  ];
}

/** The whole run on a strip: where much happens, what went wrong, and which part is in sight. */
function overview(canvas, layout, { top, bottom, chosen, roles: names }, colours) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const at = (y) => (y / layout.height) * width;
  const bar = (colour, from, to, [y, tall]) => {
    context.fillStyle = colour;
    context.fillRect(at(from), y, Math.max(1.5, at(to) - at(from)), tall);
  };
  const { run } = layout;
  for (const { split, begin, end } of run.spans) {
    if (split !== undefined) bar(colours.split, layout.y(begin), layout.y(end), [0, height]);
  }
  bar(colours.sight, top, bottom, [0, height]);
  const tall = (height - STRIP) / layout.lanes.length;
  layout.lanes.forEach((node, lane) => {
    for (const { role, from, to } of stays(layout, node, 0, layout.height)) {
      bar(colours.roles[names.indexOf(role) % ROLES], from, to, [STRIP + lane * tall, Math.max(1, tall - 1)]);
    }
  });
  const line = (colour, place, ends) => bar(colour, layout.y(place), layout.y(place), ends);
  for (const place of run.crashes) line(colours.crash, place, [0, STRIP - 1]);
  for (const place of run.broken) line(colours.wrong, place, [0, height]);
  if (chosen !== null) line(colours.chosen, chosen, [0, height]);
}
