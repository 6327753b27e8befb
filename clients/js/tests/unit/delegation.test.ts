/** Delegation: a pinned key's verdict, about exactly this, and a tier that says so. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../src/bytes.js";
import { type FetchOptions, readPolicy } from "../../src/index.js";
import { createVerifier } from "../../src/verifier.js";
import { type Asked, ask, connect, DIRECTORY, errorOf, honestly, NOW, POLICY } from "./peer.js";

const URL_ = "https://verifier.test/verdict";
const VERIFIER = createVerifier({
  policy: readPolicy(POLICY),
  seed: new Uint8Array(32).fill(8),
  clock: () => NOW,
});
const OTHER = createVerifier({
  policy: POLICY,
  seed: new Uint8Array(32).fill(9),
  clock: () => NOW,
});

type Handle = (request: Request) => Promise<Response>;

/** A gateway as in the other tests, and a verifier beside it. */
function delegating(handle: Handle, options: Partial<FetchOptions> = {}): Asked {
  const verifier = { publicKey: VERIFIER.publicKey, url: URL_ };
  return connect(honestly, { verifier, ...options }, DIRECTORY, handle);
}

test("a verdict of the pinned verifier stands in, and every label says so", async () => {
  const asked: unknown[] = [];
  const peer = delegating(async (request) => {
    asked.push(await request.clone().json());
    assert.equal(request.headers.get("authorization"), null);
    return VERIFIER.handle(request);
  });
  const response = await ask(peer);
  assert.equal(response.headers.get("x-bombyx-tier"), "sealed-delegated");
  const { usage } = (await response.json()) as { usage: { bombyx: { tier: string } } };
  assert.equal(usage.bombyx.tier, "sealed-delegated");
  const [answer] = peer.answers;
  assert.equal(answer?.document.receipt.statement.tier, "sealed");
  await (await ask(peer)).text();
  assert.equal(asked.length, 1, "a verdict is remembered");
});

const REFUSED: readonly (readonly [string, Handle])[] = [
  ["of another key", OTHER.handle],
  ["that is none", async () => Response.json({ verdict: "good" })],
  ["that is an error", async () => Response.json({}, { status: 500 })],
  ["that never comes", () => Promise.reject(new TypeError("no route"))],
  [
    "of another policy",
    createVerifier({
      policy: { ...POLICY, gateways: [] } as typeof POLICY,
      seed: new Uint8Array(32).fill(8),
      clock: () => NOW,
    }).handle,
  ],
  [
    "that has expired",
    createVerifier({ policy: POLICY, seed: new Uint8Array(32).fill(8), clock: () => NOW - 3600 })
      .handle,
  ],
  ["whose worker was changed", altered("worker")],
  ["whose evidence was changed", altered("evidence")],
];

function altered(field: string): Handle {
  return async (request) => {
    const signed = (await (await VERIFIER.handle(request)).json()) as { verdict: object };
    return Response.json({ ...signed, verdict: { ...signed.verdict, [field]: "77".repeat(32) } });
  };
}

for (const [what, handle] of REFUSED) {
  test(`nothing is sealed on a verdict ${what}`, async () => {
    const peer = delegating(handle);
    assert.deepEqual(await errorOf(await ask(peer)), [502, "no_verified_worker", "false"]);
    assert.equal(peer.requests.length, 0);
  });
}

test("what needs no quote is checked by the client all the same", async () => {
  const policy = { ...POLICY, models: {} };
  const vouching = createVerifier({ policy, seed: new Uint8Array(32).fill(8), clock: () => NOW });
  const peer = delegating(vouching.handle, { policy });
  assert.equal((await errorOf(await ask(peer)))[1], "no_verified_worker");
});

test("a verifier signs for what it verified, and for nothing else", async () => {
  const post = async (body: unknown) => {
    const init = { method: "POST", body: JSON.stringify(body) };
    return VERIFIER.handle(new Request(URL_, init));
  };
  const [entry] = DIRECTORY.workers;
  const [collateral] = Object.values(DIRECTORY.collateral);
  const good = { keyset: entry?.keyset, evidence: entry?.evidence, collateral };
  assert.equal((await post(good)).status, 200);
  assert.equal(
    (await errorOf(await post({ ...good, collateral: undefined })))[1],
    "worker_refused",
  );
  assert.equal((await errorOf(await post({})))[1], "invalid_request");
});

test("a verifier without a key is no verifier", () => {
  const verifier = { publicKey: toHex(new Uint8Array(31)), url: URL_ };
  assert.throws(() => connect(honestly, { verifier }), { code: "setup_error" });
});
