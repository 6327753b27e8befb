/**
 * Sealing a request to several workers (SPEC 2.7 to 2.9). The body is sealed once under a random
 * DEK; the commitment `c` fixes DEK, header and ciphertext, and names the request from then on.
 *
 * Bytes: `u32be |H| | H | c(32) | auth(64) | u8 k | k wraps of 1200 B | frames`.
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { type Bytes, concat, fromHex, toHex, u32be, utf8 } from "../bytes.js";
import type { Payer } from "../signing.js";
import { aad, encodeFrame, FINAL, FrameType } from "./frames.js";
import type { HashedHeader } from "./header.js";
import { expand, FrameCipher, TAG_BYTES } from "./keys.js";
import { type PlaintextHead, pack } from "./plaintext.js";
import { wrap, wrapInfo } from "./wrap.js";

/** Every request frame but the last holds exactly this much, so that sizes tell nothing more. */
export const FRAME_PLAINTEXT = 2 ** 20 - TAG_BYTES;

/** The randomness of one sealed request; never reused. */
export interface Entropy {
  readonly dek: Bytes;
  /** 32 bytes per candidate, in the header's order. */
  readonly responseSecrets: readonly Bytes[];
}

/** A sealed request, and what its sender keeps to open and check the answer. */
export interface SealedRequest {
  readonly header: HashedHeader;
  readonly c: Bytes;
  readonly auth: Bytes;
  readonly wraps: readonly Bytes[];
  readonly frames: Bytes;
  readonly reqCtHash: Bytes;
  readonly responseSecrets: readonly Bytes[];
}

/** The body of the HTTP request. */
export function encodeRequest(sealed: SealedRequest): Bytes {
  const { raw } = sealed.header;
  const count = Uint8Array.of(sealed.wraps.length);
  const { c, auth, wraps, frames } = sealed;
  return concat(u32be(raw.length), raw, c, auth, count, ...wraps, frames);
}

/** All request frames of a padded plaintext. */
export async function sealFrames(dek: Bytes, h: Bytes, plaintext: Bytes): Promise<Bytes> {
  const cipher = await FrameCipher.of(dek);
  const frames: Bytes[] = [];
  const total = Math.ceil(plaintext.length / FRAME_PLAINTEXT);
  for (let sequence = 0; sequence < total; sequence++) {
    const start = sequence * FRAME_PLAINTEXT;
    const piece = plaintext.slice(start, start + FRAME_PLAINTEXT);
    const flags = sequence === total - 1 ? FINAL : 0;
    const bound = aad(h, sequence, FrameType.data, flags);
    frames.push(encodeFrame(FrameType.data, flags, await cipher.seal(sequence, piece, bound)));
  }
  return concat(...frames);
}

/** `c`: commits to the key (AES-GCM alone does not), the header and the ciphertext. */
export function commitment(dek: Bytes, h: Bytes, reqCtHash: Bytes): Bytes {
  return expand(dek, concat(utf8("commit"), h, reqCtHash));
}

/** What the payer signs. */
export function authDocument(c: Bytes): { readonly c: string } {
  return { c: toHex(c) };
}

/** What to seal with: public keys and response secrets in the order of the candidates. */
export interface SealingMaterial {
  readonly keys: readonly Bytes[];
  readonly payer: Payer;
  readonly entropy: Entropy;
}

/** Seal a body to the header's candidates; throws `RangeError` unless there is a key for each. */
export async function sealRequest(
  header: HashedHeader,
  head: PlaintextHead,
  body: Bytes,
  { keys, payer, entropy }: SealingMaterial,
): Promise<SealedRequest> {
  const { dek, responseSecrets } = entropy;
  const { candidates } = header.header;
  if (keys.length !== candidates.length || responseSecrets.length !== candidates.length) {
    throw new RangeError("one key and one response secret per candidate");
  }
  const frames = await sealFrames(dek, header.h, pack(head, body));
  const reqCtHash = sha256(frames);
  const c = commitment(dek, header.h, reqCtHash);
  const wraps = await Promise.all(
    candidates.map((candidate, index) => {
      const secrets = concat(dek, responseSecrets[index] ?? new Uint8Array(0));
      const info = wrapInfo(fromHex(candidate.worker), header.h, c);
      return wrap(secrets, keys[index] ?? new Uint8Array(0), info);
    }),
  );
  const auth = payer.sign(authDocument(c));
  return { header, c, auth, wraps, frames, reqCtHash, responseSecrets };
}
