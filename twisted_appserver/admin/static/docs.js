// The page of functions: an index with search, and a form for each function.

import { addressOf, readAddress, writeAddress } from "./address.js";
import { asCurl, asPython, makeCall, send } from "./calls.js";
import { readDraft, writeDraft } from "./drafts.js";
import { button, copyButton, element } from "./elements.js";
import { makeField } from "./fields.js";
import { inline, markdown } from "./markdown.js";
import { getJSON, Latest } from "./requests.js";
import { followJob, showResponse } from "./results.js";
import { choices, schemaView, useComponents } from "./schemas.js";
import { start } from "./shell.js";

const MISSING = "not-in-openapi";
const main = document.getElementById("main");

// One entry for each function: its name, its summary, and a variant for each method and path.
function functionsOf(description) {
  const found = new Map();
  for (const [path, item] of Object.entries(description.paths)) {
    for (const [key, operation] of Object.entries(item)) {
      if (!operation.tags || !operation.tags.includes("functions")) continue;
      const name = operation["x-function"], method = key.replace("x-", "").toUpperCase();
      if (!found.has(name)) found.set(name, { name, summary: operation.summary, text: operation.description || "", variants: [] });
      found.get(name).variants.push({ method, path, operation });
    }
  }
  for (const each of found.values()) {
    const twin = one => each.variants.some(other => other !== one && other.method === one.method && other.path === `${one.path}/`);
    each.variants = each.variants.filter(one => !twin(one));
    each.methods = [...new Set(each.variants.map(one => one.method))];
  }
  return found;
}

function groupsOf(functions) {
  const groups = new Map();
  for (const each of functions) {
    const [, first = ""] = each.variants[0].path.split("/"), prefix = first.includes("{") ? "" : first;
    groups.set(prefix, [...(groups.get(prefix) || []), each]);
  }
  const alone = [...groups].filter(([prefix, all]) => !prefix || all.length === 1).flatMap(([, all]) => all);
  const others = [...groups].filter(([prefix, all]) => prefix && all.length > 1);
  return [...(alone.length ? [["", alone]] : []), ...others];
}

function fieldsOf({ operation }) {
  const found = [];
  for (const each of operation.parameters || [])
    if (each.in === "path" || each.in === "query") found.push({ ...each, name: each.in === "query" && each.schema.type === "object" && each.explode ? "" : each.name, place: each.in });
  const content = operation.requestBody ? operation.requestBody.content : {}, form = content["multipart/form-data"];
  const [type] = Object.keys(content), fielded = content["application/json"] || form, place = form ? "form" : "body";
  if (!fielded) return type ? [...found, { name: "", schema: {}, place, type }] : found;
  const [whole] = choices(fielded.schema), required = whole.required || [];
  for (const [name, schema] of Object.entries(whole.properties || {})) found.push({ name, schema, place, required: required.includes(name), description: schema.description });
  if (!whole.properties) found.push({ name: "", schema: { type: "object", ...fielded.schema }, place, required: operation.requestBody.required });
  return found;
}

function samplesView(read) {
  const made = element("details", { class: "samples" }, element("summary", {}, "Copy as curl or Python"));
  const shown = [["curl", asCurl], ["Python", asPython]].map(([title, write]) => {
    const code = element("pre", { tabindex: 0, "aria-label": title });
    return { update: call => { code.textContent = write(call); }, nodes: [copyButton(`Copy ${title}`, () => code.textContent), code] };
  });
  const update = () => { if (made.open) for (const each of shown) each.update(read()); };
  made.append(...shown.flatMap(each => each.nodes));
  made.addEventListener("toggle", update);
  return [made, update];
}

function returnsView({ operation }) {
  const made = element("section", {}, element("h3", {}, "Returns"));
  for (const [status, { description, content }] of Object.entries(operation.responses)) {
    if (!status.startsWith("2") || !content) continue;
    made.append(element("p", {}, ...inline(description)));
    for (const [type, { schema }] of Object.entries(content)) made.append(schemaView(schema, type));
  }
  return made;
}

// The form of a function. What was entered stays when another method is chosen.
function functionView(each) {
  const title = element("h2", { tabindex: -1 }, each.name);
  const latest = new Latest(), place = element("div"), output = element("output"), rows = element("div", { class: "jobs" });
  // The variant that takes the most; a GET if that makes no difference.
  const rank = one => fieldsOf(one).length + ({ GET: 0.2, POST: 0.1 }[one.method] || 0), [preferred] = [...each.variants].sort((one, other) => rank(other) - rank(one));
  const label = one => `${one.method} ${one.path}`;
  const select = element("select", { "aria-label": "Method and path" }, ...each.variants.map(one => element("option", { value: label(one) }, label(one))));
  const draft = readDraft(each.name), kept = new Map(draft.values);
  const asJob = element("input", { type: "checkbox", name: "job" }), state = new URLSearchParams();
  const stop = button("Stop", () => { latest.stop(); output.replaceChildren(element("p", { class: "bad", role: "status" }, "Stopped.")); stop.disabled = true; }, { disabled: true });
  let variant, fields = [];

  function show(one) {
    for (const { field, read } of fields) kept.set(field.name, read());
    variant = one;
    fields = fieldsOf(one).map(makeField);
    for (const { field, write } of fields) if (kept.get(field.name)) write(kept.get(field.name).texts[0], kept.get(field.name));
    place.replaceChildren(...fields.map(field => field.node));
    returns.replaceChildren(returnsView(one));
    update();
  }
  const entries = () => fields.map(({ field, read }) => ({ field, value: read() }));
  const read = () => makeCall(variant.method, variant.path, entries());
  const [samples, update] = samplesView(read), returns = element("div");

  function addJob(job) {
    state.append("job", job);
    rows.prepend(followJob(job, () => { state.delete("job", job); remember(); }));
  }
  const remember = () => { if (readAddress().name === each.name) writeAddress(each.name, state); };

  async function call() {
    const signal = latest.next(), began = performance.now();
    stop.disabled = false;
    output.replaceChildren(element("p", { role: "status" }, "Waiting for the response…"));
    try {
      const answer = await send(read(), { signal, asJob: asJob.checked });
      if (signal.aborted) return;
      if (answer.status === 202 && answer.headers.has("Location")) {
        output.replaceChildren();
        addJob(answer.headers.get("Location").split("/").pop());
        remember();
      } else await showResponse(output, answer, { signal, began });
    } catch (error) {
      if (!signal.aborted) output.replaceChildren(element("p", { class: "bad", role: "status" }, String(error)));
    }
    if (!signal.aborted) stop.disabled = true;
  }

  const keep = () => writeDraft(each.name, label(variant), asJob.checked, entries()), changed = () => { update(); keep(); };
  const form = element("form", { submit: event => { event.preventDefault(); call(); }, input: changed, change: changed },
    place, element("div", { class: "row call" }, element("button", { class: "main" }, "Call"), stop, element("label", { class: "check" }, asJob, " as a job")));
  form.addEventListener("keydown", event => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(); });
  select.addEventListener("change", () => { show(each.variants[select.selectedIndex]); keep(); });
  const first = each.variants.find(one => label(one) === draft.label) || preferred;
  select.value = label(first);
  asJob.checked = Boolean(draft.job);
  show(first);
  return {
    remember,
    follow: names => names.filter(name => !state.getAll("job").includes(name)).forEach(addJob),
    focus: () => (place.querySelector("input, select, textarea") || title).focus({ preventScroll: true }),
    node: element("article", { "data-function": each.name },
      element("div", { class: "row" }, title, copyButton("Copy link", () => new URL(addressOf(each.name), location).href)),
      element("p", { class: "lead" }, ...inline(each.summary)), markdown(each.text),
      each.variants.length > 1 ? select : element("p", {}, element("code", {}, label(variant))), form, samples, output, rows, returns),
  };
}

function missingView(missing) {
  return element("article", {}, element("h2", {}, "Not in OpenAPI"), element("p", {}, "These functions work, but OpenAPI cannot describe them with these methods, so they have no form."),
    element("ul", {}, ...missing.map(each => element("li", {}, element("strong", {}, each.function), ` ${each.methods.join(" ")} `, element("code", {}, each.pattern), `: ${each.reason}.`))));
}

function overview(description, groups) {
  const list = groups.flatMap(([prefix, all]) => [prefix ? element("h3", {}, `/${prefix}`) : "", element("dl", {}, ...all.flatMap(each => [
    element("dt", {}, element("a", { href: addressOf(each.name) }, each.name), " ", element("small", {}, each.methods.join(" "))), element("dd", {}, ...inline(each.summary))]))]);
  return element("article", {}, element("h2", {}, description.info.title), element("p", { class: "hint" }, `Version ${description.info.version}`),
    markdown(description.info.description || ""), ...(groups.length ? list : [element("p", {}, "This service has no functions.")]));
}

// go(hash) opens a function and moves the focus to it.
function indexView(groups, missing, go) {
  const search = element("input", { type: "search", placeholder: innerWidth < 704 ? "Search" : "Search (press /)", "aria-label": "Search functions" }), links = new Map();
  const link = (name, text, title) => element("a", { href: addressOf(name), title }, text);
  const list = element("div", { class: "list", id: "list" });
  for (const [prefix, all] of groups) {
    const rows = all.map(each => {
      const row = element("li", {}, link(each.name, each.name, each.summary));
      links.set(row, `${each.name} ${each.summary} ${each.variants.map(one => one.path).join(" ")}`.toLowerCase());
      return row;
    });
    list.append(element("section", {}, prefix ? element("h2", {}, `/${prefix}`) : "", element("ul", {}, ...rows)));
  }
  if (missing.length) {
    const row = element("li", {}, link(MISSING, `Not in OpenAPI (${missing.length})`, ""));
    links.set(row, missing.map(each => `${each.function} ${each.pattern}`).join(" ").toLowerCase());
    list.append(element("section", {}, element("ul", {}, row)));
  }
  const none = element("p", { class: "hint", role: "status" });
  const toggle = button("List", () => open(toggle.getAttribute("aria-expanded") !== "true"), { class: "toggle", "aria-expanded": "false", "aria-controls": "list" });
  const open = wanted => { toggle.setAttribute("aria-expanded", String(wanted)); list.classList.toggle("open", wanted); };
  search.addEventListener("input", () => {
    const terms = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const [row, text] of links) row.hidden = !terms.every(term => text.includes(term));
    for (const section of list.children) section.hidden = !section.querySelector("li:not([hidden])");
    none.textContent = [...links.keys()].every(row => row.hidden) ? "No function matches." : "";
    open(Boolean(terms.length));
  });
  search.addEventListener("keydown", event => {
    const first = list.querySelector("section:not([hidden]) li:not([hidden]) a");
    if (event.key === "Enter" && first) go(first.hash);
  });
  document.addEventListener("keydown", event => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select")) return;
    event.preventDefault();
    search.focus();
  });
  return { node: element("nav", { class: "index", "aria-label": "Functions" }, toggle, search, none, list), close: () => open(false) };
}

async function show() {
  await start("Functions");
  const description = await getJSON("openapi.json");
  useComponents(description.components.schemas);
  const functions = functionsOf(description), groups = groupsOf([...functions.values()]), missing = description["x-not-described"] || [];
  const index = indexView(groups, missing, open), content = element("div", { class: "content" }), views = new Map();
  let isSearched = false;
  function open(hash) {
    isSearched = true;
    if (hash === location.hash) go(); else location.hash = hash;
  }
  function go() {
    const { name, state } = readAddress(), each = functions.get(name) || (!name && functions.size === 1 ? [...functions.values()][0] : null);
    if (each && !views.has(each.name)) views.set(each.name, functionView(each));
    const view = each && views.get(each.name);
    const unknown = !view && name && element("p", { class: "bad", role: "status" }, `There is no function ${name}.`);
    content.replaceChildren(...(view ? [view.node] : name === MISSING ? [missingView(missing)] : [unknown || "", overview(description, groups)]));
    if (view) { view.follow(state.getAll("job")); view.remember(); }
    for (const link of index.node.querySelectorAll("a")) link.toggleAttribute("aria-current", link.hash === addressOf(each ? each.name : name));
    index.close();
    window.scrollTo(0, 0);
    if (isSearched && view) view.focus();
    isSearched = false;
  }
  main.replaceChildren(element("div", { class: "columns" }, index.node, content));
  window.addEventListener("hashchange", go);
  go();
}

show().catch(error => main.replaceChildren(element("p", { class: "bad" }, `Cannot load the functions: ${error.message}`)));
