/** Whether a hybrid public key can be sealed to (FIPS 203 7.2, RFC 7748 6.1). */

import { type Bytes, toHex } from "../bytes.js";
import { PUBLIC_KEY_BYTES } from "../envelope/wrap.js";

const MLKEM_BYTES = 1184;
const COEFFICIENT_BYTES = 1152; // 768 coefficients of 12 bits, then the seed of the matrix
const MODULUS = 3329;

/** The points of small order, and their spellings beyond the prime (RFC 7748 6.1, libsodium). */
const SMALL_ORDER: ReadonlySet<string> = new Set([
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  `ec${"ff".repeat(30)}7f`,
  `ed${"ff".repeat(30)}7f`,
  `ee${"ff".repeat(30)}7f`,
]);

export function checkSealingKey(raw: Bytes): boolean {
  if (raw.length !== PUBLIC_KEY_BYTES) return false;
  return isReduced(raw.subarray(0, COEFFICIENT_BYTES)) && !hasSmallOrder(raw.slice(MLKEM_BYTES));
}

/** Each coefficient of the ML-KEM key is below the modulus: its encoding is the one that exists. */
function isReduced(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += 3) {
    const [low = 0, middle = 0, high = 0] = bytes.subarray(at, at + 3);
    const [first, second] = [low | ((middle & 15) << 8), (middle >> 4) | (high << 4)];
    if (first >= MODULUS || second >= MODULUS) return false;
  }
  return true;
}

function hasSmallOrder(point: Bytes): boolean {
  point[31] = (point[31] ?? 0) & 0x7f; // the top bit is no part of the number
  return SMALL_ORDER.has(toHex(point));
}
