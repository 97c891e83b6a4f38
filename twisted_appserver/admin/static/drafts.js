// What was entered in a form. It survives a reload of the page, until the tab is closed or somebody signs out. Secrets
// and files are not kept.

import { keyOf } from "./requests.js";
import { choices } from "./schemas.js";

// The name of a field, or of a member of its JSON, whose value nobody wants to find in the browser later.
const SECRET = /(pass|pwd|secret|token|credential|(api|private).?key)[\w-]*"?\s*[:=]/i;

export const isHidden = schema => choices(schema).some(each => each.format === "password" || each.writeOnly);
const mayKeep = (field, value) => value && !value.files && !isHidden(field.schema) && !SECRET.test(`${field.name}:${value.json}`);

// Returns the draft of the form with a name: the label of its variant, whether it is sent as a job, and its values by field.
export function readDraft(name) {
  try { return JSON.parse(sessionStorage.getItem(keyOf(`form ${name}`))) || {}; } catch { return {}; }
}

// entries: the fields with their values.
export function writeDraft(name, label, job, entries) {
  const values = entries.filter(({ field, value }) => mayKeep(field, value)).map(({ field, value }) => [field.name, value]);
  try { sessionStorage.setItem(keyOf(`form ${name}`), JSON.stringify({ label, job, values })); } catch { /* too large, or no storage */ }
}
