// One task of a queue: a line, which opens to everything that is known of the task, with its actions.

import { action, allow, editText, retryJob } from "./actions.js";
import { attemptsView, facts, loadedDetails, member, pre, replaceUnused, short } from "./attempts.js";
import { clock, duration, element, setText } from "./elements.js";
import { get, post, request } from "./requests.js";
import { indented, share } from "./results.js";

const decoded = body => new TextDecoder().decode(Uint8Array.from(atob(body), each => each.charCodeAt(0)));
const isObject = text => { try { const found = JSON.parse(text); return found !== null && typeof found === "object" && !Array.isArray(found); } catch { return false; } };
const ago = seconds => `${duration(Math.max(0, seconds))} ago`;
const ENDED = ["done", "expired", "dropped"];

// What a line says beside the id and the payload, and how far the task is.
function lineOf(item, now) {
  const words = [];
  if (item.lease) words.push(`leased${item.by ? ` by ${item.by}` : ""} for ${duration(Math.max(0, now - item.began))}`);
  else if (item.due > now) words.push(`ready in ${duration(item.due - now)}`);
  if (item.put_at && !item.lease) words.push(`put ${ago(now - item.put_at)}`);
  if (item.ended) words.push(`${item.job ? item.job.state : item.state} ${ago(now - item.ended)}`);
  if (item.deliveries) words.push(`${item.deliveries} ${item.deliveries === 1 ? "attempt" : "attempts"}`);
  if (item.group) words.push(`group ${item.group}`);
  return words.join(" · ");
}

function payloadOf(about, text) {
  if (!about.task) return [];
  if (!about.job) return [element("h3", {}, "Payload"), pre(member(text, "task"), "Payload")];
  const { method, path, query, body, user } = about.task, content = decoded(body);
  return [element("h3", {}, "Call"), pre(`${method} ${path}${query ? `?${query}` : ""}${content && `\n\n${indented(content)}`}`, "Call"), user ? element("p", { class: "hint" }, `Called by ${user}.`) : ""];
}

function factsOf(about) {
  return facts([["id", about.task_id], ["state", about.state], ["put", about.put_at ? clock(about.put_at) : ""], ["ready", about.due ? clock(about.due) : ""],
    ["leased by", about.by], ["since", about.began ? clock(about.began) : ""], ["lease ends", about.lease ? clock(about.lease) : ""],
    ["priority", about.priority || ""], ["group", about.group], ["unique", about.unique], ["ended", about.ended ? clock(about.ended) : ""],
    ["job", about.job && element("a", { href: `jobs#?job=${encodeURIComponent(about.job.job)}` }, short(about.job.job))]]);
}

// The new fields of a task, or the new body of the call of a job, after a dialog; null if it was closed.
async function askForEdit(place, name) {
  const text = await (await get(place)).text(), about = JSON.parse(text);
  if (!about.task) throw new Error("it has ended");
  if (!about.job) {
    const fields = await editText(`Edit ${name}`, member(text, "task"), "The fields of the task, a JSON object. It keeps its id and its attempts.", value => isObject(value) ? "" : "This must be a JSON object.");
    return fields === null ? null : `{"fields": ${fields}}`;
  }
  const body = await editText(`Edit ${name}`, indented(decoded(about.task.body)), `The body of the call ${about.task.method} ${about.task.path}.`, () => "");
  return body === null ? null : JSON.stringify({ body });
}

// A row of a list. queue: { name, base, changed() }; remember(task, isOpen) keeps in the address whether it is open.
export function makeTask(item, queue, isOpen, remember) {
  const place = `${queue.base}/tasks/${encodeURIComponent(item.task_id)}`, name = `${item.job ? item.job.function : "task"} ${short(item.task_id)}`;
  const act = (text, verb, done, body) => action(text, name, async () => {
    const sent = body ? await body() : undefined;
    if (sent === null) return "";
    await post(`${place}/${verb}`, sent);
    queue.changed();
    return done;
  });
  const retry = item.ended && item.job ? retryJob(item.job.job, name, queue.changed) : act("Retry", "kick", `${name} is ready.`);
  const buttons = {
    bury: act("Bury", "bury", `${name} is buried.`), release: act("Release", "release", `The lease of ${name} has ended.`),
    drop: action("Drop", name, async () => {
      if (!confirm(`Remove ${name} from ${queue.name}?`)) return "";
      await post(`${place}/${item.job ? "cancel" : "drop"}`);
      queue.changed();
      return `${name} is dropped.`;
    }),
    edit: act("Edit and retry", "edit", `${name} is changed and ready.`, () => askForEdit(place, name)),
    same: action("Retry all with this error", name, async () => {
      const { kicked } = await (await post(`${queue.base}/kick`, JSON.stringify({ error: row.view.item.error || "", count: 1000000 }))).json();
      queue.changed();
      return `${kicked} tasks with this error are ready.`;
    }),
  };
  const view = { item, retry, buttons, line: element("span", { class: "hint" }), error: element("span", { class: "bad error" }) };
  view.bar = element("progress", { "aria-label": `Progress of ${name}`, hidden: true });
  const title = element("span", { class: "payload" }, item.job ? `${item.job.function} ${item.excerpt || ""}` : item.excerpt || "");
  view.details = loadedDetails(element("summary", {}, element("code", {}, short(item.task_id)), " ", title, " ", view.line), content => load(place, content),
    isOpen => remember(item.task_id, isOpen), element("div", { class: "row" }, buttons.edit, buttons.bury, buttons.release, buttons.drop, buttons.same));
  const row = element("article", { class: "item task", "data-task": item.task_id }, view.details.node, retry, view.bar, view.error);
  row.view = view;
  view.details.node.open = isOpen;
  return row;
}

// The attempts of a task. The last one of a job that has ended is known to the job only.
async function attemptsOf(about) {
  if (!about.job || !ENDED.includes(about.state)) return about.attempts;
  const answer = await request(`jobs/${encodeURIComponent(about.job.job)}`);
  return answer.ok ? (await answer.json()).attempts : about.attempts;
}

async function load(place, content) {
  const text = await (await get(place)).text(), about = JSON.parse(text), result = member(text, "result"), attempts = await attemptsOf(about);
  return replaceUnused(content, factsOf(about), ...payloadOf(about, text), attemptsView(attempts),
    ...(about.job || !ENDED.includes(about.state) || !result ? [] : [element("h3", {}, "Result"), pre(result, "Result")]));
}

// Show a new state of a task. state: the state of the list that it is in.
export function updateTask({ view }, item, state, now) {
  view.item = item;
  setText(view.line, lineOf(item, now));
  setText(view.error, item.error || (item.job && item.job.error) || "");
  const part = share(item.progress), over = state === "ended";
  view.bar.hidden = state !== "leased" || part === null;
  if (part !== null) view.bar.value = part;
  const { bury, release, drop, edit, same } = view.buttons;
  allow(view.retry, ["buried", "delayed"].includes(state) || (over && Boolean(item.job) && ["failed", "cancelled"].includes(item.job.state)));
  for (const [each, isPossible] of [[bury, !over && state !== "buried"], [release, state === "leased"], [drop, !over], [edit, !over && state !== "leased"], [same, state === "buried"]]) allow(each, isPossible);
  view.details.update(`${state} ${item.deliveries} ${item.error || ""} ${item.lease > 0}`);
}
