/** bombyx: sealed, attested inference for the OpenAI client and the AI SDK (SPEC `bombyx/1`). */

export type { Policy, PolicyTable, PresetName } from "./attestation/policy.js";
export type { Step, StepName, StepResult } from "./attestation/steps.js";
export type { Dispute, Waiver } from "./client/answer.js";
export type { PinnedVerifier } from "./client/delegation.js";
export {
  createFetch,
  createIdentity,
  type FetchOptions,
  readPolicy,
  type SealedFetch,
} from "./client/fetch.js";
export type { Identity } from "./client/identity.js";
export type { Summary, VerifiedAnswer } from "./client/receipts.js";
export { BombyxError, type Code, type OpenAIError } from "./errors.js";
