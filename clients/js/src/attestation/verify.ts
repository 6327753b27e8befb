/**
 * Who may be sealed to: the argument from evidence to `VerifiedWorker` (SPEC 17.1, 13.5). Nothing
 * else makes one, and only one can be sealed to. Clock and policy are arguments.
 */

import { type Bytes, toHex } from "../bytes.js";
import { digest } from "../canonical.js";
import { BombyxError, EvidenceRefused } from "../errors.js";
import * as checks from "./checks.js";
import { verifyQuote } from "./dcap.js";
import type { Collateral, Evidence, Keyset, ModelRecord } from "./documents.js";
import type { Policy } from "./policy.js";
import { SIMULATED_UNKNOWN, STEP_NAMES, type Step, type StepName } from "./steps.js";
import { parseQuote } from "./tdx-quote.js";
import { checkVerdict, type SignedVerdict } from "./verdict.js";

const MAKER = Symbol("only verifyWorker makes a VerifiedWorker");

/** What is offered: documents off the wire, not believed yet. */
export interface Offered {
  readonly keyset: Keyset;
  readonly evidence: Evidence;
  readonly collateral: Collateral | undefined;
}

/** What follows when every step holds; unix seconds, hex PPID. */
interface Conclusion {
  readonly expiresAt: number;
  readonly platformId: string;
  readonly models: readonly ModelRecord[];
  readonly sealingKeys: readonly Bytes[];
  /** The pinned key whose verdict stands in for the quote's verification. */
  readonly verifier?: string;
}

/** All steps in their order; `refusal` is the one for which the worker is refused. */
export interface Examination {
  readonly steps: readonly Step[];
  readonly refusal: Step | undefined;
}

/** A worker whose evidence holds under a policy. */
export class VerifiedWorker {
  readonly keyset: Keyset;
  /** The keyset's digest in hex: the worker's name everywhere. */
  readonly id: string;
  readonly steps: readonly Step[];
  readonly #conclusion: Conclusion;

  /** Made by `verifyWorker` and `delegatedWorker`; throws `TypeError` for anybody else. */
  constructor(keyset: Keyset, steps: readonly Step[], conclusion: Conclusion, maker: symbol) {
    if (maker !== MAKER) throw new TypeError("only verifyWorker makes a VerifiedWorker");
    this.keyset = keyset;
    this.id = toHex(digest(keyset));
    this.steps = steps;
    this.#conclusion = conclusion;
  }

  /** Unix seconds from which on the worker must be verified anew. */
  get expiresAt(): number {
    return this.#conclusion.expiresAt;
  }

  /** The machine's id in hex, as its vendor certified it (PPID). */
  get platformId(): string {
    return this.#conclusion.platformId;
  }

  /** Whether another's verdict stands in for the quote's verification. */
  get isDelegated(): boolean {
    return this.#conclusion.verifier !== undefined;
  }

  /** The attested record of a model; throws `model_not_found`. */
  model(name: string): ModelRecord {
    const found = this.#conclusion.models.find((record) => record.id === name);
    if (found !== undefined) return found;
    const why = `the verified worker serves no model ${name} that the policy allows`;
    throw new BombyxError("model_not_found", why);
  }

  /** Id and 1216 bytes of the key to seal to: the keyset's first. */
  hpkeKey(): { readonly id: string; readonly key: Bytes } {
    const [id, key] = [this.keyset.hpke[0]?.id, this.#conclusion.sealingKeys[0]];
    if (id === undefined || key === undefined) throw new TypeError("a keyset has a key");
    return { id, key };
  }
}

/** Raised when a worker's evidence fails a named step; `steps` is the whole examination. */
export class WorkerRefused extends BombyxError {
  readonly steps: readonly Step[];

  constructor(message: string, steps: readonly Step[]) {
    super("worker_refused", message);
    this.name = "WorkerRefused";
    this.steps = steps;
  }
}

type Notes = Map<StepName, Step>;

function holds(notes: Notes, name: StepName, detail: string): void {
  notes.set(name, { name, result: "pass", detail });
}

async function argued(
  offered: Offered,
  policy: Policy,
  now: number,
): Promise<readonly [Examination, Conclusion | undefined]> {
  const notes: Notes = new Map();
  let conclusion: Conclusion | undefined;
  try {
    conclusion = await argue(notes, offered, policy, now);
  } catch (error) {
    if (!(error instanceof EvidenceRefused)) throw error;
    const name = STEP_NAMES.find((step) => step === error.step);
    if (name === undefined) throw error;
    notes.set(name, { name, result: "fail", detail: error.message });
  }
  const detail = "not examined, since another step failed";
  const steps = STEP_NAMES.map(
    (name): Step => notes.get(name) ?? { name, result: "unknown", detail },
  );
  return [{ steps, refusal: refusalOf(steps) }, conclusion];
}

/** A failed step, or one that is unknown without leave. */
function refusalOf(steps: readonly Step[]): Step | undefined {
  const failed = steps.find((step) => step.result === "fail");
  return (
    failed ?? steps.find((step) => step.result === "unknown" && !SIMULATED_UNKNOWN.has(step.name))
  );
}

/** Every step, in order; the first that fails ends the argument. `now` in unix seconds. */
export async function examine(offered: Offered, policy: Policy, now: number): Promise<Examination> {
  const [examination] = await argued(offered, policy, now);
  return examination;
}

/** The worker that these documents prove; throws `WorkerRefused` with all steps. */
export async function verifyWorker(
  offered: Offered,
  policy: Policy,
  now: number,
): Promise<VerifiedWorker> {
  const [{ steps, refusal }, conclusion] = await argued(offered, policy, now);
  if (refusal !== undefined || conclusion === undefined) {
    throw new WorkerRefused(`${refusal?.name}: ${refusal?.detail}`, steps);
  }
  return new VerifiedWorker(offered.keyset, steps, conclusion, MAKER);
}

/**
 * The worker for which a verdict of the pinned verifier (hex key) stands in: what needs no quote is
 * checked here, the rest is said to be unknown. Throws `WorkerRefused` or `EvidenceRefused`.
 */
export function delegatedWorker(
  { keyset, evidence }: Offered,
  signed: SignedVerdict,
  policy: Policy,
  verifier: string,
  now: number,
): VerifiedWorker {
  checks.checkKeyset(keyset, evidence, now);
  checks.readQuote(evidence);
  checks.checkPlatform(keyset.platform, policy);
  const until = checkVerdict(signed, { keyset, evidence }, policy, verifier, now);
  const models = checks.allowedModels(keyset, policy);
  const sealingKeys = keyset.hpke.map(checks.sealingKey);
  const steps = STEP_NAMES.map((name): Step => {
    const result = CHECKED_HERE.has(name) ? "pass" : "unknown";
    const detail = `left to the verifier ${verifier.slice(0, 16)}…`;
    return { name, result, detail: result === "pass" ? "checked here" : detail };
  });
  const expiresAt = Math.min(keyset.not_after, until);
  const conclusion = { expiresAt, platformId: "", models, sealingKeys, verifier };
  return new VerifiedWorker(keyset, steps, conclusion, MAKER);
}

/** What a client checks although it delegates. */
const CHECKED_HERE: ReadonlySet<StepName> = new Set([
  "keyset_form",
  "evidence_form",
  "platform_allowed",
  "model_allowed",
  "sealing_key",
]);

/**
 * Why a worker may be trusted with a prompt; throws `EvidenceRefused` where it may not.
 *
 * 1. Somebody offers a keyset, alive now and for at most 24 hours, with evidence for it.
 * 2. The policy allows the evidence's kind of platform.
 * 3. The evidence is a whole quote with its vendor's collateral.
 * 4. The pinned root vouches for the key that signed the quote and for its patch level.
 * 5. No debugger can look into the machine that the quote describes.
 * 6. The quote was made for this keyset, so the machine holds the keys.
 * 7. The machine runs an allowed image, and that image measured allowed models.
 * 8. The keys can be sealed to. What nothing shows is said to be unknown.
 */
async function argue(
  notes: Notes,
  { keyset, evidence, collateral: offered }: Offered,
  policy: Policy,
  now: number,
): Promise<Conclusion> {
  checks.checkKeyset(keyset, evidence, now); // 1
  holds(notes, "keyset_form", `expires in ${keyset.not_after - now} s`);
  const raw = checks.readQuote(evidence);
  holds(notes, "evidence_form", `a quote of ${raw.length} bytes`);
  checks.checkPlatform(keyset.platform, policy); // 2
  holds(notes, "platform_allowed", `the policy names ${keyset.platform}`);
  const collateral = checks.presentCollateral(offered, evidence); // 3
  holds(notes, "collateral_present", `digest ${evidence.collateral}`);
  const quote = parseQuote(raw);
  checks.checkDeclaredSimulated(quote);
  holds(notes, "quote_structure", "a TDX quote of version 4 that calls itself SIMULATED");
  const root = checks.pinnedRoot(quote, collateral, policy); // 4
  const claims = await verifyQuote(raw, collateral, { root, now });
  holds(notes, "quote_signature", "signed by the platform's quoting enclave");
  holds(notes, "certificate_chain", "leads to the simulated root that the policy pins");
  holds(notes, "collateral_current", `current for ${claims.expiresAt - now} s`);
  holds(notes, "tcb_not_revoked", "neither patch level nor certificates are revoked");
  checks.checkTcb(claims, policy);
  holds(notes, "tcb_status", claims.status);
  checks.checkAttributes(quote); // 5
  holds(notes, "debug_disabled", "no debugger, no unknown attribute");
  checks.checkBinding(quote, keyset, evidence); // 6
  holds(notes, "report_data_binding", "the quote names this keyset's digest");
  checks.checkMeasurement(quote, policy); // 7
  holds(notes, "measurement", `MRTD ${toHex(quote.mrTd).slice(0, 16)}… is allowed`);
  checks.checkNoGpus(evidence);
  const models = checks.allowedModels(keyset, policy);
  holds(notes, "model_allowed", models.map((model) => model.id).join(", "));
  const sealingKeys = keyset.hpke.map(checks.sealingKey); // 8
  holds(notes, "sealing_key", keyset.hpke.map((key) => `${key.alg}, key ${key.id}`).join("; "));
  for (const [name, detail] of SIMULATED_UNKNOWN) {
    notes.set(name, { name, result: "unknown", detail });
  }
  const expiresAt = Math.min(keyset.not_after, claims.expiresAt);
  return { expiresAt, platformId: claims.ppid, models, sealingKeys };
}
