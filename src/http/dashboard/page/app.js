// The frame: which page is open, what keys do, light and dark.

import { board, listen, start, token } from "./board.js";
import { text } from "./dom.js";
import { open } from "./views.js";

const main = document.getElementById("main");
const filter = document.getElementById("filter");
const live = document.getElementById("live");
const STATES = { live: "live", lost: "no connection", connecting: "connecting" };
let view, path;

/** A token in the address is kept for this tab and taken out of sight. */
function takeToken() {
  const found = /(?:^#|&)token=([^&]+)/.exec(location.hash);
  if (!found) return;
  token.set(decodeURIComponent(found[1]));
  history.replaceState(null, "", `${location.pathname}#/services`);
}

function route() {
  const next = location.hash.replace(/^#\/?/, "") || "services";
  if (next === path && view) return;
  path = next;
  filter.value = "";
  show();
  main.scrollTop = 0;
}

function show() {
  view?.close();
  view = undefined;
  const [kind] = path.split("/");
  for (const link of document.querySelectorAll("nav a")) {
    const page = link.hash.slice(2);
    if (kind === page || `${kind}s` === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!board.about) return;
  view = open(path);
  main.replaceChildren(view.element);
  view.update();
  const name = decodeURIComponent(path.split("/").slice(1).join("/")) || kind;
  document.title = `${name} - ${board.about.cluster} - Quaestor`;
}

function changed() {
  if (live.dataset.state !== board.live) live.dataset.state = board.live;
  text(live, STATES[board.live]);
  if (!board.about) return;
  text(document.getElementById("cluster"), `${board.about.cluster}${board.about.role === "dev" ? "" : ` - ${board.about.role}`}`);
  if (view) view.update();
  else show();
}

// Ages grow though nothing changes.
setInterval(() => { if (document.visibilityState === "visible") view?.update(); }, 2000);

const theme = document.getElementById("theme");
function paintTheme(next) {
  if (next) localStorage.setItem("theme", next);
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
  const isDark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  text(theme, isDark ? "\u2600" : "\u263e");
  theme.title = isDark ? "Light" : "Dark";
  return isDark;
}
theme.addEventListener("click", () => paintTheme(paintTheme() ? "light" : "dark"));

filter.addEventListener("input", () => view?.update());
filter.addEventListener("keydown", (event) => {
  if (event.key === "Escape") { filter.value = ""; view?.update(); main.focus(); }
  if (event.key === "Enter" || event.key === "ArrowDown") { event.preventDefault(); view?.focus(); }
});

const KEYS = { s: "#/services", i: "#/instances", n: "#/nodes", e: "#/events" };
let isGoing = false;
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") { event.preventDefault(); filter.focus(); filter.select(); }
  else if (isGoing && KEYS[event.key]) location.hash = KEYS[event.key];
  else if (event.key === "Escape" && path.includes("/")) history.back();
  isGoing = event.key === "g";
});

takeToken();
paintTheme();
addEventListener("hashchange", () => { takeToken(); route(); });
listen(changed);
route();
start();
