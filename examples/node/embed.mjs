// Node's own fetch: node embed.mjs BASE_URL TEXT... prints the version, its space and the vectors as JSON.
const [base, ...input] = process.argv.slice(2);
const headers = { "content-type": "application/json" };
if (process.env.MUNJANG_TOKEN) headers.authorization = `Bearer ${process.env.MUNJANG_TOKEN}`;

const reply = await fetch(`${base}/v1/embeddings`, {
  method: "POST",
  headers,
  body: JSON.stringify({ model: "stable", input }),
  signal: AbortSignal.timeout(30_000),
});
if (!reply.ok) throw new Error(`${reply.status}: ${await reply.text()}`);
const { data } = await reply.json();
console.log(reply.headers.get("x-munjang-version"));
console.log(reply.headers.get("x-munjang-space"));
console.log(JSON.stringify(data.map((item) => item.embedding)));
