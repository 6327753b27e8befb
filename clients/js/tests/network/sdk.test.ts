/** The stock `openai` package and the AI SDK against a running network, sealed all the way. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import OpenAI from "openai";
import { createFetch, createIdentity, type VerifiedAnswer } from "../../src/index.js";
import { parsePolicyToml } from "../../src/toml.js";
import { bombyx, type Network, startNetwork } from "./network.js";

let network: Network;
before(async () => {
  network = await startNetwork();
});
after(() => network?.stop());

const QUESTION = [{ role: "user" as const, content: "Tell me of the bumblebee: é 漢 🐝" }];

interface Made {
  readonly client: OpenAI;
  readonly receipts: VerifiedAnswer[];
  readonly sent: { readonly url: string; readonly init: RequestInit }[];
}

/** A client whose network can be watched, and changed. */
function make(alter: (response: Response) => Response | Promise<Response> = (same) => same): Made {
  const receipts: VerifiedAnswer[] = [];
  const sent: { url: string; init: RequestInit }[] = [];
  const fetch = createFetch({
    policy: parsePolicyToml(network.policy),
    identity: createIdentity(),
    onReceipt: (answer) => receipts.push(answer),
    fetch: async (url, init) => {
      sent.push({ url, init });
      return alter(await globalThis.fetch(url, init));
    },
  });
  const baseURL = `${network.gateway}/v1`;
  return { client: new OpenAI({ baseURL, apiKey: network.apiKey, fetch }), receipts, sent };
}

test("a whole answer comes with its verified receipt", async () => {
  const { client, receipts, sent } = make();
  const answer = await client.chat.completions.create({ model: network.model, messages: QUESTION });
  assert.ok((answer.choices[0]?.message.content ?? "").length > 0);
  const { bombyx: proof } = answer.usage as unknown as { bombyx: VerifiedAnswer["summary"] };
  assert.equal(proof.verified, true);
  assert.equal(proof.tier, "sealed");
  assert.deepEqual(proof, receipts[0]?.summary);
  assert.equal(receipts[0]?.document.receipt.statement.status, "final");
  const [body, ...more] = bodiesOf(sent);
  assert.equal(more.length, 0);
  assert.equal(body?.includes("bumblebee"), false, "it left sealed");
});

test("a stream ends with the receipt in its last chunk", async () => {
  const { client, receipts } = make();
  const stream = await client.chat.completions.create({
    model: network.model,
    messages: QUESTION,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let last: unknown;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    last = chunk.usage ?? last;
  }
  assert.ok(text.length > 0);
  assert.deepEqual((last as { bombyx: unknown }).bombyx, receipts[0]?.summary);
});

test("Python verifies the receipt file that a page keeps", async () => {
  const { client, receipts } = make();
  await client.chat.completions.create({ model: network.model, messages: QUESTION });
  const file = join(network.folder, "receipt.json");
  writeFileSync(file, JSON.stringify(receipts[0]?.document));
  const said = execFileSync(bombyx(), ["receipt", "verify", file, "--json"], { encoding: "utf8" });
  assert.equal(JSON.parse(said).result ?? "valid", "valid");
});

test("the AI SDK generates and streams", async () => {
  const { receipts } = make();
  const provider = createOpenAICompatible({
    name: "bombyx",
    baseURL: `${network.gateway}/v1`,
    apiKey: network.apiKey,
    fetch: createFetch({
      policy: parsePolicyToml(network.policy),
      onReceipt: (answer) => receipts.push(answer),
    }) as typeof globalThis.fetch,
  });
  const model = provider.chatModel(network.model);
  const { text } = await generateText({ model, prompt: "Hello", maxRetries: 0 });
  assert.ok(text.length > 0);
  let streamed = "";
  for await (const piece of streamText({ model, prompt: "Hello", maxRetries: 0 }).textStream) {
    streamed += piece;
  }
  assert.ok(streamed.length > 0);
  assert.equal(receipts.length, 2);
});

test("the list of models passes in clear", async () => {
  const { client, sent } = make();
  const models = await client.models.list();
  assert.equal(models.data[0]?.id, network.model);
  assert.equal(sent[0]?.init.body, undefined);
});

test("two requests of a moment share one directory", async () => {
  const { client, sent } = make();
  for (let n = 0; n < 2; n++) {
    await client.chat.completions.create({ model: network.model, messages: QUESTION });
  }
  assert.equal(sent.filter(({ url }) => url.includes("/confidential/workers")).length, 1);
});

test("a model that nobody serves is refused here, once, and a wrong key by the gateway", async () => {
  const { client, sent } = make();
  const asked = client.chat.completions.create({ model: "no-such", messages: QUESTION });
  await assert.rejects(asked, { code: "model_not_found", status: 404 });
  assert.equal(sent.length, 1);
  const stranger = client.withOptions({ apiKey: "bx_live_wrong" });
  await assert.rejects(
    stranger.chat.completions.create({ model: network.model, messages: QUESTION }),
    OpenAI.AuthenticationError,
  );
});

test("a retry sends the same bytes, runs nothing twice, and gets the kept answer", async () => {
  let lost = 1;
  const { client, sent, receipts } = make(async (response) => {
    if (!isSealed(response) || lost-- <= 0) return response;
    await response.arrayBuffer();
    throw new TypeError("the connection broke after the answer was given");
  });
  const answer = await client.chat.completions.create({ model: network.model, messages: QUESTION });
  assert.ok((answer.choices[0]?.message.content ?? "").length > 0);
  const bodies = bodiesOf(sent);
  assert.equal(bodies.length, 2);
  assert.ok(bodies[0]?.equals(bodies[1] ?? Buffer.alloc(0)));
  assert.equal(receipts.length, 1);
});

test("a stream that is cut ends in an error, never as a short answer", async () => {
  const { client } = make((response) =>
    isSealed(response) ? new Response(limited(response, 2000), response) : response,
  );
  const stream = await client.chat.completions.create({
    model: network.model,
    messages: QUESTION,
    stream: true,
  });
  await assert.rejects(async () => {
    for await (const _ of stream);
  }, /broke off/);
});

test("who leaves in mid-stream leaves the network in order", async () => {
  const { client, receipts } = make();
  const stream = await client.chat.completions.create({
    model: network.model,
    messages: QUESTION,
    stream: true,
  });
  for await (const _ of stream) break;
  assert.equal(receipts.length, 0);
});

function bodiesOf(sent: Made["sent"]): readonly Buffer[] {
  return sent.flatMap(({ init }) =>
    init.body instanceof Uint8Array ? [Buffer.from(init.body)] : [],
  );
}

function isSealed(response: Response): boolean {
  return (response.headers.get("content-type") ?? "").includes("sealed-stream");
}

/** The first bytes of a body, then its end. */
function limited(response: Response, size: number): ReadableStream<Uint8Array> | null {
  let left = size;
  const cut = new TransformStream<Uint8Array, Uint8Array>({
    transform(piece, controller) {
      if (left > 0) controller.enqueue(piece.subarray(0, left));
      left -= piece.length;
      if (left <= 0) controller.terminate();
    },
  });
  return response.body?.pipeThrough(cut) ?? null;
}
