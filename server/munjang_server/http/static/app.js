// The page: its tabs, forms and answers. What is computed and drawn is in the modules beside this one.

import { ranking, readiness, similarity, token, tokens, versions } from "./api.js";
import { written } from "./calls.js";
import { h, tabList } from "./dom.js";
import { heatMap, MOST } from "./heatmap.js";
import { Live } from "./live.js";
import { pieceLists } from "./pieces.js";
import { comparison, rankingList } from "./ranking.js";
import { language, number, SAMPLES, switchLanguage, t, translate } from "./words.js";

const $ = selector => document.querySelector(selector);
const CROSS = "MODEL_KIND_CROSS_ENCODER";
const READY_SECONDS = 10;

const state = { tab: "similarity", client: "curl", listed: { versions: [], aliases: [] }, running: {}, drawn: {} };
const live = new Live($("#live .answer"), error => { if (error) show("live", refusal(error, () => live.poll())); else setState("ready"); });

// What is asked

const lines = text => text.split("\n").map(line => line.trim()).filter(Boolean);
const kindOf = name => {
  const number = state.listed.aliases.find(alias => alias.name === name)?.serving ?? Number(name);
  return state.listed.versions.find(each => each.version === number)?.kind;
};

function orderCall(question, documents, version) {
  if (kindOf(version) === CROSS) return { service: "RerankService", method: "Rerank", request: { query: question, documents, version } };
  return { service: "EmbeddingService", method: "Similarity", request: { queries: [question], candidates: documents, version, queryRole: "ROLE_QUERY", candidateRole: "ROLE_DOCUMENT" } };
}

/** By tab: the calls that its form makes now, or the key of what is missing. */
const ASK = {
  similarity({ texts, version, role }) {
    const queries = lines(texts.value);
    if (queries.length < 2) return { missing: "needTwo", calls: [] };
    if (queries.length > MOST) return { missing: "tooMany", number: MOST, calls: [] };
    const request = { queries, version: version.value };
    if (role.value) request.queryRole = role.value;
    return { texts: queries, calls: [{ service: "EmbeddingService", method: "Similarity", request }] };
  },
  ranking({ question, texts, version }) {
    const asked = question.value.trim(), documents = lines(texts.value);
    if (!asked || !documents.length) return { missing: asked ? "needDocuments" : "needQuestion", calls: [] };
    return { texts: documents, calls: [orderCall(asked, documents, version.value)] };
  },
  compare(form) {
    const first = ASK.ranking(form);
    if (first.missing) return first;
    return { texts: first.texts, calls: [...first.calls, orderCall(form.question.value.trim(), first.texts, form.other.value)] };
  },
  tokens({ texts }) {
    const found = lines(texts.value);
    if (!found.length) return { missing: "needText", calls: [] };
    return { texts: found, calls: [{ service: "EmbeddingService", method: "Encode", request: { texts: found }, split: true }] };
  },
};

/** By tab: makes the calls and returns what draws the answer. */
const ANSWER = {
  async similarity({ texts, calls }, signal) {
    const found = await similarity(calls[0].request, signal);
    return () => [heatMap(texts, found.scores), facts([found])];
  },
  async ranking({ texts, calls }, signal) {
    const found = await ranking(calls[0], signal);
    return () => [rankingList(texts, found), facts([found])];
  },
  async compare({ texts, calls }, signal) {
    const [a, b] = await Promise.all(calls.map(call => ranking(call, signal)));
    [a.label, b.label] = calls.map(call => label(call.request.version));
    return () => [comparison(texts, a, b), facts([a, b])];
  },
  async tokens({ texts }, signal) {
    const found = await tokens(texts, signal);
    const limit = state.listed.versions.find(each => each.version === found.version)?.maxTokens ?? Math.max(...found.texts.map(each => each.count));
    return () => [h("p.hint", {}, t("readUpTo", number(limit))), pieceLists(found, limit), facts([found])];
  },
};

// What is shown

function facts(all) {
  const row = (key, value, title) => h("div", { title }, h("dt", {}, t(key)), h("dd", {}, value));
  return h("div.facts", {}, all.map((found, index) => h("dl", {},
    all.length > 1 ? h("div.who", {}, h("dt", {}, t(index ? "factB" : "factA")), h("dd")) : null,
    row("factVersion", String(found.version)),
    row("factSpace", h("code", {}, found.space.slice(0, 8) || "–"), `${found.space} · ${t("spaceTitle")}`),
    row("factTime", t("ms", number(found.milliseconds, found.milliseconds < 10 ? 1 : 0))),
    row("factTokens", number(found.tokens)),
    row("factCut", found.cut ? h("span.tag", {}, t("cutTexts", number(found.cut))) : t("none")),
    found.measure ? row("factFunction", found.measure) : null)));
}

function refusal(error, again) {
  const code = t("errors")[error.code] ? error.code : "unknown";
  const rest = [error.retryAfter && t("retryIn", error.retryAfter), error.requestId && t("requestId", error.requestId)].filter(Boolean).join(" · ");
  return h("div.refusal", { role: "alert", "data-code": code }, h("p", {}, h("b", {}, t("errors")[code])),
    error.message ? h("p.said", { lang: "en" }, error.message) : null, rest ? h("p.hint", {}, rest) : null,
    h("div.act", {}, code === "unauthenticated" ? h("button.go", { type: "button", onclick: openToken }, t("token")) : null, h("button.quiet", { type: "button", onclick: again }, t("again"))));
}

const empty = words => h("div.empty", {}, h("span.empty-art", { "aria-hidden": true }, Array.from({ length: 9 }, () => h("i"))), h("p", {}, words));

const show = (tab, ...nodes) => $(`#${tab} .answer`).replaceChildren(...nodes);

function setState(key) {
  const node = $("#state");
  const serving = state.listed.aliases.find(alias => alias.name === "stable" && alias.serving) ?? state.listed.aliases.find(alias => alias.serving);
  const words = key === "ready" && serving ? `${t(key)} · ${serving.name} → ${serving.serving}` : t(key);
  state.shown = key;
  if (node.textContent === words) return;
  node.replaceChildren(h(`span.dot.${key}`, { "aria-hidden": true }), words);
}

function label(name) {
  const alias = state.listed.aliases.find(each => each.name === name);
  return alias ? `${name} → ${alias.serving}` : `${t("version")} ${name}`;
}

function fillVersions() {
  const { versions: listed, aliases } = state.listed;
  const named = new Map(listed.map(each => [each.version, each]));
  for (const select of document.querySelectorAll("select[data-kind]")) {
    const fits = each => each && (select.dataset.kind === "any" || each.kind !== CROSS);
    const title = each => [each.baseModel?.split("/").pop(), each.kind === CROSS && t("kindCross")].filter(Boolean).map(each => ` · ${each}`).join("");
    const option = (value, words, disabled) => h("option", { value, disabled }, words);
    const byAlias = aliases.filter(alias => alias.serving && fits(named.get(alias.serving)));
    byAlias.sort((a, b) => (named.get(a.serving).kind === CROSS) - (named.get(b.serving).kind === CROSS) || (b.name === "stable") - (a.name === "stable"));
    const kept = select.value;
    select.replaceChildren(
      ...byAlias.map(alias => option(alias.name, `${alias.name} → ${alias.serving}${title(named.get(alias.serving))}`)),
      ...listed.filter(fits).map(each => option(String(each.version), `${each.version}${title(each)}${each.state === "VERSION_STATE_AVAILABLE" ? "" : ` · ${t("states")[each.state.replace("VERSION_STATE_", "")]}`}`, each.state !== "VERSION_STATE_AVAILABLE")));
    if ([...select.options].some(each => each.value === kept && !each.disabled)) select.value = kept;
    else if ("other" in select.dataset) select.selectedIndex = Math.min(1, byAlias.length > 1 ? 1 : select.options.length - 1);
  }
}

async function look() {
  try {
    const waits = await readiness();
    state.listed = await versions();
    fillVersions();
    setState(waits ? "notReady" : "ready");
  } catch (error) {
    setState(error.code === "unauthenticated" ? "locked" : error.code === "unreachable" ? "away" : "notReady");
    return error;
  }
  return null;
}

// Forms

const form = tab => $(`#${tab} form`);

function showCalls() {
  const box = $("#calls");
  box.hidden = state.tab === "live";
  if (box.hidden) return;
  const { calls } = ASK[state.tab](form(state.tab).elements);
  const port = document.documentElement.dataset.grpcPort;
  const where = { origin: location.origin, host: location.hostname, secure: location.protocol === "https:", port: port || "50051", token: Boolean(token.get()) };
  const all = calls.map(call => written(call, where));
  const byGrpc = state.client === "python" || state.client === "grpcurl";
  $("#call code").textContent = all.map(each => each[state.client]).join("\n\n") || t(ASK[state.tab](form(state.tab).elements).missing, MOST);
  $("#copy").disabled = !all.length;
  const hint = all.find(each => each.hint)?.hint;
  const fits = hint === "callStable" ? state.client !== "curl" : state.client === "openai";
  $("#call-hint").textContent = [fits && hint && t(hint), where.token && t("callToken"), byGrpc && !port && t("callPort")].filter(Boolean).join(" ");
  $("#call").setAttribute("aria-labelledby", `call-${state.client}`);
}

async function run(tab) {
  const asked = ASK[tab](form(tab).elements);
  state.running[tab]?.abort();
  if (asked.missing) {
    delete state.drawn[tab];
    show(tab, empty(t(asked.missing, asked.number)));
    return;
  }
  const { signal } = state.running[tab] = new AbortController();
  const node = $(`#${tab} .answer`);
  node.setAttribute("aria-busy", "true");
  if (!node.querySelector(".facts")) show(tab, h("p.working", {}, t("working")));
  try {
    state.drawn[tab] = await ANSWER[tab](asked, signal);
    show(tab, ...state.drawn[tab]());
    $("#done").textContent = t("done", number(asked.texts.length));
    setState("ready");
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!error.code) throw error;
    delete state.drawn[tab];
    if (error.code === "unauthenticated") setState("locked");
    if (error.code === "not_found") await look();
    show(tab, refusal(error, () => run(tab)));
  }
  if (!signal.aborted) node.removeAttribute("aria-busy");
}

function sample(tab) {
  const { elements } = form(tab);
  const texts = { similarity: SAMPLES.sentences, tokens: SAMPLES.tokens }[tab] ?? SAMPLES.documents;
  elements.texts.value = texts.join("\n");
  if (elements.question) elements.question.value = SAMPLES.question;
  changed(tab);
}

function changed(tab) {
  const { texts, question } = form(tab).elements;
  form(tab).querySelector("[data-count=texts]").textContent = t("lines", lines(texts.value).length);
  const twin = { ranking: "compare", compare: "ranking" }[tab]; // both ask the same question
  if (twin && (form(twin).elements.texts.value !== texts.value || form(twin).elements.question.value !== question.value)) {
    form(twin).elements.texts.value = texts.value;
    form(twin).elements.question.value = question.value;
    changed(twin);
  }
  if (state.tab === tab) showCalls();
}

const EMPTY = { similarity: "emptySimilarity", ranking: "emptyRanking", compare: "emptyCompare", tokens: "emptyTokens" };

function draw(tab) {
  if (tab === "live") return;
  changed(tab);
  if (state.drawn[tab]) show(tab, ...state.drawn[tab]());
  else if (!$(`#${tab} .refusal`)) show(tab, empty(t(state.listed.versions.length || state.shown !== "ready" ? EMPTY[tab] : "noVersion")));
}

// The page

function openTab(tab) {
  state.tab = tab;
  for (const panel of document.querySelectorAll(".panel")) panel.hidden = panel.id !== tab;
  history.replaceState(null, "", `#${tab}`);
  showCalls();
  if (tab === "live") live.start();
  else live.stop();
  if (ASK[tab] && !state.drawn[tab] && !ASK[tab](form(tab).elements).missing && state.listed.versions.length) run(tab);
}

function openToken() {
  const dialog = $("#token-dialog");
  dialog.querySelector("input").value = token.get();
  dialog.showModal();
}

const dark = () => document.documentElement.dataset.theme === "dark";

function words() {
  translate();
  $("#language").textContent = t("language");
  $("#language").lang = language === "ko" ? "en" : "ko";
  $("#theme").textContent = t(dark() ? "light" : "dark");
  $("#token-open").textContent = t(token.get() ? "tokenSet" : "token");
}

async function begin() {
  words();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", words);
  $("#language").addEventListener("click", () => {
    switchLanguage();
    words();
    fillVersions();
    setState(state.shown);
    for (const tab of Object.keys(ASK)) draw(tab);
    if (state.tab === "live") live.poll();
  });
  $("#theme").addEventListener("click", () => {
    localStorage.setItem("munjang-theme", document.documentElement.dataset.theme = dark() ? "light" : "dark");
    words();
  });
  $("#token-open").addEventListener("click", openToken);
  $("#token-dialog").addEventListener("close", async event => {
    if (!event.target.returnValue) return;
    token.set(event.target.returnValue === "keep" ? event.target.querySelector("input").value.trim() : "");
    event.target.returnValue = "";
    words();
    await look();
    openTab(state.tab);
  });
  for (const tab of Object.keys(ASK)) {
    form(tab).addEventListener("submit", event => { event.preventDefault(); run(tab); });
    form(tab).addEventListener("input", () => changed(tab));
    form(tab).addEventListener("keydown", event => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(tab); });
    form(tab).querySelector(".sample").addEventListener("click", () => { sample(tab); run(tab); });
    sample(tab);
  }
  tabList($("#calls [role=tablist]"), tab => { state.client = tab.dataset.call; showCalls(); })($("#call-curl"));
  $("#copy").addEventListener("click", async ({ target }) => {
    const done = await navigator.clipboard.writeText($("#call code").textContent).then(() => "copied", () => "copyFailed");
    target.textContent = t(done);
    setTimeout(() => { target.textContent = t("copy"); }, 1500);
  });
  const failed = await look();
  for (const tab of Object.keys(ASK)) draw(tab);
  if (failed) for (const tab of Object.keys(ASK)) show(tab, refusal(failed, () => look().then(() => run(tab))));
  const wanted = $(`#tab-${location.hash.slice(1)}`) ?? $("#tab-similarity");
  tabList($(".tabs [role=tablist]"), tab => openTab(tab.getAttribute("aria-controls")))(wanted);
  setInterval(() => { if (!document.hidden && state.tab !== "live") look(); }, READY_SECONDS * 1000);
}

begin();
