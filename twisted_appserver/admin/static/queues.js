// The page of queues: all of them, or one.

import { menu } from "./actions.js";
import { addressOf, readAddress } from "./address.js";
import { button, duration, element, rate, setText, whole } from "./elements.js";
import { queueActions, showQueue } from "./queue.js";
import { refresh } from "./refresh.js";
import { table } from "./rows.js";
import { start } from "./shell.js";

const MOST = 1000, main = document.getElementById("main");
const number = (title, write) => ({ title, text: write });

function showAll() {
  const stopping = new AbortController();
  let limit = 100;
  const none = element("p", { class: "hint" }), more = button("Show more", () => { limit = MOST; all.now(); }, { hidden: true });
  const actions = (cell, item) => {
    if (!cell.actions) {
      cell.actions = queueActions(item.queue, () => cell.item, () => all.now());
      const { pause, kick, purge, remove } = cell.actions;
      cell.append(menu(item.queue, [pause, kick, purge, remove], "Actions"));
    }
    cell.item = item;
    cell.actions.update();
  };
  const rows = table("All queues", [
    { title: "queue", update: (cell, item) => {
      if (!cell.firstChild) cell.append(element("a", { href: addressOf(item.queue) }, item.queue), element("span", { class: "badge" }));
      setText(cell.lastChild, item.options.paused ? " paused" : "");
    } },
    { title: "", class: "text", update: actions },
    number("ready", item => whole(item.ready)), number("oldest", item => item.oldest === null ? "" : duration(item.oldest)),
    ...["leased", "delayed", "held", "buried"].map(state => number(state, item => whole(item[state]))),
    number("done/s", item => rate(item.rate)),
  ], item => item.queue);
  const all = refresh(() => `queues?limit=${limit}`, found => {
    rows.update(found.queues, "Ready tasks wait for a worker; oldest is the age of the first of them. Buried tasks are put aside until somebody retries them.");
    setText(none, found.total ? found.total > found.queues.length ? `The first ${found.queues.length} of ${whole(found.total)} queues.` : "" : "There are no queues yet. A queue appears when its first task is put.");
    more.hidden = !found.next || limit === MOST;
  }, 1, stopping.signal);
  rows.node.querySelector("h2").remove();
  return { node: element("div", {}, element("h1", {}, "Queues"), all.node, none, rows.node, more), stop: () => stopping.abort() };
}

let shown = null;

function go() {
  if (shown) shown.stop();
  const { name } = readAddress();
  shown = name ? showQueue(name, service) : showAll();
  main.replaceChildren(shown.node);
}

const service = await start("Queues");
if (service.queues) {
  window.addEventListener("hashchange", go);
  go();
} else main.replaceChildren(element("h1", {}, "Queues"), element("p", { class: "hint" }, "This server has no store; start it with --store."));
