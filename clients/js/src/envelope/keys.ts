/**
 * The key schedule and the AEAD of frames (SPEC 2.9). Every secret that goes into `expand` is 32
 * uniformly random bytes, so HKDF's extract step has nothing to do.
 */

import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { type Bytes, concat, utf8 } from "../bytes.js";
import { BombyxError } from "../errors.js";

export const SECRET_BYTES = 32;
export const SALT_BYTES = 32;
export const TAG_BYTES = 16;
const NONCE_BYTES = 12;
const SEQUENCE_AT = NONCE_BYTES - 8;
const AES = "AES-GCM";

/** HKDF-Expand-SHA256 of a uniform secret for one block, which is then one HMAC. */
export function expand(secret: Uint8Array, info: Uint8Array, length = SECRET_BYTES): Bytes {
  return hmac(sha256, secret, concat(info, Uint8Array.of(1))).slice(0, length);
}

/** WebCrypto, or the reason why there is none. */
export function subtle(): SubtleCrypto {
  const found: SubtleCrypto | undefined = globalThis.crypto?.subtle;
  if (found === undefined) {
    throw new BombyxError(
      "setup_error",
      "there is no WebCrypto here: browsers offer it to pages from https:// or localhost only",
    );
  }
  return found;
}

/** AES-256-GCM under a secret; the nonce is a base XOR the sequence number. */
export class FrameCipher {
  readonly #key: CryptoKey;
  readonly #base: Bytes;

  private constructor(key: CryptoKey, base: Bytes) {
    this.#key = key;
    this.#base = base;
  }

  static async of(secret: Uint8Array): Promise<FrameCipher> {
    const raw = expand(secret, utf8("key"));
    const key = await subtle().importKey("raw", raw, AES, false, ["encrypt", "decrypt"]);
    return new FrameCipher(key, expand(secret, utf8("nonce"), NONCE_BYTES));
  }

  /** Ciphertext and tag. */
  async seal(sequence: number, payload: Bytes, aad: Bytes): Promise<Bytes> {
    const parameters = this.#parameters(sequence, aad);
    return new Uint8Array(await subtle().encrypt(parameters, this.#key, payload));
  }

  /** The payload; throws `cannot_open`. */
  async open(sequence: number, ciphertext: Bytes, aad: Bytes): Promise<Bytes> {
    const parameters = this.#parameters(sequence, aad);
    try {
      return new Uint8Array(await subtle().decrypt(parameters, this.#key, ciphertext));
    } catch {
      throw new BombyxError("cannot_open", "the sealed data does not open");
    }
  }

  #parameters(sequence: number, aad: Bytes): AesGcmParams {
    const iv = this.#base.slice();
    const view = new DataView(iv.buffer);
    view.setBigUint64(SEQUENCE_AT, view.getBigUint64(SEQUENCE_AT) ^ BigInt(sequence));
    return { name: AES, iv, additionalData: aad, tagLength: 8 * TAG_BYTES };
  }
}
