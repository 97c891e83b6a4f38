// Plots of what happened in the last ten minutes.

import { drawing, element, setText } from "./elements.js";

const SPAN = 600, HEIGHT = 150, LEFT = 58, BOTTOM = 22, TOP = 8; // seconds and pixels
const KEYS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -60, PageDown: 60, Home: -SPAN, End: SPAN };
const clock = seconds => new Date(seconds * 1000).toLocaleTimeString();

// The distance of the lines of a scale that has at most four of them.
function step(most) {
  const power = 10 ** Math.floor(Math.log10(most / 4));
  return power * [1, 2, 5, 10].find(each => power * each * 4 >= most * 0.999);
}

// A plot with one line for each series: { name, value(point), write(number) }. A point has its time in seconds as point[0].
// Where a value is null, or points are missing for more than two seconds, the line has a gap. The keys of arrows, and
// the pointer, choose the time whose values are shown. least is the smallest range of the scale.
export function plot(title, series, write, least) {
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
    return found.map(([from, to]) => drawing("rect", { class: "gap", x: x(from), y: TOP, width: Math.max(0, x(to) - x(from)), height: base - TOP }));
  }

  function draw() {
    const most = Math.max(least, ...points.flatMap(point => series.map(each => each.value(point) ?? 0))), distance = step(most);
    const top = Math.ceil(most / distance - 0.001) * distance, y = value => base - (base - TOP) * value / top, made = [];
    for (let value = 0; value < top + distance / 2; value += distance)
      made.push(drawing("path", { class: "grid", d: `M${LEFT} ${y(value)}H${width}` }), drawing("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, write(value)));
    for (let time = Math.ceil((end - SPAN) / 120) * 120; time <= end; time += 120)
      made.push(drawing("path", { class: "grid", d: `M${x(time)} ${base}v4` }), drawing("text", { x: Math.min(x(time), width - 18), y: HEIGHT - 4, "text-anchor": "middle" }, clock(time).replace(/(\d+:\d+):\d+/, "$1")));
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
