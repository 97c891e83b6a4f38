// The status page.

import { bytes, clock, duration, element, rate, setText, whole } from "./elements.js";
import { plot, plots } from "./plot.js";
import { refresh } from "./refresh.js";
import { getJSON } from "./requests.js";
import { table, updateRows } from "./rows.js";
import { showJobs, start } from "./shell.js";

const number = (title, read, write = whole) => ({ title, text: item => write(read(item)) });
const text = (title, read) => ({ title, text: read, class: "text" });

// The name of a function, which leads to its form.
function link(title, read) {
  const update = (cell, item) => {
    const { name, page } = read(item), shown = cell.firstChild;
    if (!shown || shown.textContent !== name) cell.replaceChildren(page ? element("a", { href: `docs#${encodeURIComponent(page)}` }, name) : name);
  };
  return { title, update, class: "text" };
}

const called = call => ({ name: call ? call.function : "", page: call && call.page });
const seconds = call => call ? duration(call.seconds) : "";

const past = plots([
  plot("Requests per second, by status", [1, 2, 3].map(place => ({ name: ["2xx, 3xx", "4xx", "5xx"][place - 1], value: each => each[place] })), whole, 4),
  plot("Duration, on a logarithmic scale", [4, 5].map(place => ({ name: ["p50", "p99"][place - 4], value: each => each[place] })), duration, 0.1, 0.0001),
  plot("Calls that run and wait", [6, 7].map(place => ({ name: ["running", "waiting"][place - 6], value: each => each[place] })), whole, 4),
]);

const functions = table("Functions", [
  link("function", item => item), number("calls", item => item.calls), number("4xx", item => item["4xx"]), number("5xx", item => item["5xx"]),
  number("p50", item => item.p50, duration), number("p99", item => item.p99, duration), number("running", item => item.running), number("waiting", item => item.pending),
], item => item.name);
const servers = table("Servers", [
  number("server", item => item.server, String), number("process", item => item.pid, String), text("state", item => item.state), number("age", item => item.age, duration),
  number("memory", item => item.memory, bytes), number("connections", item => item.connections), number("calls", item => item.calls),
  number("running", item => item.running), number("waiting", item => item.pending),
], item => item.pid);
const inServer = item => item.server ? `server ${item.server}, ` : "";
const workers = table("Worker processes", [
  number("process", item => `${inServer(item)}${item.pid}`, String), text("state", item => item.state), number("age", item => item.age, duration),
  number("memory", item => item.memory, bytes), number("calls", item => item.calls),
  link("current call", item => called(item.call)), text("for", item => seconds(item.call)), text("request id", item => item.call ? item.call.id : ""),
], item => item.pid);
const calls = table("Running calls", [
  link("function", called), text("runs in", item => `${inServer(item)}${item.place}`), text("for", seconds), text("request id", item => item.id),
  text("note", item => item.wanted ? "" : "nobody waits for it any more"),
], item => item.id);

// The last failure of a group, with its traceback. It is loaded when it is opened.
async function openError(view, item) {
  const place = view.querySelector("div");
  place.replaceChildren(element("p", {}, "Loading…"));
  const { tracebacks, errors } = await getJSON("errors"), found = errors.find(each => each.function === item.function && each.type === item.type);
  if (!found) return place.replaceChildren(element("p", {}, "This failure is not kept any more."));
  return place.replaceChildren(element("p", {}, `${clock(found.last)}, request ${found.id}: ${found.error}`),
    tracebacks ? element("pre", { tabindex: 0, role: "region", "aria-label": `Traceback of request ${found.id}` }, found.traceback)
      : element("p", { class: "hint" }, "The traceback is in the log. With --display-tracebacks, or if the service requires a token or a password, it is shown here too."));
}

function errorView(item) {
  const view = element("details", {}, element("summary"), element("div"));
  view.addEventListener("toggle", () => view.open && openError(view, item).catch(error => setText(view.querySelector("div"), error.message)));
  return view;
}

const errorText = item => `${item.type} in ${item.function}: ${item.count === 1 ? "once," : `${whole(item.count)} times, last`} at ${clock(item.last)}`;
const errors = element("div"), failures = element("section", { hidden: true }, element("h2", {}, "Errors"), element("p", { class: "hint" }), errors);

const tiles = element("section", { class: "tiles", "aria-label": "Now" });
const line = element("p"), unready = element("p", { class: "bad", role: "status" }), since = element("p", { class: "hint" }), empty = element("p", { class: "hint" });

const severalServers = now => now.servers.some(each => each.server);

function tilesOf(now) {
  return [
    ["requests per second", rate(now.rate)], ["running", whole(now.running)], ["waiting", whole(now.pending)],
    ...(now.parked ? [["streams waiting for clients", whole(now.parked)]] : []),
    ["connections", whole(now.connections)], ["answered", whole(now.completed)], ["failed", whole(now.failed), now.failed],
    ...(severalServers(now) ? [["servers lost", whole(now.server_restarts), now.server_restarts]] : []),
    ...(now.workers.length ? [["worker processes lost", whole(now.restarts), now.restarts]] : []),
  ];
}

function functionsOf(now) {
  const found = new Map(Object.entries(now.routes).map(([name, each]) => [name, { name, running: 0, pending: 0, ...each }]));
  for (const [name, each] of Object.entries(now.at_work)) found.set(name, { name, calls: 0, "4xx": 0, "5xx": 0, p50: 0, p99: 0, ...found.get(name), ...each });
  return [...found.values()].sort((one, other) => one.name.localeCompare(other.name));
}

function draw(now) {
  setText(line, now.line);
  setText(unready, now.unready);
  updateRows(tiles, tilesOf(now), each => each[0], ([name]) => element("div", { class: "tile" }, element("b"), element("span", {}, name)), (tile, [, value, bad]) => {
    setText(tile.firstChild, value);
    tile.firstChild.classList.toggle("bad", Boolean(bad));
  });
  setText(since, `Requests per second are the average of ten seconds. Answered and failed calls are counted since the start of the service, ${clock(now.started)}. Failed calls have a status from 500.`);
  past.add(now.history, now.now);
  const paused = now.not_counted >= 1 ? `, except for ${duration(now.not_counted)} in which nobody looked` : "";
  const found = functionsOf(now);
  setText(empty, found.length ? "" : `No function has been called since ${clock(now.counted_since)}, when counting began. After the first call, its function, its duration, calls that run, and errors are shown here. The plots get a point each second.`);
  functions.update(found, `Calls since ${clock(now.counted_since)}, when the figures were first requested${paused}. Durations are from arrival to response: half of the calls take at most p50, and 99 % at most p99.`);
  servers.update(severalServers(now) ? now.servers : [], "All other figures on this page are sums of all servers. Calls are counted since the start of each process.");
  workers.update(now.workers, "Calls are counted since the start of each process. The time of a call begins at its arrival.");
  const { threads } = now.executors;
  calls.update(now.running_calls, `${threads ? `${threads.running} of ${threads.size} threads are busy. ` : ""}At most 100 calls are listed, the longest first. Their time begins at their arrival.`);
  updateRows(errors, now.errors, each => `${each.function} ${each.type}`, errorView, (view, item) => setText(view.firstChild, errorText(item)));
  setText(failures.children[1], `Failures of functions since the start of the service, ${clock(now.started)}. Open one to see its last traceback.`);
  failures.hidden = !errors.children.length;
  showJobs(now.jobs);
}

await start("Status");
const { node } = refresh(() => `status.json?after=${past.last()}`, draw);
document.getElementById("main").append(element("h1", {}, "Status"), line, node, unready, tiles, since,
  past.node, empty, functions.node, servers.node, workers.node, calls.node, failures);
