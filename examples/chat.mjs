// The npm package `openai` through the sidecar of `bombyx up`: KEY=… node examples/chat.mjs
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "http://127.0.0.1:8787/v1", apiKey: process.env.KEY });
const stream = await client.chat.completions.create({
  model: process.env.MODEL ?? "smollm2-135m-instruct",
  messages: [{ role: "user", content: "Name the capital of France." }],
  stream: true,
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}
console.log();
