// JSON schemas of the OpenAPI document: in words, as a tree, and as an example.

import { element } from "./elements.js";
import { inline } from "./markdown.js";

let components = {};

export function useComponents(all) { components = all; }

const nameOf = schema => (schema && schema.$ref ? schema.$ref.split("/").pop() : "");

export function resolve(schema) {
  const name = nameOf(schema);
  return name ? { ...components[name], ...schema } : schema || {};
}

// A schema and its alternatives, without null.
export function choices(schema) {
  const found = resolve(schema), alternatives = found.anyOf || found.oneOf;
  const all = alternatives ? alternatives.flatMap(choices) : [found];
  return all.filter(each => each.type !== "null");
}

export const kindsOf = schema => choices(schema).flatMap(each => each.type || []);
export const takesFile = schema => choices(schema).some(each => each.format === "binary" || (each.items && each.items.format === "binary"));

// All values that a schema allows, if it lists them; otherwise null.
export function valuesOf(schema) {
  const values = choices(schema).map(each => each.enum || ("const" in each ? [each.const] : each.type === "boolean" ? [true, false] : null));
  return values.length && values.every(Boolean) ? values.flat() : null;
}

const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
export const characters = count => counted(count, "character");

function limits(schema) {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength, maxLength, minItems, maxItems, pattern } = schema;
  const between = (low, high, write) => low !== undefined && low === high ? `exactly ${write(low)}` : low !== undefined && high !== undefined ? `${low} to ${write(high)}`
    : low !== undefined ? `at least ${write(low)}` : high !== undefined ? `at most ${write(high)}` : "";
  return [between(minimum, maximum, String), exclusiveMinimum === undefined ? "" : `more than ${exclusiveMinimum}`,
    exclusiveMaximum === undefined ? "" : `less than ${exclusiveMaximum}`, between(minLength, maxLength, characters),
    between(minItems, maxItems, value => counted(value, "item")), pattern && !schema.format ? `like ${pattern}` : ""].filter(Boolean);
}

// A type in words, such as "integer, 1 to 1000".
export function words(schema) {
  if (!schema || typeof schema !== "object") return "anything";
  const name = nameOf(schema), found = resolve(schema), alternatives = found.anyOf || found.oneOf;
  if (alternatives) return alternatives.map(words).join(" or ");
  if (found.enum) return found.enum.map(each => JSON.stringify(each)).join(" or ");
  if ("const" in found) return JSON.stringify(found.const);
  if (found.type === "array") return [`list of ${found.prefixItems ? found.prefixItems.map(words).join(", ") : words(found.items)}`, ...limits(found)].join(", ");
  if (name) return name;
  const rest = found.additionalProperties;
  if (found.type === "object" && rest && Object.keys(rest).length) return `object of ${words(rest)}`;
  const kind = found.format === "binary" ? "file" : found.format || [found.type || "anything"].flat().join(" or ");
  return [kind, ...limits(found)].join(", ");
}

const SAMPLES = {
  date: "2030-12-31", "date-time": "2030-12-31T12:00:00Z", time: "12:00:00", duration: "P1D", uuid: "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
  email: "name@example.org", uri: "https://example.org/", decimal: "1.50", byte: "", ipv4: "192.0.2.1", ipv6: "2001:db8::1",
};

function number(schema, step) {
  const low = schema.minimum ?? (schema.exclusiveMinimum === undefined ? undefined : schema.exclusiveMinimum + step);
  const high = schema.maximum ?? (schema.exclusiveMaximum === undefined ? undefined : schema.exclusiveMaximum - step);
  return Math.min(Math.max(0, low ?? 0), high ?? Infinity);
}

// An example of a value. A class inside itself is left out.
export function example(schema, above = []) {
  const name = nameOf(schema), found = resolve(schema), inside = name ? [...above, name] : above;
  if (found.examples && found.examples.length) return found.examples[0];
  if ("default" in found && found.default !== null) return found.default;
  if ("const" in found) return found.const;
  if (found.enum) return found.enum[0];
  const alternatives = (found.anyOf || found.oneOf || []).filter(each => each.type !== "null" && !above.includes(nameOf(each)));
  if (found.anyOf || found.oneOf) return alternatives.length ? example(alternatives[0], inside) : null;
  const [kind] = [found.type || (found.properties ? "object" : "")].flat();
  if (kind === "object") {
    const members = Object.entries(found.properties || {}).filter(([, each]) => !inside.includes(nameOf(each)));
    if (members.length) return Object.fromEntries(members.map(([key, each]) => [key, example(each, inside)]));
    const more = found.additionalProperties;
    return more && typeof more === "object" && Object.keys(more).length ? { name: example(more, inside) } : {};
  }
  if (kind === "array") {
    if (found.prefixItems) return found.prefixItems.map(each => example(each, inside));
    return inside.includes(nameOf(found.items)) || !found.items ? [] : [example(found.items, inside)];
  }
  if (kind === "string") return SAMPLES[found.format] ?? "text".padEnd(found.minLength || 0, "x").slice(0, found.maxLength ?? 99);
  if (kind === "integer") return number(found, 1);
  if (kind === "number") return number(found, 0.5);
  return kind === "boolean" ? false : kind === "null" ? null : "anything";
}

// The members that a schema or its items have. Trees inside are made when they are opened, since classes may contain themselves.
function membersOf(schema) {
  const all = choices(schema).flatMap(each => each.type === "array" ? choices(each.items || {}) : [each]);
  return all.filter(each => each.properties);
}

export const hasMembers = schema => membersOf(schema).length > 0;

export function tree(schema) {
  const made = element("ul", { class: "tree" });
  for (const each of membersOf(schema)) {
    for (const [name, member] of Object.entries(each.properties)) {
      const optional = !(each.required || []).includes(name), text = member.description || resolve(member).description;
      const row = element("li", {}, element("code", {}, name), element("small", {}, ` ${words(member)}${optional ? ", optional" : ""}`));
      if ("default" in member && member.default !== null) row.append(element("small", {}, `, default ${JSON.stringify(member.default)}`));
      if (text) row.append(element("p", {}, ...inline(text)));
      if (hasMembers(member)) row.append(opened(words(member), () => tree(member)));
      made.append(row);
    }
  }
  return made;
}

// A part of the page whose content is made when it is opened for the first time.
export function opened(title, make) {
  const made = element("details", {}, element("summary", {}, title));
  made.addEventListener("toggle", () => { if (made.open && made.children.length === 1) made.append(make()); });
  return made;
}

// The type of a value, with its members and an example.
export function schemaView(schema, title) {
  const made = element("div", { class: "schema" }, element("p", {}, title, " ", element("code", {}, words(schema))));
  const about = resolve(schema).description;
  if (about) made.append(element("p", {}, ...inline(about)));
  if (hasMembers(schema)) {
    made.append(opened("Schema", () => tree(schema)));
    made.append(opened("Example", () => element("pre", { tabindex: 0 }, JSON.stringify(example(schema), null, 2))));
  }
  return made;
}
