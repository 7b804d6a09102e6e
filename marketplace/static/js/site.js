// What every page needs: the lamp, copying, tabs, dialogs, menus, and times that stay true.
import { keepTimes } from "./times.js";

const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

function lampPressed(lamp) {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  lamp.setAttribute("aria-pressed", String(theme === "dark"));
  try { localStorage.setItem("theme", theme); } catch { /* lasts for this page only */ }
}

async function copy(button) {
  const source = button.dataset.copyFrom && document.getElementById(button.dataset.copyFrom);
  const panel = button.closest(".code")?.querySelector("[role=tabpanel]:not([hidden])");
  const text = button.dataset.copy ?? (source ?? panel).textContent.trim();
  await navigator.clipboard.writeText(text);
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1600);
  document.getElementById("said").textContent = "Copied";
}

function choose(tab, { focus = false } = {}) {
  for (const other of tab.parentElement.querySelectorAll("[role=tab]")) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (focus) tab.focus();
}

document.addEventListener("click", (event) => {
  const at = (selector) => event.target.closest(selector);
  let found;
  if ((found = at(".lamp"))) lampPressed(found);
  else if ((found = at("[data-copy], [data-copy-from], .take"))) copy(found);
  else if ((found = at("[role=tab]"))) choose(found);
  else if ((found = at("[data-opens]"))) document.getElementById(found.dataset.opens).showModal();
  else if ((found = at("[data-closes]"))) found.closest("dialog").close();
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step && event.target.matches("[role=tab]")) {
    const tabs = [...event.target.parentElement.querySelectorAll("[role=tab]")];
    choose(tabs.at((tabs.indexOf(event.target) + step) % tabs.length), { focus: true });
  }
  const menu = event.key === "Escape" && event.target.closest("details.menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// A form says of which team its page is: another tab may have gone over to another one.
const team = document.body.dataset.team;
document.addEventListener("submit", ({ target }) => {
  if (!team || target.method !== "post" || target.elements._team) return;
  const said = Object.assign(document.createElement("input"), { type: "hidden", name: "_team", value: team });
  target.append(said);
});
document.addEventListener("htmx:configRequest", ({ detail }) => {
  if (team && detail.verb !== "get") detail.parameters._team = team;
});

/** A request that got no answer, or a bad one: say so, and what it means for the money. */
function failed() {
  const notice = document.createElement("p");
  notice.className = "notice error";
  notice.role = "alert";
  notice.textContent = "The site did not answer as it should. A run that was started goes on and is listed under Runs; otherwise nothing happened and nothing was charged.";
  document.querySelector("main > .notice.error")?.remove();
  document.getElementById("main").prepend(notice);
}
for (const fault of ["htmx:responseError", "htmx:sendError"]) document.addEventListener(fault, failed);

for (const lamp of document.querySelectorAll(".lamp")) lamp.setAttribute("aria-pressed", String(isDark()));
for (const dialog of document.querySelectorAll("dialog[data-open]")) dialog.showModal();
keepTimes();
