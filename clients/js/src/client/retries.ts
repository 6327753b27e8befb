/**
 * Sealed requests that may be sent again, byte for byte (SPEC 14.1). A retry with a new commitment
 * could run and be billed twice. So what was sealed is kept for 300 seconds, named by the caller's
 * Idempotency-Key, else by the digest of the body once the SDK says that this is a retry.
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { toHex, utf8 } from "../bytes.js";
import { BombyxError } from "../errors.js";
import type { ClearRequest } from "./routes.js";
import type { Sealed } from "./sealed.js";

const KEPT_SECONDS = 300;
const MAX_KEPT = 512;
const MAX_KEPT_BYTES = 64 * 2 ** 20; // a page has less memory to spare than a server

/** By what a call is known again; `plaintext` is the digest of its body. */
export interface CallName {
  readonly scope: string;
  readonly idempotencyKey: string;
  readonly plaintext: string;
  readonly isRetry: boolean;
}

/** The name of a call; callers with different API keys never meet. */
export function nameCall(request: ClearRequest): CallName {
  const { headers } = request;
  const key = headers.get("idempotency-key") ?? "";
  const caller = [request.origin, request.path, headers.get("authorization") ?? ""].join("\0");
  return {
    scope: toHex(sha256(utf8(caller))),
    idempotencyKey: key,
    plaintext: toHex(sha256(request.body)),
    isRetry: key !== "" || !["", "0"].includes(headers.get("x-stainless-retry-count") ?? ""),
  };
}

/** One sealed request; `busy` while an exchange uses it. */
export interface Kept {
  readonly name: CallName;
  readonly sealed: Sealed;
  readonly expires: number;
  busy: boolean;
}

function isSameCall(a: CallName, b: CallName): boolean {
  if (a.scope !== b.scope || a.idempotencyKey !== b.idempotencyKey) return false;
  return a.idempotencyKey !== "" || a.plaintext === b.plaintext;
}

/** A bounded store; the oldest go first. */
export class Retries {
  #kept: readonly Kept[] = [];

  /** The request that a retry must repeat; throws `idempotency_conflict`. */
  take(name: CallName, now: number): Kept | undefined {
    this.#kept = this.#kept.filter((kept) => now < kept.expires);
    if (!name.isRetry) return undefined;
    for (const kept of this.#kept.filter((one) => isSameCall(one.name, name))) {
      if (kept.name.plaintext !== name.plaintext) {
        const why = "the Idempotency-Key was used for another body";
        throw new BombyxError("idempotency_conflict", why);
      }
      // Two equal calls at the same time stay two, unless a key says that they are one.
      if (kept.busy && name.idempotencyKey === "") continue;
      kept.busy = true;
      return kept;
    }
    return undefined;
  }

  /** Remember what is about to be sent. */
  keep(name: CallName, sealed: Sealed, now: number): Kept {
    const kept = { name, sealed, expires: now + KEPT_SECONDS, busy: true };
    this.#kept = [...this.#kept, kept].slice(-MAX_KEPT);
    while (this.#bytes() > MAX_KEPT_BYTES) this.#kept = this.#kept.slice(1);
    return kept;
  }

  /** The exchange is over; what was answered is forgotten unless a key may ask for it. */
  release(kept: Kept, answered: boolean): void {
    kept.busy = false;
    if (answered && kept.name.idempotencyKey === "") this.forget(kept);
  }

  /** Drop a request that provably never ran, before it is sealed anew. */
  forget(kept: Kept): void {
    this.#kept = this.#kept.filter((one) => one !== kept);
  }

  #bytes(): number {
    return this.#kept.reduce((sum, { sealed }) => sum + sealed.encoded.length, 0);
  }
}
