// Requests of pages, with the token or password that this tab has. They are entered once for each tab.

import { element, setText } from "./elements.js";

// The key under which this tab keeps something of the service. Signing out removes all of it.
const PLACE = new URL(".", location).pathname;
export const keyOf = name => `${name} ${PLACE}`;
const KEY = keyOf("authorization");
const schemes = (document.documentElement.dataset.schemes || "").split(" ").filter(Boolean);
let asking = null;

export const needsCredentials = schemes.length > 0;
export const authorization = () => (needsCredentials && sessionStorage.getItem(KEY)) || "";

export function forgetCredentials() {
  for (const key of Object.keys(sessionStorage)) if (key.endsWith(` ${PLACE}`)) sessionStorage.removeItem(key);
  location.reload();
}

// As fetch. With credentials of its own, the page leaves out those of the browser: otherwise a wrong password
// would open the browser's own dialog.
export function request(url, options = {}) {
  const headers = new Headers(options.headers);
  if (authorization() && !headers.has("Authorization")) headers.set("Authorization", authorization());
  return fetch(url, { credentials: needsCredentials ? "omit" : "same-origin", ...options, headers });
}

export async function detailOf(answer) {
  const text = await answer.text();
  try { return JSON.parse(text).detail || text; } catch { return text || `${answer.status} ${answer.statusText}`; }
}

// Get something of the service. If a token or a password is missing or wrong, ask for it first. options() returns the
// options of each request.
export async function get(url, options = () => ({})) {
  if (needsCredentials && !authorization()) await signIn("");
  for (;;) {
    const answer = await request(url, options());
    if (answer.ok) return answer;
    const detail = await detailOf(answer);
    if (answer.status !== 401 || !needsCredentials) throw new Error(detail);
    await signIn(detail);
  }
}

export const getJSON = async (url, options) => (await get(url, options)).json();

// Change something. The body is JSON text. Returns the response.
export async function post(url, body) {
  const answer = await request(url, { method: "POST", ...(body && { body, headers: { "Content-Type": "application/json" } }) });
  if (!answer.ok) throw new Error(await detailOf(answer));
  return answer;
}

// A link may be older than what it leads to. Show which of these names the server does not know any more.
export async function showGone(node, kind, names, place) {
  const answers = await Promise.allSettled(names.map(name => request(place(name))));
  setText(node, names.filter((_, index) => answers[index].value?.status === 404).map(name => `${kind} ${name} is not known any more.`).join(" "));
}

function field(label, attributes) {
  return element("label", {}, label, element("input", { autocomplete: "off", ...attributes }));
}

const encoded = text => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

// Ask for a token or a password in place of the page. One form serves all requests that wait for it.
function signIn(problem) {
  asking ||= new Promise(done => {
    const place = document.getElementById("access"), main = document.getElementById("main");
    const form = element("form", { class: "access" }, element("h1", {}, "Authentication required"),
      element("p", {}, "This service requires a token or a password. What you enter is kept until you close this tab."));
    if (schemes.includes("bearer")) form.append(field("Token", { name: "token", type: "password" }));
    if (schemes.length > 1) form.append(element("p", {}, "or"));
    if (schemes.includes("basic"))
      form.append(field("Name", { name: "user" }), field("Password", { name: "password", type: "password" }));
    form.append(element("p", { class: "bad", role: "alert" }, problem), element("button", { class: "main" }, "Continue"));
    form.addEventListener("submit", event => {
      event.preventDefault();
      const { token, user, password } = Object.fromEntries(new FormData(form));
      if (!token && !user) return;
      sessionStorage.setItem(KEY, token ? `Bearer ${token.trim()}` : `Basic ${encoded(`${user}:${password}`)}`);
      [place.hidden, main.hidden, asking] = [true, false, null];
      done();
    });
    place.replaceChildren(form);
    [place.hidden, main.hidden] = [false, true];
    form.querySelector("input").focus();
  });
  return asking;
}

// The latest of several requests: a new one, or a stop, aborts the one before. After each await, check signal.aborted.
export class Latest {
  next() {
    this.stop();
    this.controller = new AbortController();
    return this.controller.signal;
  }

  stop() {
    if (this.controller) this.controller.abort();
  }
}

export const wait = (seconds, signal) => new Promise(done => {
  const timer = setTimeout(done, seconds * 1000);
  if (signal) signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
});

// Save something as a file.
export function save(name, blob) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
