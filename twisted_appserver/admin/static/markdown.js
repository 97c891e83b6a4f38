// A small subset of Markdown, as elements: paragraphs, headings, lists, code, bold, italic, links with http or https.

import { element } from "./elements.js";

const INLINE = /(`+)([^]+?)\1(?!`)|\*\*(\S(?:[^]*?\S)?)\*\*|(?<!\w)[*_](\S(?:[^*_]*?\S)?)[*_](?!\w)|\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)|(https?:\/\/[^\s<>"'`]*[^\s<>"'`.,;:!?)])/g;

export function inline(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(INLINE)) {
    const [whole, , code, bold, italic, label, link, bare] = found;
    if (found.index > end) parts.push(text.slice(end, found.index));
    if (code) parts.push(element("code", {}, code.trim()));
    else if (bold) parts.push(element("strong", {}, ...inline(bold)));
    else if (italic) parts.push(element("em", {}, ...inline(italic)));
    else parts.push(element("a", { href: link || bare, rel: "noreferrer" }, label || bare));
    end = found.index + whole.length;
  }
  return end < text.length ? [...parts, text.slice(end)] : parts;
}

const KINDS = [
  ["code", /^ {4}|^\t|^>>>/],
  ["ul", /^ {0,3}[-*+] +/],
  ["ol", /^ {0,3}\d+[.)] +/],
];

function kindOf(line, before) {
  const found = KINDS.find(([, begin]) => begin.test(line));
  if (found && !(found[0] === "code" && before && before !== "code")) return found[0];
  return before && /^\s/.test(line) ? before : "p";
}

function block(kind, lines) {
  if (kind === "code") return element("pre", { tabindex: 0 }, lines.map(line => line.replace(/^( {4}|\t)/, "")).join("\n"));
  if (kind === "p") {
    const heading = /^#{1,6} +(.*)$/.exec(lines[0]);
    return heading && lines.length === 1 ? element("h3", {}, ...inline(heading[1])) : element("p", {}, ...inline(lines.join("\n")));
  }
  const begin = KINDS.find(([name]) => name === kind)[1], items = [];
  for (const line of lines) begin.test(line) ? items.push(line.replace(begin, "")) : items.push(`${items.pop() || ""}\n${line.trim()}`);
  return element(kind, {}, ...items.map(item => element("li", {}, ...inline(item))));
}

export function markdown(text) {
  const made = document.createDocumentFragment();
  let lines = [], kind = "", fence = null;
  const end = () => { if (lines.length) made.append(block(kind, lines)); [lines, kind] = [[], ""]; };
  for (const line of text.split("\n")) {
    if (fence !== null) {
      if (/^\s*```/.test(line)) { made.append(element("pre", { tabindex: 0 }, fence.join("\n"))); fence = null; }
      else fence.push(line);
    } else if (/^\s*```/.test(line)) { end(); fence = []; }
    else if (!line.trim()) { if (kind !== "code") end(); else lines.push(""); }
    else {
      const next = kindOf(line, kind);
      if (next !== kind) { end(); kind = next; }
      lines.push(line);
      if (/^#{1,6} /.test(line)) end();
    }
  }
  if (fence) made.append(element("pre", { tabindex: 0 }, fence.join("\n")));
  end();
  return made;
}
