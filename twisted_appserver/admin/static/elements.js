// Elements of pages. Text is always a text node and never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter(each => each !== null && each !== undefined));
  return made;
}

// Create an element. Attributes that are null or false are left out; functions are listeners for the event of that name.
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function drawing(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

export function button(text, click, attributes = {}) {
  return element("button", { type: "button", click, ...attributes }, text);
}

// Change a text only if it differs, so that a selection in it survives.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A button that copies what a function returns. Without access to the clipboard, the text is selected instead.
export function copyButton(label, text) {
  const made = button(label, async () => {
    try {
      await navigator.clipboard.writeText(text());
      setText(made, "Copied");
    } catch {
      prompt("Copy this text:", text());
    }
    setTimeout(() => setText(made, label), 1500);
  });
  return made;
}

export const whole = value => Math.round(value).toLocaleString();

// A number of things per second; empty if it is unknown.
export const rate = value => value === null || value === undefined ? "" : value < 10 && value % 1 ? value.toFixed(1) : whole(value);

export function bytes(count) {
  if (count < 1024) return `${count} B`;
  return count < 1048576 ? `${(count / 1024).toFixed(1)} KB` : `${(count / 1048576).toFixed(1)} MB`;
}

// Text that is not broken into lines.
export const unbroken = text => text.replaceAll(" ", "\u00a0");

export function duration(seconds) {
  if (seconds < 1) return unbroken(`${(seconds * 1000).toFixed(seconds < 0.1 ? 1 : 0)} ms`);
  if (seconds < 60) return unbroken(`${seconds.toFixed(1)} s`);
  const whole = Math.round(seconds), [size, unit, part, name] = whole < 5400 ? [60, "min", 1, "s"] : whole < 172800 ? [3600, "h", 60, "min"] : [86400, "d", 3600, "h"];
  const rest = Math.floor(whole % size / part);
  return unbroken(`${Math.floor(whole / size)} ${unit}${rest ? ` ${rest} ${name}` : ""}`);
}

const dayOf = time => time.toLocaleDateString("sv"); // as ISO 8601, which nobody takes for another day

// A time of day, with the date unless it is today.
export function clock(seconds) {
  const time = new Date(seconds * 1000), day = dayOf(time);
  return `${day === dayOf(new Date()) ? "" : `${day} `}${time.toTimeString().slice(0, 8)}`;
}
