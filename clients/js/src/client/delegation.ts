/** Asking a verifier of the application's own for its verdict on a worker (docs/javascript.md). */

import type { Policy } from "../attestation/policy.js";
import { signedVerdict } from "../attestation/verdict.js";
import { delegatedWorker, type Offered, type VerifiedWorker } from "../attestation/verify.js";
import { read } from "../canonical.js";
import { BombyxError, EvidenceRefused } from "../errors.js";
import { hex32 } from "../units.js";
import type { Fetch } from "./outside.js";
import { Upstream } from "./upstream.js";

const MAX_VERDICT_BYTES = 64 * 2 ** 10;

/** A verifier whose key (hex) the application pins. */
export interface PinnedVerifier {
  readonly publicKey: string;
  readonly url: string;
}

/** Examines what a directory offers; throws `worker_refused`. */
export type Examiner = (offered: Offered, now: number) => Promise<VerifiedWorker>;

/** An examiner that takes the pinned verifier's word; throws `setup_error` for no key. */
export function delegatingTo(verifier: PinnedVerifier, policy: Policy, fetch: Fetch): Examiner {
  try {
    hex32(verifier.publicKey, "verifier.publicKey");
  } catch {
    throw new BombyxError("setup_error", "verifier.publicKey holds 32 bytes in lower-case hex");
  }
  return async (offered, now) => {
    const answer = await ask(verifier.url, offered, fetch);
    try {
      return delegatedWorker(offered, read(answer, signedVerdict), policy, verifier.publicKey, now);
    } catch (error) {
      const why = error instanceof EvidenceRefused ? error.message : "it answers no verdict";
      throw new BombyxError("worker_refused", `the verifier at ${verifier.url}: ${why}`);
    }
  };
}

async function ask(url: string, offered: Offered, fetch: Fetch) {
  const init: RequestInit = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(offered),
    redirect: "manual",
    credentials: "omit",
    cache: "no-store",
    referrerPolicy: "no-referrer",
  };
  try {
    const response = await fetch(url, init);
    const body = new Upstream(response, new AbortController().signal);
    if (response.status === 200) return await body.readAll(MAX_VERDICT_BYTES);
    await body.close();
    throw new BombyxError("worker_refused", `the verifier at ${url} answers ${response.status}`);
  } catch (error) {
    if (error instanceof BombyxError) throw error;
    throw new BombyxError("worker_refused", `the verifier at ${url} cannot be reached`);
  }
}
