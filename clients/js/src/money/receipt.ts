/**
 * Receipts (SPEC 1.3 to 1.5): what a worker did for one request, the path to a batch's root, and
 * the worker's signature over the batch.
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { type Bytes, concat, fromHex, toHex } from "../bytes.js";
import { encode } from "../canonical.js";
import { BombyxError, hasCode } from "../errors.js";
import { array, type Infer, integer, object, oneOf, string } from "../schema.js";
import { verify } from "../signing.js";
import { count, hex16, hex32, hex64, name, nanoText } from "../units.js";
import { type Cost, price, ratesOf } from "./cost.js";
import { prices } from "./offer.js";

const MAX_LEAVES = 64;
const MAX_PATH = 6;
const MAX_TICKET_TEXT = 1024;
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

const tokenCounts = object({ prompt: count, cached: count, completion: count, reasoning: count });

export const statement = object({
  v: oneOf("bombyx/1"),
  c: hex32,
  h: hex32,
  id: hex16,
  tier: oneOf("sealed", "bare"),
  payer: hex32,
  gateway: hex32,
  worker: hex32,
  boot: hex16,
  n: count,
  seq: count,
  model: name,
  weights: hex32,
  engine: hex32,
  offer: hex32,
  prices,
  tokens: tokenCounts,
  amount_nano: nanoText,
  fee_bps: count,
  fee_nano: nanoText,
  charge_nano: nanoText,
  req_ct_hash: hex32,
  resp_ct_hash: hex32,
  resp_ct_bytes: count,
  status: oneOf("partial", "final", "aborted"),
  ticket: string(/^(?:[0-9a-f]{2})*$/, { max: MAX_TICKET_TEXT }),
  at: count,
  prev: hex32,
});
/** One leaf of a batch; field by field in SPEC 1.3. */
export type Statement = Infer<typeof statement>;

export const batch = object({
  boot: hex16,
  gateway: hex32,
  root: hex32,
  count: integer(1, MAX_LEAVES),
  first_n: count,
});

export const receipt = object({
  statement,
  path: array(hex32, { max: MAX_PATH }),
  batch,
  signature: hex64,
});
/** A statement that anyone can check with nothing but the worker's receipt key. */
export type Receipt = Infer<typeof receipt>;

/** The hash by which end frames and others name a statement (not its Merkle leaf). */
export function statementHash(value: Statement): string {
  return toHex(sha256(encode(value)));
}

export function leafHash(canonicalStatement: Bytes): Bytes {
  return sha256(concat(LEAF, canonicalStatement));
}

/** Fold a path back to its root (RFC 9162 2.1.3.2); throws `bad_receipt` on a wrong length. */
export function rootFromPath(
  leaf: Bytes,
  index: number,
  leaves: number,
  path: readonly Bytes[],
): Bytes {
  if (index < 0 || index >= leaves) throw bad("the statement lies outside of its batch");
  let [position, last, node] = [index, leaves - 1, leaf];
  for (const sibling of path) {
    if (last === 0) throw bad("the Merkle path is too long");
    if (position % 2 === 1 || position === last) {
      node = sha256(concat(NODE, sibling, node));
      while (position % 2 === 0) [position, last] = [position / 2, last >> 1];
    } else {
      node = sha256(concat(NODE, node, sibling));
    }
    [position, last] = [position >> 1, last >> 1];
  }
  if (last !== 0) throw bad("the Merkle path is too short");
  return node;
}

function checkMembership({ statement: said, batch: signed, path }: Receipt): void {
  if (signed.boot !== said.boot || signed.gateway !== said.gateway) {
    throw bad("the batch belongs to another worker boot or gateway");
  }
  const leaf = leafHash(encode(said));
  const root = rootFromPath(leaf, said.n - signed.first_n, signed.count, path.map(fromHex));
  if (toHex(root) !== signed.root) {
    throw bad("the statement is not in the batch that its path leads to");
  }
}

/** Recompute the amounts from tokens, prices and fee; throws `bad_receipt`. */
export function checkArithmetic(said: Statement): void {
  const { tokens } = said;
  if (tokens.cached > tokens.prompt || tokens.reasoning > tokens.completion) {
    throw bad("the statement's parts of its tokens are larger than the whole");
  }
  const { amount, fee, charge } = priced(said);
  const right =
    said.amount_nano === `${amount}` &&
    said.fee_nano === `${fee}` &&
    said.charge_nano === `${charge}`;
  if (!right) throw bad("the statement's amounts do not follow from its tokens and prices");
}

function priced(said: Statement): Cost {
  try {
    return price(said.tokens, ratesOf(said.prices), said.fee_bps);
  } catch (error) {
    if (hasCode(error, "cost_cap_exceeded")) throw bad("the statement's cost is beyond any");
    throw error;
  }
}

/**
 * Membership, signature and arithmetic; throws `bad_receipt` or `bad_signature`. What a receipt
 * must say about a request is the caller's to check (SPEC 3.9).
 */
export function verifyReceipt(value: Receipt, receiptKey: string): void {
  checkMembership(value);
  verify("batch", value.batch, fromHex(value.signature), fromHex(receiptKey));
  checkArithmetic(value.statement);
}

function bad(why: string): BombyxError {
  return new BombyxError("bad_receipt", why);
}
