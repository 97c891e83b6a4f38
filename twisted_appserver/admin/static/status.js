// The status page.

import { element } from "./elements.js";
import { getJSON, request } from "./requests.js";
import { start } from "./shell.js";

const whole = value => Math.round(value).toLocaleString();
const time = seconds => seconds < 0.1 ? `${(seconds * 1000).toFixed(1)} ms` : `${seconds.toFixed(2)} s`;
const memory = bytes => `${(bytes / 1048576).toFixed(1)} MiB`;

function tile(name, value, bad = false) {
  return element("div", { class: "tile" }, element("b", bad ? { class: "bad" } : {}, value), element("span", {}, name));
}

function plot(name, history, column, write) {
  const values = history.map(second => second[column]);
  const most = Math.max(...values, 1e-9);
  const points = values.map((value, index) => `${600 - values.length + index},${58 - 56 * value / most}`).join(" ");
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawing.setAttribute("viewBox", "0 0 600 60");
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("role", "img");
  drawing.setAttribute("aria-label", `${name} over the last ten minutes`);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", points);
  drawing.append(line);
  const title = values.length ? `${name}, at most ${write(Math.max(...values))}` : name;
  return element("div", { class: "tile" }, element("span", {}, title), drawing);
}

function table(title, columns, rows) {
  if (!rows.length) return "";
  const head = element("tr", {}, ...columns.map(name => element("th", { scope: "col" }, name)));
  const body = rows.map(row => element("tr", {}, ...row.map(cell => element("td", {}, cell))));
  const made = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
  return element("section", {}, element("h2", {}, title), element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title }, made));
}

async function post(name, action) {
  const answer = await request(`../${encodeURIComponent(name)}/${action}`, { method: "POST" });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

// A task must be leased before it can be buried.
async function bury(name) {
  const first = await post(name, "get?lease=10");
  if (first.task_id) await post(name, `bury/${encodeURIComponent(first.task_id)}`);
}

function act(word, question, name, doIt) {
  const button = element("button", { "data-act": word, "data-queue": name }, word);
  button.addEventListener("click", async () => {
    if (!confirm(question)) return;
    try { await doIt(); } catch (error) { alert(error.message); }
    show();
  });
  return button;
}

function draw(now) {
  document.getElementById("line").textContent = now.line;
  document.getElementById("unready").textContent = now.unready;
  document.getElementById("tiles").replaceChildren(
    tile("requests per second", whole(now.rate)),
    tile("running", whole(now.running)), tile("waiting", whole(now.pending)),
    tile("connections", whole(now.connections)), tile("done", whole(now.completed)),
    tile("failed", whole(now.failed), now.failed > 0), tile("worker restarts", whole(now.restarts), now.restarts > 0));
  document.getElementById("plots").replaceChildren(
    plot("requests per second", now.history, 1, whole), plot("median", now.history, 3, time),
    plot("99th percentile", now.history, 4, time), plot("waiting", now.history, 6, whole));
  const queues = Object.entries(now.queues).map(([name, queue]) => {
    const cells = ["ready", "leased", "delayed", "held", "buried", "puts", "gets", "dones", "getters"].map(key => whole(queue[key]));
    const acts = element("span", {},
      act("Kick", `Make all buried tasks of ${name} available again?`, name, () => post(name, "kick?n=1000000")), " ",
      act("Bury", `Bury the first task of ${name}?`, name, () => bury(name)), " ",
      act("Purge", `Delete all waiting tasks of ${name}?`, name, () => post(name, "purge")), " ",
      act("Delete", `Delete ${name} with its tasks and options, and end all waiting requests?`, name, () => post(name, "delete")));
    cells.splice(1, 0, queue.oldest === null ? "" : time(queue.oldest));
    return [name, ...cells, acts];
  });
  document.getElementById("tables").replaceChildren(
    table("Queues", ["queue", "ready", "oldest", "leased", "delayed", "held", "buried", "puts", "gets", "done", "waiting gets", ""], queues),
    table("Functions", ["function", "calls", "errors", "median", "99th percentile"],
      Object.entries(now.routes).map(([name, route]) =>
        [name, whole(route.calls), whole(route.errors), time(route.p50), time(route.p99)])),
    table("Active calls", ["function", "running", "waiting"],
      Object.entries(now.at_work).map(([name, work]) => [name, whole(work.running), whole(work.pending)])),
    table("Workers", ["process", "age", "memory", "calls", ""],
      now.workers.map(each => [String(each.pid), time(each.age), memory(each.memory), whole(each.calls), each.state])),
    table("Last errors", ["function", "when", "request", "error"],
      now.errors.map(each => [each.route, new Date(each.when * 1000).toLocaleTimeString(), each.id, each.error])));
}

async function show() {
  try {
    draw(await getJSON("status.json"));
  } catch (error) {
    document.getElementById("unready").textContent = `Cannot load the status: ${error.message}`;
  }
}

document.getElementById("main").append(element("p", { id: "line" }), element("p", { id: "unready", class: "bad", role: "status" }),
  element("section", { id: "tiles", class: "tiles", "aria-label": "Now" }),
  element("section", { id: "plots", class: "tiles", "aria-label": "The last ten minutes" }), element("section", { id: "tables" }));
await start("Status");
show();
setInterval(() => { if (!document.hidden) show(); }, 1000);
