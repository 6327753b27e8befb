/** The worker's half of the envelope, for tests: opens requests, seals answers (SPEC 2, 3). */

import * as ed25519 from "@noble/ed25519";
import { sha256 } from "@noble/hashes/sha2.js";
import { type Bytes, concat, fromHex, readU32be, toHex, u32be, utf8 } from "../../src/bytes.js";
import { encode } from "../../src/canonical.js";
import { aad, encodeFrame, FINAL, FrameSplitter, FrameType } from "../../src/envelope/frames.js";
import { type HashedHeader, parseHeader } from "../../src/envelope/header.js";
import { FrameCipher } from "../../src/envelope/keys.js";
import { responseSecret } from "../../src/envelope/opener.js";
import { unpack } from "../../src/envelope/plaintext.js";
import { authDocument, commitment, FRAME_PLAINTEXT } from "../../src/envelope/request.js";
import { WRAP_BYTES, wrapInfo } from "../../src/envelope/wrap.js";
import { type Kind, message, verify } from "../../src/signing.js";
import { openWrap } from "./opening.js";

/** What a worker finds in a sealed request. */
export interface OpenedRequest {
  readonly header: HashedHeader;
  readonly c: Bytes;
  readonly reqCtHash: Bytes;
  readonly body: string;
  readonly responseSecret: Bytes;
}

export function publicHex(seed: string): string {
  return toHex(ed25519.getPublicKey(fromHex(seed)));
}

export function sign(kind: Kind, document: unknown, seed: string): string {
  return toHex(ed25519.sign(message(kind, document), fromHex(seed)));
}

/** Open the first candidate's wrap, refusing what a worker must refuse (SPEC 2.2 to 2.9). */
export async function openRequest(sealed: Bytes, seeds: Bytes): Promise<OpenedRequest> {
  const size = sealed.length < 4 ? sealed.length : readU32be(sealed);
  const wrapsAt = 4 + size + 32 + 64 + 1;
  if (sealed.length < wrapsAt) throw new RangeError("too short");
  const header = parseHeader(sealed.slice(4, 4 + size));
  const [c, auth] = [sealed.slice(4 + size, 36 + size), sealed.slice(36 + size, 100 + size)];
  const count = sealed[wrapsAt - 1] ?? 0;
  if (count !== header.header.candidates.length) throw new RangeError("wraps");
  const [candidate] = header.header.candidates;
  const info = wrapInfo(fromHex(candidate?.worker ?? ""), header.h, c);
  const secrets = await openWrap(sealed.slice(wrapsAt, wrapsAt + WRAP_BYTES), seeds, info);
  const frames = sealed.slice(wrapsAt + count * WRAP_BYTES);
  const [dek, reqCtHash] = [secrets.slice(0, 32), sha256(frames)];
  if (toHex(commitment(dek, header.h, reqCtHash)) !== toHex(c)) throw new RangeError("commitment");
  verify("request", authDocument(c), auth, fromHex(header.header.payer));
  const body = await openFrames(frames, dek, header.h);
  return { header, c, reqCtHash, body, responseSecret: secrets.slice(32) };
}

/** The body in request frames (SPEC 2.8, 2.9). */
export async function openFrames(frames: Bytes, dek: Bytes, h: Bytes): Promise<string> {
  const [cipher, splitter] = [await FrameCipher.of(dek), new FrameSplitter()];
  const whole = splitter.feed(frames);
  if (splitter.pending > 0 || whole.length === 0) throw new RangeError("frames break off");
  const pieces: Bytes[] = [];
  for (const [at, { type, flags, body }] of whole.entries()) {
    const isLast = at === whole.length - 1;
    const piece = await cipher.open(at, body, aad(h, at, type, flags));
    const isRight = type === FrameType.data && flags === (isLast ? FINAL : 0);
    if (!isRight || (!isLast && piece.length !== FRAME_PLAINTEXT)) throw new RangeError("a frame");
    pieces.push(piece);
  }
  return new TextDecoder().decode(unpack(concat(...pieces)).body);
}

/** Seals one answer; the methods may be called in a wrong order on purpose. */
export class Sealer {
  readonly #h: Bytes;
  readonly #cipher: FrameCipher;
  #covered: Bytes;
  #sequence = 0;
  #before = -1;
  #plaintext = 0;

  private constructor(h: Bytes, salt: Bytes, cipher: FrameCipher) {
    this.#h = h;
    this.#cipher = cipher;
    this.#covered = concat(h, salt);
  }

  static async of(request: OpenedRequest): Promise<Sealer> {
    const salt = new Uint8Array(32).fill(7);
    const cipher = await FrameCipher.of(responseSecret(request.responseSecret, salt));
    return new Sealer(request.header.h, salt, cipher);
  }

  get bytes(): Bytes {
    return this.#covered.slice(this.#h.length);
  }

  /** What a statement says of the answer so far. */
  fixed(): { resp_ct_hash: string; resp_ct_bytes: number } {
    return { resp_ct_hash: toHex(sha256(this.#covered)), resp_ct_bytes: this.bytes.length };
  }

  head(status: number, type: string): Promise<void> {
    const headers = [["content-type", type]];
    return this.#seal(FrameType.head, padded(encode({ status, headers })));
  }

  data(text: string): Promise<void> {
    this.#plaintext += utf8(text).length;
    return this.#seal(FrameType.data, padded(utf8(text)));
  }

  error(text: string): Promise<void> {
    return this.#seal(FrameType.error, padded(utf8(text)));
  }

  usage(receipt: unknown): void {
    this.#emit(FrameType.usage, 0, encode(receipt));
  }

  end(statement: string, bytes = this.#plaintext): Promise<void> {
    return this.#seal(FrameType.end, encode({ statement, bytes }), FINAL);
  }

  async #seal(type: number, payload: Bytes, flags = 0): Promise<void> {
    const bound = aad(this.#h, this.#sequence, type, flags);
    const late = type === FrameType.end || type === FrameType.error;
    const under = late || this.#before === FrameType.usage;
    const data = under ? concat(bound, sha256(this.#covered)) : bound;
    this.#emit(type, flags, await this.#cipher.seal(this.#sequence, payload, data));
  }

  #emit(type: number, flags: number, body: Bytes): void {
    this.#covered = concat(this.#covered, encodeFrame(type, flags, body));
    this.#sequence += 1;
    this.#before = type;
  }
}

function padded(payload: Bytes): Bytes {
  const packed = concat(u32be(payload.length), payload);
  return concat(packed, new Uint8Array(-packed.length & 511));
}
