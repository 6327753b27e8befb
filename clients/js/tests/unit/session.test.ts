/** What the sealing fetch sends, believes and refuses (SPEC 3.9, 14), against a gateway that lies. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { concat, utf8 } from "../../src/bytes.js";
import { encodeFrame, FrameType } from "../../src/envelope/frames.js";
import type { Statement } from "../../src/money/receipt.js";
import {
  answerTo,
  ask,
  chunk,
  connect,
  DIRECTORY,
  DONE,
  directoryOf,
  errorOf,
  FOREIGN_SEED,
  honestly,
  type Lie,
  lying,
  ORIGIN,
  POLICY,
  receiptOf,
  sealedResponse,
} from "./peer.js";

const STREAMED = { stream: true };

test("a whole answer is handed over with its proof inside its usage", async () => {
  const peer = connect(honestly);
  const response = await ask(peer);
  assert.equal(response.status, 200);
  const document = (await response.json()) as { usage: { bombyx: unknown } };
  assert.deepEqual(document.usage.bombyx, peer.answers[0]?.summary);
  assert.equal(response.headers.get("x-bombyx-tier"), "sealed");
  assert.equal(response.headers.get("x-bombyx-id"), peer.requests[0]?.header.header.id);
  assert.deepEqual(JSON.parse(peer.requests[0]?.body ?? "").messages[0].content, "hi");
});

test("a stream passes its events, and its end only once it is proven", async () => {
  const peer = connect(honestly);
  const text = await (await ask(peer, STREAMED)).text();
  assert.ok(text.startsWith(chunk("one ") + chunk("two")));
  assert.ok(text.endsWith(DONE));
  assert.match(text, /"usage":\{"total_tokens":8,"bombyx":\{"id":/);
  assert.equal(peer.answers.length, 1);
});

test("the header promises the limits of SPEC 2.3 to 2.5", async () => {
  const peer = connect(honestly);
  await (await ask(peer, { max_tokens: 10, n: 2 })).text();
  const header = peer.requests[0]?.header.header;
  const body = JSON.stringify({
    model: "smol",
    messages: [{ role: "user", content: "hi" }],
    max_tokens: 10,
    n: 2,
  });
  assert.equal(header?.max_input_tokens, utf8(body).length + 64);
  assert.equal(header?.max_output_tokens, 20);
  const amount = BigInt(utf8(body).length + 64) + 2n * 20n;
  assert.equal(header?.max_cost_nano, `${amount + (amount * 100n + 9999n) / 10000n}`);
  await (await ask(peer)).text();
  assert.equal(peer.requests[1]?.header.header.max_output_tokens, 256);
});

test("a cost beyond the application's cap is refused before anything is sealed", async () => {
  const peer = connect(honestly, { maxCostNano: 10n });
  assert.deepEqual(await errorOf(await ask(peer)), [400, "cost_cap_exceeded", "false"]);
  assert.equal(peer.bodies.length, 0);
  const capped = connect(honestly, { maxCostNano: 500n });
  await (await ask(capped)).text();
  const header = capped.requests[0]?.header.header;
  assert.ok(Number(header?.max_cost_nano) <= 500 && (header?.max_output_tokens ?? 0) >= 16);
});

const LIES: readonly (readonly [string, Lie, string])[] = [
  [
    "a receipt of another key",
    { receipt: ({ statement }) => receiptOf(statement, FOREIGN_SEED) },
    "bad_receipt",
  ],
  ["no receipt", { withoutReceipt: true }, "bad_receipt"],
  ["a receipt that is none", { receipt: () => ({ final: true }) }, "bad_receipt"],
  ["an end of another statement", { end: "00".repeat(32) }, "bad_receipt"],
  ["a last statement that is partial", { statement: { status: "partial" } }, "bad_receipt"],
  ["an aborted statement without an error", { statement: { status: "aborted" } }, "bad_receipt"],
  ["more tokens than the limit", { statement: { tokens: tokens(5, 99_999) } }, "bad_receipt"],
  ["a charge that does not follow", { statement: { charge_nano: "1" } }, "bad_receipt"],
  [
    "another price",
    { statement: { prices: { prompt: "1", cached: "1", completion: "1", reasoning: "1" } } },
    "bad_receipt",
  ],
];

function tokens(prompt: number, completion: number): Statement["tokens"] {
  return { prompt, cached: 0, completion, reasoning: 0 };
}

const OTHERS = "c h payer gateway worker weights engine offer req_ct_hash resp_ct_hash".split(" ");
const other32 = OTHERS.map(
  (name) => [`another ${name}`, { statement: { [name]: "77".repeat(32) } }, "bad_receipt"] as const,
);
const OTHER_FIELDS: readonly (readonly [string, Lie, string])[] = [
  ...other32,
  ["another id", { statement: { id: "77".repeat(16) } }, "bad_receipt"],
  ["another boot", { statement: { boot: "77".repeat(16) } }, "bad_receipt"],
  ["another model", { statement: { model: "big" } }, "bad_receipt"],
  ["another tier", { statement: { tier: "bare" } }, "bad_receipt"],
  ["another fee", { statement: { fee_bps: 200 } }, "bad_receipt"],
  ["other bytes", { statement: { resp_ct_bytes: 1 } }, "bad_receipt"],
];

for (const [what, lie, code] of [...LIES, ...OTHER_FIELDS]) {
  test(`an answer with ${what} is never shown as complete`, async () => {
    const whole = connect(lying(lie));
    assert.equal((await errorOf(await ask(whole)))[1], code);
    assert.deepEqual([whole.answers.length, whole.disputes], [0, [code]]);
    const streamed = connect(lying(lie));
    const text = await (await ask(streamed, STREAMED)).text();
    assert.ok(!text.includes("[DONE]") && !text.includes('"usage"'), text);
    assert.match(text, new RegExp(`"code":"${code}"`));
    assert.equal(streamed.answers.length, 0);
  });
}

test("a statement that takes an earlier one back is refused", async () => {
  const lie = { statement: { seq: 0 } };
  assert.match(
    await (await ask(connect(lying(lie)), STREAMED)).text(),
    /takes an earlier one back/,
  );
});

test("an error that the worker signed ends the answer, and is billed", async () => {
  const error = JSON.stringify({ error: { message: "the engine broke", code: "engine_failed" } });
  const peer = connect(lying({ error }));
  assert.deepEqual(await errorOf(await ask(peer)), [502, "engine_failed", "false"]);
  assert.equal(peer.answers[0]?.document.receipt.statement.status, "aborted");
  const text = await (await ask(connect(lying({ error })), STREAMED)).text();
  assert.ok(text.endsWith(`data: ${JSON.stringify({ error: JSON.parse(error).error })}\n\n`));
});

test("an error before the answer keeps its own status", async () => {
  const peer = connect(lying({ status: 400, type: "application/json" }));
  assert.equal((await ask(peer)).status, 400);
});

test("an answer in another form than asked for is refused", async () => {
  const peer = connect(lying({ type: "application/json" }));
  assert.equal((await errorOf(await ask(peer, STREAMED)))[1], "bad_answer");
});

test("an answer that breaks off is truncated wherever it breaks", async () => {
  for (const size of [0, 31, 32, 60, 700, 1200, -1]) {
    const peer = connect(async (request) => {
      return sealedResponse((await answerTo(request)).slice(0, size));
    });
    const text = await (await ask(peer, STREAMED)).text();
    assert.match(text, /"code":"truncated"/, `cut at ${size}`);
    assert.ok(!text.includes("[DONE]"));
  }
});

test("what the gateway appends, alters or notes is no part of the answer", async () => {
  const note = encodeFrame(FrameType.relayNote, 0, utf8('{"code":"link_lost","retryable":true}'));
  const cases = [
    ["bad_answer", (bytes: Uint8Array) => concat(bytes, Uint8Array.of(0))],
    ["bad_answer", (bytes: Uint8Array) => bytes.map((byte, at) => (at === 900 ? byte ^ 1 : byte))],
    ["relay_interrupted", (bytes: Uint8Array) => concat(bytes.subarray(0, 566), note)],
  ] as const;
  for (const [code, alter] of cases) {
    const peer = connect(async (request) => sealedResponse(concat(alter(await answerTo(request)))));
    assert.match(await (await ask(peer, STREAMED)).text(), new RegExp(`"code":"${code}"`));
  }
});

test("a clear answer is never shown as the model's", async () => {
  const clear = () => Response.json({ choices: [{ message: { content: "clear" } }] });
  assert.deepEqual(await errorOf(await ask(connect(clear))), [502, "bad_answer", null]);
  const packed = connect(async (request) =>
    sealedResponse(await answerTo(request), { headers: { "content-encoding": "gzip" } }),
  );
  assert.equal((await errorOf(await ask(packed)))[1], "bad_answer");
  const moved = connect(
    () => new Response(null, { status: 302, headers: { location: "http://x/" } }),
  );
  assert.equal((await errorOf(await ask(moved)))[1], "bad_answer");
});

test("requests of one moment share a directory, and each draws for itself", async () => {
  const peer = connect(honestly);
  const responses = await Promise.all([ask(peer), ask(peer), ask(peer)]);
  for (const response of responses) assert.equal(response.status, 200);
  assert.equal(peer.urls.filter((url) => url.includes("workers")).length, 1);
  assert.equal(new Set(peer.requests.map(({ header }) => header.header.id)).size, 3);
});

test("a retry repeats the bytes of the call that failed, and no other", async () => {
  const peer = connect((request, nth) => {
    if (nth === 1) throw new TypeError("the connection broke");
    return honestly(request, nth);
  });
  await assert.rejects(ask(peer), /connection broke/);
  await (await ask(peer, {}, { "x-stainless-retry-count": "1" })).text();
  assert.deepEqual(peer.bodies[0], peer.bodies[1]);
  await (await ask(peer)).text();
  assert.notDeepEqual(peer.bodies[1], peer.bodies[2]);
  await (
    await ask(peer, {}, { "x-stainless-retry-count": "1", authorization: "Bearer other" })
  ).text();
  assert.notDeepEqual(peer.bodies[2], peer.bodies[3]);
});

test("an Idempotency-Key names one body", async () => {
  const peer = connect(honestly);
  const key = { "idempotency-key": "one" };
  await (await ask(peer, {}, key)).text();
  await (await ask(peer, {}, key)).text();
  assert.deepEqual(peer.bodies[0], peer.bodies[1]);
  const conflict = await ask(peer, { temperature: 1 }, key);
  assert.deepEqual(await errorOf(conflict), [409, "idempotency_conflict", "false"]);
});

test("what cannot be sealed is refused here, and nothing of it leaves", async () => {
  const peer = connect(honestly);
  const post = (path: string, init: RequestInit = {}) =>
    peer.fetch(ORIGIN + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
      ...init,
    });
  const cases = [
    ["not_sealable", await post("/v1/embeddings")],
    ["not_sealable", await post("/v1/chat/completions?x=1")],
    ["not_sealable", await post("/chat/completions")],
    ["not_sealable", await post("/v1/chat/completions", { method: "PUT" })],
    ["unsupported_media_type", await post("/v1/chat/completions", { headers: {} })],
    ["invalid_json", await post("/v1/chat/completions", { body: "[]" })],
    ["invalid_json", await post("/v1/chat/completions", { body: "{" })],
    ["invalid_request", await post("/v1/chat/completions")],
    ["invalid_request", await ask(peer, { stream: "yes" })],
    ["invalid_request", await ask(peer, { max_tokens: 0 })],
    ["invalid_request", await ask(peer, { max_tokens: 1, max_completion_tokens: 2 })],
    ["unsupported_value", await ask(peer, { n: 99 })],
    ["invalid_request", await ask(peer, {}, { "content-encoding": "gzip" })],
  ] as const;
  for (const [code, response] of cases) assert.equal((await errorOf(response))[1], code);
  assert.deepEqual(peer.urls, []);
});

test("a worker or gateway outside of the policy gets nothing", async () => {
  const foreign = { ...POLICY, gateways: ["cd".repeat(32)] } as typeof POLICY;
  const pinned = connect(honestly, { policy: foreign });
  assert.deepEqual(await errorOf(await ask(pinned)), [502, "gateway_refused", "false"]);
  const later = connect(honestly, { clock: () => DIRECTORY.now + 3 * 24 * 3600 });
  const said = await (await ask(later)).text();
  assert.match(said, /"no_verified_worker"/);
  assert.match(said, /Your clock is 259200 s from the gateway's/);
  const none = connect(honestly, {}, directoryOf({ workers: [] }));
  assert.deepEqual((await errorOf(await ask(none))).slice(0, 2), [404, "model_not_found"]);
  const [entry] = DIRECTORY.workers;
  const offers = [{ ...entry?.offers[0], signature: "00".repeat(64) }];
  const unsigned = connect(honestly, {}, directoryOf({ workers: [{ ...entry, offers }] }));
  assert.equal((await errorOf(await ask(unsigned)))[1], "no_verified_worker");
  const strange = connect(honestly, {}, { workers: [] });
  assert.equal((await errorOf(await ask(strange)))[1], "bad_answer");
  const bodies = [pinned, later, none, unsigned, strange].flatMap((peer) => peer.bodies);
  assert.equal(bodies.length, 0);
});

test("who aborts ends the exchange with the abort's own error", async () => {
  const peer = connect(honestly);
  const controller = new AbortController();
  const asked = peer.fetch(`${ORIGIN}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "smol", messages: [], stream: true }),
    signal: controller.signal,
  });
  const response = await asked;
  controller.abort();
  await assert.rejects(response.text(), { name: "AbortError" });
  assert.deepEqual(peer.disputes, []);
});

test("payer keys differ by gateway key and API key, and stay with the identity", async () => {
  const identity = { payerRoot: new Uint8Array(32), cacheSecret: new Uint8Array(32) };
  const payers: string[] = [];
  for (const authorization of ["Bearer a", "Bearer b", "Bearer a"]) {
    const peer = connect(honestly, { identity });
    await (await ask(peer, {}, { authorization })).text();
    payers.push(peer.requests[0]?.header.header.payer ?? "");
  }
  assert.equal(payers[0], payers[2]);
  assert.notEqual(payers[0], payers[1]);
  const short = { ...identity, payerRoot: new Uint8Array(3) };
  assert.throws(() => connect(honestly, { identity: short }), { code: "setup_error" });
});
