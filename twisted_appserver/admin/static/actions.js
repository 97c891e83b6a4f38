// Buttons that change something on the server, menus, and dialogs.

import { short } from "./attempts.js";
import { button, element, setText } from "./elements.js";
import { post } from "./requests.js";

const SHOWN = 8000; // milliseconds for which a message is shown
const message = element("p", { class: "message", role: "status", hidden: true });
let timer = 0;

// Show the outcome of an action where it moves nothing.
function say(text, bad = false) {
  if (!message.parentNode) document.body.append(message);
  [message.hidden, message.className] = [false, bad ? "message bad" : "message"];
  setText(message, text);
  clearTimeout(timer);
  timer = setTimeout(() => { message.hidden = true; }, SHOWN);
}

// A button for the thing with a name. act() does it, and returns the message that is shown then. While it is not
// possible (see allow), the button keeps its place and the focus.
export function action(text, name, act) {
  const made = button(text, async () => {
    if (made.ariaDisabled === "true") return;
    allow(made, false);
    try {
      const done = await act();
      if (done) say(done);
    } catch (error) { say(`${text} ${name}: ${error.message}`, true); }
    allow(made, true);
  }, { "aria-label": `${text} ${name}` });
  return made;
}

// A button that calls the function of a job again. changed() is called afterwards.
export function retryJob(job, name, changed) {
  return action("Retry", name, async () => {
    const again = (await (await post(`jobs/${encodeURIComponent(job)}/retry`)).json()).job;
    changed();
    return again === job ? `The next attempt of ${name} begins now.` : `${name} is tried again as job ${short(again)}.`;
  });
}

export function allow(made, isPossible) {
  made.ariaDisabled = String(!isPossible);
}

export function rename(made, text, name) {
  setText(made, text);
  made.ariaLabel = `${text} ${name}`;
}

let menus = 0;

// A menu of actions that is drawn over everything else.
export function menu(name, actions, text = "More") {
  const id = `menu${menus += 1}`, list = element("div", { id, popover: "auto", class: "pop" }, ...actions);
  const opener = element("button", { type: "button", popovertarget: id, "aria-label": `More actions for ${name}` }, text);
  list.addEventListener("beforetoggle", () => {
    const { left, bottom } = opener.getBoundingClientRect();
    list.style.left = `${Math.max(8, Math.min(left, innerWidth - 220))}px`;
    list.style.top = `${Math.min(bottom + 4, innerHeight - 50 * actions.length)}px`;
  });
  list.addEventListener("click", event => { if (event.target.closest("button")) { list.hidePopover(); opener.focus(); } });
  return element("span", {}, opener, list);
}

// Ask for a change of a text. Resolves to the new text, or null if the dialog was closed.
export function editText(title, text, hint, check) {
  const area = element("textarea", { rows: 14, "aria-label": title, spellcheck: "false" }), problem = element("p", { class: "bad", role: "alert" });
  const form = element("form", { method: "dialog" }, element("h2", {}, title), element("p", { class: "hint" }, hint), area, problem,
    element("div", { class: "row" }, element("button", { class: "main", value: "send" }, "Save and retry"), button("Close", () => dialog.close())));
  const dialog = element("dialog", { "aria-label": title }, form);
  area.value = text;
  form.addEventListener("submit", event => {
    const wrong = check(area.value);
    setText(problem, wrong);
    if (wrong) event.preventDefault();
  });
  document.getElementById("main").append(dialog);
  dialog.showModal();
  return new Promise(done => dialog.addEventListener("close", () => {
    done(dialog.returnValue === "send" ? area.value : null);
    dialog.remove();
  }));
}
