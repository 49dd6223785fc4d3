// OpenAI's own client and LangChain's, unmodified: prints what each of them gets, as JSON.
import OpenAI from "openai";
import { OpenAIEmbeddings } from "@langchain/openai";

const [baseURL, ...texts] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "mj_any", maxRetries: 0 });
const plain = await client.embeddings.create({ model: "stable", input: texts });
const floats = await client.embeddings.create({ model: "stable", input: texts, encoding_format: "float" });
const listed = [];
for await (const model of client.models.list()) listed.push(model.id);
let refusal = {};
try {
  await client.embeddings.create({ model: "stable", input: [[1, 2, 3]] });
} catch (error) {
  refusal = { status: error.status, param: error.param, message: error.message };
}
const langchain = new OpenAIEmbeddings({ model: "stable", apiKey: "mj_any", configuration: { baseURL } });
console.log(
  JSON.stringify({
    base64: plain.data.map((item) => item.embedding),
    floats: floats.data.map((item) => item.embedding),
    usage: plain.usage.total_tokens,
    models: listed,
    refusal,
    langchain: await langchain.embedDocuments(texts),
    question: await langchain.embedQuery(texts[0]),
  }),
);
