// What all pages share: the header with the title, the theme and the menu.

import { button, element, setText } from "./elements.js";
import { forgetCredentials, getJSON, needsCredentials, request, save } from "./requests.js";

function themes() {
  const select = element("select", { "aria-label": "Theme" },
    ...["auto", "light", "dark"].map(name => element("option", { value: name }, name)));
  select.value = document.documentElement.dataset.theme || "auto";
  select.addEventListener("change", () => {
    document.documentElement.dataset.theme = select.value;
    try { localStorage.setItem("theme", select.value); } catch { /* kept for this page only */ }
  });
  return select;
}

function closeMenus(event) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (event.type === "keydown" ? event.key !== "Escape" : menu.contains(event.target)) continue;
    menu.open = false;
    if (event.type === "keydown") menu.querySelector("summary").focus();
  }
}

// A browser sends no token when it opens a link.
async function saveDocument(event) {
  if (!needsCredentials) return;
  event.preventDefault();
  const name = new URL(event.currentTarget.href).pathname.split("/").pop();
  save(name, await (await request(name)).blob());
}

// Show in the header how many jobs have not ended.
export function showJobs(count) {
  setText(document.querySelector("nav a[href=jobs]"), count ? `Jobs (${count})` : "Jobs");
}

// Show the header. Returns what the service is: its title and version, its number of jobs, and whether it has queues.
export async function start(page) {
  const tools = document.getElementById("tools");
  tools.append(themes());
  for (const link of document.querySelectorAll("header a"))
    if (new URL(link.href).pathname === location.pathname) link.setAttribute("aria-current", "page");
  document.addEventListener("keydown", closeMenus);
  document.addEventListener("click", closeMenus);
  for (const link of document.querySelectorAll(".menu a[href=metrics], #document")) link.addEventListener("click", saveDocument);
  const service = await getJSON("service.json");
  if (needsCredentials) tools.prepend(button("Sign out", forgetCredentials));
  document.getElementById("title").textContent = service.title;
  document.getElementById("queues").hidden = !service.queues;
  showJobs(service.jobs);
  document.title = `${service.title}: ${page}`;
  return service;
}
