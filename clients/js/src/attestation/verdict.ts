/**
 * Verdicts: the word of a verifier whose key the application pins, and never a gateway's choice
 * (docs/javascript.md). A verdict is about one keyset, one evidence and one policy, for an hour.
 */

import { fromHex, toHex } from "../bytes.js";
import { digestHex } from "../canonical.js";
import { type Infer, object, oneOf } from "../schema.js";
import { type VerifierKey, verify } from "../signing.js";
import { count, hex32, hex64 } from "../units.js";
import type { Evidence, Keyset } from "./documents.js";
import { type Policy, policyHash } from "./policy.js";
import { refused, type StepName } from "./steps.js";

/** A verdict is asked for again after this long: patch levels are revoked. */
export const MAX_VERDICT_SECONDS = 3600;
const STEP: StepName = "quote_signature";

const verdict = object({
  v: oneOf("bombyx/1"),
  worker: hex32,
  evidence: hex32,
  policy: hex32,
  expires_at: count,
});
/** What a verifier signs. */
export type Verdict = Infer<typeof verdict>;

export const signedVerdict = object({ verdict, signature: hex64 });
export type SignedVerdict = Infer<typeof signedVerdict>;

/** The documents that a verdict is about. */
export interface Judged {
  readonly keyset: Keyset;
  readonly evidence: Evidence;
}

/** The verdict on a worker that was verified under the policy; `until` in unix seconds. */
export function signVerdict(
  { keyset, evidence }: Judged,
  policy: Policy,
  until: number,
  key: VerifierKey,
): SignedVerdict {
  const said = {
    v: "bombyx/1",
    worker: digestHex(keyset),
    evidence: digestHex(evidence),
    policy: policyHash(policy),
    expires_at: until,
  } as const;
  return { verdict: said, signature: toHex(key.sign(said)) };
}

/** Until when the pinned key (hex) vouches for exactly this; throws `EvidenceRefused`. */
export function checkVerdict(
  { verdict: said, signature }: SignedVerdict,
  { keyset, evidence }: Judged,
  policy: Policy,
  publicKey: string,
  now: number,
): number {
  try {
    verify("verdict", said, fromHex(signature), fromHex(publicKey));
  } catch {
    throw refused(STEP, "the verdict is not signed by the pinned verifier");
  }
  const ours =
    said.worker === digestHex(keyset) &&
    said.evidence === digestHex(evidence) &&
    said.policy === policyHash(policy);
  if (!ours) throw refused(STEP, "the verdict is about something else");
  if (said.expires_at <= now || said.expires_at > now + MAX_VERDICT_SECONDS) {
    throw refused(STEP, "the verdict has expired, or claims to live for more than an hour");
  }
  return said.expires_at;
}
