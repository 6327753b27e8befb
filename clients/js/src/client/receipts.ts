/**
 * When an answer is complete (SPEC 3.9): its receipt says what was asked, sent and seen, as the
 * gateway's settlement checks it too (SPEC 6.1).
 */

import type { Keyset } from "../attestation/documents.js";
import type { VerifiedWorker } from "../attestation/verify.js";
import { type Bytes, toHex } from "../bytes.js";
import { decode, encode } from "../canonical.js";
import { BombyxError, hasCode } from "../errors.js";
import {
  type Receipt,
  type Statement,
  receipt as schema,
  statementHash,
  verifyReceipt,
} from "../money/receipt.js";
import type { Chosen } from "./choice.js";
import type { Sealed } from "./sealed.js";

/** The `bombyx` object inside an answer's usage. */
export interface Summary {
  readonly id: string;
  /** `sealed-delegated` where another's verdict stands in for the verification. */
  readonly tier: string;
  readonly worker: string;
  readonly receipt_hash: string;
  readonly charge_nano: string;
  readonly verified: true;
}

/** An answer whose end and receipt were verified; the receipt is its proof and its bill. */
export interface VerifiedAnswer {
  readonly summary: Summary;
  /** A receipt file: `bombyx receipt verify` checks its JSON offline. */
  readonly document: { readonly receipt: Receipt; readonly keyset: Keyset };
}

/** What had come of an answer before a statement. */
export interface Passed {
  readonly respCtHash: Bytes;
  readonly respCtBytes: number;
}

/** A genuine statement of `worker` about exactly our request; throws `bad_receipt`. */
export function verifyStatement(
  sealed: Sealed,
  document: Bytes,
  worker: string,
  passed: Passed | undefined,
  held: Statement | undefined,
): Receipt {
  const chosen = sealed.chosen.get(worker);
  if (chosen === undefined) throw bad("the receipt is by a worker that was not asked");
  let found: Receipt;
  try {
    found = decode(document, schema);
    verifyReceipt(found, chosen.worker.keyset.receipt_key);
  } catch (error) {
    if (!hasCode(error, "not_canonical", "bad_signature")) throw error;
    throw bad(`the receipt is not genuine: ${error.message}`);
  }
  checkFixed(found.statement, sealed, chosen);
  checkCaps(found.statement, sealed);
  if (passed !== undefined) checkPassed(found.statement, passed);
  if (held !== undefined) checkMonotone(found.statement, held);
  return found;
}

/** What a verified last receipt makes of an answer; throws `bad_receipt`. */
export function verifiedAnswer(
  receipt: Receipt,
  worker: VerifiedWorker,
  status: Statement["status"],
  end: string,
): VerifiedAnswer {
  const { statement } = receipt;
  if (statement.status !== status) {
    throw bad(`the receipt says ${statement.status}, the answer is ${status}`);
  }
  if (statementHash(statement) !== end) throw bad("the end of the answer names another statement");
  const summary = { ...summaryOf(statement), tier: tierOf(worker) };
  return { summary, document: { receipt, keyset: worker.keyset } };
}

/** What an answer of this worker may be called. */
export function tierOf(worker: VerifiedWorker | undefined): string {
  return worker?.isDelegated === false ? "sealed" : "sealed-delegated";
}

export function summaryOf(statement: Statement): Summary {
  const { id, tier, worker, charge_nano } = statement;
  return { id, tier, worker, receipt_hash: statementHash(statement), charge_nano, verified: true };
}

/** Each field that the request or the accepted offer fixes. */
function checkFixed(statement: Statement, sealed: Sealed, chosen: Chosen): void {
  const { header, h } = sealed.request.header;
  const model = chosen.worker.model(chosen.offer.model);
  const fixed: Partial<Statement> = {
    c: toHex(sealed.request.c),
    h: toHex(h),
    id: header.id,
    payer: header.payer,
    gateway: header.gateway,
    worker: chosen.worker.id,
    boot: chosen.worker.keyset.boot,
    tier: header.tier,
    model: header.model,
    fee_bps: header.fee_bps,
    req_ct_hash: toHex(sealed.request.reqCtHash),
    offer: chosen.offerHash,
    weights: model.weights,
    engine: model.engine,
  };
  for (const [name, value] of Object.entries(fixed)) {
    if (Object.entries(statement).some(([key, said]) => key === name && said !== value)) {
      throw bad(`the receipt is for something else: ${name}`);
    }
  }
  if (toHex(encode(statement.prices)) !== toHex(encode(chosen.offer.prices))) {
    throw bad("the receipt is for something else: prices");
  }
}

function checkCaps(statement: Statement, sealed: Sealed): void {
  const { header } = sealed.request.header;
  const { tokens } = statement;
  const kept =
    tokens.prompt <= header.max_input_tokens &&
    tokens.completion <= header.max_output_tokens &&
    BigInt(statement.charge_nano) <= BigInt(header.max_cost_nano);
  if (!kept) throw bad("the receipt counts more than the request allows");
}

function checkPassed(statement: Statement, { respCtHash, respCtBytes }: Passed): void {
  const same =
    statement.resp_ct_hash === toHex(respCtHash) && statement.resp_ct_bytes === respCtBytes;
  if (!same) throw bad("the receipt is for something else: resp_ct_hash");
}

/** Counters never fall and `seq` rises, so that a later statement takes nothing back. */
function checkMonotone(statement: Statement, held: Statement): void {
  const [now, before] = [statement.tokens, held.tokens];
  const rises =
    held.status === "partial" &&
    statement.seq > held.seq &&
    now.prompt >= before.prompt &&
    now.cached >= before.cached &&
    now.completion >= before.completion &&
    now.reasoning >= before.reasoning;
  if (!rises) throw bad("a statement takes an earlier one back");
}

function bad(why: string): BombyxError {
  return new BombyxError("bad_receipt", why);
}
