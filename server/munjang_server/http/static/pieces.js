// Texts as the pieces that the model reads, and what it does not read.

import { h } from "./dom.js";
import { number, t } from "./words.js";

/** Each text's pieces, with a meter of how much of what the model reads they take. */
export function pieceLists(found, limit) {
  return h("ol.texts", {}, found.texts.map(({ pieces, count, cut }) => {
    const rest = cut ? limit - 1 : Infinity; // the last special token stays
    const last = pieces.length - 1;
    return h("li", {},
      h("div.pieces", {}, pieces.map((piece, index) => {
        const lost = index >= rest && !(index === last && piece.special);
        return h(`span.piece${piece.special ? ".special" : ""}${lost ? ".lost" : ""}`, { title: `${piece.id}${piece.special ? ` · ${t("special")}` : ""}${lost ? ` · ${t("notRead")}` : ""}` }, piece.text);
      })),
      h("div.meter", {}, h("span.track", { "aria-hidden": true }, h("span.fill", { "--v": Math.min(1, count / limit).toFixed(4) })),
        h("span", {}, `${number(count)} / ${number(limit)}`), cut ? h("span.tag", {}, t("cut")) : null));
  }));
}
