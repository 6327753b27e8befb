/**
 * Opening an answer (SPEC 3): every byte authenticated, the end included. Whether the receipt is
 * the right one for the request is decided elsewhere (SPEC 3.9).
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { type Bytes, concat, readU32be, utf8 } from "../bytes.js";
import { decode } from "../canonical.js";
import { BombyxError } from "../errors.js";
import type { Schema } from "../schema.js";
import {
  type ResponseHead,
  relayNote,
  responseHead,
  type StreamEnd,
  streamEnd,
} from "./documents.js";
import { aad, FINAL, type Frame, FrameSplitter, FrameType } from "./frames.js";
import { expand, FrameCipher, SALT_BYTES } from "./keys.js";

const LENGTH_BYTES = 4;

/** A clear receipt, unverified; hash and length of what came before it. */
export interface UsageSeen {
  readonly kind: "usage";
  readonly receipt: Bytes;
  readonly respCtHash: Bytes;
  readonly respCtBytes: number;
}

/** The answer's status and headers, and the worker whose secret opened them (hex id). */
export interface HeadOpened {
  readonly kind: "head";
  readonly worker: string;
  readonly head: ResponseHead;
}

export type Opened =
  | HeadOpened
  | UsageSeen
  | { readonly kind: "data"; readonly payload: Bytes }
  | { readonly kind: "error"; readonly body: Bytes }
  | { readonly kind: "end"; readonly end: StreamEnd };

/** The secret of one answer; the salt keeps a second answer from re-using nonces. */
export function responseSecret(secret: Bytes, salt: Bytes): Bytes {
  return expand(secret, concat(utf8("response"), salt));
}

/** Whether a frame's associated data ends with the transcript (SPEC 3.3). */
function sealedUnderTranscript(type: number, before: number): boolean {
  return before === FrameType.usage || type === FrameType.error || type === FrameType.end;
}

/** The running hash t, and the length of what it covers. */
class Transcript {
  readonly #hash = sha256.create();
  length: number;

  constructor(h: Bytes, salt: Bytes) {
    this.#hash.update(h).update(salt);
    this.length = salt.length;
  }

  add(frame: Bytes): void {
    this.#hash.update(frame);
    this.length += frame.length;
  }

  digest(): Bytes {
    return new Uint8Array(this.#hash.clone().digest());
  }
}

/** Feed it the bytes of an answer, in turn; `finish` says whether they were all of it. */
export class ResponseOpener {
  readonly #h: Bytes;
  readonly #secrets: ReadonlyMap<string, Bytes>;
  readonly #splitter = new FrameSplitter();
  #salt: Bytes = new Uint8Array(0);
  #transcript: Transcript | undefined;
  #cipher: FrameCipher | undefined;
  #sequence = 0;
  #before = -1;
  #plaintextBytes = 0;
  #ended = false;

  /** `secrets` are the response secrets by worker id. */
  constructor(h: Bytes, secrets: ReadonlyMap<string, Bytes>) {
    this.#h = h;
    this.#secrets = secrets;
  }

  /** What is whole by now; throws `malformed_frame`, `cannot_open` or `relay_interrupted`. */
  async feed(data: Uint8Array): Promise<readonly Opened[]> {
    let rest = data;
    if (this.#transcript === undefined) {
      const salted = concat(this.#salt, data);
      this.#salt = salted.slice(0, SALT_BYTES);
      if (salted.length < SALT_BYTES) return [];
      rest = salted.subarray(SALT_BYTES);
      this.#transcript = new Transcript(this.#h, this.#salt);
    }
    const out: Opened[] = [];
    for (const frame of this.#splitter.feed(rest)) {
      if (this.#ended) throw malformed("the answer goes on after its end");
      const opened = await this.#open(frame, this.#transcript);
      if (opened !== undefined) out.push(opened);
    }
    if (this.#ended && this.#splitter.pending > 0) {
      throw malformed("the answer goes on after its end");
    }
    return out;
  }

  /** Call at the end of input; throws `truncated` unless the authenticated end was seen. */
  finish(): void {
    if (!this.#ended) {
      throw new BombyxError("truncated", "the answer broke off before its authenticated end");
    }
  }

  async #open(frame: Frame, transcript: Transcript): Promise<Opened | undefined> {
    if (frame.flags !== (frame.type === FrameType.end ? FINAL : 0)) {
      throw malformed("the final mark belongs on the end frame alone");
    }
    if (frame.type === FrameType.relayNote) throw interrupted(frame);
    if ((this.#cipher === undefined) !== (frame.type === FrameType.head)) {
      throw malformed("the head is the first frame and no other");
    }
    const opened =
      this.#cipher === undefined
        ? await this.#openHead(frame)
        : await this.#openLater(frame, transcript, this.#cipher);
    transcript.add(frame.raw);
    this.#sequence += 1;
    this.#before = frame.type;
    return opened;
  }

  async #openLater(
    frame: Frame,
    transcript: Transcript,
    cipher: FrameCipher,
  ): Promise<Opened | undefined> {
    if (frame.type === FrameType.usage) {
      const respCtHash = transcript.digest();
      return { kind: "usage", receipt: frame.body, respCtHash, respCtBytes: transcript.length };
    }
    const bound = aad(this.#h, this.#sequence, frame.type, frame.flags);
    const data = sealedUnderTranscript(frame.type, this.#before)
      ? concat(bound, transcript.digest())
      : bound;
    const payload = await cipher.open(this.#sequence, frame.body, data);
    switch (frame.type) {
      case FrameType.data:
        return this.#data(payload);
      case FrameType.error:
        return { kind: "error", body: unpad(payload) };
      case FrameType.end:
        return this.#end(payload);
      default:
        if (payload.some((byte) => byte !== 0)) throw malformed("a padding frame holds data");
        return undefined;
    }
  }

  /** Try each candidate's secret: the header that names the worker is only a hint. */
  async #openHead(frame: Frame): Promise<HeadOpened> {
    const data = aad(this.#h, 0, frame.type, frame.flags);
    for (const [worker, secret] of this.#secrets) {
      const cipher = await FrameCipher.of(responseSecret(secret, this.#salt));
      const payload = await cipher.open(0, frame.body, data).catch(() => undefined);
      if (payload === undefined) continue;
      this.#cipher = cipher;
      return { kind: "head", worker, head: readDocument(unpad(payload), responseHead) };
    }
    throw new BombyxError("cannot_open", "the answer was not sealed by a worker that was asked");
  }

  #data(payload: Bytes): Opened {
    const piece = unpad(payload);
    this.#plaintextBytes += piece.length;
    return { kind: "data", payload: piece };
  }

  #end(payload: Bytes): Opened {
    const end = readDocument(payload, streamEnd);
    if (end.bytes !== this.#plaintextBytes) {
      throw malformed("the end frame counts other bytes than came");
    }
    this.#ended = true;
    return { kind: "end", end };
  }
}

function interrupted(frame: Frame): BombyxError {
  const { code } = readDocument(frame.body, relayNote);
  return new BombyxError(
    "relay_interrupted",
    `the gateway reports (unauthenticated) that the answer broke off: ${code}`,
  );
}

/** A document inside a frame; its content stays out of the error. */
function readDocument<T>(payload: Bytes, schema: Schema<T>): T {
  try {
    return decode(payload, schema);
  } catch {
    throw malformed("a frame does not hold the document that it must");
  }
}

/** The payload of `u32be n | payload | zeros`; throws `malformed_frame`. */
export function unpad(packed: Bytes): Bytes {
  if (packed.length < LENGTH_BYTES) throw malformed("a frame is too short for its length");
  const end = LENGTH_BYTES + readU32be(packed);
  if (end > packed.length || packed.subarray(end).some((byte) => byte !== 0)) {
    throw malformed("the padding of a frame is wrong");
  }
  return packed.slice(LENGTH_BYTES, end);
}

function malformed(why: string): BombyxError {
  return new BombyxError("malformed_frame", why);
}
