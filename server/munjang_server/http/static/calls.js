// The call that the page makes, written for other clients.

const shell = text => `'${text.replaceAll("'", `'\\''`)}'`;
const literal = value => JSON.stringify(value, null, 4).replace(/\n\]$/, ",\n]");
const ROLES = { ROLE_QUERY: "query", ROLE_DOCUMENT: "document" };

/**
 * What to show for a call: { curl, python, openai, grpcurl, hint }, hint being a key of words.js or "".
 *
 * `call` has service, method and request; `where` has origin, host, secure, port (of gRPC) and token (whether one is set).
 */
export function written(call, where) {
  const hint = call.split ? "callStable" : call.method === "Rerank" ? "callRerank" : call.method === "Similarity" ? "callCosine" : "";
  return {
    curl: curl(call, where), grpcurl: grpcurl(call, where), python: python(call, where), openai: openai(call, where), hint,
  };
}

const header = where => where.token ? ` \\\n  -H "Authorization: Bearer $MUNJANG_TOKEN"` : "";

function curl({ service, method, request, split }, where) {
  const post = (path, body) => `curl ${where.origin}${path} \\\n  -H 'Content-Type: application/json'${header(where)} \\\n  -d ${shell(JSON.stringify(body, null, 2))}`;
  const own = post(`/munjang.v1.${service}/${method}`, request);
  return split ? `${post("/tokenize", { inputs: request.texts })}\n\n${own}` : own;
}

function grpcurl({ service, method, request }, where) {
  const plain = where.secure ? "" : "-plaintext ";
  return `grpcurl ${plain}${where.token ? `-H "Authorization: Bearer $MUNJANG_TOKEN" ` : ""}-d ${shell(JSON.stringify(request, null, 2))} \\\n  ${where.host}:${where.port} munjang.v1.${service}/${method}`;
}

function python({ method, request }, where) {
  const options = [JSON.stringify(`${where.host}:${where.port}`), where.secure && "tls=True", where.token && `token=os.environ["MUNJANG_TOKEN"]`];
  const version = request.version && `version=${JSON.stringify(request.version)}`;
  const [values, call, print] = {
    Similarity: request.candidates
      ? [{ documents: request.candidates }, [JSON.stringify(request.queries[0]), "documents", `mode="top_k"`, "top_k=len(documents)", role("query_role", request.queryRole), role("candidate_role", request.candidateRole), version],
        `for index, score in zip(found.indices[0], found.scores[0]):\n    print(f"{score:.3f}", documents[index])`]
      : [{ texts: request.queries }, ["texts", role("query_role", request.queryRole), version], "print(found.scores.round(2))"],
    Rerank: [{ documents: request.documents }, [JSON.stringify(request.query), "documents", version], `for each in found.results:\n    print(f"{each.score:.3f}", documents[each.index])`],
    Encode: [{ texts: request.texts }, ["texts"], "print(found.token_counts, found.truncated)"],
  }[method];
  const name = { Similarity: "similarity", Rerank: "rerank", Encode: "encode" }[method];
  return [
    ...(where.token ? ["import os", ""] : []),
    "from munjang.client import Client", "",
    ...Object.entries(values).map(([key, value]) => `${key} = ${literal(value)}`), "",
    `with Client(${options.filter(Boolean).join(", ")}) as client:`,
    `    found = client.${name}(${call.filter(Boolean).join(", ")})`,
    print, `print(found.version, found.space_id)`,
  ].join("\n");
}

const role = (name, given) => given && `${name}=${JSON.stringify(ROLES[given])}`;

function openai({ method, request }, where) {
  const key = where.token ? `os.environ["MUNJANG_TOKEN"]` : `"-"`;
  const model = JSON.stringify(request.version || (method === "Rerank" ? "rerank" : "stable"));
  const head = [...(where.token ? ["import os", ""] : [])];
  const client = `client = OpenAI(base_url="${where.origin}/v1", api_key=${key})`;
  if (method === "Rerank") {
    return [...head, "from openai import OpenAI", "", `documents = ${literal(request.documents)}`, client,
      `body = {"model": ${model}, "query": ${JSON.stringify(request.query)}, "documents": documents}`,
      `found = client.post("/rerank", body=body, cast_to=object)`,
      `for each in found["results"]:`, `    print(f'{each["relevance_score"]:.3f}', documents[each["index"]])`].join("\n");
  }
  if (method === "Encode") {
    return [...head, "from openai import OpenAI", "", `texts = ${literal(request.texts)}`, client,
      `found = client.embeddings.create(model=${model}, input=texts)`, "print(found.usage.prompt_tokens, found.model)"].join("\n");
  }
  const embed = (texts, given) => `embed(${texts}${given ? `, ${JSON.stringify(ROLES[given])}` : ""})`;
  const define = [
    "", "", "def embed(texts, role=None):", `    extra = {"input_type": role} if role else {}`,
    `    found = client.embeddings.create(model=${model}, input=texts, extra_body=extra)`,
    "    return np.array([each.embedding for each in found.data])", "", "",
  ];
  const tail = request.candidates
    ? [`documents = ${literal(request.candidates)}`, `scores = ${embed("documents", request.candidateRole)} @ ${embed(JSON.stringify(request.queries[0]), request.queryRole)}[0]`,
      "for index in np.argsort(-scores):", `    print(f"{scores[index]:.3f}", documents[index])`]
    : [`vectors = ${embed(literal(request.queries), request.queryRole)}`, "print((vectors @ vectors.T).round(2))"];
  return [...head, "import numpy as np", "from openai import OpenAI", "", client, ...define, ...tail].join("\n");
}
