/** Frames: type u8, flags u8, length u32be, ciphertext (SPEC 2.9, 3.1, 3.6). */

import { type Bytes, concat } from "../bytes.js";
import { BombyxError } from "../errors.js";

export const HEAD_BYTES = 6;
export const FINAL = 0x01;
/** Longest ciphertext: bounds what a reader must hold before it can check anything. */
export const MAX_FRAME_BYTES = 2 ** 20;
/** The same for usage, error and end frames, which carry small documents. */
export const MAX_CONTROL_BYTES = 8 * 2 ** 10;
const MAX_NOTE_BYTES = 512;

export const FrameType = {
  data: 0,
  head: 1,
  usage: 2,
  padding: 3,
  error: 4,
  end: 5,
  relayNote: 0x7f,
} as const;

const LIMITS: ReadonlyMap<number, number> = new Map([
  [FrameType.data, MAX_FRAME_BYTES],
  [FrameType.head, MAX_FRAME_BYTES],
  [FrameType.usage, MAX_CONTROL_BYTES],
  [FrameType.padding, MAX_FRAME_BYTES],
  [FrameType.error, MAX_CONTROL_BYTES],
  [FrameType.end, MAX_CONTROL_BYTES],
  [FrameType.relayNote, MAX_NOTE_BYTES],
]);

/** One frame as it came; `raw` includes the 6 bytes of its head. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly raw: Bytes;
  /** What follows the head: ciphertext, or clear text for usage frames and notes. */
  readonly body: Bytes;
}

export function encodeFrame(type: number, flags: number, body: Bytes): Bytes {
  const head = new Uint8Array(HEAD_BYTES);
  head[0] = type;
  head[1] = flags;
  new DataView(head.buffer).setUint32(2, body.length);
  return concat(head, body);
}

/** Associated data of a sealed frame, before the transcript that some add (SPEC 3.3). */
export function aad(h: Uint8Array, sequence: number, type: number, flags: number): Bytes {
  const tail = new Uint8Array(10);
  const view = new DataView(tail.buffer);
  view.setBigUint64(0, BigInt(sequence));
  view.setUint8(8, type);
  view.setUint8(9, flags);
  return concat(h, tail);
}

/** Bytes, cut anywhere, to frames; checks types and lengths before it buffers a body. */
export class FrameSplitter {
  #pieces: Uint8Array[] = [];
  #held = 0;
  #needed = HEAD_BYTES;

  /** The frames that are whole by now; throws `malformed_frame`. */
  feed(data: Uint8Array): readonly Frame[] {
    if (data.length > 0) this.#pieces.push(data);
    this.#held += data.length;
    if (this.#held < this.#needed) return []; // a frame that trickles in is copied once
    const buffer = concat(...this.#pieces);
    const frames: Frame[] = [];
    let start = 0;
    this.#needed = HEAD_BYTES;
    while (buffer.length - start >= HEAD_BYTES) {
      const length = HEAD_BYTES + bodyLength(buffer, start);
      if (buffer.length - start < length) {
        this.#needed = length;
        break;
      }
      frames.push(frameAt(buffer, start, length));
      start += length;
    }
    this.#pieces = start < buffer.length ? [buffer.slice(start)] : [];
    this.#held = buffer.length - start;
    return frames;
  }

  /** Bytes of a frame that has begun. */
  get pending(): number {
    return this.#held;
  }
}

function bodyLength(buffer: Bytes, start: number): number {
  const view = new DataView(buffer.buffer, start);
  const type = view.getUint8(0);
  const limit = LIMITS.get(type);
  if (limit === undefined) {
    throw new BombyxError("malformed_frame", `there is no frame type ${type}`);
  }
  const length = view.getUint32(2);
  if (length > limit) {
    throw new BombyxError(
      "malformed_frame",
      `a frame of type ${type} holds at most ${limit} bytes`,
    );
  }
  return length;
}

function frameAt(buffer: Bytes, start: number, length: number): Frame {
  const raw = buffer.slice(start, start + length);
  return { type: raw[0] ?? 0, flags: raw[1] ?? 0, raw, body: raw.subarray(HEAD_BYTES) };
}
