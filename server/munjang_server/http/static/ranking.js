// A ranking as a list, and two of them beside each other with what changed in the order.

import { h, svg } from "./dom.js";
import { t } from "./words.js";

/** The height of a row of a comparison in pixels, as style.css has it. */
const ROW = 56;

/** The documents in their order, with a bar of each score between the lowest and the highest. */
export function rankingList(documents, found) {
  const scores = found.order.map(each => each.score);
  const high = Math.max(...scores), low = Math.min(...scores);
  const share = score => high > low ? 0.04 + 0.96 * (score - low) / (high - low) : 1;
  return h("ol.ranked", { "aria-label": t("ranked") }, found.order.map(({ index, score }, place) => h("li", {},
    h("span.place", {}, String(place + 1)),
    h("div.words", {}, documents[index], found.cutTexts.has(index) ? h("span.tag", {}, t("cut")) : null, h("span.track", { "aria-hidden": true }, h("span.fill", { "--v": share(score).toFixed(4) }))),
    h("span.score", { title: t("score") }, score.toFixed(3)))));
}

/** Pairs of documents that two orders have the other way round. */
export function swappedPairs(first, second) {
  const place = places(second);
  let count = 0;
  for (let a = 0; a < first.length; a += 1) {
    for (let b = a + 1; b < first.length; b += 1) if (place.get(first[a].index) > place.get(first[b].index)) count += 1;
  }
  return count;
}

const places = order => new Map(order.map((each, place) => [each.index, place]));

/** Two orders of the same documents: A, lines between equal documents, B. */
export function comparison(documents, a, b) {
  const count = documents.length, all = count * (count - 1) / 2;
  const inA = places(a.order), inB = places(b.order);
  const sameTop = a.order[0].index === b.order[0].index;
  const note = a.version === b.version ? "sameVersion" : a.space && a.space === b.space ? "spacesSame" : "spacesDiffer";
  const lines = svg("svg", { class: "slopes", viewBox: `0 0 100 ${count * ROW}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    a.order.map(({ index }, from) => {
      const to = inB.get(index), y = from * ROW + ROW / 2, z = to * ROW + ROW / 2;
      return svg("path", { d: `M0 ${y} C45 ${y} 55 ${z} 100 ${z}`, class: direction(from, to), "data-index": index });
    }));
  const side = (name, found, change) => h(`ol.side.${name}`, { "aria-label": t(name === "a" ? "versionA" : "versionB") }, found.order.map(({ index, score }, place) => h("li", { "data-index": index, title: documents[index] },
    h("span.place", {}, String(place + 1)), h("span.words", {}, documents[index]), h("span.score", {}, score.toFixed(3)),
    change ? moved(inA.get(index), place) : null)));
  const board = h("div.board", { "--rows": count }, side("a", a, false), lines, side("b", b, true));
  const light = event => {
    const index = event.target.closest("[data-index]")?.dataset.index;
    for (const node of board.querySelectorAll("[data-index]")) node.classList.toggle("on", node.dataset.index === index);
  };
  board.addEventListener("pointerover", light);
  board.addEventListener("pointerleave", light);
  return h("div.versus", {},
    h("p.verdict", {}, h("b", {}, t("swapped", swappedPairs(a.order, b.order), all)), " ", t(sameTop ? "firstSame" : "firstOther")),
    h("p.hint", {}, t(note)), h("div.heads", {}, h("h2", {}, `A · ${a.label}`), h("h2", {}, `B · ${b.label}`)), board);
}

function direction(from, to) {
  return to < from ? "rises" : to > from ? "falls" : "stays";
}

function moved(from, to) {
  const by = Math.abs(from - to), way = direction(from, to);
  const words = way === "rises" ? t("up", by) : way === "falls" ? t("down", by) : t("stays");
  return h(`span.moved.${way}`, { title: t("was", from + 1, to + 1), "aria-label": words, role: "img" }, way === "rises" ? `▲ ${by}` : way === "falls" ? `▼ ${by}` : "–");
}
