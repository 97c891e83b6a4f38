// The request that a form describes: sent, or written as a command for curl or as Python.

import { authorization, needsCredentials, request } from "./requests.js";

const WITH_BODY = ["POST", "PUT", "PATCH", "QUERY"];

// entries: the fields with their values, which are null if they are unset.
export function makeCall(method, path, entries) {
  const call = { method, path, query: new URLSearchParams(), type: "", body: null, form: null }, members = [];
  for (const { field, value } of entries) {
    if (!value) continue;
    if (field.place === "path") call.path = call.path.replace(`{${field.name}}`, encodeURIComponent(value.texts[0]));
    else if (field.place === "query" && field.name) for (const text of value.texts) call.query.append(field.name, text);
    else if (field.place === "query") for (const [name, each] of Object.entries(JSON.parse(value.json))) call.query.append(name, typeof each === "string" ? each : JSON.stringify(each));
    else if (field.place === "form") (call.form ||= []).push(...(value.files || value.texts).map(each => [field.name, each]));
    else if (field.name) members.push(`${JSON.stringify(field.name)}: ${value.json}`);
    else if (value.files) [call.body, call.type] = [value.files[0], value.files[0].type || field.type];
    else [call.body, call.type] = [value.json, field.type || "application/json"];
  }
  if (WITH_BODY.includes(method) && !call.form && call.body === null && entries.some(({ field }) => field.place === "body"))
    [call.body, call.type] = [`{${members.join(", ")}}`, "application/json"];
  return call;
}

const target = call => `..${call.path}${call.query.size ? `?${call.query}` : ""}`;
const address = call => new URL(target(call), location).href;

export function send(call, { signal, asJob }) {
  const options = { method: call.method, signal, headers: asJob ? { Prefer: "respond-async" } : {} };
  if (call.form) {
    options.body = new FormData();
    for (const [name, value] of call.form) options.body.append(name, value);
  } else if (call.body !== null) {
    options.body = call.body;
    options.headers["Content-Type"] = call.type;
  }
  return request(target(call), options);
}

const quoted = text => /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
const typeOf = file => file.type || "application/octet-stream"; // as browsers send it
const isBearer = () => needsCredentials && !authorization().startsWith("Basic");

export function asCurl(call) {
  const parts = ["curl", quoted(address(call))];
  if (call.method !== "GET") parts.push("-X", call.method);
  if (needsCredentials) parts.push(...(isBearer() ? ["-H", '"Authorization: Bearer $TOKEN"'] : ["-u", '"$NAME:$PASSWORD"']));
  for (const [name, value] of call.form || [])
    parts.push(...(value instanceof File ? ["-F", quoted(`${name}=@"${value.name.replace(/["\\]/g, "\\$&")}";type=${typeOf(value)}`)] : ["--form-string", quoted(`${name}=${value}`)]));
  if (call.body !== null) parts.push("-H", quoted(`Content-Type: ${call.type}`), "--data-binary", quoted(call.body instanceof File ? `@${call.body.name}` : call.body));
  return parts.join(" ");
}

// JSON text as a Python expression, with every digit.
const WORDS = { true: "True", false: "False", null: "None" };
const python = json => json.replace(/"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b/g, found => WORDS[found] || JSON.stringify(JSON.parse(found)));

export function asPython(call) {
  const head = ["import requests", ""], parts = [JSON.stringify(call.method), JSON.stringify(address(call))], headers = [];
  if (needsCredentials) {
    head.unshift("import os");
    if (isBearer()) headers.push('"Authorization": f"Bearer {os.environ[\'TOKEN\']}"');
    else parts.push('auth=(os.environ["NAME"], os.environ["PASSWORD"])');
  }
  if (call.form) {
    const rows = call.form.map(([name, value]) => `(${JSON.stringify(name)}, ${value instanceof File ? `(${JSON.stringify(value.name)}, open(${JSON.stringify(value.name)}, "rb"), ${JSON.stringify(typeOf(value))})` : `(None, ${JSON.stringify(value)})`})`);
    parts.push(`files=[${rows.join(", ")}]`);
  } else if (call.type === "application/json" && !(call.body instanceof File)) parts.push(`json=${python(call.body)}`);
  else if (call.body !== null) {
    headers.push(`"Content-Type": ${JSON.stringify(call.type)}`);
    parts.push(call.body instanceof File ? `data=open(${JSON.stringify(call.body.name)}, "rb")` : `data=${JSON.stringify(call.body)}.encode()`);
  }
  if (headers.length) parts.push(`headers={${headers.join(", ")}}`);
  return [...head, `response = requests.request(\n    ${parts.join(",\n    ")},\n)`, "print(response.status_code, response.text)"].join("\n");
}
