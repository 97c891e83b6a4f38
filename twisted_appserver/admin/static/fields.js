// The fields of a form. Each has the element to show and read(), which returns null if the field is unset, or else
// {texts, json, files}: the texts for a path, a query string or a form, and the value as JSON text.

import { isHidden } from "./drafts.js";
import { button, element } from "./elements.js";
import { inline } from "./markdown.js";
import { characters, choices, example, hasMembers, kindsOf, opened, resolve, takesFile, tree, valuesOf, words } from "./schemas.js";

let count = 0;

// Convert the text of a field to JSON. Valid JSON is kept unchanged, to the last digit, unless the field takes text.
function typed(text, schema) {
  const kinds = kindsOf(schema), isText = kinds.includes("string");
  const inParts = /^\s*[[{]/.test(text) && (kinds.includes("array") || kinds.includes("object"));
  if (isText && !inParts && !(kinds.includes("number") && /^-?\d+(\.\d+)?$/.test(text))) return JSON.stringify(text);
  try { JSON.parse(text); return text; } catch { return JSON.stringify(text); }
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i, DATE = /^\d{4}-\d\d-\d\d$/;

// Why a text does not fit a schema with a single type; empty if it fits, or if only the server can decide.
function problemOf(text, schema) {
  const all = choices(schema), [only] = all;
  if (all.length !== 1 || !only.type) return "";
  if (only.type === "integer" && !/^[+-]?\d+(\.0*)?$/.test(text)) return "must be an integer";
  if (only.type === "number" && !NUMBER.test(text) && !/^[+-]?(inf(inity)?|nan)$/i.test(text)) return "must be a number";
  if (only.type === "integer" || only.type === "number") {
    const value = Number(text);
    if (value < only.minimum || value > only.maximum || value <= only.exclusiveMinimum || value >= only.exclusiveMaximum)
      return `must be ${words({ ...only, default: undefined })}`;
    return "";
  }
  const length = [...text].length;
  if (only.format === "date" && !DATE.test(text)) return "must be a date such as 2030-12-31";
  if (length < only.minLength) return `must have at least ${characters(only.minLength)}`;
  if (length > only.maxLength) return `must have at most ${characters(only.maxLength)}`;
  try { if (only.pattern && !new RegExp(only.pattern, "u").test(text)) return `must be ${words(only)}`; } catch { /* not a pattern of browsers */ }
  return "";
}

function check(input, note, problem) {
  input.setCustomValidity(problem);
  input.setAttribute("aria-invalid", String(Boolean(problem)));
  note.textContent = problem;
}

// An input for one value, with the note that shows what is wrong.
function scalar(field, id, described) {
  const values = valuesOf(field.schema), note = element("small", { class: "bad", id: `${id}-problem` });
  const common = { id, name: field.name || "body", "aria-describedby": `${described} ${id}-problem` };
  if (values) {
    const select = element("select", common, element("option", { value: "" }, field.required ? "choose" : "unset"),
      ...values.map((value, place) => element("option", { value: String(place + 1) }, String(value))));
    select.required = Boolean(field.required);
    const read = () => {
      const value = values[select.value - 1];
      return select.value ? { texts: [String(value)], json: JSON.stringify(value) } : null;
    };
    const write = text => { select.value = String(values.findIndex(value => String(value) === text) + 1 || ""); };
    return { node: select, note, input: select, read, write };
  }
  const kinds = kindsOf(field.schema), numeric = kinds.length > 0 && kinds.every(kind => kind === "integer" || kind === "number");
  const input = element("input", { ...common, type: isHidden(field.schema) ? "password" : null, autocomplete: "off", spellcheck: "false", inputmode: numeric ? "decimal" : null });
  input.required = Boolean(field.required);
  for (const event of ["input", "change"]) input.addEventListener(event, () => check(input, note, input.value && problemOf(input.value, field.schema)));
  const read = () => input.value === "" ? null : { texts: [input.value], json: typed(input.value, field.schema) };
  return { node: input, note, input, read, write: text => { input.value = text; input.dispatchEvent(new Event("input")); } };
}

function list(field, id, described) {
  const items = choices(field.schema).find(each => each.type === "array").items, rows = element("div", { class: "rows" });
  const all = new Map();
  function add(focus) {
    const one = scalar({ name: field.name, schema: items, required: true }, `${id}-${++count}`, described);
    one.input.setAttribute("aria-label", `${field.name}, item`);
    const row = element("div", { class: "row" }, one.node, button("Remove", () => { all.delete(row); row.remove(); more.focus(); },
      { "aria-label": `Remove an item of ${field.name}` }), one.note);
    all.set(row, one);
    rows.append(row);
    if (focus) one.input.focus();
    return one;
  }
  const more = button("Add", () => add(true), { id, "aria-label": `Add an item to ${field.name}` });
  if (field.required) add(false);
  const read = () => {
    const found = [...all.values()].map(each => each.read()).filter(Boolean);
    return found.length || field.required ? { texts: found.flatMap(each => each.texts), json: `[${found.map(each => each.json).join(", ")}]` } : null;
  };
  const write = (_, value) => {
    if (!value.texts.length) return;
    for (const row of all.keys()) row.remove();
    all.clear();
    for (const text of value.texts) add(false).write(text);
  };
  return { node: element("div", {}, rows, more), note: null, read, write };
}

function editor(field, id, described) {
  const note = element("small", { class: "bad", id: `${id}-problem` }), sample = JSON.stringify(example(field.schema), null, 2);
  const input = element("textarea", { id, name: field.name || "body", spellcheck: "false", "aria-describedby": `${described} ${id}-problem` });
  function changed() {
    let problem = "";
    try { if (input.value.trim()) JSON.parse(input.value); } catch (error) { problem = `must be JSON: ${error.message}`; }
    check(input, note, problem);
    input.rows = Math.min(Math.max(input.value.split("\n").length, 2), 16);
  }
  function write(text) { input.value = text; changed(); }
  input.required = Boolean(field.required);
  input.addEventListener("input", changed);
  write(field.required ? sample : "");
  const insert = field.required ? null : button("Insert an example", () => { write(sample); input.focus(); });
  const read = () => input.value.trim() ? { texts: [input.value], json: input.value } : null;
  return { node: element("div", {}, input, insert), note, read, write };
}

function file(field, id, described) {
  const several = choices(field.schema).some(each => each.items);
  const input = element("input", { id, type: "file", name: field.name || "body", multiple: several, "aria-describedby": described });
  input.required = Boolean(field.required) && field.name !== "";
  return { node: input, note: null, read: () => input.files.length ? { files: [...input.files], texts: [], json: "" } : null, write: () => {} };
}

// The body of a function that reads it itself: text, or a file.
function body(field, id, described) {
  const one = file({ ...field, schema: {} }, `${id}-file`, described);
  one.node.setAttribute("aria-label", "Body from a file");
  const input = element("textarea", { id, name: "body", rows: 3, spellcheck: "false", "aria-describedby": described });
  const read = () => one.read() || { texts: [input.value], json: input.value };
  return { node: element("div", {}, input, one.node), note: null, read, write: text => { input.value = text; } };
}

function editorFor(field) {
  if (field.type) return body;
  if (takesFile(field.schema)) return file;
  const all = choices(field.schema), [only] = all;
  if (all.length !== 1) return all.length && all.every(each => each.type === "object" || each.properties) ? editor : scalar;
  if (only.type === "array") return only.items && Object.keys(only.items).length && !only.prefixItems && choices(only.items).every(each => each.type !== "object" && each.type !== "array" && !each.properties) ? list : editor;
  return only.type === "object" || only.properties ? editor : scalar;
}

function hint(field) {
  const schema = resolve(field.schema), parts = valuesOf(field.schema) ? [] : [field.type || words(field.schema)];
  if ("default" in schema) parts.push(`default ${typeof schema.default === "string" && schema.default ? schema.default : JSON.stringify(schema.default)}`);
  return [...parts, `in the ${field.place}`].join(" · ");
}

export function makeField(field) {
  const id = `field-${++count}`, made = editorFor(field)(field, id, `${id}-hint`);
  const text = field.description || resolve(field.schema).description;
  const label = element("label", { for: id }, field.name || (field.type ? "Body" : "JSON"),
    field.required ? element("span", { class: "required", title: "required" }, "*") : "");
  const about = element("div", { id: `${id}-hint`, class: "hint" }, ...(text ? [...inline(text.replace(/\.$/, "")), " · "] : []), hint(field));
  const members = hasMembers(field.schema) ? opened(`Schema of ${words(field.schema)}`, () => tree(field.schema)) : null;
  return { ...made, field, node: element("div", { class: "field" }, label, element("div", {}, made.node, made.note, about, members)) };
}
