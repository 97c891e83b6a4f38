// Lists and tables that are updated in place, so that nothing moves while somebody points at it or uses it.

import { element, setText } from "./elements.js";

const main = document.getElementById("main");
const pointed = () => [...main.querySelectorAll(":hover")].at(-1) || null;

function isUsed(node) {
  const selection = getSelection();
  return node.matches(":hover") || node.contains(document.activeElement) || (!selection.isCollapsed && selection.containsNode(node, true));
}

// Keep one child of a parent for each item, in the order of the items. Children that stay are not rebuilt. While one is
// used (it has the pointer, the focus or a selection), all stay where they are: new ones come last, and those without an
// item remain, with the class gone, if they come before the used one.
export function updateRows(parent, items, key, make, update = () => {}) {
  const rows = parent.rowsByKey ||= new Map(), keys = new Set(items.map(key)), used = [...parent.children].findLast(isUsed);
  let fixed = Boolean(used);
  for (const row of [...parent.children]) {
    const isGone = !keys.has(row.rowKey);
    row.classList.toggle("gone", isGone);
    if (isGone && !fixed) { row.remove(); rows.delete(row.rowKey); }
    if (row === used) fixed = false;
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item), isNew = !rows.has(name);
    if (isNew) rows.set(name, Object.assign(make(item), { rowKey: name }));
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

// A table in a section of its own, which is hidden while it has no rows. Each column has a title, and either text(item)
// or update(cell, item) for the content of its cells. update() takes the items, and a text that explains them.
export function table(title, columns, key) {
  const head = columns.map(each => element("th", { scope: "col", class: each.class }, each.title)), body = element("tbody"), hint = element("p", { class: "hint" });
  const node = element("section", { hidden: true }, element("h2", {}, title), hint,
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title }, element("table", {}, element("thead", {}, element("tr", {}, ...head)), body)));
  const make = () => element("tr", {}, ...columns.map((each, index) => index ? element("td", { class: each.class }) : element("th", { scope: "row" })));
  const update = (row, item) => columns.forEach((each, index) => each.text ? setText(row.cells[index], each.text(item)) : each.update(row.cells[index], item));
  return {
    node,
    update(items, about) {
      setText(hint, about);
      updateRows(body, items, key, make, update);
      node.hidden = !body.children.length;
    },
  };
}
