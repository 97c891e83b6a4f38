// The attempts of jobs and tasks, with their errors and tracebacks, and parts of documents with every digit.

import { clock, duration, element } from "./elements.js";
import { indented } from "./results.js";

export const short = id => `#${id.slice(-6)}`;
export const pre = (text, label) => element("pre", { tabindex: 0, role: "region", "aria-label": label }, text);

// The text of a member of a JSON object, indented; empty if it is missing.
export function member(text, name) {
  let depth = 0, key = "", begin = -1;
  for (const { 0: token, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]/g)) {
    if (depth === 1 && begin < 0 && token === ":" && key === JSON.stringify(name)) begin = index + 1;
    if ("}]".includes(token)) depth -= 1;
    if (begin > 0 && (depth === 0 || (depth === 1 && token === ","))) return indented(text.slice(begin, index).trim());
    if ("{[".includes(token)) depth += 1;
    key = depth === 1 ? token === ":" ? key : token : "";
  }
  return "";
}

const isTraceback = /^[^\n]*\(most recent call last\):\n/;

function attemptView(each, number) {
  const head = `Attempt ${each.attempt || number}: ${each.reason}${each.began ? ` at ${clock(each.began)}` : ""} after ${duration(each.seconds)}${each.by ? ` by ${each.by}` : ""}`;
  return element("li", {}, head, each.error && element("p", { class: "bad" }, isTraceback.test(each.error) ? each.error.trim().split("\n").pop() : each.error),
    each.traceback && element("details", {}, element("summary", { "aria-label": `Traceback of attempt ${each.attempt || number}` }, "Traceback"), pre(each.traceback, `Traceback of attempt ${each.attempt || number}`)));
}

export function attemptsView(attempts) {
  if (!attempts || !attempts.length) return "";
  return element("section", {}, element("h3", {}, "Attempts"), element("ol", { class: "attempts" }, ...attempts.map((each, index) => attemptView(each, index + 1))));
}

// A part of a row whose content is loaded when it is opened, and again when update() gets another mark. load() fills its
// place, and returns whether it could: a place that somebody uses stays as it is. toggled() is told whether it is open.
export function loadedDetails(summary, load, toggled, ...children) {
  const place = element("div"), node = element("details", {}, summary, ...children, place);
  let mark = "", loaded = "";
  async function follow() {
    if (!node.open || loaded === mark) return;
    loaded = mark;
    try {
      if (!await load(place)) loaded = "";
    } catch (error) { replaceUnused(place, element("p", { class: "bad" }, error.message)); }
  }
  node.addEventListener("toggle", () => { toggled(node.open); loaded = ""; follow(); });
  return { node, update(next) { mark = next; follow(); } };
}

// Facts as a list of names and values; those without a value are left out.
export function facts(entries) {
  const shown = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element("dl", { class: "facts" }, ...shown.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

// Replace what is shown, unless it is in use. Returns whether it was replaced.
export function replaceUnused(node, ...children) {
  const selection = getSelection();
  if (node.contains(document.activeElement) || (!selection.isCollapsed && selection.containsNode(node, true))) return false;
  const open = [...node.querySelectorAll("details")].map(each => each.open);
  node.replaceChildren(...children);
  node.querySelectorAll("details").forEach((each, index) => { each.open = Boolean(open[index]); });
  return true;
}
