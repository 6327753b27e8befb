/** The named steps of a verification, in their fixed order (SPEC 17.1). `unknown` is no pass. */

import { EvidenceRefused } from "../errors.js";

export const STEP_NAMES = [
  "keyset_form",
  "evidence_form",
  "platform_allowed",
  "collateral_present",
  "quote_structure",
  "quote_signature",
  "certificate_chain",
  "collateral_current",
  "tcb_status",
  "tcb_not_revoked",
  "debug_disabled",
  "report_data_binding",
  "measurement",
  "platform_identity",
  "gpu_evidence",
  "gpu_binding",
  "model_allowed",
  "sealing_key",
  "physical_attack_resistance",
] as const;

export type StepName = (typeof STEP_NAMES)[number];
export type StepResult = "pass" | "fail" | "unknown";

/** One line of an examination; `detail` is a sentence for people. */
export interface Step {
  readonly name: StepName;
  readonly result: StepResult;
  readonly detail: string;
}

/** Exactly the steps that stay unknown for a worker on the simulated platform. */
export const SIMULATED_UNKNOWN: ReadonlyMap<StepName, string> = new Map([
  ["platform_identity", "simulated: no hardware stands behind the platform's id"],
  ["gpu_evidence", "simulated: there is no GPU that could prove itself"],
  ["gpu_binding", "simulated: there is no GPU evidence to bind"],
  [
    "physical_attack_resistance",
    "no evidence can show that nobody taps the memory bus; a simulated machine's owner reads " +
      "everything",
  ],
]);

/** The refusal of a step, to be thrown. */
export function refused(step: StepName, why: string): EvidenceRefused<StepName> {
  return new EvidenceRefused(step, why);
}
