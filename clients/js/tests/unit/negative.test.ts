/** The bytes of `tests/vectors/negative.json` that a client's readers, or its peer's, must refuse. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { shake256 } from "@noble/hashes/sha3.js";
import { keyset } from "../../src/attestation/documents.js";
import { type Bytes, concat, fromHex, utf8 } from "../../src/bytes.js";
import { decode } from "../../src/canonical.js";
import { parseHeader } from "../../src/envelope/header.js";
import { ResponseOpener } from "../../src/envelope/opener.js";
import { wrapInfo } from "../../src/envelope/wrap.js";
import { signedOffer, verifyOffer } from "../../src/money/offer.js";
import {
  batch,
  checkArithmetic,
  receipt,
  statement,
  verifyReceipt,
} from "../../src/money/receipt.js";
import { object, oneOf, string } from "../../src/schema.js";
import { verify } from "../../src/signing.js";
import { hex32, hex64 } from "../../src/units.js";
import { openWrap } from "./opening.js";
import { openFrames, openRequest } from "./sealing.js";
import { load } from "./vectors.js";

const [request, response] = [load("request"), load("response")];
const worker = decode(utf8(load("documents").at("keyset").text), keyset);
const [h, dek] = [request.at("h").bytes, request.at("dek").bytes];
const wraps = request.at("wraps").items.map((entry) => ({
  worker: entry.at("worker").bytes,
  seeds: concat(entry.at("mlkem_seed").bytes, entry.at("x25519_seed").bytes),
}));
const [first] = wraps;
if (first === undefined) throw new TypeError("a request has a wrap");

/** The vectors' own source of fixed secrets. */
function seed(label: string): Bytes {
  return shake256(utf8(`bombyx test ${label}`), { dkLen: 32 });
}

const hello = object({ v: oneOf("bombyx-link/1"), nonce: hex32 });
const anyRefusal = object({}, {}, "ignored");

async function answer(bytes: Bytes): Promise<void> {
  const secrets = new Map([0, 1].map((at) => [String(at), seed(`rs ${at}`)]));
  const opener = new ResponseOpener(response.at("h").bytes, secrets);
  await opener.feed(bytes);
  opener.finish();
}

type Reader = (bytes: Bytes) => unknown;

/** Readers of what clients and workers meet; those of the link have no part here. */
const READERS: Readonly<Record<string, Reader>> = {
  header: parseHeader,
  keyset: (bytes) => decode(bytes, keyset),
  statement: (bytes) => checkArithmetic(decode(bytes, statement)),
  batch: (bytes) => decode(bytes, batch),
  hello: (bytes) => decode(bytes, hello),
  receipt: (bytes) => verifyReceipt(decode(bytes, receipt), worker.receipt_key),
  offer: (bytes) => verifyOffer(decode(bytes, signedOffer), worker.link_key),
  refusal: (bytes) => checkRefusal(bytes),
  response: answer,
  sealed_request: (bytes) => openRequest(bytes, first.seeds),
  request_frames: (bytes) => openFrames(bytes, dek, h),
  wrap: (bytes) => openWrap(bytes, first.seeds, wrapInfo(first.worker, h, seed("c"))),
};
const OF_THE_LINK: ReadonlySet<string> = new Set(["challenge", "link_message", "mux", "open"]);

function checkRefusal(bytes: Bytes): void {
  const shape = object({ refusal: anyRefusal, signature: hex64 }, { message: string() });
  const text = new TextDecoder().decode(bytes);
  const { signature } = shape(JSON.parse(text), "");
  verify("refusal", JSON.parse(text).refusal, fromHex(signature), fromHex(worker.receipt_key));
}

test("the vectors' seeds are made as their README says", () => {
  assert.deepEqual(seed("dek"), dek);
});

test("the good bytes are read by the same readers", async () => {
  await READERS["sealed_request"]?.(request.at("encoded").bytes);
  await READERS["request_frames"]?.(request.at("frames").bytes);
  READERS["header"]?.(utf8(request.at("header").text));
  READERS["hello"]?.(utf8(load("link").at("hello").text));
  READERS["receipt"]?.(utf8(load("receipts").at("receipts", 0, "receipt").text));
});

for (const entry of load("negative").at("cases").items) {
  const reader = entry.at("reader").text;
  if (OF_THE_LINK.has(reader)) continue;
  test(`refused (SPEC ${entry.at("section").text}): ${reader}, ${entry.at("case").text}`, async () => {
    const read = READERS[reader];
    if (read === undefined) assert.fail(`no reader ${reader}`);
    await assert.rejects(async () => read(entry.at("input").bytes));
  });
}
