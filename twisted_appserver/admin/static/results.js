// Responses, and jobs with their progress.

import { button, bytes, duration, element, setText } from "./elements.js";
import { detailOf, request, save, wait } from "./requests.js";
import { opened } from "./schemas.js";

const SHOWN = 200 * 1024; // bytes of a body that are shown
const KEPT = 100 * 1024 * 1024; // bytes that are kept for the download; a longer response ends there
const DEEPEST = 20; // levels that are indented, so that deep JSON does not become much longer
const TEXT = /^text\/|\b(json|xml|javascript|x-ndjson|urlencoded)\b/;
const PICTURE = /^image\/(?!svg)/;

// Indent JSON without changing a digit. Other text stays as it is.
// isCut: the text is only the beginning of JSON, so that it cannot be checked.
export function indented(text, isCut = false) {
  if (!isCut) try { JSON.parse(text); } catch { return text; }
  let depth = 0;
  const line = () => `\n${"  ".repeat(Math.min(depth, DEEPEST))}`;
  return text.replace(/"(?:[^"\\]|\\.)*"?|\s+|[[{]\s*[\]}]|[[{]|[\]}]|,|:/g, found => {
    if (found[0] === '"') return found;
    if (/^\s/.test(found)) return "";
    if (found === ",") return `,${line()}`;
    if (found === ":") return ": ";
    if (found.length > 1) return found[0] + found.at(-1);
    if (found === "[" || found === "{") { depth += 1; return found + line(); }
    depth -= 1;
    return line() + found;
  });
}

async function picture(blob, place) {
  const image = await createImageBitmap(blob); // a canvas needs no exception in the content security policy
  const canvas = element("canvas", { width: image.width, height: image.height, role: "img", "aria-label": "The image in the response" });
  canvas.getContext("2d").drawImage(image, 0, 0);
  place.append(canvas, element("p", { class: "hint" }, `${image.width} x ${image.height}`));
}

function fileName(answer, type) {
  const named = /filename="?([^";]+)/.exec(answer.headers.get("Content-Disposition") || "");
  const extension = { "text/plain": "txt", "image/svg+xml": "svg", "image/jpeg": "jpg" }[type] || type.split(/[/+]/).pop() || "bin";
  return named ? named[1] : `response.${extension === "octet-stream" ? "bin" : extension}`;
}

// Show a response in a place while it arrives. Nothing is shown once the signal has been aborted. began: when the request
// was sent, if its duration says something about the service.
export async function showResponse(place, answer, { signal, began }) {
  const type = (answer.headers.get("Content-Type") || "").split(";")[0].toLowerCase(), chunks = [];
  const head = element("p", { class: answer.ok ? "good" : "bad", role: "status" }), note = element("p", { class: "hint" }), shown = element("div");
  const headers = opened("Headers", () => element("pre", { tabindex: 0 }, [...answer.headers].map(each => each.join(": ")).join("\n")));
  const text = document.createTextNode(""), decoder = new TextDecoder(), reader = answer.body ? answer.body.getReader() : null;
  let size = 0;
  const update = () => setText(head, [`${answer.status} ${answer.statusText}`, ...(began ? [duration((performance.now() - began) / 1000)] : []), bytes(size)].join(" · "));
  update();
  place.replaceChildren(head, headers, shown, note);
  if (TEXT.test(type) || !type) shown.append(element("pre", { tabindex: 0, role: "region", "aria-label": "Response body" }, text));
  for (let part; reader && !(part = await reader.read()).done;) {
    if (signal.aborted) return;
    if (size < SHOWN) text.appendData(decoder.decode(part.value.subarray(0, SHOWN - size), { stream: true }));
    size += part.value.length;
    chunks.push(part.value);
    update();
    if (size > KEPT) { await reader.cancel(); note.textContent = `The response is longer than ${bytes(KEPT)}; the rest was not read. `; break; }
  }
  if (signal.aborted) return;
  update();
  if (/\bjson$/.test(type)) text.data = indented(text.data, size > SHOWN);
  if (!text.data && text.parentNode) text.parentNode.replaceWith("");
  if (size > SHOWN && text.parentNode) note.prepend(`The first ${bytes(SHOWN)} of ${bytes(size)} are shown. `);
  const blob = new Blob(chunks, { type });
  if (PICTURE.test(type)) await picture(blob, shown).catch(() => note.prepend("The image cannot be shown. "));
  if (size) note.append(button("Download", () => save(fileName(answer, type), blob)));
}

// The progress of a job from 0 to 1, if its items contain it: {"done": 3, "total": 10} or {"progress": 0.3}.
export function share(progress) {
  if (!progress || typeof progress !== "object") return null;
  if (progress.total > 0 && progress.done >= 0) return progress.done / progress.total;
  return progress.progress >= 0 && progress.progress <= 1 ? progress.progress : null;
}

const stepsOf = ({ state, items, progress }) => state === "running" && progress && progress.total ? `${progress.done}/${progress.total}` : `${items} items${progress === undefined ? "" : `: ${JSON.stringify(progress)}`}`;

// A row that follows a job until it ends, and then shows its result. forget() is called when it is removed.
export function followJob(job, forget) {
  const place = `jobs/${encodeURIComponent(job)}`, bar = element("progress", { "aria-label": `Progress of job ${job}` });
  const state = element("span", { role: "status" }, "…"), result = element("div"), stopping = new AbortController(), { signal } = stopping;
  const cancel = button("Cancel", async () => { cancel.disabled = true; await request(place, { method: "DELETE" }); });
  const remove = button("Remove", () => { stopping.abort(); row.remove(); forget(); }, { "aria-label": `Remove job ${job} from this page` });
  const row = element("div", { class: "job", "data-job": job },
    element("p", {}, "Job ", element("code", {}, job), " ", state), element("p", { class: "row" }, bar, cancel, remove), result);
  async function follow() {
    for (let over = false; !over && !signal.aborted;) {
      const answer = await request(place, { signal });
      if (!answer.ok) throw new Error(answer.status === 404 ? "is not known any more" : await detailOf(answer));
      const about = await answer.json(), part = share(about.progress);
      over = !["waiting", "running"].includes(about.state);
      setText(state, `${about.state}, ${stepsOf(about)}`);
      if (part !== null) bar.value = part;
      if (over) {
        bar.value = about.state === "done" ? 1 : bar.value;
        state.className = about.state === "done" ? "good" : "bad";
        cancel.remove();
        await showResponse(result, await request(`${place}/result`, { signal }), { signal });
      } else await wait(0.3, signal);
    }
  }
  follow().catch(error => {
    if (signal.aborted) return;
    setText(state, error.message);
    state.className = "bad";
    cancel.remove();
    bar.remove();
  });
  return row;
}
