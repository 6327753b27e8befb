/**
 * Ed25519 signatures over canonical documents, bound to a kind (SPEC 1.1, 1.2). The message is
 * always `"bombyx/1/" kind 0x00 SHA-256(document)`: no key ever signs bytes of a peer's choosing.
 */

import * as ed25519 from "@noble/ed25519";
import { sha512 } from "@noble/hashes/sha2.js";
import { type Bytes, concat, toHex, utf8 } from "./bytes.js";
import { digest } from "./canonical.js";
import { BombyxError } from "./errors.js";

ed25519.hashes.sha512 = sha512;

/** The kinds that a client meets. It signs `request`; a verifier of its own signs `verdict`. */
export type Kind =
  | "batch"
  | "settle"
  | "refusal"
  | "lost"
  | "offer"
  | "link-worker"
  | "link-gateway"
  | "request"
  | "verdict";

const PUBLIC_KEY_BYTES = 32;

/** The bytes that a signature of this kind covers. */
export function message(kind: Kind, document: unknown): Bytes {
  return concat(utf8(`bombyx/1/${kind}\0`), digest(document));
}

/** A key of one role: it signs documents of one kind and nothing else, and never shows itself. */
class Signer {
  readonly #seed: Bytes;
  readonly #kind: Kind;
  readonly publicHex: string;

  constructor(kind: Kind, seed: Bytes) {
    this.#kind = kind;
    this.#seed = seed;
    this.publicHex = toHex(ed25519.getPublicKey(seed));
  }

  sign(document: unknown): Bytes {
    return new Uint8Array(ed25519.sign(message(this.#kind, document), this.#seed));
  }
}

/** The key that signs commitments. */
export class Payer extends Signer {
  constructor(seed: Bytes) {
    super("request", seed);
  }
}

/** The key of a verifier to whom an application delegates. */
export class VerifierKey extends Signer {
  constructor(seed: Bytes) {
    super("verdict", seed);
  }
}

/**
 * Check a signature; throws `bad_signature`. Keys and commitments of small order, non-canonical
 * points and scalars beyond the group order are refused (SPEC 1.1).
 */
export function verify(kind: Kind, document: unknown, signature: Bytes, publicKey: Bytes): void {
  let genuine = false;
  try {
    const strict = { zip215: false };
    genuine =
      !ed25519.Point.fromBytes(signature.slice(0, PUBLIC_KEY_BYTES)).isSmallOrder() &&
      ed25519.verify(signature, message(kind, document), publicKey, strict);
  } catch {
    genuine = false; // a wrong length, or no point at all
  }
  if (!genuine) throw new BombyxError("bad_signature", `the ${kind} signature does not verify`);
}
