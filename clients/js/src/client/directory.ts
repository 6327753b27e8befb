/**
 * The gateway's directory of workers, and what verifying its entries came to (SPEC 13). Both are
 * remembered: a directory for a minute, a verification until what it rests on expires. The key of
 * a verification is the digest of everything that it read.
 */

import { type Directory, type Entry, directory as schema } from "../attestation/documents.js";
import type { Policy } from "../attestation/policy.js";
import { type Offered, type VerifiedWorker, verifyWorker } from "../attestation/verify.js";
import type { Bytes } from "../bytes.js";
import { digestHex, read } from "../canonical.js";
import { MAX_FEE_BPS } from "../envelope/header.js";
import { BombyxError, hasCode } from "../errors.js";
import type { Examiner } from "./delegation.js";

export const DIRECTORY_SECONDS = 60;
/** A refusal may be healed by time (a clock, a rotation), so it is looked into again. */
const REFUSAL_SECONDS = 60;
const MAX_VERIFICATIONS = 4096;

/** A bounded map whose entries expire. */
export class Remembered<Value> {
  readonly #entries = new Map<string, { readonly expires: number; readonly value: Value }>();
  readonly #size: number;

  constructor(size: number) {
    this.#size = size;
  }

  get(key: string, now: number): Value | undefined {
    const entry = this.#entries.get(key);
    return entry !== undefined && now < entry.expires ? entry.value : undefined;
  }

  /** Remember until `expires` (unix seconds), pushing out the oldest. */
  put(key: string, value: Value, expires: number): void {
    this.#entries.delete(key);
    this.#entries.set(key, { expires, value });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > this.#size && oldest !== undefined) this.#entries.delete(oldest);
  }
}

type Verification = { readonly worker: VerifiedWorker } | { readonly refusal: BombyxError };

/** Verifies directory entries under one policy, here or by the word of a pinned verifier. */
export class Verifier {
  readonly policy: Policy;
  readonly #examiner: Examiner;
  readonly #known = new Remembered<Verification>(MAX_VERIFICATIONS);

  constructor(policy: Policy, examiner: Examiner = (...it) => verifyWorker(it[0], policy, it[1])) {
    this.policy = policy;
    this.#examiner = examiner;
  }

  /** The worker that the entry proves; throws `worker_refused`. */
  async verify(entry: Entry, directory: Directory, now: number): Promise<VerifiedWorker> {
    const { keyset, evidence } = entry;
    const collateral = directory.collateral.get(evidence.collateral ?? "");
    const key = [keyset, evidence, collateral ?? ""].map(digestHex).join();
    const found =
      this.#known.get(key, now) ??
      (await this.#examine(key, { keyset, evidence, collateral }, now));
    if ("refusal" in found) throw found.refusal;
    return found.worker;
  }

  async #examine(key: string, offered: Offered, now: number): Promise<Verification> {
    try {
      const worker = await this.#examiner(offered, now);
      this.#known.put(key, { worker }, worker.expiresAt);
      return { worker };
    } catch (error) {
      if (!hasCode(error, "worker_refused")) throw error;
      this.#known.put(key, { refusal: error }, now + REFUSAL_SECONDS);
      return { refusal: error };
    }
  }
}

/** Read a directory; throws `bad_answer`, or `gateway_refused` for a key outside of the pin. */
export function parseDirectory(data: Bytes, policy: Policy): Directory {
  let directory: Directory;
  try {
    directory = read(data, schema);
  } catch {
    throw new BombyxError("bad_answer", "the gateway's directory of workers is not one");
  }
  const { gateway, fee_bps } = directory;
  if (policy.gateways !== undefined && !policy.gateways.includes(gateway)) {
    const why = `the gateway's key ${gateway.slice(0, 16)}… is none that the policy pins`;
    throw new BombyxError("gateway_refused", why);
  }
  if (fee_bps > MAX_FEE_BPS) {
    throw new BombyxError("bad_answer", "the gateway asks for a fee beyond the whole amount");
  }
  return directory;
}
