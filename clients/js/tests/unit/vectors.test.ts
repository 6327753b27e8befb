/** The golden bytes of `tests/vectors`: made here as they were once on the wire, and opened. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { sha256 } from "@noble/hashes/sha2.js";
import { keyset } from "../../src/attestation/documents.js";
import { concat, fromHex, toHex, utf8 } from "../../src/bytes.js";
import { decode, digestHex, encode, read } from "../../src/canonical.js";
import { parseHeader } from "../../src/envelope/header.js";
import { expand } from "../../src/envelope/keys.js";
import { type Opened, ResponseOpener, responseSecret } from "../../src/envelope/opener.js";
import { pack, unpack } from "../../src/envelope/plaintext.js";
import { authDocument, commitment, encodeRequest, sealFrames } from "../../src/envelope/request.js";
import { wrapInfo } from "../../src/envelope/wrap.js";
import { offer } from "../../src/money/offer.js";
import { leafHash, receipt, statementHash, verifyReceipt } from "../../src/money/receipt.js";
import { asRecord } from "../../src/schema.js";
import { message, Payer, verify } from "../../src/signing.js";
import { openWrap } from "./opening.js";
import { load, type Node } from "./vectors.js";

const [documents, request, response] = [load("documents"), load("request"), load("response")];

function anyObject(value: unknown): Readonly<Record<string, unknown>> {
  const record = asRecord(value);
  if (record === undefined) throw new TypeError("no object");
  return record;
}

test("documents are canonical, and named and signed as they should", () => {
  const raw = utf8(documents.at("keyset").text);
  const worker = decode(raw, keyset);
  assert.equal(digestHex(worker), documents.at("worker").text);
  const offered = decode(utf8(documents.at("offer").text), offer);
  assert.equal(digestHex(offered), documents.at("offer_hash").text);
  assert.equal(toHex(message("offer", offered)), documents.at("offer_message").text);
  const signature = documents.at("offer_signature").bytes;
  verify("offer", offered, signature, fromHex(worker.link_key));
  assert.throws(() => verify("batch", offered, signature, fromHex(worker.link_key)));
  assert.throws(() => verify("offer", offered, signature, fromHex(worker.receipt_key)));
  const refusal = read(utf8(documents.at("refusal").text), anyObject);
  const key = fromHex(worker.receipt_key);
  verify("refusal", refusal, documents.at("refusal_signature").bytes, key);
  const lost = read(utf8(documents.at("lost").text), anyObject);
  const signed = documents.at("lost_signature").bytes;
  verify("lost", lost, signed, fromHex(String(lost["gateway"])));
  assert.throws(() => verify("refusal", lost, signed, fromHex(String(lost["gateway"]))));
});

test("another spelling of a document is refused", () => {
  const text = documents.at("keyset").text;
  for (const other of [` ${text}`, `${text}\n`, text.replace(":", ": "), `\ufeff${text}`]) {
    assert.throws(() => decode(utf8(other), keyset), { code: "not_canonical" });
  }
  const doubled = text.replace('"v":', '"v":"bombyx/1","v":');
  assert.throws(() => decode(utf8(doubled), keyset), { code: "not_canonical" });
  const unknown = text.replace('"v":', '"u":1,"v":');
  assert.throws(() => decode(utf8(unknown), keyset), { code: "not_canonical" });
});

test("the request is sealed to the same bytes", async () => {
  const { header, h } = parseHeader(utf8(request.at("header").text));
  assert.equal(toHex(h), request.at("h").text);
  const dek = request.at("dek").bytes;
  assert.equal(toHex(expand(dek, utf8("key"))), request.at("key").text);
  assert.equal(toHex(expand(dek, utf8("nonce"), 12)), request.at("nonce").text);
  const head = JSON.parse(request.at("plaintext_head").text);
  const body = utf8(request.at("body").text);
  const plaintext = pack(head, body);
  assert.equal(toHex(sha256(plaintext)), request.at("plaintext_sha256").text);
  assert.deepEqual(unpack(plaintext).body, body);
  const frames = await sealFrames(dek, h, plaintext);
  assert.equal(toHex(frames), request.at("frames").text);
  const reqCtHash = sha256(frames);
  assert.equal(toHex(reqCtHash), request.at("req_ct_hash").text);
  const c = commitment(dek, h, reqCtHash);
  assert.equal(toHex(c), request.at("c").text);
  const payer = new Payer(request.at("payer_seed").bytes);
  assert.equal(payer.publicHex, header.payer);
  assert.equal(toHex(message("request", authDocument(c))), request.at("auth_message").text);
  const auth = payer.sign(authDocument(c));
  assert.equal(toHex(auth), request.at("auth").text);
  const wraps = request.at("wraps").items.map((wrap) => wrap.at("wrap").bytes);
  const hashed = parseHeader(utf8(request.at("header").text));
  const sealed = { header: hashed, c, auth, wraps, frames, reqCtHash, responseSecrets: [] };
  assert.equal(toHex(sha256(encodeRequest(sealed))), request.at("encoded_sha256").text);
});

for (const [index, entry] of request.at("wraps").items.entries()) {
  test(`wrap ${index}, sealed by Python, opens`, async () => {
    const [h, c] = [request.at("h").bytes, request.at("c").bytes];
    const info = wrapInfo(entry.at("worker").bytes, h, c);
    assert.equal(toHex(info), entry.at("info").text);
    const seeds = concat(entry.at("mlkem_seed").bytes, entry.at("x25519_seed").bytes);
    const opened = await openWrap(entry.at("wrap").bytes, seeds, info);
    const secret = request.at("response_secrets", index).text;
    assert.equal(toHex(opened), request.at("dek").text + secret);
    const foreign = wrapInfo(entry.at("worker").bytes, c, h);
    await assert.rejects(openWrap(entry.at("wrap").bytes, seeds, foreign));
  });
}

function opener(): ResponseOpener {
  const secrets = new Map([["worker", response.at("secret").bytes]]);
  return new ResponseOpener(response.at("h").bytes, secrets);
}

function framesOf(padding: string): readonly Node[] {
  return response.at(padding).items;
}

for (const padding of ["bucket", "exact"]) {
  test(`the answer with ${padding} padding opens, byte by byte and at once`, async () => {
    const salt = response.at("salt").bytes;
    const secret = responseSecret(response.at("secret").bytes, salt);
    assert.equal(toHex(secret), response.at("response_secret").text);
    const whole = concat(salt, ...framesOf(padding).map((step) => step.at("frame").bytes));
    const atOnce = opener();
    const opened = await atOnce.feed(whole);
    atOnce.finish();
    checkSteps(opened, framesOf(padding));
    const slowly = opener();
    const pieces: Opened[] = [];
    for (const byte of whole) pieces.push(...(await slowly.feed(Uint8Array.of(byte))));
    slowly.finish();
    assert.deepEqual(pieces, opened);
  });

  test(`each frame of the ${padding} answer is needed, in its place`, async () => {
    const salt = response.at("salt").bytes;
    const frames = framesOf(padding).map((step) => step.at("frame").bytes);
    const last = frames.length - 1;
    for (let at = 0; at <= last; at++) {
      const without = frames.filter((_, index) => index !== at);
      await assert.rejects(opened(concat(salt, ...without)), `without frame ${at}`);
      const flipped = frames.map((frame, index) => (index === at ? turned(frame) : frame));
      await assert.rejects(opened(concat(salt, ...flipped)), `with frame ${at} changed`);
      const swapped = frames.toSpliced(at, 2, ...frames.slice(at, at + 2).reverse());
      if (at < last) await assert.rejects(opened(concat(salt, ...swapped)), `${at} swapped`);
      await assert.rejects(opened(concat(salt, ...frames, frames[at] ?? salt)), `${at} again`);
    }
  });
}

function turned(frame: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const out = frame.slice();
  out[out.length - 1] = (out.at(-1) ?? 0) ^ 1;
  return out;
}

async function opened(bytes: Uint8Array): Promise<void> {
  const reader = opener();
  await reader.feed(bytes);
  reader.finish();
}

function checkSteps(found: readonly Opened[], steps: readonly Node[]): void {
  const shown = steps.filter((step) => step.at("step").text !== "padding");
  assert.equal(found.length, shown.length);
  for (const [index, step] of shown.entries()) {
    const one = found[index];
    assert.equal(one?.kind, step.at("step").text);
    if (one?.kind === "data")
      assert.equal(toHex(one.payload), toHex(utf8(step.at("payload").text)));
    if (one?.kind === "head")
      assert.equal(toHex(encode(one.head)), toHex(utf8(step.at("payload").text)));
    if (one?.kind === "end") assert.equal(one.end.statement, step.at("statement").text);
    if (one?.kind === "usage") {
      assert.equal(toHex(one.respCtHash), step.at("resp_ct_hash").text);
      assert.equal(one.respCtBytes, step.at("resp_ct_bytes").number);
    }
  }
}

test("a relay note ends an answer, in words that say that nobody vouches for it", async () => {
  const [head] = framesOf("bucket");
  const bytes = concat(
    response.at("salt").bytes,
    head?.at("frame").bytes ?? utf8(""),
    response.at("relay_note").bytes,
  );
  await assert.rejects(opened(bytes), { code: "relay_interrupted", message: /unauthenticated/ });
});

test("each receipt of a batch verifies alone, and no other field of it can change", () => {
  const file = load("receipts");
  const key = file.at("receipt_key").text;
  for (const entry of file.at("receipts").items) {
    const found = decode(utf8(entry.at("receipt").text), receipt);
    verifyReceipt(found, key);
    assert.equal(statementHash(found.statement), entry.at("statement_hash").text);
    assert.equal(toHex(leafHash(encode(found.statement))), entry.at("leaf").text);
    const batch = { ...found.batch, count: found.batch.count + 1 };
    const other = { ...found.statement, charge_nano: "1" };
    const cases = [
      { ...found, batch },
      { ...found, statement: other },
      { ...found, path: found.path.slice(1) },
      { ...found, path: [...found.path, ...found.path] },
      { ...found, signature: "00".repeat(64) },
    ];
    for (const one of cases) assert.throws(() => verifyReceipt(one, key));
  }
});
