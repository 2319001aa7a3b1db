// A course of time as a small curve.

import { h, text } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 360, HEIGHT = 100;

/** A card with a title, the present value and its curve. `write` says a value for people. */
export function chart(title, write) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const [area, curve] = ["area", "curve"].map((name) => {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    svg.append(path);
    return path;
  });
  const number = h("span");
  const beside = h("small");
  const element = h("div", { class: "card" }, h("h3", {}, title), h("div", { class: "number" }, number, beside), svg);
  return {
    element,
    /** Draws `values`, the oldest first; gaps where there is none. `top` is the top of the scale, if it is known. */
    draw(values, top, aside = "") {
      const last = values.findLast((value) => value !== null && value !== undefined);
      text(number, last === undefined ? "-" : write(last));
      text(beside, aside);
      const known = values.filter((value) => value !== null && value !== undefined);
      const scale = top || Math.max(...known, 0) * 1.1 || 1;
      // The right edge is now, and the left one half an hour ago, or as long as there is anything.
      const step = WIDTH / Math.max(values.length - 1, 30);
      const from = WIDTH - (values.length - 1) * step;
      let line = "", isDown = false, parts = [];
      values.forEach((value, index) => {
        if (value === null || value === undefined) { isDown = false; return; }
        const x = (from + index * step).toFixed(1), y = (HEIGHT - 2 - (Math.min(value, scale) / scale) * (HEIGHT - 6)).toFixed(1);
        line += `${isDown ? "L" : "M"}${x} ${y}`;
        if (!isDown) parts.push([x, ""]);
        parts.at(-1)[1] += `L${x} ${y}`;
        parts.at(-1)[2] = x;
        isDown = true;
      });
      curve.setAttribute("d", line);
      area.setAttribute("d", parts.map(([start, path, end]) => `M${start} ${HEIGHT}${path}L${end} ${HEIGHT}Z`).join(""));
      svg.setAttribute("aria-label", `${title}: ${last === undefined ? "not known" : write(last)} now${known.length ? `, ${write(Math.min(...known))} to ${write(Math.max(...known))} lately` : ""}`);
    },
  };
}
