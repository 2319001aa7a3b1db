// What an instance prints, followed. The browser goes on behind the last line that it has seen.

import { board, token } from "./board.js";
import { h, text } from "./dom.js";

/** So many lines stay in the page. */
const MOST = 3000;

/** The log of an instance, until `close` is called. */
export function log(instance) {
  const lines = h("div", { class: "lines", tabindex: 0, role: "log", "aria-label": `Log of ${instance.name}` });
  const state = h("span", { class: "quiet" }, "opening ...");
  const pause = h("button", { type: "button", "aria-pressed": "false", onclick: () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", isPaused);
    text(pause, isPaused ? "Follow" : "Pause");
    if (!isPaused) { append([]); down(); }
  } }, "Pause");
  const element = h("section", { class: "log" },
    h("div", { class: "head" }, h("b", {}, "Log"), state, h("div", { class: "deeds" }, pause,
      h("button", { type: "button", onclick: () => lines.replaceChildren() }, "Clear"))), lines);
  let isPaused = false, held = [], stream;

  const down = () => { lines.scrollTop = lines.scrollHeight; };

  function append(fresh) {
    held.push(...fresh);
    held = held.slice(-MOST);
    if (isPaused) { text(state, `paused, ${held.length} lines wait`); return; }
    const atEnd = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 40;
    lines.append(...held.map((line) => h("div", { class: line.from },
      h("time", { datetime: line.at, title: line.at }, new Date(line.at).toLocaleTimeString()), line.text)));
    held = [];
    while (lines.childElementCount > MOST) lines.firstElementChild.remove();
    if (atEnd) down();
  }

  function open() {
    const query = new URLSearchParams({ node: instance.node, instance: instance.name, tail: 500 });
    if (token.get()) query.set("token", token.get());
    stream = new EventSource(`/api/logs?${query}`);
    stream.onopen = () => text(state, "following");
    stream.addEventListener("lines", (event) => append(JSON.parse(event.data)));
    stream.addEventListener("over", (event) => {
      stream.close();
      text(state, JSON.parse(event.data).why ?? "there is no more");
    });
    stream.onerror = () => {
      if (stream.readyState !== EventSource.CLOSED) { text(state, "broken off; trying again ..."); return; }
      text(state, board.about?.mayAct || !board.about?.hasDeeds ? "the log cannot be read" : "logs take the token");
    };
  }
  open();
  return { element, close: () => stream.close() };
}
