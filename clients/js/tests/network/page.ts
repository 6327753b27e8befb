/** What the test's page runs: the `openai` package over a sealing fetch, as an application would. */

import OpenAI from "openai";
import { createFetch, type PolicyTable } from "../../src/index.js";

export interface Wish {
  readonly policy: PolicyTable;
  readonly baseURL: string;
  readonly apiKey: string;
  readonly model: string;
}

export interface Seen {
  readonly text: string;
  readonly chunks: number;
  readonly usage: unknown;
  readonly receipts: number;
  readonly refusal: string;
}

async function ask({ policy, baseURL, apiKey, model }: Wish): Promise<Seen> {
  let receipts = 0;
  const count = () => {
    receipts += 1;
  };
  const fetch = createFetch({ policy, onReceipt: count });
  const client = new OpenAI({ baseURL, apiKey, fetch, dangerouslyAllowBrowser: true });
  const stream = await client.chat.completions.create({
    model,
    messages: [{ role: "user", content: "count: 20\npace: 5" }],
    stream: true,
    stream_options: { include_usage: true },
  });
  let [text, chunks] = ["", 0];
  let usage: unknown;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    chunks += 1;
    usage = chunk.usage ?? usage;
  }
  const refusal = await refused({ policy, baseURL, apiKey, model });
  return { text, chunks, usage, receipts, refusal };
}

/** Under a policy of another root nothing leaves, and the SDK shows why. */
async function refused({ policy, baseURL, apiKey, model }: Wish): Promise<string> {
  const simulated = { ...policy.simulated, roots: ["00".repeat(32)] };
  const fetch = createFetch({ policy: { ...policy, simulated } });
  const client = new OpenAI({ baseURL, apiKey, fetch, dangerouslyAllowBrowser: true });
  const messages = [{ role: "user" as const, content: "hi" }];
  try {
    await client.chat.completions.create({ model, messages });
    return "answered";
  } catch (error) {
    return error instanceof OpenAI.APIError ? String(error.code) : String(error);
  }
}

Object.assign(globalThis, { ask });
