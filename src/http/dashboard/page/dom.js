// Making elements. Text only ever becomes text: nothing that the cluster says is read as HTML.

/** An element: `h("a", {href: "#/nodes", class: "name"}, "qa-1")`. Functions listen: `{onclick: f}`. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** Sets the text of an element, unless it is that already: what does not change is not painted. */
export function text(element, value) {
  const said = value ?? "";
  if (element.firstChild?.nodeType === Node.TEXT_NODE && element.childNodes.length === 1) {
    if (element.firstChild.data !== said) element.firstChild.data = said;
  } else if (element.childNodes.length || said) element.textContent = said;
}

/** The same for a class. */
export function named(element, value) {
  if (element.className !== value) element.className = value;
}

/** How long ago, by the cluster's clock: `12s`, `3m`, `5h`, `2d`. */
export function age(then, now) {
  if (!then) return "";
  const seconds = Math.max(0, Math.round((now - Date.parse(then)) / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86400)}d`;
}

/** Bytes for people. */
export function bytes(count) {
  if (count === undefined || count === null) return "";
  let unit = 0;
  while (count >= 1024 && unit < 4) { count /= 1024; unit += 1; }
  return `${count < 10 && unit ? count.toFixed(1) : Math.round(count)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

/** A part of a whole in per cent. */
export const percent = (part) => (part === undefined || part === null ? "" : `${Math.round(part * 100)} %`);

let fading;
/** Says something at the edge of the page for a while. */
export function say(message, isBad = false) {
  const place = document.getElementById("said");
  place.replaceChildren(h("p", { class: isBad ? "bad" : "" }, message));
  clearTimeout(fading);
  fading = setTimeout(() => place.replaceChildren(), isBad ? 12000 : 5000);
}
