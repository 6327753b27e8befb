/** The small parts: errors, sizes, frames, events, DER. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { signatureToRaw, time, whole } from "../../src/attestation/der.js";
import { checkSealingKey } from "../../src/attestation/sealing-key.js";
import { concat, fromBase64, fromBase64Url, fromHex, toHex, utf8 } from "../../src/bytes.js";
import { decode } from "../../src/canonical.js";
import { maxInputBound, parseBody, promptSize, textBytes } from "../../src/client/body.js";
import { SseDecoder } from "../../src/client/sse.js";
import { FrameSplitter, FrameType } from "../../src/envelope/frames.js";
import { bucket, pack, unpack } from "../../src/envelope/plaintext.js";
import { wrap } from "../../src/envelope/wrap.js";
import { BombyxError, CODES, type Code } from "../../src/errors.js";
import { integer, object, string } from "../../src/schema.js";
import { Payer, verify } from "../../src/signing.js";
import { openWrap, publicKey } from "./opening.js";
import { ROOT } from "./vectors.js";

test("codes, statuses, types and retries are those of SPEC 19", () => {
  const spec = readFileSync(new URL("SPEC.md", ROOT), "utf8");
  const rows = [...spec.matchAll(/^\| `([a-z_]+)` \| (\d{3}) \| `([a-z_]+)` \| (yes|no)? ?\|$/gm)];
  const table = new Map(
    rows.map(([, code, status, type, retry]) => [code, { status, type, retry }]),
  );
  for (const code of Object.keys(CODES) as Code[]) {
    const error = new BombyxError(code, "why");
    const row = table.get(code);
    assert.equal(String(error.status), row?.status, code);
    assert.equal(error.envelope().error.type, row?.type, code);
    assert.equal(
      error.shouldRetry,
      row?.retry === undefined ? undefined : row.retry === "yes",
      code,
    );
  }
});

test("a document's reader is total: any bytes give a value or not_canonical", () => {
  const schema = object({ a: integer(0, 9), b: string(/^[a-z]+$/) });
  assert.deepEqual(decode(utf8('{"a":1,"b":"x"}'), schema), { a: 1, b: "x" });
  const others = [
    '{"b":"x","a":1}',
    '{"a":1.0,"b":"x"}',
    '{"a":1e0,"b":"x"}',
    '{"a":-0,"b":"x"}',
    '{"a":10,"b":"x"}',
    '{"a":1,"b":"x","c":0}',
    '{"a":1}',
    '{"a":null,"b":"x"}',
    '{"a":1,"a":1,"b":"x"}',
    '{"a":1,"b":"\\u0078"}',
    '{"a":1,"b":"x\\n"}',
    '{"a":1,"b":"\\ud800"}',
    "[]",
    "null",
    "",
    "{",
    '"a"',
    '{"__proto__":1,"a":1,"b":"x"}',
    '{"a":1,"b":"x"} ',
    "[".repeat(100_000),
  ];
  for (const other of others) {
    assert.throws(() => decode(utf8(other), schema), { code: "not_canonical" }, other.slice(0, 40));
  }
  assert.throws(() => decode(Uint8Array.of(0xff, 0xfe), schema), { code: "not_canonical" });
});

test("the bound on a prompt is never below what others count", () => {
  const count = (json: string) => textBytes(parseBody(utf8(json)), utf8(json));
  assert.equal(count('{"temperature":0.7}'), 19);
  assert.equal(count('{"a": "é", "b": [1, 2]}'), utf8('{"a":"é","b":[1,2]}').length);
  // Python writes 1.0 as 1.0 and 1e22 as 1e+22 or longer; a quoted number is text.
  assert.ok(count('{"a":1.0,"b":1e22}') >= utf8('{"a":1.0,"b":10000000000000000000000.0}').length);
  assert.equal(count('{"a":"1.0 \\" 1e5"}'), utf8('{"a":"1.0 \\" 1e5"}').length);
  const long = JSON.stringify({ a: 'x\\" 1e5'.repeat(300_000) }).replace("}", ',"b":1.0}');
  assert.equal(count(long), utf8(JSON.stringify(JSON.parse(long))).length + 24);
  const image = {
    type: "image_url",
    image_url: { url: `data:image/png;base64,${"A".repeat(500)}` },
  };
  const body = { messages: [{ role: "user", content: [image, { type: "text", text: "hi" }] }] };
  const raw = utf8(JSON.stringify(body));
  const bounds = { bytes_factor: 2, overhead: 10, max_image_tokens: 1000 };
  const emptied = raw.length - image.image_url.url.length;
  assert.equal(maxInputBound(promptSize(body, raw), bounds), 2 * emptied + 10 + 1000);
});

test("sizes are those of the buckets of SPEC 2.2, and padding is zeros", () => {
  assert.deepEqual([1, 1025, 4097, 8193, 9217].map(bucket), [1024, 2048, 8192, 9216, 10368]);
  const packed = pack({ content_type: "application/json" }, utf8("{}"));
  assert.deepEqual(unpack(packed).body, utf8("{}"));
  const cases = [packed.with(1023, 1), concat(packed, new Uint8Array(1024)), packed.slice(0, 30)];
  for (const other of [...cases, packed.with(3, 255), packed.with(0, 255), utf8("")]) {
    assert.throws(() => unpack(new Uint8Array(other)), { code: "malformed_sealed_request" });
  }
});

test("a frame's type and length are checked before its body is held", () => {
  const head = (type: number, length: number) => {
    const bytes = new Uint8Array(6);
    bytes[0] = type;
    new DataView(bytes.buffer).setUint32(2, length);
    return bytes;
  };
  const cases = [
    [6, 0],
    [126, 0],
    [FrameType.data, 2 ** 20 + 1],
    [FrameType.end, 8193],
    [FrameType.relayNote, 513],
  ] as const;
  for (const [type, length] of cases) {
    assert.throws(() => new FrameSplitter().feed(head(type, length)), { code: "malformed_frame" });
  }
  assert.deepEqual(new FrameSplitter().feed(head(FrameType.data, 2 ** 20)), []);
});

test("events come out the same however the stream is torn", () => {
  const stream = utf8(
    ': hi\r\nevent: x\r\ndata: {"a":"é"}\r\n\r\ndata: one\rdata: two\r\rid: 3\n\ndata:3\n\n',
  );
  const wanted = ['{"a":"é"}', "one\ntwo", "3"];
  assert.deepEqual(new SseDecoder().feed(stream), wanted);
  const slowly = new SseDecoder();
  assert.deepEqual(
    [...stream].flatMap((byte) => [...slowly.feed(Uint8Array.of(byte))]),
    wanted,
  );
  slowly.finish();
  const torn = new SseDecoder();
  torn.feed(utf8("data: x\n"));
  assert.throws(() => torn.finish(), { code: "bad_stream" });
  assert.throws(() => new SseDecoder().feed(new Uint8Array(2 ** 23 + 1).fill(97)), {
    code: "bad_stream",
  });
});

test("bytes have one spelling", () => {
  assert.equal(toHex(fromHex("00ff10")), "00ff10");
  for (const other of ["0", "0G", "AB", "0x00", "00 "])
    assert.throws(() => fromHex(other), RangeError);
  for (const other of ["QQ", "QR==", "Q Q==", "QQ==\n", "QQ=", "é"]) {
    assert.throws(() => fromBase64(other), RangeError, other);
  }
  assert.deepEqual(fromBase64Url("-_8"), Uint8Array.of(0xfb, 0xff));
  for (const other of ["-_9", "+/8", "-_8=", "A"])
    assert.throws(() => fromBase64Url(other), RangeError, other);
});

test("DER has one spelling too", () => {
  const good = "3006020101020102";
  assert.equal(toHex(signatureToRaw(fromHex(good))), `${"00".repeat(31)}01${"00".repeat(31)}02`);
  const others = [
    "300602010102010200",
    "30820006020101020102",
    "3081060201010201 02".replace(" ", ""),
    "3006020101",
    "30060201ff020102",
    "3007020200010201 02".replace(" ", ""),
    "3103020101",
    "3080020101020102 0000".replace(" ", ""),
    "3003020101",
    "3009020101020102020103",
    "30",
    "",
    `3026022200${"11".repeat(33)}0201 02`.replace(" ", ""),
  ];
  for (const other of others)
    assert.throws(() => signatureToRaw(fromHex(other)), { name: "BadDer" }, other);
  const at = (tag: number, text: string) =>
    time(whole(concat(Uint8Array.of(tag, text.length), utf8(text)), tag));
  assert.equal(at(0x17, "500101000000Z"), Date.UTC(1950, 0, 1) / 1000);
  assert.equal(at(0x18, "20491231235959Z"), Date.UTC(2049, 11, 31, 23, 59, 59) / 1000);
  for (const text of [
    "500101000000",
    "501301000000Z",
    "500230000000Z",
    "5001010000Z",
    "500101000000+0100",
  ]) {
    assert.throws(() => at(0x17, text), { name: "BadDer" }, text);
  }
});

const SEEDS = Uint8Array.from({ length: 96 }, (_, at) => at);

test("what is sealed here opens with the key's seeds, and only under its own info", async () => {
  const [secret, info] = [new Uint8Array(64).fill(5), utf8("info")];
  const sealed = await wrap(secret, publicKey(SEEDS), info);
  assert.equal(sealed.length, 1200);
  assert.deepEqual(await openWrap(sealed, SEEDS, info), secret);
  await assert.rejects(openWrap(sealed, SEEDS, utf8("other")));
  await assert.rejects(wrap(secret, publicKey(SEEDS).slice(1), info), { code: "cannot_open" });
});

test("a key of small order or beyond the modulus cannot be sealed to", () => {
  const good = publicKey(SEEDS);
  assert.ok(checkSealingKey(good));
  assert.ok(!checkSealingKey(good.slice(1)));
  assert.ok(!checkSealingKey(concat(new Uint8Array(1184).fill(255), good.slice(1184))));
  const points = [
    "00".repeat(32),
    `01${"00".repeat(31)}`,
    `ec${"ff".repeat(30)}7f`,
    `ed${"ff".repeat(31)}`,
  ];
  for (const point of points)
    assert.ok(!checkSealingKey(concat(good.slice(0, 1184), fromHex(point))), point);
});

test("signatures are checked as strictly as RFC 8032 wants", () => {
  const payer = new Payer(new Uint8Array(32).fill(3));
  const key = fromHex(payer.publicHex);
  const [document, signature] = [{ c: "00" }, payer.sign({ c: "00" })];
  verify("request", document, signature, key);
  const fails = (sig: Uint8Array<ArrayBuffer>, pk: Uint8Array<ArrayBuffer>) =>
    assert.throws(() => verify("request", document, sig, pk), { code: "bad_signature" });
  fails(signature.with(0, 0), key);
  fails(signature.slice(1), key);
  fails(signature, key.slice(1));
  // A key of order one "signs" anything with R = identity and S = 0.
  const identity = new Uint8Array(32).with(0, 1);
  fails(concat(identity, new Uint8Array(32)), identity);
  fails(concat(identity, signature.slice(32)), key);
  // S + L is the same number to a careless reader.
  const L = 2n ** 252n + 27742317777372353535851937790883648493n;
  const s = BigInt(`0x${toHex(signature.slice(32).reverse())}`) + L;
  const beyond = fromHex(s.toString(16).padStart(64, "0")).reverse();
  fails(concat(signature.slice(0, 32), beyond), key);
});
