// Goes through the page as a reader does, by keys and clicks, and writes down what was not as it should be.
"use strict";
const failed = [];
let passed = 0;

function check(words, isSo) {
  if (isSo) passed += 1;
  else failed.push(words);
}

function press(key) {
  document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
}

function type(query) {
  const box = part("search");
  box.value = query;
  box.dispatchEvent(new Event("input"));
  return part("hits").textContent;
}

const chosen = () => run.steps[look.chosen].i;
const told = () => part("details").textContent;
const drawn = (kind) => part("drawn").querySelectorAll(kind).length;

function walk() {
  check("the page begins at what went wrong", chosen() === 15 && told().includes("everybody hears"));
  check("a name is no markup", document.querySelector("h1 b, aside b, script + b") === null);
  press("g");
  check("g is the first step", chosen() === 0 && told().includes("step 0"));
  press("j");
  press("j");
  check("j is the next step", chosen() === 2);
  press("k");
  check("k is the step before", chosen() === 1);
  press("J");
  check("J is the next step of the node", chosen() === 3);
  check("the new state is told", told().includes("count0 1"));
  check("of a source, file and line are told", !told().includes("lib.rs"));
  check("what hides text is written as its number", !document.body.innerText.includes("\u202e"));
  press("p");
  check("p is what caused the step", chosen() === 0);
  press("x");
  check("x is the next fault", chosen() === 5);
  press("G");
  check("G is the last step", chosen() === 15);
  press("v");
  check("v is what went wrong", chosen() === 15);
}

function filter() {
  press("g");
  check("every step is drawn", drawn(".row") === 16);
  check("arrows, lost messages and what never arrives", [drawn(".message"), drawn(".lost"), drawn("circle.pending")].join() === "4,3,1");
  check("a partition and a node that is down", drawn("rect.split") === 1 && drawn(".gone") === 1);
  check("roles have colours", drawn(".role") > 1);
  part("nodes").querySelector("input").click();
  check("a node can be hidden", !layout.lanes.includes(1) && layout.places.every((place) => run.steps[place].n !== 1));
  part("nodes").querySelector("input").click();
  press("z");
  check("quiet steps fold", layout.places.length < 16 && part("hidden").textContent.includes("not shown"));
  press("z");
  press("t");
  const gap = (one, other) => layout.y(other) - layout.y(one);
  check("time is to scale", Math.abs(gap(12, 13) / gap(9, 10) - 1) < 0.01 && Math.abs(gap(14, 15) / gap(9, 10) - 2.5) < 0.01);
  press("t");
  press("+");
  check("rows grow", gap(3, 4) > 26);
  press("-");
}

function find() {
  check("text is found", type("in vain") === "1 hits");
  check("a node and a text", type("n2 & say") === "1 hits");
  check("a value", type("count=1") === "1 hits");
  check("a comparison", type("count>0") === "1 hits" && type("count>1") === "0 hits");
  check("a role", type("role=follower") === "2 hits");
  check("a pattern", type("/chat\\.(heard|note)/") === "6 hits");
  check("a wrong pattern is told", type("/(/").includes("Invalid regular expression"));
  type("n2 & say");
  press("g");
  press("n");
  check("n goes to the hit", chosen() === 3);
}

function cones() {
  choose(run.places.get(7));
  press("c");
  check("the past of a step", [...marks.keys()].filter((at) => marks[at]).join() === "0,1,3,7");
  press("c");
  check("its future", [...marks.keys()].filter((at) => marks[at]).join() === "7,8,12");
  check("the rest stands back", drawn(".dim") > 0);
  press("c");
  check("and everything again", marks === null && drawn(".dim") === 0);
}

function follow() {
  choose(run.places.get(3));
  part("details").querySelector("button.link").click();
  check("a link leads to the cause", chosen() === 0);
  check("the address names the step", location.hash === "#step=0");
  const box = part("picture").getBoundingClientRect();
  const at = { clientX: 300, clientY: box.top + layout.y(9), bubbles: true };
  part("picture").dispatchEvent(new MouseEvent("click", at));
  check("a click chooses the row", chosen() === 9);
  check("who is down is told", told().includes("n2down"));
  check("nothing is asked of a network", performance.getEntriesByType("resource").length === 0);
}

function bookmark() {
  choose(run.places.get(3));
  press("b");
  check("a bookmark awaits its note", document.activeElement === part("note"));
  part("note").value = "who & why?";
  part("note").dispatchEvent(new Event("input"));
  check("it is listed", part("bookmarks").textContent === "step 3 who & why?");
  part("note").dispatchEvent(new KeyboardEvent("keydown", { key: "x", bubbles: true, cancelable: true }));
  check("what is written is no key", chosen() === 3);
  part("note").blur();
  check("the address holds it", location.hash === "#step=3&note3=who%20%26%20why%3F");
  press("G");
  bookmarks.clear();
  readAddress();
  check("and is read back", bookmarks.get(3) === "who & why?" && bookmarks.size === 1);
  press("g");
  press("B");
  check("B is the next bookmark", chosen() === 3 && part("note").value === "who & why?");
  press("b");
  check("b takes it away", part("note") === null && part("bookmarks").textContent === "" && location.hash === "#step=3");
}

try {
  for (const act of [walk, filter, find, cones, follow, bookmark]) act();
} catch (error) {
  failed.push(`${error.message} ${error.stack}`);
}
document.body.append(html("pre", { id: "outcome" }, JSON.stringify({ passed, failed })));
