/** Verification alone: quotes, evidence and receipts, without a client around them. */

export { type Claims, type Trust, verifyQuote } from "./attestation/dcap.js";
export {
  type Collateral,
  collateral,
  type Evidence,
  evidence,
  type Keyset,
  keyset,
} from "./attestation/documents.js";
export { INTEL_SGX_ROOT } from "./attestation/intel-root.js";
export {
  type Policy,
  type PolicyTable,
  type PresetName,
  policyHash,
} from "./attestation/policy.js";
export { STEP_NAMES, type Step, type StepName } from "./attestation/steps.js";
export { parseQuote, type TdxQuote } from "./attestation/tdx-quote.js";
export {
  type Examination,
  examine,
  type Offered,
  VerifiedWorker,
  verifyWorker,
  WorkerRefused,
} from "./attestation/verify.js";
export { decode, digestHex, encode } from "./canonical.js";
export { readPolicy } from "./client/fetch.js";
export { BombyxError, EvidenceRefused } from "./errors.js";
export { type Receipt, receipt, statementHash, verifyReceipt } from "./money/receipt.js";
