// Documents that are loaded again and again while the page is visible.

import { clock, element, setText } from "./elements.js";
import { getJSON, Latest, wait } from "./requests.js";
import { steadily } from "./rows.js";

const LONGEST = 10000; // milliseconds until a request without a response is given up

// Load a document every second while the page is visible, one request at a time, and show each. address() returns its
// address. Without a connection, the page keeps what it shows, and the returned node says so. now() loads the document
// at once; the response to an earlier request is ignored from then on. All ends when the signal ending is aborted.
export function refresh(address, show, seconds = 1, ending = new AbortController().signal) {
  const latest = new Latest(), node = element("p", { class: "bad", role: "status" });
  let since = null;
  async function load(signal) {
    try {
      const found = await getJSON(address(), () => ({ signal: AbortSignal.any([signal, AbortSignal.timeout(LONGEST)]) }));
      since = null;
      return () => { setText(node, ""); show(found); };
    } catch (error) {
      since ||= Date.now() / 1000;
      const what = error instanceof TypeError || error instanceof DOMException ? "No connection" : `${error.message}: not updated`;
      return () => setText(node, `${what} since ${clock(since)}`);
    }
  }
  async function follow(signal) {
    while (!signal.aborted && !document.hidden) {
      const change = await load(signal);
      if (signal.aborted) return;
      steadily(change);
      await wait(seconds, signal);
    }
  }
  const now = () => ending.aborted || follow(latest.next());
  document.addEventListener("visibilitychange", () => { if (document.hidden) latest.stop(); else now(); }, { signal: ending });
  ending.addEventListener("abort", () => latest.stop());
  now();
  return { node, now };
}
