// What the JavaScript SDKs must be able to do.
// node sdk_cases.mjs PACKAGES SUITE URL MODEL KEY      prints one JSON document
// PACKAGES is a folder with node_modules; SUITE is `openai` or `ai`.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [packages, suite, baseURL, model, apiKey] = process.argv.slice(2);
const require = createRequire(resolve(packages, "package.json"));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const version = (name) => require(resolve(packages, "node_modules", name, "package.json")).version;
const said = (content) => [{ role: "user", content }];
const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};

async function openaiCases() {
  const { default: OpenAI } = await load("openai");
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  const tools = ["get_weather", "get_time"].map((name) => ({
    type: "function",
    function: { name, parameters, strict: true },
  }));
  const ask = (fields) => client.chat.completions.create({ model, ...fields });
  return {
    async models_are_listed_and_found() {
      const models = await client.models.list();
      assert.ok(models.data.some((one) => one.id === model));
      assert.equal((await client.models.retrieve(model)).id, model);
    },
    async a_whole_answer() {
      const { data, response } = await ask({ messages: said("say: a b") }).withResponse();
      assert.equal(data.choices[0].message.content, "a b");
      assert.equal(data._request_id, response.headers.get("x-request-id"));
    },
    async a_stream_with_usage() {
      const stream = await ask({
        messages: said("count: 3"),
        stream: true,
        stream_options: { include_usage: true },
      });
      const chunks = [];
      for await (const chunk of stream) chunks.push(chunk);
      const text = chunks.map((one) => one.choices[0]?.delta.content ?? "").join("");
      assert.equal(text, "1 2 3");
      assert.equal(chunks.at(-1).usage.completion_tokens, 3);
    },
    async the_stream_helper_follows_calls() {
      const messages = said('Call get_weather and get_time with city="Paris"');
      const final = await client.chat.completions.stream({ model, messages, tools }).finalMessage();
      assert.deepEqual(
        final.tool_calls.map((call) => [call.function.name, call.function.arguments]),
        [["get_weather", '{"city":"Paris"}'], ["get_time", '{"city":"Paris"}']],
      );
    },
    async tools_are_run() {
      const seen = [];
      const named = {
        type: "function",
        function: {
          name: "get_weather",
          description: "weather",
          parameters,
          parse: JSON.parse,
          function: ({ city }) => (seen.push(city), "fine"),
        },
      };
      const messages = said('Use get_weather with city="Paris"');
      const runner = client.chat.completions.runTools({ model, messages, tools: [named] });
      assert.equal(await runner.finalContent(), "The tool says: fine");
      assert.deepEqual(seen, ["Paris"]);
    },
    async completions_and_embeddings() {
      const text = await client.completions.create({ model, prompt: "say: a b" });
      assert.equal(text.choices[0].text, "a b");
      const packed = await client.embeddings.create({ model, input: "a" });
      const plain = await client.embeddings.create({ model, input: "a", encoding_format: "float" });
      packed.data[0].embedding.forEach((one, place) => {
        assert.ok(Math.abs(one - plain.data[0].embedding[place]) < 1e-5);
      });
    },
    async responses() {
      const answer = await client.responses.create({ model, input: "say: a b" });
      assert.equal(answer.output_text, "a b");
      const stream = client.responses.stream({ model, input: "say: a b" });
      const kinds = [];
      for await (const event of stream) kinds.push(event.type);
      assert.equal(kinds[0], "response.created");
      assert.equal(kinds.at(-1), "response.completed");
      assert.equal((await stream.finalResponse()).output_text, "a b");
    },
    async errors_have_their_class_and_code() {
      const wrong = new OpenAI({ baseURL, apiKey: "sk-none", maxRetries: 0 });
      const asked = { model, messages: said("hi") };
      const refused = { code: "invalid_api_key", status: 401 };
      await assert.rejects(wrong.chat.completions.create(asked), refused);
      await assert.rejects(ask({ model: "none", messages: said("hi") }), OpenAI.NotFoundError);
      await assert.rejects(ask({ messages: [] }), OpenAI.BadRequestError);
    },
    async a_broken_stream_is_raised() {
      const stream = await ask({ messages: said("fault: cut\ncount: 20"), stream: true });
      const drain = async () => {
        for await (const _ of stream);
      };
      await assert.rejects(drain(), { code: "engine_failed" });
    },
    async leaving_in_mid_stream() {
      const stream = await ask({ messages: said("pace: 20\ncount: 200"), stream: true });
      for await (const _ of stream) break;
      const answer = await ask({ messages: said("say: a") });
      assert.equal(answer.choices[0].message.content, "a");
    },
  };
}

async function aiCases() {
  const [{ createOpenAICompatible }, ai] = [await load("@ai-sdk/openai-compatible"), await load("ai")];
  const provider = createOpenAICompatible({
    name: "bombyx",
    baseURL,
    apiKey,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
  const chat = provider.chatModel(model);
  const quiet = { maxRetries: 0, model: chat, onError() {} };
  return {
    async text() {
      const answer = await ai.generateText({ ...quiet, prompt: "say: a b" });
      assert.equal(answer.text, "a b");
      assert.equal(answer.usage.outputTokens, 2);
    },
    async a_stream() {
      const answer = ai.streamText({ ...quiet, prompt: "count: 3" });
      let text = "";
      for await (const piece of answer.textStream) text += piece;
      assert.equal(text, "1 2 3");
      assert.equal(await answer.finishReason, "stop");
      assert.equal((await answer.usage).outputTokens, 3);
    },
    async reasoning() {
      const answer = await ai.generateText({ ...quiet, prompt: "think: 2\nsay: a" });
      assert.equal(answer.reasoningText?.trim(), "1 2");
    },
    async a_tool_in_a_loop() {
      const answer = await ai.generateText({
        ...quiet,
        prompt: 'Use get_weather with city="Paris"',
        stopWhen: ai.stepCountIs(3),
        tools: {
          get_weather: ai.tool({
            description: "weather",
            inputSchema: ai.jsonSchema(parameters),
            execute: async ({ city }) => `sun in ${city}`,
          }),
        },
      });
      assert.equal(answer.text, "The tool says: sun in Paris");
    },
    async a_streamed_tool() {
      const answer = ai.streamText({
        ...quiet,
        prompt: 'Use get_weather with city="Paris"',
        tools: { get_weather: ai.tool({ inputSchema: ai.jsonSchema(parameters) }) },
      });
      const [call] = await answer.toolCalls;
      assert.deepEqual([call.toolName, call.input], ["get_weather", { city: "Paris" }]);
    },
    async an_object() {
      const schema = ai.jsonSchema(parameters);
      const prompt = 'city is "Paris"';
      const { object } = await ai.generateObject({ maxRetries: 0, model: chat, prompt, schema });
      assert.deepEqual(object, { city: "Paris" });
    },
    async embeddings() {
      const embedder = provider.textEmbeddingModel(model);
      const { embeddings } = await ai.embedMany({ model: embedder, values: ["a", "b"] });
      assert.equal(embeddings.length, 2);
    },
    async a_broken_stream_is_an_error() {
      const answer = ai.streamText({ ...quiet, prompt: "fault: cut\ncount: 20" });
      const kinds = [];
      for await (const part of answer.fullStream) kinds.push(part.type);
      assert.ok(kinds.includes("error"));
    },
  };
}

const cases = suite === "ai" ? await aiCases() : await openaiCases();
const found = { version: version(suite), cases: [] };
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    found.cases.push({ name, result: "pass", said: "" });
  } catch (error) {
    found.cases.push({ name, result: "fail", said: `${error.name}: ${error.message}`.slice(0, 500) });
  }
}
process.stdout.write(`${JSON.stringify(found)}\n`);
