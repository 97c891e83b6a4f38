// The page of one queue: its figures, its history, its groups, and its tasks by state.

import { action, menu, rename } from "./actions.js";
import { keep, readAddress, writeAddress } from "./address.js";
import { button, duration, element, rate, setText, whole } from "./elements.js";
import { plot, plots } from "./plot.js";
import { refresh } from "./refresh.js";
import { post, showGone } from "./requests.js";
import { table, updateRows } from "./rows.js";
import { makeTask, updateTask } from "./tasks.js";

export const STATES = ["ready", "delayed", "leased", "held", "buried", "ended"];
const TITLES = { ended: "finished" }, COUNTS = { ended: "results" }, MOST = 1000;
const baseOf = name => `queues/${encodeURIComponent(name)}`;

// The actions of a whole queue. read() returns its latest figures, and changed() is called after each action.
export function queueActions(name, read, changed) {
  const act = async (verb, body) => {
    const found = await (await post(`${baseOf(name)}/${verb}`, body)).json();
    changed();
    return found;
  };
  const pause = action("Pause", name, async () => {
    const { paused } = await act(read().options.paused ? "resume" : "pause");
    return paused ? `${name} is paused: workers get no task.` : `${name} goes on.`;
  });
  const kick = action("Kick all", name, async () => `${(await act("kick", JSON.stringify({ count: 1000000 }))).kicked} buried tasks of ${name} are ready.`);
  const purge = action("Purge", name, async () => confirm(`Delete all tasks of ${name} that wait?`) ? `${(await act("purge")).purged} tasks of ${name} are deleted.` : "");
  const remove = action("Delete", name, async () => {
    if (!confirm(`Delete ${name} with all its tasks, results and options?`)) return "";
    await act("delete");
    return `${name} is deleted.`;
  });
  return { pause, kick, purge, remove, update: () => rename(pause, read().options.paused ? "Resume" : "Pause", name) };
}

function tabs(choose) {
  const made = STATES.map(state => button("", () => choose(state), { role: "tab", id: `tab-${state}`, "aria-controls": "tasks" }));
  const node = element("div", { class: "tabs", role: "tablist", "aria-label": "Tasks by state" }, ...made);
  node.addEventListener("keydown", event => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], at = made.indexOf(document.activeElement);
    if (!step || at < 0) return;
    const next = (at + step + STATES.length) % STATES.length;
    made[next].focus();
    choose(STATES[next]);
  });
  const update = (chosen, stats) => made.forEach((each, index) => {
    const state = STATES[index], count = stats && stats[COUNTS[state] || state];
    setText(each, `${TITLES[state] || state}${count === undefined || count === null ? "" : ` ${whole(count)}`}`);
    each.ariaSelected = String(state === chosen);
    each.tabIndex = state === chosen ? 0 : -1;
  });
  return { node, update };
}

// Show a queue of a service. stop() ends everything that it has begun.
export function showQueue(name, service) {
  const base = baseOf(name), { state: address } = readAddress(), stopping = new AbortController(), { signal } = stopping;
  const read = place => point => point[place];
  const history = plots([
    plot("Tasks", [["ready", 1], ["leased", 3], ["buried", 5]].map(([title, place]) => ({ name: title, value: read(place) })), whole, 4),
    plot("Tasks per second", [["put", 7], ["done", 8]].map(([title, place]) => ({ name: title, value: read(place) })), rate, 4),
    plot("Age of the oldest ready task", [{ name: "oldest", value: read(6) }], value => value < 120 ? `${Math.round(value)} s` : `${Math.round(value / 60)} min`, 4),
  ]);
  const figures = element("p"), gone = element("p", { class: "bad", role: "status" }), list = element("div", { id: "tasks", role: "tabpanel", class: "list-of-rows" }), none = element("p", { class: "hint", role: "status" });
  const more = button("Show more", () => { limit *= 2; tasks.now(); }, { hidden: true }), options = element("pre", { tabindex: 0, role: "region", "aria-label": "Options" });
  let stats = { options: {} }, limit = 50, chosen = STATES.includes(address.get("state")) ? address.get("state") : "ready";

  const remember = () => { if (!signal.aborted) writeAddress(name, address); };
  const changed = () => { facts.now(); tasks.now(); };
  const queue = { name, base, changed };
  const actions = queueActions(name, () => stats, changed), { pause, kick, purge, remove } = actions, states = tabs(choose);

  function choose(state) {
    chosen = state;
    limit = 50;
    address.set("state", state);
    address.delete("task");
    remember();
    list.replaceChildren();
    list.rowsByKey = null;
    list.setAttribute("aria-labelledby", `tab-${state}`);
    states.update(chosen, stats);
    tasks.now();
  }

  function keepOpen(task, isOpen) {
    keep(address, "task", task, isOpen);
    remember();
  }

  function drawTasks(found) {
    if (found.state !== chosen) return;
    const open = address.getAll("task");
    updateRows(list, found.tasks, each => each.task_id, item => makeTask(item, queue, open.includes(item.task_id), keepOpen), (row, item) => updateTask(row, item, found.state, found.now));
    setText(none, found.tasks.length ? "" : `No task is ${TITLES[chosen] || chosen}.`);
    more.hidden = !found.next || limit >= MOST;
  }

  function drawQueue(found) {
    stats = found;
    const words = [`${whole(found.ready)} ready`, found.oldest === null ? "" : `the oldest for ${duration(found.oldest)}`, `${whole(found.leased)} leased`, `${whole(found.buried)} buried`,
      found.rate === null ? "" : `${rate(found.rate)} done per second`, found.options.paused ? "paused" : ""];
    setText(figures, words.filter(Boolean).join(" · "));
    setText(options, JSON.stringify(found.options, null, 2));
    actions.update();
    states.update(chosen, found);
  }

  const groups = table("Groups", [{ title: "group", text: item => item.group }, ...["leased", "ready", "delayed", "held"].map(state => ({ title: state, text: item => whole(item[state]) }))], item => item.group);
  const facts = refresh(() => base, drawQueue, 1, signal);
  const tasks = refresh(() => `${base}/tasks?excerpts=true&state=${chosen}&limit=${Math.min(limit, MOST)}`, drawTasks, 1, signal);
  const past = refresh(() => `${base}/history?since=${history.last()}`, found => history.add(found.history), 1, signal);
  const grouped = refresh(() => `${base}/groups`, found => groups.update(found.groups, found.complete ? "Tasks that have a group." : "Only the first 1000 tasks of each state, and the largest 100 groups, are counted."), 5, signal);
  showGone(gone, "Task", address.getAll("task"), task => `${base}/tasks/${encodeURIComponent(task)}`);
  states.update(chosen);
  list.setAttribute("aria-labelledby", `tab-${chosen}`);
  const node = element("div", {}, element("p", {}, element("a", { href: "#" }, "All queues")), element("div", { class: "row" }, element("h1", {}, name), pause, kick, menu(name, [purge, remove])),
    facts.node, figures, history.node, past.node,
    states.node, service.queues_of_jobs ? element("p", { class: "hint" }, "Failed jobs are under finished, not buried. ", element("a", { href: "jobs#?state=failed" }, "All failed jobs")) : "", tasks.node, gone, none, list, more, groups.node, grouped.node, element("details", {}, element("summary", {}, "Options"), options));
  return { node, stop: () => stopping.abort() };
}
