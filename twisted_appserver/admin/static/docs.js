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
  const found = (operation.parameters || []).map(each => ({ ...each, place: each.in }));
  const body = operation.requestBody && operation.requestBody.content["application/json"].schema;
  if (body) {
    for (const [name, schema] of Object.entries(body.properties || {}))
      found.push({ name, schema, place: "body", required: (body.required || []).includes(name) });
    if (!body.properties) found.push({ name: "", schema: { type: "object" }, place: "body" });
  }
  return found;
}

// What was typed: JSON where it is meant as such, else text.
function typed(text, schema, all) {
  const kind = resolve(schema, all).type;
  if (kind === "string") return text;
  try { return JSON.parse(text); } catch { return text; }
}

async function call(method, path, inputs, all, shown) {
  let url = path;
  const query = new URLSearchParams(), body = {};
  let whole = null;
  for (const { field, input } of inputs) {
    const text = input.value;
    if (field.place === "path") url = url.replace(`{${field.name}}`, encodeURIComponent(text));
    else if (text === "" && !field.required) continue;
    else if (field.place === "query") query.append(field.name, text);
    else if (field.name === "") whole = text;
    else body[field.name] = typed(text, field.schema, all);
  }
  const options = { method, headers: {} };
  if (["POST", "PUT", "PATCH"].includes(method)) {
    options.headers["Content-Type"] = "application/json";
    options.body = whole === null ? JSON.stringify(body) : whole;
  }
  const began = performance.now();
  shown.replaceChildren("…");
  try {
    const answer = await fetch(".." + url + (query.size ? `?${query}` : ""), options);
    const text = await answer.text();
    let nice = text;
    try { nice = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is no JSON, and shown as it is */ }
    const took = `${answer.status} ${answer.statusText}, ${(performance.now() - began).toFixed(1)} ms`;
    shown.replaceChildren(element("p", { class: answer.ok ? "good" : "bad" }, took), element("pre", {}, nice));
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
    const schema = resolve(field.schema, all);
    if ("default" in schema) input.placeholder = JSON.stringify(schema.default);
    const hint = element("small", {}, `${field.place}: ${words(field.schema, all)}`);
    made.append(element("label", { for: id }, field.name || "JSON"), element("div", {}, input, hint));
    inputs.push({ field, input });
  });
  made.append(element("button", {}, "Call"));
  made.addEventListener("submit", event => {
    event.preventDefault();
    call(method, path, inputs, all, shown);
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
        if (!operation.responses) continue;
        const method = name.toUpperCase();
        const head = element("summary", {}, element("span", { class: "method" }, method), " ",
          element("code", {}, path), " ", element("span", { class: "words" }, operation.summary));
        const details = element("details", { "data-path": path, "data-method": method }, head);
        if (operation.description) details.append(element("p", {}, operation.description));
        details.append(...form(method, path, operation, all));
        place.append(details);
      }
    }
    if (!place.children.length) place.append(element("p", {}, "There are no functions."));
  } catch (error) {
    place.replaceChildren(element("p", { class: "bad" }, `The functions cannot be shown: ${error}`));
  }
}

show();
