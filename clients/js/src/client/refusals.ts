/**
 * What a gateway says instead of an answer (SPEC 4, 14.2, 14.3): diagnostics, and sometimes proof.
 * It is shown as an error, never as an answer. Only signatures over our own request are a reason to
 * seal anew: those of all its workers, that they do not run it, or the gateway's, that it is never
 * billed.
 */

import { type Bytes, fromHex, text, toHex } from "../bytes.js";
import { encode, read } from "../canonical.js";
import { BombyxError, hasCode, type OpenAIError } from "../errors.js";
import { receipt } from "../money/receipt.js";
import { array, asRecord, type Infer, object, oneOf, string } from "../schema.js";
import { verify } from "../signing.js";
import { count, hex32, hex64 } from "../units.js";
import { type Summary, summaryOf, verifyStatement } from "./receipts.js";
import type { Sealed } from "./sealed.js";

export const MAX_ERROR_BYTES = 256 * 2 ** 10;
export const PROBLEM_TYPE = "application/problem+json";
/** Codes of a 422 after which a request may be sealed anew, if its proof holds. */
const RENEWABLE: ReadonlySet<string> = new Set(["no_candidate", "wrong_fee"]);
/** Refusals for want of room alone: they go away by waiting. */
const FULL: ReadonlySet<string> = new Set(["busy", "draining", "gateway_unpaid", "overloaded"]);
/** A worker that finds a request too early may yet run it later. */
const PROVES_NOTHING = "clock_ahead";
const UNPROCESSABLE = 422;
const MAX_TEXT = 2048;

const refusal = object(
  {
    worker: hex32,
    gateway: hex32,
    code: string(/^[a-z0-9_]+$/, { max: 64 }),
    fault: oneOf("client", "worker", "gateway", "unattributed"),
    at: count,
  },
  { c: hex32, h: hex32 },
);
const signedRefusal = object(
  { refusal, signature: hex64 },
  { message: string(null, { max: 4096 }) },
  "ignored",
);
type SignedRefusal = Infer<typeof signedRefusal>;

const signedLost = object({
  lost: object({ gateway: hex32, c: hex32, at: count }),
  signature: hex64,
});
/** The gateway's word that a commitment is never billed: beside a bill for it, proof of a lie. */
export type SignedLost = Infer<typeof signedLost>;

const problem = object(
  {},
  { code: string(), refusals: array(signedRefusal, { max: 8 }), lost: signedLost },
  "ignored",
);

/** Whether a request may be sealed anew, and on whose word. */
export interface Proof {
  readonly renewable: boolean;
  /** Whether workers refused, and each only for want of room. */
  readonly crowded: boolean;
  readonly note: SignedLost | undefined;
}

/** Read a problem document; throws `unproven_refusal`. */
function readProblem(body: Bytes): Infer<typeof problem> {
  try {
    return read(body, problem);
  } catch {
    throw unproven("the gateway's refusal cannot be read");
  }
}

/**
 * What a problem document proves. Refusals and note must be their signers' word about exactly our
 * request, and those of a renewable 422 make it safe to seal anew: on the gateway's note, or where
 * not one worker is left that may have run the request. Else it throws `unproven_refusal`.
 */
export function proofOf(status: number, body: Bytes, sealed: Sealed): Proof {
  const { code, refusals = [], lost } = readProblem(body);
  checkRefusals(refusals, sealed);
  if (lost !== undefined) checkNote(lost, sealed);
  const renewable = status === UNPROCESSABLE && code !== undefined && RENEWABLE.has(code);
  const refused = new Set(refusals.map((one) => one.refusal.worker));
  if (renewable && lost === undefined && [...sealed.chosen.keys()].some((id) => !refused.has(id))) {
    throw unproven("the gateway shows no proof that the request is not billed");
  }
  const crowded = refusals.length > 0 && refusals.every((one) => FULL.has(one.refusal.code));
  return { renewable, crowded, note: lost };
}

function checkRefusals(refusals: readonly SignedRefusal[], sealed: Sealed): void {
  for (const one of refusals) {
    checkRefusal(one, sealed);
    if (one.refusal.code === PROVES_NOTHING) {
      const why = "a worker's clock is behind ours; it may still run the request later";
      throw new BombyxError("clock_ahead", why);
    }
  }
}

function checkNote({ lost, signature }: SignedLost, { request }: Sealed): void {
  const { gateway } = request.header.header;
  if (lost.gateway !== gateway || lost.c !== toHex(request.c)) {
    throw unproven("the gateway's note is of another request");
  }
  try {
    verify("lost", lost, fromHex(signature), fromHex(gateway));
  } catch (error) {
    if (!hasCode(error, "bad_signature")) throw error;
    throw unproven("the gateway's note is not signed by the gateway");
  }
}

function checkRefusal({ refusal: said, signature }: SignedRefusal, sealed: Sealed): void {
  const chosen = sealed.chosen.get(said.worker);
  if (chosen === undefined) throw unproven("a refusal is by a worker that was not asked");
  try {
    verify("refusal", said, fromHex(signature), fromHex(chosen.worker.keyset.receipt_key));
  } catch (error) {
    if (!hasCode(error, "bad_signature")) throw error;
    throw unproven("a refusal is not signed by the worker that it names");
  }
  const { request } = sealed;
  const ours =
    said.c === toHex(request.c) &&
    said.h === toHex(request.header.h) &&
    said.gateway === request.header.header.gateway;
  if (!ours) throw unproven("a refusal is of another request");
}

/**
 * The verified receipt in a 409 `outcome`: the request ran before and its answer is gone. Undefined
 * where the gateway gives no receipt; throws `bad_receipt` for one that does not hold.
 */
export function provenOutcome(body: Bytes, sealed: Sealed): Summary | undefined {
  const document = jsonOf(body);
  const error = asRecord(document?.["error"]);
  if (error?.["code"] !== "outcome" || document?.["receipt"] === undefined) return undefined;
  let worker: string;
  try {
    worker = receipt(document["receipt"], "").statement.worker;
  } catch {
    throw new BombyxError("bad_receipt", "the gateway's receipt is none");
  }
  const bytes = encode(document["receipt"]);
  return summaryOf(verifyStatement(sealed, bytes, worker, undefined, undefined).statement);
}

/** The gateway's own error in OpenAI's shape, whatever it was. */
export function gatewayError(status: number, body: Bytes): OpenAIError {
  const error = asRecord(jsonOf(body)?.["error"]);
  const message = shortText(error?.["message"]);
  if (error === undefined || message === null) {
    const said = `the gateway answered ${status}`;
    return { message: said, type: "upstream_error", code: "upstream_failed", param: null };
  }
  const [type, code, param] = [error["type"], error["code"], error["param"]].map(shortText);
  return { message, type: type ?? null, code: code ?? null, param: param ?? null };
}

function jsonOf(body: Bytes): Readonly<Record<string, unknown>> | undefined {
  try {
    return asRecord(JSON.parse(text(body)));
  } catch {
    return undefined;
  }
}

function shortText(value: unknown): string | null {
  return typeof value === "string" ? value.slice(0, MAX_TEXT) : null;
}

function unproven(why: string): BombyxError {
  return new BombyxError("unproven_refusal", why);
}
