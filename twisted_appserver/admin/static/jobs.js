// The page of jobs and schedules.

import { action, allow, retryJob } from "./actions.js";
import { keep, readAddress, writeAddress } from "./address.js";
import { attemptsView, facts, loadedDetails, replaceUnused, short } from "./attempts.js";
import { button, clock, duration, element, setText, unbroken } from "./elements.js";
import { refresh } from "./refresh.js";
import { detailOf, getJSON, request, showGone } from "./requests.js";
import { share, showResponse } from "./results.js";
import { table, updateRows } from "./rows.js";
import { start } from "./shell.js";

const STATES = ["waiting", "running", "done", "failed", "cancelled"], MOST = 1000;
const main = document.getElementById("main");
const pageOf = name => `docs#${encodeURIComponent(name.split(".").pop().replace(/\W+/g, "_"))}`;
const seconds = iso => iso ? Date.parse(iso) / 1000 : 0;
const isOver = job => !["waiting", "running"].includes(job.state);
const place = job => `jobs/${encodeURIComponent(job)}`;

let { state } = readAddress(), limit = 50;
const list = element("div", { class: "list-of-rows" }), gone = element("p", { class: "bad", role: "status" }), none = element("p", { class: "hint" });
const more = button("Show more", () => { limit = Math.min(MOST, 2 * limit); now(); }, { hidden: true });

function remember() {
  for (const name of ["state", "function"]) if (!state.get(name)) state.delete(name);
  writeAddress("", state);
}

function filter(label, name, texts) {
  const select = element("select", { name }, ...texts.map(each => element("option", { value: each }, each || "all")));
  select.value = state.get(name) || "";
  select.addEventListener("change", () => { state.set(name, select.value); limit = 50; remember(); now(); });
  return { select, node: element("label", {}, label, select) };
}

const byState = filter("State", "state", ["", ...STATES]);
const byFunction = filter("Function", "function", ["", ...(state.get("function") ? [state.get("function")] : [])]);

// The functions of all jobs that are kept. The chosen one stays.
function offer(functions) {
  const { select } = byFunction, names = ["", ...new Set([...functions, ...(select.value ? [select.value] : [])])];
  if (document.activeElement === select || names.join("\n") === [...select.options].map(each => each.value).join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(...names.map(each => element("option", { value: each }, each || "all")));
  select.value = chosen;
}

async function cancel(job) {
  const answer = await request(place(job), { method: "DELETE" });
  if (!answer.ok) throw new Error(await detailOf(answer));
  now();
}

// What is known of a job, loaded when its row is opened and when its state has changed.
async function load(job, details) {
  const about = await getJSON(place(job)), result = element("div");
  const shown = replaceUnused(details, facts([["id", about.job], ["call", about.path ? `${about.method} ${about.path}` : ""], ["created", clock(seconds(about.created))],
    ["began", about.began ? clock(seconds(about.began)) : ""], ["ended", about.ended ? clock(seconds(about.ended)) : ""], ["request id", about.instance],
    ["items", about.items || ""], ["progress", about.progress === undefined ? "" : JSON.stringify(about.progress)]]), attemptsView((about.attempts || []).map(each => ({ ...each, began: seconds(each.began) }))), result);
  if (shown && isOver(about)) {
    result.append(element("h3", {}, "Result"), element("div"));
    await showResponse(result.lastChild, await request(`${place(job)}/result`), new AbortController());
  }
  return shown;
}

function makeRow(item) {
  const name = `${item.function} ${short(item.job)}`, view = { job: item.job };
  view.bar = element("progress", { "aria-label": `Progress of ${name}` });
  [view.state, view.text, view.error] = [element("b"), element("span", { class: "hint" }), element("span", { class: "bad error" })];
  view.cancel = action("Cancel", name, () => cancel(item.job));
  view.retry = retryJob(item.job, name, () => now());
  const summary = element("summary", { "aria-label": `Details of ${name}` }, "Details");
  view.details = loadedDetails(summary, content => load(item.job, content), isOpen => { keep(state, "job", item.job, isOpen); remember(); });
  view.open = view.details.node;
  const row = element("article", { class: "item", "data-job": item.job },
    element("div", { class: "job-line" }, element("div", {}, element("a", { href: pageOf(item.function), title: item.function }, item.function), " ", element("code", {}, short(item.job))),
      view.state, view.bar, view.text, element("div", { class: "buttons" }, view.cancel, view.retry)),
    view.error, view.open);
  row.view = view;
  view.open.open = state.getAll("job").includes(item.job);
  return row;
}

const isAgain = job => job.attempt > 1 || (job.attempt && job.state === "waiting");

function updateRow({ view }, item) {
  const part = item.state === "done" ? 1 : share(item.progress), { progress } = item;
  setText(view.state, item.state);
  view.state.className = { done: "good", failed: "bad", cancelled: "bad" }[item.state] || "";
  view.bar.classList.toggle("unused", item.state !== "running" && !item.items);
  if (part !== null) view.bar.value = part;
  else if (item.state !== "running") view.bar.value = 0;
  else view.bar.removeAttribute("value");
  setText(view.text, [progress && progress.total ? `${progress.done}/${progress.total}` : "", item.attempt && item.state !== "waiting" ? duration(item.seconds) : "", isAgain(item) ? unbroken(`attempt ${item.attempt}`) : ""].filter(Boolean).join(" · "));
  setText(view.error, item.state !== "cancelled" && item.error || "");
  allow(view.cancel, !isOver(item));
  allow(view.retry, ["failed", "cancelled"].includes(item.state) || (item.state === "waiting" && item.attempt > 0));
  view.details.update(`${item.state} ${item.attempt} ${item.items}`);
}

function draw(found) {
  offer(found.functions);
  updateRows(list, found.jobs, each => each.job, makeRow, updateRow);
  setText(none, found.total ? `${found.total.toLocaleString()} jobs, the newest first.` : "There are no such jobs.");
  more.hidden = !found.next || limit >= MOST;
}

const query = () => new URLSearchParams({ limit, state: byState.select.value, function: byFunction.select.value });
const scheduleText = text => text.replace(/^every (\d+) s$/, (found, seconds) => seconds < 60 ? found : `every ${duration(+seconds)}`);
const lastText = last => last ? `${last.state} at ${clock(seconds(last.ended))}` : "";
const schedules = table("Schedules", [
  { title: "function", class: "text", update: (cell, item) => { if (!cell.firstChild) cell.append(element("a", { href: pageOf(item.function) }, item.function)); } },
  { title: "path", class: "text", text: item => item.path }, { title: "schedule", class: "text", text: item => scheduleText(item.schedule) },
  { title: "now", class: "text", update: (cell, item) => {
    if (cell.job === item.running) return;
    cell.job = item.running;
    cell.replaceChildren(item.running ? element("a", { href: `#?job=${encodeURIComponent(item.running)}` }, "running") : "");
  } },
  { title: "next", class: "text", text: item => item.next ? clock(seconds(item.next)) : "never" },
  { title: "last", class: "text", update: (cell, item) => {
    if (!item.last) return;
    const link = cell.firstElementChild || cell.appendChild(element("a"));
    link.href = `#?job=${encodeURIComponent(item.last.job)}`;
    link.className = item.last.state === "done" ? "good" : "bad";
    setText(link, lastText(item.last));
  } },
], item => `${item.function} ${item.path}`);

const findGone = () => showGone(gone, "Job", state.getAll("job"), place);

// A link to a job opens it. It is shown with all others.
window.addEventListener("hashchange", () => {
  ({ state } = readAddress());
  for (const each of [byState, byFunction]) each.select.value = state.get(each.select.name) || "";
  for (const { view } of list.children) view.open.open = state.getAll("job").includes(view.job);
  now();
  findGone();
  const wanted = [...list.children].find(({ view }) => view.open.open);
  if (wanted) wanted.view.open.firstChild.focus();
});

await start("Jobs");
const { node, now } = refresh(() => `jobs?${query()}`, draw), planned = refresh(() => "schedules", found => schedules.update(found.schedules, "Functions that the service calls itself."), 5);
main.append(element("h1", {}, "Jobs"), node, element("div", { class: "row filters" }, byState.node, byFunction.node), gone, none, list, more, planned.node, schedules.node);
findGone();
