/**
 * What lies inside the sealed request (SPEC 2.2):
 * `u32be m | JCS{content_type, user_cache_secret?} | u32be n | body | zeros up to the bucket`.
 */

import { type Bytes, concat, readU32be, u32be } from "../bytes.js";
import { decode, encode } from "../canonical.js";
import { BombyxError } from "../errors.js";
import { type Infer, object, string } from "../schema.js";
import { hex32 } from "../units.js";

const FIRST_BUCKET = 1024;
const DOUBLING_UP_TO = 8192;
const MAX_HEAD_BYTES = 1024;
const LENGTH_BYTES = 4;

const plaintextHead = object(
  { content_type: string(null, { max: 256 }) },
  { user_cache_secret: hex32 },
);

/** What the worker needs besides the body. */
export type PlaintextHead = Infer<typeof plaintextHead>;

/** The padded size: 1, 2, 4, 8 KiB, then steps of an eighth. */
export function bucket(size: number): number {
  let step = FIRST_BUCKET;
  while (step < size) step = step < DOUBLING_UP_TO ? step * 2 : step + Math.floor(step / 8);
  return step;
}

/** Head and body, padded to their bucket. */
export function pack(head: PlaintextHead, body: Bytes): Bytes {
  const encoded = encode(head);
  const packed = concat(u32be(encoded.length), encoded, u32be(body.length), body);
  const out = new Uint8Array(bucket(packed.length));
  out.set(packed);
  return out;
}

/** The inverse; refuses non-zero padding and foreign buckets with `malformed_sealed_request`. */
export function unpack(data: Bytes): { readonly head: PlaintextHead; readonly body: Bytes } {
  const head = take(data, 0, MAX_HEAD_BYTES);
  const body = take(data, head.end, data.length);
  if (data.length !== bucket(body.end) || data.subarray(body.end).some((byte) => byte !== 0)) {
    throw malformed("the padding of the sealed request is wrong");
  }
  try {
    return { head: decode(head.piece, plaintextHead), body: body.piece };
  } catch {
    throw malformed("the head of the sealed request is not canonical"); // which is content
  }
}

function take(data: Bytes, start: number, limit: number): { piece: Bytes; end: number } {
  const begin = start + LENGTH_BYTES;
  if (data.length < begin) throw malformed("the sealed request is too short");
  const length = readU32be(data, start);
  const end = begin + length;
  if (length > limit || end > data.length) {
    throw malformed("a length in the sealed request is wrong");
  }
  return { piece: data.slice(begin, end), end };
}

function malformed(why: string): BombyxError {
  return new BombyxError("malformed_sealed_request", why);
}
