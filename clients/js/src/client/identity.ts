/**
 * Who pays, and whose prefix cache it is (SPEC 2.7, 12). Payer keys are derived, one for each
 * gateway and API key: two gateways cannot recognise the same payer.
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { concat, fromHex, utf8 } from "../bytes.js";
import { expand, SECRET_BYTES } from "../envelope/keys.js";
import { BombyxError } from "../errors.js";
import { Payer } from "../signing.js";

const LABEL = utf8("bombyx/1/payer\0");

/** Two secrets of 32 random bytes; an application that keeps them keeps its payer keys. */
export interface Identity {
  readonly payerRoot: Uint8Array;
  readonly cacheSecret: Uint8Array;
}

/** A fresh identity, from a source of randomness. */
export function makeIdentity(random: (size: number) => Uint8Array): Identity {
  return { payerRoot: random(SECRET_BYTES), cacheSecret: random(SECRET_BYTES) };
}

export function checkIdentity(identity: Identity): Identity {
  const { payerRoot, cacheSecret } = identity;
  if (payerRoot.length !== SECRET_BYTES || cacheSecret.length !== SECRET_BYTES) {
    const why = "an identity holds 32 bytes of payerRoot and 32 of cacheSecret";
    throw new BombyxError("setup_error", why);
  }
  return identity;
}

/** The key that signs requests to a gateway (hex key) under an API key. */
export function payerOf(identity: Identity, gateway: string, authorization: string): Payer {
  const account = sha256(utf8(authorization));
  return new Payer(expand(identity.payerRoot, concat(LABEL, fromHex(gateway), account)));
}
