/** The clear header of a sealed request: all that the gateway may know of it (SPEC 2). */

import { sha256 } from "@noble/hashes/sha2.js";
import type { Bytes } from "../bytes.js";
import { decode, encode } from "../canonical.js";
import { BombyxError, hasCode } from "../errors.js";
import { array, boolean, type Infer, integer, object, oneOf, string } from "../schema.js";
import { count, hex16, hex32, name, nanoText } from "../units.js";

export const MAX_HEADER_BYTES = 16 * 2 ** 10;
export const MAX_CANDIDATES = 8;
export const MAX_FEE_BPS = 10_000;

const candidate = object({ worker: hex32, key_id: hex16, offer: hex32 });

export const header = object(
  {
    v: oneOf("bombyx/1"),
    id: hex16,
    gateway: hex32,
    method: oneOf("POST"),
    path: string(/^\/v1\/[a-z0-9/_-]+$/, { max: 64 }),
    model: name,
    stream: boolean,
    tier: oneOf("sealed", "bare"),
    payer: hex32,
    issued_at: count,
    max_input_tokens: count,
    max_output_tokens: integer(1, Number.MAX_SAFE_INTEGER),
    max_cost_nano: nanoText,
    fee_bps: integer(0, MAX_FEE_BPS),
    candidates: array(candidate, { min: 1, max: MAX_CANDIDATES }),
  },
  {
    channel: string(/^[A-Za-z0-9:_-]+$/, { max: 80 }),
    cache_shard: string(/^[A-Za-z0-9_-]+$/, { max: 64 }),
  },
);

/** H of SPEC 2; amounts are decimal strings, `issued_at` unix seconds. */
export type Header = Infer<typeof header>;

/** A header with its canonical bytes and their hash `h`. */
export interface HashedHeader {
  readonly header: Header;
  readonly raw: Bytes;
  readonly h: Bytes;
}

/** Encode and hash a header of our own making; throws `malformed_header` beyond its bounds. */
export function hashHeader(value: Header): HashedHeader {
  return parseHeader(encode(value));
}

/** Read a header; throws `malformed_header`. */
export function parseHeader(raw: Bytes): HashedHeader {
  if (raw.length > MAX_HEADER_BYTES) throw malformed("the header is longer than 16 KiB");
  let parsed: Header;
  try {
    parsed = decode(raw, header);
  } catch (error) {
    if (hasCode(error, "not_canonical")) throw malformed(error.message);
    throw error;
  }
  const workers = new Set(parsed.candidates.map((one) => one.worker));
  if (workers.size !== parsed.candidates.length) throw malformed("a worker is a candidate twice");
  return { header: parsed, raw, h: sha256(raw) };
}

function malformed(why: string): BombyxError {
  return new BombyxError("malformed_header", why);
}
