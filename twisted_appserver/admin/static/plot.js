// Plots of what happened in the last ten minutes.

import { clock, drawing, element, setText } from "./elements.js";

const SPAN = 600, HEIGHT = 150, LEFT = 58, BOTTOM = 22, TOP = 8; // seconds and pixels
const KEYS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -60, PageDown: 60, Home: -SPAN, End: SPAN };

// The lines of a scale, which begins at 0.
function linear(most) {
  const power = 10 ** Math.floor(Math.log10(most / 4)), step = power * [1, 2, 5, 10].find(each => power * each * 4 >= most * 0.999);
  const lines = Array.from({ length: Math.ceil(most / step - 0.001) + 1 }, (_, index) => index * step);
  return { lines, share: value => value / lines.at(-1) };
}

// The lines of a logarithmic scale.
function logarithmic(most, least) {
  const first = Math.floor(Math.log10(least) + 0.001), last = Math.ceil(Math.log10(most) - 0.001), span = Math.max(1, last - first);
  return { lines: Array.from({ length: span + 1 }, (_, index) => 10 ** (first + index)), share: value => value > 0 ? Math.max(0, (Math.log10(value) - first) / span) : 0 };
}

// A plot with one line for each series: { name, value(point), write(number) }. A point has its time in seconds as point[0].
// Where a value is null, or points are missing for more than two seconds, the line has a gap. The keys of arrows, and
// the pointer, choose the time whose values are shown. most is the smallest end of the scale. A logarithmic scale has
// a beginning too.
export function plot(title, series, write, most, beginning = 0) {
  const legend = series.map(() => element("b"));
  const when = element("span", { class: "hint" });
  const svg = drawing("svg", { class: "plot", height: HEIGHT, tabindex: 0, role: "slider", "aria-label": `${title}, time`, "aria-valuemin": -SPAN, "aria-valuemax": 0 });
  const node = element("figure", {}, element("figcaption", {}, element("b", {}, title), " ", when), svg,
    element("p", { class: "legend" }, ...series.map((each, index) => element("span", {},
      drawing("svg", { width: 30, height: 10, "aria-hidden": "true" }, drawing("path", { class: `line s${index}`, d: "M1 5H29" })), ` ${each.name} `, legend[index]))));
  let points = [], end = 0, chosen = null, width = 600;
  const x = time => LEFT + (width - LEFT - 1) * (1 - (end - time) / SPAN), base = HEIGHT - BOTTOM;

  function path(value, y) {
    let text = "", before = -Infinity;
    for (const point of points) {
      const found = value(point);
      if (found === null) { before = -Infinity; continue; }
      // A point without a neighbour is a dot, because the ends of lines are round.
      text += point[0] - before > 2.5 ? `M${x(point[0]).toFixed(1)} ${y(found).toFixed(1)}h0` : `L${x(point[0]).toFixed(1)} ${y(found).toFixed(1)}`;
      [before] = point;
    }
    return text;
  }

  function gaps() {
    const found = [], times = [end - SPAN, ...points.map(each => each[0]), end];
    for (let index = 1; index < times.length; index++) if (times[index] - times[index - 1] > 2.5) found.push([times[index - 1], times[index]]);
    return found.flatMap(([from, to]) => [drawing("rect", { class: "gap", x: x(from), y: TOP, width: Math.max(0, x(to) - x(from)), height: base - TOP }),
      ...(x(to) - x(from) > 80 ? [drawing("text", { x: (x(from) + x(to)) / 2, y: (base + TOP) / 2 + 4, "text-anchor": "middle" }, "not counted")] : [])]);
  }

  function draw() {
    const top = Math.max(most, ...points.flatMap(point => series.map(each => each.value(point) ?? 0))), made = [];
    const { lines: values, share } = beginning ? logarithmic(top, beginning) : linear(top), y = value => base - (base - TOP) * share(value);
    for (const value of values)
      made.push(drawing("path", { class: "grid", d: `M${LEFT} ${y(value)}H${width}` }), drawing("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value ? write(value) : "0"));
    for (let time = Math.ceil((end - SPAN) / 120) * 120; time <= end; time += 120)
      made.push(drawing("path", { class: "grid", d: `M${x(time)} ${base}v4` }), drawing("text", { x: Math.min(x(time), width - 18), y: HEIGHT - 4, "text-anchor": "middle" }, new Date(time * 1000).toTimeString().slice(0, 5)));
    const lines = series.map((each, index) => drawing("path", { class: `line s${index}`, d: path(each.value, y) }));
    if (chosen !== null) made.push(drawing("path", { class: "cursor", d: `M${x(chosen)} ${TOP}V${base}` }));
    svg.replaceChildren(...made, ...gaps(), ...lines);
    read();
  }

  function read() {
    const time = chosen ?? end, found = points.findLast(each => each[0] <= time + 0.5), point = found && found[0] > time - 2 ? found : null;
    const values = series.map(each => { const value = point && each.value(point); return value === null ? "-" : write(value); });
    values.forEach((value, index) => setText(legend[index], value));
    setText(when, `${chosen === null ? "now" : clock(time)}${point ? "" : ", not counted"}`);
    svg.setAttribute("aria-valuenow", Math.round(time - end));
    svg.setAttribute("aria-valuetext", `${when.textContent}: ${series.map((each, index) => `${each.name} ${values[index]}`).join(", ")}`);
  }

  function choose(time) {
    chosen = time === null ? null : Math.min(end, Math.max(end - SPAN, time));
    if (points.length) draw();
  }

  svg.addEventListener("pointermove", event => choose(end - SPAN * (1 - (event.clientX - svg.getBoundingClientRect().left - LEFT) / (width - LEFT - 1))));
  svg.addEventListener("pointerleave", () => choose(null));
  svg.addEventListener("blur", () => choose(null));
  svg.addEventListener("keydown", event => {
    if (event.key in KEYS) choose((chosen ?? end) + KEYS[event.key]);
    else if (event.key === "Escape") choose(null);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(([entry]) => { width = entry.contentRect.width; if (points.length) draw(); }).observe(svg);
  return { node, update(found) { points = found; end = points.length ? points.at(-1)[0] : Date.now() / 1000; draw(); } };
}

// Several plots of the same points. add() takes the newest ones, and the present time if it may be later than the last.
export function plots(all) {
  const node = element("section", { class: "plots", "aria-label": "The last ten minutes" }, ...all.map(each => each.node));
  let points = [];
  const last = () => points.length ? points.at(-1)[0] : 0;
  function add(found, now = 0) {
    points = [...points, ...found.filter(each => each[0] > last())];
    const end = Math.max(now, last());
    points = points.filter(each => each[0] > end - SPAN);
    for (const each of all) each.update(points);
  }
  return { node, last, add };
}
