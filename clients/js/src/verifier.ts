/**
 * A verifier for an application's own server: it examines evidence under a policy and signs the
 * verdict, that pages which pin its key then take (docs/javascript.md).
 */

import { collateral, evidence, keyset } from "./attestation/documents.js";
import type { Policy, PolicyTable, PresetName } from "./attestation/policy.js";
import { MAX_VERDICT_SECONDS, signVerdict } from "./attestation/verdict.js";
import { verifyWorker } from "./attestation/verify.js";
import type { Bytes } from "./bytes.js";
import { read } from "./canonical.js";
import { asPolicy } from "./client/fetch.js";
import { errorResponse } from "./client/responses.js";
import { BombyxError } from "./errors.js";
import { object } from "./schema.js";
import { VerifierKey } from "./signing.js";

const MAX_OFFERED_BYTES = 4 * 2 ** 20;
const offered = object({ keyset, evidence }, { collateral });

export interface VerifierOptions {
  readonly policy: PolicyTable | PresetName | Policy;
  /** 32 secret bytes: the key's seed. */
  readonly seed: Bytes;
  /** Unix seconds; the platform's clock where absent. */
  readonly clock?: () => number;
}

/** The key to pin, and a handler for any server that speaks `Request` and `Response`. */
export interface Verifier {
  readonly publicKey: string;
  readonly handle: (request: Request) => Promise<Response>;
}

export function createVerifier({ policy: source, seed, clock }: VerifierOptions): Verifier {
  const policy = asPolicy(source);
  const key = new VerifierKey(seed);
  const now = clock ?? (() => Math.floor(Date.now() / 1000));
  const handle = async (request: Request): Promise<Response> => {
    try {
      const { keyset, evidence, collateral } = await readOffered(request);
      const at = now();
      const worker = await verifyWorker({ keyset, evidence, collateral }, policy, at);
      const until = Math.min(worker.expiresAt, at + MAX_VERDICT_SECONDS);
      return Response.json(signVerdict({ keyset, evidence }, policy, until, key));
    } catch (error) {
      if (error instanceof BombyxError) return errorResponse(error);
      throw error;
    }
  };
  return { publicKey: key.publicHex, handle };
}

async function readOffered(request: Request) {
  const body = new Uint8Array(await request.arrayBuffer());
  if (body.length > MAX_OFFERED_BYTES) {
    throw new BombyxError("request_too_large", `evidence has at most ${MAX_OFFERED_BYTES} bytes`);
  }
  try {
    return read(body, offered);
  } catch {
    throw new BombyxError("invalid_request", "post keyset, evidence and collateral as one object");
  }
}
