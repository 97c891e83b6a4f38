"use strict";

function resolve(schema, all) {
  return schema && schema.$ref ? all[schema.$ref.split("/").pop()] || {} : schema || {};
}

function words(schema, all) {
  const found = resolve(schema, all);
  const kinds = found.anyOf ? found.anyOf.map(each => words(each, all)).join(" or ") : found.type || "anything";
  const limits = ["format", "pattern", "enum", "minimum", "maximum", "minLength", "maxLength"]
    .filter(key => key in found).map(key => `${key} ${JSON.stringify(found[key])}`);
  return [kinds, ...limits].join(", ");
}

function fields(operation, all) {
  const shown = each => each.in === "path" || (each.in === "query" && each.schema.type !== "object");
  const found = (operation.parameters || []).filter(shown).map(each => ({ ...each, place: each.in }));
  const content = operation.requestBody ? operation.requestBody.content : {}, form = content["multipart/form-data"];
  const fielded = content["application/json"] || form, place = form ? "form" : "body";
  const [type] = Object.keys(content);
  if (fielded) {
    const body = resolve(fielded.schema, all);
    for (const [name, schema] of Object.entries(body.properties || {}))
      found.push({ name, schema, place, required: (body.required || []).includes(name) });
    if (!body.properties) found.push({ name: "", schema: { type: "object" }, place: "body" });
  } else if (type) found.push({ name: "", schema: { type }, place: "body", type });
  return found;
}

// A schema and its alternatives.
function choices(schema, all) {
  const found = resolve(schema, all);
  return [found, ...(found.anyOf || found.oneOf || []).flatMap(each => choices(each, all))];
}

// Whether a field takes a file, or several.
function takesFile(schema, all) {
  return choices(schema, all).some(each => each.format === "binary" || (each.items && each.items.format === "binary"));
}

// Convert the text of a field to JSON. Valid JSON is kept unchanged, to the last digit, unless the field takes text.
function typed(text, schema, all) {
  const found = choices(schema, all), kinds = found.flatMap(each => each.type || []);
  const inParts = /^\s*[[{]/.test(text) && (kinds.includes("array") || kinds.includes("object"));
  const isText = kinds.includes("string") || found.some(each => each.enum && each.enum.includes(text));
  if (isText && !inParts) return JSON.stringify(text);
  try { JSON.parse(text); return text; } catch { return JSON.stringify(text); }
}

const wait = seconds => new Promise(done => setTimeout(done, seconds * 1000));

// Format JSON; leave other text unchanged.
function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

// The progress of a job from 0 to 1, if its items contain it: {"done": 3, "total": 10} or {"progress": 0.3}.
function share(progress) {
  if (!progress || typeof progress !== "object") return null;
  if (progress.total > 0 && progress.done >= 0) return progress.done / progress.total;
  return progress.progress >= 0 && progress.progress <= 1 ? progress.progress : null;
}

async function follow(place, shown) {
  const bar = element("progress"), words = element("p"), cancel = element("button", { type: "button" }, "Cancel");
  cancel.addEventListener("click", () => fetch(place, { method: "DELETE" }));
  shown.replaceChildren(words, bar, " ", cancel);
  for (;;) {
    const answer = await fetch(place);
    if (!answer.ok) throw new Error(await answer.text());
    const job = await answer.json(), part = share(job.progress);
    words.textContent = `${job.state}, ${job.items} items` +
      (job.progress === undefined ? "" : `: ${JSON.stringify(job.progress)}`);
    if (part !== null) bar.value = part;
    if (!["waiting", "running"].includes(job.state)) {
      if (job.state === "done") bar.value = 1;
      words.className = job.state === "done" ? "good" : "bad";
      cancel.remove();
      shown.append(element("pre", {}, JSON.stringify(job.result === undefined ? job.error : job.result, null, 2)));
      return;
    }
    await wait(0.3);
  }
}

// Show each part of a stream as soon as it arrives.
async function read(answer, place) {
  const reader = answer.body.getReader(), decoder = new TextDecoder();
  for (let part; !(part = await reader.read()).done;) place.append(decoder.decode(part.value, { stream: true }));
}

async function call(method, path, inputs, all, shown, asJob) {
  let url = path;
  const query = new URLSearchParams(), body = [], form = new FormData();
  let whole = null, type = "application/json";
  for (const { field, input } of inputs) {
    const text = input.value;
    if (field.place === "path") url = url.replace(`{${field.name}}`, encodeURIComponent(text));
    else if (text === "" && !field.required && !field.type) continue;
    else if (field.place === "form")
      for (const each of input.files || [text]) form.append(field.name, each);
    else if (field.place === "query") query.append(field.name, text);
    else if (field.name === "") [whole, type] = [text, field.type || type];
    else body.push(`${JSON.stringify(field.name)}: ${typed(text, field.schema, all)}`);
  }
  const options = { method, headers: asJob ? { Prefer: "respond-async" } : {} };
  if (["POST", "PUT", "PATCH", "QUERY"].includes(method)) {
    if ([...form].length) options.body = form;
    else {
      options.headers["Content-Type"] = type;
      options.body = whole === null ? `{${body.join(", ")}}` : whole;
    }
  }
  const began = performance.now();
  shown.replaceChildren("…");
  try {
    const answer = await fetch(".." + url + (query.size ? `?${query}` : ""), options);
    if (answer.status === 202 && answer.headers.has("Location")) {
      await follow(new URL(answer.headers.get("Location"), answer.url), shown);
      return;
    }
    const head = element("p", { class: answer.ok ? "good" : "bad" }), body = element("pre");
    const showStatus = () => {
      head.textContent = `${answer.status} ${answer.statusText}, ${(performance.now() - began).toFixed(1)} ms`;
    };
    showStatus();
    shown.replaceChildren(head, body);
    if (/json\b/.test((answer.headers.get("Content-Type") || "").replace("x-ndjson", "")))
      body.append(pretty(await answer.text()));
    else await read(answer, body);
    showStatus();
  } catch (error) {
    shown.replaceChildren(element("p", { class: "bad" }, String(error)));
  }
}

function form(method, path, operation, all) {
  const made = element("form"), shown = element("output"), inputs = [];
  fields(operation, all).forEach((field, number) => {
    const id = `${operation.operationId}-${number}`;
    const input = element(field.name ? "input" : "textarea", { id, name: field.name || "body" });
    input.required = Boolean(field.required);
    if (field.place === "form" && takesFile(field.schema, all))
      [input.type, input.multiple] = ["file", choices(field.schema, all).some(each => each.items)];
    const schema = resolve(field.schema, all);
    if ("default" in schema) input.placeholder = JSON.stringify(schema.default);
    const hint = element("small", {}, `${field.place}: ${words(field.schema, all)}`);
    made.append(element("label", { for: id }, field.name || (field.type ? "Body" : "JSON")), element("div", {}, input, hint));
    inputs.push({ field, input });
  });
  const asJob = element("input", { type: "checkbox", name: "job" });
  made.append(element("div", { class: "call" }, element("button", {}, "Call"), " ",
    element("label", {}, asJob, " as a job")));
  made.addEventListener("submit", event => {
    event.preventDefault();
    call(method, path, inputs, all, shown, asJob.checked);
  });
  return [made, shown];
}

async function show() {
  const place = document.getElementById("functions");
  try {
    const description = await (await fetch("openapi.json")).json();
    const all = description.components.schemas;
    document.getElementById("title").textContent = description.info.title;
    document.title = description.info.title;
    place.replaceChildren();
    for (const [path, item] of Object.entries(description.paths)) {
      for (const [name, operation] of Object.entries(item)) {
        if (!operation.responses || !operation.tags.includes("functions")) continue;
        const method = name.replace("x-", "").toUpperCase();
        const head = element("summary", {}, element("span", { class: "method" }, method), " ",
          element("code", {}, path), " ", element("span", { class: "words" }, operation.summary));
        const details = element("details", { "data-path": path, "data-method": method }, head);
        if (operation.description) details.append(element("p", {}, operation.description));
        details.append(...form(method, path, operation, all));
        place.append(details);
      }
    }
    for (const { function: name, pattern, methods, reason } of description["x-not-described"] || [])
      place.append(element("p", {}, `${name}, ${methods.join(" ")} `, element("code", {}, pattern), ` has no form: ${reason}.`));
    if (!place.children.length) place.append(element("p", {}, "This service has no functions."));
  } catch (error) {
    place.replaceChildren(element("p", { class: "bad" }, `Cannot load the functions: ${error}`));
  }
}

show();
