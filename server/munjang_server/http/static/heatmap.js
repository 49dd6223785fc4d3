// The similarity of all pairs as a table whose cells are coloured; style.css has the colours.

import { h } from "./dom.js";
import { t } from "./words.js";

export const MOST = 30;
const NUMBERS_UP_TO = 12;
/** Where black and white are equally easy to read on the colours of style.css: in the dark theme, and in the light one. */
const MID = 0.4745, HIGH = 0.6725;

/** The table with its legend. */
export function heatMap(texts, scores) {
  const detail = h("p.pair-detail", { id: "pair" }, t("heatHint"));
  const legend = h("div.legend");
  const grid = table(texts, scores, detail);
  const cells = [...grid.querySelectorAll("td")];
  const full = h("input", { type: "checkbox", id: "full-range" });
  const off = scores.flatMap((row, y) => row.filter((_, x) => x !== y));
  const paint = () => {
    const fits = !full.checked;
    const [low, high] = fits ? [Math.min(...off), Math.max(...off)] : [0, 1];
    for (const cell of cells) {
      if (cell.classList.contains("self")) continue;
      const value = high > low ? Math.min(1, Math.max(0, (Number(cell.dataset.score) - low) / (high - low))) : 0.5;
      cell.style.setProperty("--v", value.toFixed(4));
      cell.classList.toggle("mid", value > MID && value <= HIGH);
      cell.classList.toggle("high", value > HIGH);
    }
    legend.replaceChildren(h("span", {}, `${t("far")} ${low.toFixed(2)}`), h("span.ramp", { "aria-hidden": true }), h("span", {}, `${high.toFixed(2)} ${t("near")}`));
  };
  full.addEventListener("change", paint);
  paint();
  const foot = h("div.map-foot", {}, legend, h("label.check", { for: "full-range" }, full, t("rangeFull")));
  return h("div.map", {}, h("div.map-scroll", {}, grid), foot, detail);
}

function table(texts, scores, detail) {
  const count = texts.length;
  const names = texts.map((_, index) => h("th", { scope: "col" }, String(index + 1)));
  const rows = scores.map((row, y) => h("tr", {},
    h("th", { scope: "row", title: texts[y] }, h("span.n", {}, String(y + 1)), h("span.words", {}, texts[y])),
    row.map((score, x) => h(`td${x === y ? ".self" : ""}`, {
      tabindex: x === 1 && y === 0 ? "0" : "-1", "data-x": x, "data-y": y, "data-score": score,
      "aria-label": count > NUMBERS_UP_TO && t("pair", y + 1, x + 1, score.toFixed(3)),
    }, shown(score, count)))));
  const grid = h(`table${count > NUMBERS_UP_TO ? ".dense" : ""}`, { role: "grid", "aria-label": t("heatmap"), "aria-describedby": "pair", "--n": count },
    h("thead", {}, h("tr", {}, h("td.corner", {}), names)), h("tbody", {}, rows));
  const at = (x, y) => grid.querySelector(`td[data-x="${x}"][data-y="${y}"]`);
  const show = cell => {
    for (const each of grid.querySelectorAll(".on")) each.classList.remove("on");
    if (!cell) return;
    const x = Number(cell.dataset.x), y = Number(cell.dataset.y);
    cell.classList.add("on");
    names[x].classList.add("on");
    rows[y].firstChild.classList.add("on");
    detail.replaceChildren(h("b", {}, Number(cell.dataset.score).toFixed(3)), h("span", {}, h("i", {}, String(y + 1)), texts[y]),
      x === y ? h("span.muted", {}, t("same")) : h("span", {}, h("i", {}, String(x + 1)), texts[x]));
  };
  grid.addEventListener("pointerover", event => { const cell = event.target.closest("td[data-x]"); if (cell) show(cell); });
  grid.addEventListener("focusin", event => show(event.target.closest("td[data-x]")));
  grid.addEventListener("click", event => event.target.closest("td[data-x]")?.focus());
  grid.addEventListener("keydown", event => {
    const cell = event.target.closest("td[data-x]");
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (!cell || !step) return;
    event.preventDefault();
    const next = at(Number(cell.dataset.x) + step[0], Number(cell.dataset.y) + step[1]);
    if (!next) return;
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  return grid;
}

const shown = (score, count) => count > NUMBERS_UP_TO ? "" : count > 8 ? score.toFixed(2).replace(/^(-?)0\./, "$1.") : score.toFixed(2);
