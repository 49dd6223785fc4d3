// The live view: rates and queues from /metrics, and the versions and aliases of ListVersions.

import { metrics, versions } from "./api.js";
import { h, svg } from "./dom.js";
import { number, t } from "./words.js";

const SECONDS = 2;
const POINTS = 60;
/** Calls that this page makes all the time, which are no load. */
const EVERYDAY = new Set(["Metrics", "ListVersions", "GetVersion"]);

/** Polls while it runs and the page is visible, and draws into a node; `failed` gets what went wrong, or null. */
export class Live {
  constructor(node, failed) {
    this.node = node;
    this.failed = failed;
    this.history = { tokens: [], texts: [], queue: [], calls: [] };
    this.last = null;
    this.timer = 0;
    document.addEventListener("visibilitychange", () => { if (this.running && !document.hidden) this.poll(); });
  }

  start() {
    this.running = true;
    this.poll();
  }

  stop() {
    this.running = false;
    clearTimeout(this.timer);
  }

  async poll() {
    clearTimeout(this.timer);
    try {
      const [series, listed] = await Promise.all([metrics(), versions()]);
      if (!this.running) return;
      this.draw(this.take(series), listed);
      this.failed(null);
    } catch (error) {
      this.last = null;
      if (this.running) this.failed(error);
    }
    clearTimeout(this.timer);
    if (this.running && !document.hidden) this.timer = setTimeout(() => this.poll(), SECONDS * 1000);
  }

  take(series) {
    const total = (name, also = () => true) => series.filter(each => each.name === name && also(each.labels)).reduce((sum, each) => sum + each.value, 0);
    const lane = (name, which) => total(name, labels => labels.lane === which);
    const now = { at: performance.now(), tokens: total("tokens_total"), texts: total("texts_total") };
    const rate = key => this.last === null ? 0 : Math.max(0, (now[key] - this.last[key]) / ((now.at - this.last.at) / 1000));
    const found = {
      tokens: rate("tokens"), texts: rate("texts"), tokensSoFar: now.tokens, textsSoFar: now.texts,
      queue: total("queued_tokens"), queuedTexts: total("queued_texts"), speed: total("tokens_per_second"),
      calls: total("requests_in_flight", labels => !EVERYDAY.has(labels.rpc)),
      lanes: [lane("queued_tokens", "interactive"), lane("queued_tokens", "bulk")],
      batches: buckets(series.filter(each => each.name === "batch_texts_bucket")), batched: total("batch_texts_sum"),
    };
    this.last = now;
    for (const [key, values] of Object.entries(this.history)) {
      values.push(found[key]);
      if (values.length > POINTS) values.shift();
    }
    return found;
  }

  draw(found, listed) {
    const tile = (key, value, title, note) => h("div.tile", { "data-tile": key }, h("h2", {}, t(title)), h("p.figure", {}, number(value)), spark(this.history[key]), h("p.hint", {}, note));
    this.node.replaceChildren(
      h("div.tiles", {},
        tile("tokens", found.tokens, "tokensPerSecond", found.speed ? t("measuredSpeed", number(found.speed)) : t("answered", number(found.tokensSoFar))),
        tile("texts", found.texts, "textsPerSecond", t("answered", number(found.textsSoFar))),
        tile("queue", found.queue, "queue", `${t("queuedTexts", number(found.queuedTexts))} · ${t("lanes", ...found.lanes.map(each => number(each)))}`),
        tile("calls", found.calls, "inFlight", t("last"))),
      h("div.board-two", {}, batchChart(found.batches, found.batched), aliasTable(listed)),
      versionTable(listed));
  }
}

/** Counts by upper bound, all lanes together: [[bound, count]]. */
function buckets(series) {
  const cumulated = new Map();
  for (const { labels, value } of series) cumulated.set(Number(labels.le.replace("+Inf", "Infinity")), (cumulated.get(Number(labels.le.replace("+Inf", "Infinity"))) ?? 0) + value);
  let before = 0;
  return [...cumulated].sort(([a], [b]) => a - b).map(([bound, value]) => {
    const count = value - before;
    before = value;
    return [bound, count];
  });
}

function spark(values) {
  const high = Math.max(1, ...values);
  const points = values.map((value, index) => `${(POINTS - values.length + index) * (100 / (POINTS - 1))},${28 - 26 * value / high}`);
  return svg("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("line", { x1: 0, x2: 100, y1: 28, y2: 28, class: "base" }),
    points.length > 1 ? [svg("polyline", { points: points.join(" ") })] : []);
}

function batchChart(batches, texts) {
  const total = batches.reduce((sum, [, count]) => sum + count, 0);
  const head = h("h2", {}, t("batches"));
  if (!total) return h("section", {}, head, h("p.empty-line", {}, t("noBatches")));
  const last = batches.findLastIndex(([, count]) => count > 0);
  const kept = batches.slice(0, Math.max(last + 1, 5));
  const high = Math.max(...kept.map(([, count]) => count));
  return h("section", {}, head, h("p.hint", {}, t("batchesHint", number(total), number(texts / total, 1))), h("ul.bars", {}, kept.map(([bound, count]) =>
    h("li", {}, h("span.name", {}, Number.isFinite(bound) ? `≤ ${number(bound)}` : "∞"), h("span.track", { "aria-hidden": true }, h("span.fill", { "--v": (count / high).toFixed(4) })), h("span.value", {}, number(count))))));
}

function aliasTable({ aliases }) {
  const head = h("h2", {}, t("aliases"));
  if (!aliases.length) return h("section", {}, head, h("p.empty-line", {}, t("noAliases")));
  return h("section", {}, head, h("table.list", {},
    h("thead", {}, h("tr", {}, ["alias", "serves", "previous"].map(key => h("th", { scope: "col" }, t(key))))),
    h("tbody", {}, aliases.map(each => h("tr", {}, h("th", { scope: "row" }, each.name),
      h("td", {}, String(each.serving ?? "–"), each.version !== each.serving ? h("span.tag", {}, t("swapping", each.version)) : null),
      h("td", {}, String(each.previous ?? "–")))))));
}

function versionTable({ versions: listed }) {
  const head = h("h2", {}, t("versions"));
  if (!listed.length) return h("section", {}, head, h("p.empty-line", {}, t("noVersions")));
  return h("section", {}, head, h("div.scroll", { tabindex: "0", role: "region", "aria-label": t("versions") }, h("table.list", {},
    h("thead", {}, h("tr", {}, ["version", "state", "model", "dimensions", "maxTokens", "space"].map(key => h("th", { scope: "col" }, t(key))))),
    h("tbody", {}, listed.map(each => {
      const state = each.state.replace("VERSION_STATE_", "");
      const cross = each.kind === "MODEL_KIND_CROSS_ENCODER";
      return h("tr", {}, h("th", { scope: "row" }, String(each.version), (each.aliases ?? []).map(name => h("span.tag", {}, name))),
        h("td", { title: each.reason }, h(`span.dot.${state.toLowerCase()}`, { "aria-hidden": true }), t("states")?.[state] ?? state),
        h("td", {}, each.baseModel || "–", h("span.muted", {}, ` ${t(cross ? "kindCross" : "kindDense")}`)),
        h("td", {}, cross ? "–" : number(each.dimensions ?? 0)), h("td", {}, number(each.maxTokens ?? 0)), h("td", {}, h("code", { title: each.spaceId }, (each.spaceId ?? "").slice(0, 8) || "–")));
    })))));
}
