// A table of any length: only the rows in sight are there. Rows are links, for mouse, keyboard and screen reader.

import { h, text } from "./dom.js";

let count = 0;

/**
 * `columns`: `{title, width, class, key(item), paint(cell, item)}`; `href(item)` where a row leads; `id(item)`.
 * A short list is as tall as its rows, up to `most` of them.
 */
export function list({ columns, href, id, label, empty, most, sort }) {
  const own = `list${(count += 1)}`;
  const titles = h("div", { class: "row titles", role: "row" });
  const tall = h("div", { class: "tall", role: "presentation" });
  const scroll = h("div", { class: "scroll", tabindex: 0, role: "grid", "aria-label": label }, tall);
  const none = h("p", { class: "none", hidden: true });
  const element = h("div", { class: most ? "list short" : "list" }, titles, none, scroll);
  const rows = [];
  let items = [], shown = [], active = 0, order = sort ?? { column: 0, up: true };
  let height = 34, isDue = false;

  const template = () => {
    const isNarrow = matchMedia("(max-width: 760px)").matches;
    height = isNarrow ? 40 : 34;
    const widths = columns.filter((one) => !(isNarrow && one.class?.includes("wide")));
    return widths.map((one) => (isNarrow && one.narrow) || one.width).join(" ");
  };
  let grid = template();
  columns.forEach((column, index) => {
    const button = h("button", { type: "button", onclick: () => {
      order = { column: index, up: order.column === index ? !order.up : true };
      arrange();
    } }, column.title);
    titles.append(h("div", { role: "columnheader", class: column.class }, button));
  });

  function arrange() {
    [...titles.children].forEach((title, index) => {
      if (index === order.column) title.setAttribute("aria-sort", order.up ? "ascending" : "descending");
      else title.removeAttribute("aria-sort");
    });
    const { key } = columns[order.column];
    const sign = order.up ? 1 : -1;
    shown = items;
    if (key) {
      shown = items.map((item, place) => [key(item), place, item]);
      shown.sort(([a, at], [b, bt]) => (a === b ? at - bt : a === undefined ? 1 : b === undefined ? -1 : a < b ? -sign : sign));
      shown = shown.map((entry) => entry[2]);
    }
    none.hidden = shown.length > 0;
    scroll.hidden = shown.length === 0;
    text(none, empty);
    scroll.setAttribute("aria-rowcount", shown.length);
    active = Math.min(active, Math.max(0, shown.length - 1));
    measure();
  }

  function measure() {
    grid = template();
    titles.style.gridTemplateColumns = grid;
    const total = `${shown.length * height}px`;
    if (tall.style.height !== total) tall.style.height = total;
    scroll.style.height = `${Math.min(shown.length, most ?? Infinity) * height}px`;
    paint();
  }

  function row() {
    const cells = columns.map((column) => h("span", { role: "gridcell", class: column.class }));
    const element = h("a", { class: "row", role: "row", tabindex: -1 });
    element.append(...cells);
    tall.append(element);
    return { element, cells, top: -1 };
  }

  function paint() {
    isDue = false;
    const room = scroll.clientHeight || (most ?? 20) * height;
    const first = Math.max(0, Math.floor(scroll.scrollTop / height) - 4);
    const last = Math.min(shown.length, first + Math.ceil(room / height) + 9);
    const needed = last - first;
    while (rows.length < needed) rows.push(row());
    // A row stays with its place modulo their number, so that scrolling by one paints one.
    for (let slot = 0; slot < rows.length; slot += 1) {
      const at = first + ((slot - (first % rows.length) + rows.length) % rows.length);
      const { element, cells } = rows[slot];
      const isOut = at >= last;
      if (element.hidden !== isOut) element.hidden = isOut;
      if (isOut) continue;
      const item = shown[at];
      if (rows[slot].top !== at * height) {
        rows[slot].top = at * height;
        element.style.transform = `translateY(${at * height}px)`;
      }
      if (element.style.gridTemplateColumns !== grid) element.style.gridTemplateColumns = grid;
      const target = href?.(item);
      if (element.getAttribute("href") !== target) target ? element.setAttribute("href", target) : element.removeAttribute("href");
      const name = `${own}-${at}`;
      if (element.id !== name) { element.id = name; element.setAttribute("aria-rowindex", at + 1); }
      element.setAttribute("aria-selected", at === active);
      if (element.dataset.id !== id(item)) element.dataset.id = id(item);
      columns.forEach((column, index) => column.paint(cells[index], item));
    }
    scroll.setAttribute("aria-activedescendant", `${own}-${active}`);
  }

  function soon() {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(paint);
  }

  scroll.addEventListener("scroll", soon, { passive: true });
  scroll.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(scroll.clientHeight / height) - 1);
    const moves = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -shown.length, End: shown.length };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && shown[active] && href) location.hash = href(shown[active]).slice(1);
    else if (moves[event.key]) {
      active = Math.min(shown.length - 1, Math.max(0, active + moves[event.key]));
      const top = active * height;
      if (top < scroll.scrollTop) scroll.scrollTop = top;
      else if (top + height > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top + height - scroll.clientHeight;
      paint();
    } else return;
    event.preventDefault();
  });
  new ResizeObserver(() => measure()).observe(element);

  return {
    element, scroll,
    /** Shows these items. */
    show(next) { items = next; arrange(); },
    focus() { scroll.focus(); },
  };
}
