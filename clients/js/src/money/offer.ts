/** What a worker asks for its tokens (SPEC 1.7): a signed promise, kept until `valid_until`. */

import { fromHex } from "../bytes.js";
import { type Infer, integer, object, oneOf } from "../schema.js";
import { verify } from "../signing.js";
import { count, hex32, hex64, name, nanoText } from "../units.js";

/** Nano per one million tokens of each class, as decimal strings. */
export const prices = object({
  prompt: nanoText,
  cached: nanoText,
  completion: nanoText,
  reasoning: nanoText,
});
export type Prices = Infer<typeof prices>;

export const offer = object({
  v: oneOf("bombyx/1"),
  worker: hex32,
  model: name,
  prices,
  valid_until: count,
  max_concurrency: integer(1, 100_000),
});
/** Prices of one model at one worker; `valid_until` in unix seconds. */
export type Offer = Infer<typeof offer>;

export const signedOffer = object({ offer, signature: hex64 });
/** An offer with the signature of the worker's link key. */
export type SignedOffer = Infer<typeof signedOffer>;

/** Check an offer against the link key (hex) of the keyset it names; throws `bad_signature`. */
export function verifyOffer(signed: SignedOffer, linkKey: string): void {
  verify("offer", signed.offer, fromHex(signed.signature), fromHex(linkKey));
}
