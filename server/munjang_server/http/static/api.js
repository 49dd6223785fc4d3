// The server's calls: each by the Connect protocol in JSON, with the token if there is one.

const EMBEDDING = "/munjang.v1.EmbeddingService/";
const MODEL = "/munjang.v1.ModelService/";
const RERANK = "/munjang.v1.RerankService/Rerank";
const SECONDS = 30;

/** What went wrong with a call: a code of `errors` in words.js, and what the server said. */
export class CallError extends Error {
  constructor(code, message = "", { retryAfter = null, requestId = "" } = {}) {
    super(message);
    Object.assign(this, { code, retryAfter, requestId });
  }
}

export const token = {
  get: () => sessionStorage.getItem("munjang-token") ?? "",
  set: value => value ? sessionStorage.setItem("munjang-token", value) : sessionStorage.removeItem("munjang-token"),
};

async function send(path, { body, signal } = {}) {
  const headers = { "x-request-timeout": String(SECONDS) };
  if (token.get()) headers.authorization = `Bearer ${token.get()}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const begun = performance.now();
  let response, content;
  try {
    response = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, body: body && JSON.stringify(body), signal });
    content = await response.text();
  } catch (error) {
    throw error.name === "AbortError" ? error : new CallError("unreachable");
  }
  const milliseconds = performance.now() - begun;
  if (!response.ok) throw refused(response, content);
  return { response, content, milliseconds };
}

function refused(response, content) {
  const codes = { 400: "invalid_argument", 401: "unauthenticated", 403: "permission_denied", 429: "resource_exhausted", 503: "unavailable", 504: "deadline_exceeded" };
  let said = {};
  try { said = JSON.parse(content); } catch { /* a proxy's own page: the status has to do */ }
  const message = said.message ?? said.error?.message ?? (typeof said.error === "string" ? said.error : "");
  const waits = Number(response.headers.get("retry-after")) || null;
  return new CallError(said.code ?? codes[response.status] ?? "unknown", message || `HTTP ${response.status}`, { retryAfter: waits, requestId: response.headers.get("x-request-id") ?? "" });
}

async function json(path, options) {
  const { content, ...rest } = await send(path, options);
  return { reply: JSON.parse(content), ...rest };
}

function floats(base64) {
  const bytes = Uint8Array.from(atob(base64), character => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(index * 4, true));
}

const sum = list => (list ?? []).reduce((total, each) => total + each, 0);
const about = ({ reply, milliseconds }) => ({ version: reply.version, space: reply.spaceId ?? "", milliseconds });

/** Whether the server can answer: "" or what it waits for. */
export async function readiness(signal) {
  try {
    const response = await fetch("/readyz", { signal });
    return response.ok ? "" : await response.text();
  } catch {
    throw new CallError("unreachable");
  }
}

/** The versions, newest first, and the aliases. */
export async function versions(signal) {
  const { reply } = await json(`${MODEL}ListVersions`, { body: {}, signal });
  return { versions: reply.versions ?? [], aliases: reply.aliases ?? [] };
}

/** Scores of all pairs of sentences: { scores: rows of numbers, version, space, … }. */
export async function similarity(request, signal) {
  const found = await json(`${EMBEDDING}Similarity`, { body: request, signal });
  const { reply } = found, flat = floats(reply.scores);
  const scores = Array.from({ length: reply.rows }, (_, row) => flat.slice(row * reply.columns, (row + 1) * reply.columns));
  return {
    ...about(found), scores, tokens: sum(reply.queryTokenCounts) + sum(reply.candidateTokenCounts),
    measure: reply.similarityFunction.replace("SIMILARITY_FUNCTION_", "").toLowerCase(),
    counts: reply.candidateTokenCounts ?? reply.queryTokenCounts ?? [],
    cut: (reply.truncatedQueries?.length ?? 0) + (reply.truncatedCandidates?.length ?? 0),
    cutTexts: new Set(reply.candidateTokenCounts ? reply.truncatedCandidates : reply.truncatedQueries),
  };
}

/** Documents in their order for a question: { order: [{index, score}], version, space, … }. */
export async function ranking({ method, request }, signal) {
  if (method === "Rerank") {
    const found = await json(RERANK, { body: request, signal }), { reply } = found;
    const order = reply.results.map(each => ({ index: each.index ?? 0, score: each.score ?? 0 }));
    return { ...about(found), order, tokens: sum(reply.tokenCounts), counts: reply.tokenCounts ?? [], cut: reply.truncated?.length ?? 0, cutTexts: new Set(reply.truncated), measure: "cross-encoder" };
  }
  const found = await similarity(request, signal);
  const order = found.scores[0].map((score, index) => ({ index, score })).sort((a, b) => b.score - a.score || a.index - b.index);
  return { ...found, order };
}

/** The pieces of texts by `stable`, and how many of them the model reads: { texts: [{pieces, count, cut}], … }. */
export async function tokens(texts, signal) {
  const [encoded, split] = await Promise.all([
    json(`${EMBEDDING}Encode`, { body: { texts }, signal }),
    json("/tokenize", { body: { inputs: texts }, signal }),
  ]);
  const { reply } = encoded, cut = new Set(reply.truncated);
  return {
    ...about(encoded), tokens: sum(reply.tokenCounts), cut: cut.size,
    splitBy: Number(split.response.headers.get("x-munjang-version")),
    texts: split.reply.map((pieces, index) => ({ pieces, count: reply.tokenCounts[index], cut: cut.has(index) })),
  };
}

/** The metrics: a list of { name, labels, value }. */
export async function metrics(signal) {
  const { content } = await send("/metrics", { signal });
  const found = [];
  for (const line of content.split("\n")) {
    const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match || !match[1].startsWith("munjang_server_")) continue;
    const labels = Object.fromEntries(Array.from((match[2] ?? "").matchAll(/(\w+)="([^"]*)"/g), each => [each[1], each[2]]));
    found.push({ name: match[1].slice("munjang_server_".length), labels, value: Number(match[3]) });
  }
  return found;
}
