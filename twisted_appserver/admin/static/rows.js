// Lists and tables that are updated in place, so that nothing moves while somebody points at it or uses it.

import { element, setText } from "./elements.js";

const main = document.getElementById("main");
const pointed = () => [...main.querySelectorAll(":hover")].at(-1) || null;

function isUsed(parent) {
  const selection = getSelection();
  return parent.matches(":hover") || parent.contains(document.activeElement) || (!selection.isCollapsed && selection.containsNode(parent, true));
}

// Keep one child of a parent for each item, in the order of the items. Children that stay are not rebuilt. While the
// parent is used (it has the pointer, the focus or a selection), its children stay where they are: new ones come last,
// and those without an item remain, with the class gone.
export function updateRows(parent, items, key, make, update = () => {}) {
  const rows = parent.rowsByKey ||= new Map(), used = isUsed(parent), keys = new Set(items.map(key));
  for (const [name, row] of rows) {
    row.classList.toggle("gone", !keys.has(name));
    if (!used && !keys.has(name)) { row.remove(); rows.delete(name); }
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item), isNew = !rows.has(name);
    if (isNew) rows.set(name, make(item));
    const row = rows.get(name);
    update(row, item);
    if (used) { if (isNew) parent.append(row); }
    else if (row === place) place = place.nextElementSibling;
    else parent.insertBefore(row, place);
  }
}

// Make changes to the page. Then scroll so that what is under the pointer, or has the focus, stays where it was.
export function steadily(change) {
  const focused = document.activeElement, held = pointed() || (main.contains(focused) && focused !== main ? focused : null);
  const before = held && held.getBoundingClientRect().top;
  change();
  if (held && held.isConnected) scrollBy(0, held.getBoundingClientRect().top - before);
}

// A table in a section of its own, which is hidden while it has no rows. Each column has a title and one of:
// text(item), or make(item) with update(cell, item), for the content of a cell. The hint explains the table.
export function table(title, columns, key, hint = "") {
  const head = columns.map(each => element("th", { scope: "col", class: each.class }, each.title)), body = element("tbody");
  const node = element("section", { hidden: true }, element("h2", {}, title), hint && element("p", { class: "hint" }, hint),
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title }, element("table", {}, element("thead", {}, element("tr", {}, ...head)), body)));
  const make = item => element("tr", {}, ...columns.map((each, index) =>
    element(index ? "td" : "th", { class: each.class, scope: index ? null : "row" }, each.make && each.make(item))));
  const update = (row, item) => columns.forEach((each, index) =>
    each.text ? setText(row.cells[index], each.text(item)) : each.update && each.update(row.cells[index], item));
  return { node, update(items) { updateRows(body, items, key, make, update); node.hidden = !body.children.length; } };
}
