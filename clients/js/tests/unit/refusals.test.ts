/** What a gateway says in place of an answer: proofs, sealing anew, outcomes (SPEC 14.3). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../src/bytes.js";
import {
  ask,
  connect,
  errorOf,
  FOREIGN_SEED,
  honestly,
  problem,
  receiptOf,
  refusal,
  sentAway,
  statementOf,
} from "./peer.js";
import { publicHex } from "./sealing.js";

test("after a proven refusal the request is sealed anew, once, from a fresh directory", async () => {
  const peer = connect((request, nth) => (nth === 1 ? refusal(request) : honestly(request, nth)));
  assert.equal((await ask(peer)).status, 200);
  assert.equal(peer.requests.length, 2);
  assert.notDeepEqual(peer.requests[0]?.c, peer.requests[1]?.c);
  assert.equal(peer.urls.filter((url) => url.includes("workers")).length, 2);
});

test("who is refused twice is told to wait where only room was wanting", async () => {
  const codes = ["busy", "stale_candidate"];
  const full = connect((request) => refusal(request));
  const answer = await ask(full);
  const waits = ["retry-after", "retry-after-ms"].map((name) => answer.headers.get(name));
  assert.deepEqual(waits, ["1", "1000"]);
  assert.deepEqual(await errorOf(answer), [503, "overloaded", "true"]);
  assert.equal(full.requests.length, 2);
  const stale = connect((request, nth) => refusal(request, { code: codes[nth - 1] ?? "" }));
  assert.deepEqual(await errorOf(await ask(stale)), [422, "no_candidate", null]);
});

test("a refusal that does not hold is no reason to seal anew", async () => {
  const cases = [
    ["unproven_refusal", { seed: FOREIGN_SEED }],
    ["unproven_refusal", { c: "77".repeat(32) }],
    ["clock_ahead", { code: "clock_ahead" }],
  ] as const;
  for (const [code, changes] of cases) {
    const peer = connect((request) => refusal(request, changes));
    assert.equal((await errorOf(await ask(peer)))[1], code);
    assert.equal(peer.requests.length, 1);
  }
  const strange = connect(() => problem({ code: "no_candidate", refusals: "all" }));
  assert.equal((await errorOf(await ask(strange)))[1], "unproven_refusal");
  const plain = connect(() => Response.json({ error: { message: "no" } }, { status: 422 }));
  assert.equal((await errorOf(await ask(plain)))[0], 422);
  assert.equal(plain.requests.length, 1);
});

test("a renewable 422 needs the refusals of all workers or the gateway's signed note", async () => {
  const document = { code: "no_candidate", refusals: [], error: { message: "nobody" } };
  for (const code of ["no_candidate", "wrong_fee"]) {
    const silent = connect(() => problem({ ...document, code }));
    assert.equal((await errorOf(await ask(silent)))[1], "unproven_refusal");
    assert.equal(silent.requests.length, 1);
    const noted = connect((request, nth) =>
      nth === 1 ? sentAway(request, { code }) : honestly(request, nth),
    );
    assert.equal((await ask(noted)).status, 200);
    const [first] = noted.requests;
    assert.deepEqual(
      noted.waivers.map(({ c, id }) => [c, id]),
      [[toHex(first?.c ?? new Uint8Array()), first?.header.header.id]],
    );
    assert.equal(noted.waivers[0]?.note.lost.c, toHex(first?.c ?? new Uint8Array()));
  }
  const other = connect((request) => sentAway(request, { code: "not_run" }));
  assert.deepEqual([(await errorOf(await ask(other)))[0], other.waivers.length], [422, 0]);
});

test("a note that does not hold is no reason to seal anew", async () => {
  const [foreign, c] = [publicHex(FOREIGN_SEED), "77".repeat(32)];
  for (const changes of [
    { seed: FOREIGN_SEED },
    { c },
    { gateway: foreign },
    { gateway: foreign, seed: FOREIGN_SEED },
  ]) {
    const peer = connect((request) => sentAway(request, changes));
    assert.equal((await errorOf(await ask(peer)))[1], "unproven_refusal");
    assert.deepEqual([peer.requests.length, peer.waivers.length], [1, 0]);
  }
  const odd = connect(() => problem({ code: "no_candidate", lost: null }));
  assert.equal((await errorOf(await ask(odd)))[1], "unproven_refusal");
});

test("what was given up is not sent again for an Idempotency-Key", async () => {
  const peer = connect((request, nth) => (nth < 3 ? sentAway(request) : honestly(request, nth)));
  const key = { "idempotency-key": "k-1" };
  assert.deepEqual(await errorOf(await ask(peer, {}, key)), [422, "no_candidate", null]);
  assert.equal((await ask(peer, {}, key)).status, 200);
  assert.equal(new Set(peer.requests.map(({ c }) => toHex(c))).size, 3);
  assert.equal(peer.waivers.length, 2);
});

test("an outcome is believed with a verified receipt only", async () => {
  const conflict = (receipt: unknown) =>
    Response.json({ error: { message: "ran", code: "outcome" }, receipt }, { status: 409 });
  const proven = connect((request) => conflict(receiptOf(statementOf(request))));
  const response = await ask(proven);
  assert.match(await response.text(), /receipt is verified and charges 12 nano/);
  assert.equal(response.status, 409);
  const forged = connect((request) => conflict(receiptOf(statementOf(request), FOREIGN_SEED)));
  assert.equal((await errorOf(await ask(forged)))[1], "bad_receipt");
});
