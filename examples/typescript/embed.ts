// Our own contract by the Connect protocol, typed: node embed.js BASE_URL TEXT... prints the version, its space and the
// vectors as JSON. The fields are those of protos/munjang/v1, in lowerCamelCase; bytes are base64.
import { argv, env } from "node:process";

interface EncodeReply {
  version: string | number;
  spaceId: string;
  vectors: { dimensions: number; data: string };
}

async function encode(base: string, texts: string[]): Promise<EncodeReply> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (env.MUNJANG_TOKEN) headers.authorization = `Bearer ${env.MUNJANG_TOKEN}`;
  const reply = await fetch(`${base}/munjang.v1.EmbeddingService/Encode`, {
    method: "POST",
    headers,
    body: JSON.stringify({ texts }),
    signal: AbortSignal.timeout(30_000),
  });
  if (!reply.ok) throw new Error(`${reply.status}: ${await reply.text()}`);
  return (await reply.json()) as EncodeReply;
}

function rows(reply: EncodeReply): number[][] {
  const bytes = Buffer.from(reply.vectors.data, "base64");
  const size = reply.vectors.dimensions;
  const count = bytes.length / 4 / size;
  return Array.from({ length: count }, (_, row) =>
    Array.from({ length: size }, (_, column) => bytes.readFloatLE(4 * (row * size + column))),
  );
}

const [base, ...texts] = argv.slice(2);
const reply = await encode(base, texts);
console.log(String(reply.version));
console.log(reply.spaceId);
console.log(JSON.stringify(rows(reply)));
