/**
 * The checks behind the steps of a verification (SPEC 17.1, 13.5). Each judges one thing and
 * throws `EvidenceRefused` with its step's name and a sentence for people.
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { type Bytes, equal, fromBase64, fromBase64Url, fromHex, toHex, utf8 } from "../bytes.js";
import { decode, digest, digestHex, encode } from "../canonical.js";
import { BombyxError } from "../errors.js";
import type { Schema } from "../schema.js";
import { reportData } from "./binding.js";
import type { Claims } from "./dcap.js";
import type { Collateral, Evidence, HpkeKey, Keyset, ModelRecord } from "./documents.js";
import * as documents from "./documents.js";
import { splitCertificates } from "./pem.js";
import type { Policy } from "./policy.js";
import { checkSealingKey } from "./sealing-key.js";
import { refused, type StepName } from "./steps.js";
import type { TdxQuote } from "./tdx-quote.js";

const MAX_KEYSET_LIFE_SECONDS = 24 * 3600;
/** In a simulated quote's signed header. */
const SIMULATED_USER_DATA = utf8("SIMULATED".padEnd(20, "\0"));
/** SEPT_VE_DISABLE and nothing else. */
const SIMULATED_ATTRIBUTES = fromHex("0000001000000000");
/** x87, SSE, AVX, AVX-512, PKU, AMX: what a current guest has. */
const SIMULATED_XFAM = fromHex("e702060000000000");

/** The keyset is what it may be, lives, and is meant for this evidence. */
export function checkKeyset(keyset: Keyset, evidence: Evidence, now: number): void {
  const step: StepName = "keyset_form";
  checkForm(step, keyset, documents.keyset);
  for (const names of [keyset.hpke.map((key) => key.id), keyset.models.map((model) => model.id)]) {
    if (new Set(names).size !== names.length) {
      throw refused(step, "the keyset names a key or a model twice");
    }
  }
  if (keyset.not_after <= now) throw refused(step, "the keyset has expired");
  if (keyset.not_after > now + MAX_KEYSET_LIFE_SECONDS) {
    throw refused(step, "the keyset claims to live for more than 24 hours");
  }
  if (keyset.platform !== evidence.platform) {
    throw refused(step, "the keyset names another platform than its evidence");
  }
}

/** The quote's bytes out of evidence in its one spelling. */
export function readQuote(evidence: Evidence): Bytes {
  const step: StepName = "evidence_form";
  checkForm(step, evidence, documents.evidence);
  try {
    const quote = fromBase64(evidence.quote);
    if (quote.length > 0) return quote;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  throw refused(step, "the quote is empty or no canonical base64");
}

/** Allowed by the policy, and verifiable by this version. */
export function checkPlatform(platform: Keyset["platform"], policy: Policy): void {
  const step: StepName = "platform_allowed";
  if (!policy.platforms.includes(platform)) {
    throw refused(step, `the policy does not name the platform \`${platform}\``);
  }
  if (platform !== "simulated") {
    throw refused(step, `\`${platform}\` is not supported by this version yet`);
  }
}

/** The collateral, if it is the one that the evidence names. */
export function presentCollateral(offered: Collateral | undefined, evidence: Evidence): Collateral {
  const step: StepName = "collateral_present";
  if (offered === undefined) throw refused(step, "the collateral is missing");
  checkForm(step, offered, documents.collateral);
  if (digestHex(offered) !== evidence.collateral) {
    throw refused(step, "the evidence names other collateral");
  }
  return offered;
}

/** A simulated quote says that it is one, under its signature. */
export function checkDeclaredSimulated(quote: TdxQuote): void {
  if (!equal(quote.userData, SIMULATED_USER_DATA)) {
    throw refused("quote_structure", "the quote does not call itself SIMULATED");
  }
}

/** The DER of the simulated root that quote and collateral end in and the policy pins. */
export function pinnedRoot(quote: TdxQuote, collateral: Collateral, policy: Policy): Bytes {
  const step: StepName = "certificate_chain";
  const root = lastCertificate(collateral.tcb_info_issuer_chain);
  if (root === undefined) throw refused(step, "the collateral's chain cannot be read");
  if (!policy.simulated.roots.includes(toHex(sha256(root)))) {
    throw refused(step, "the policy does not pin this simulated root");
  }
  if (!equal(quote.chain.at(-1) ?? utf8(""), root)) {
    throw refused(step, "the quote ends in another root than its collateral");
  }
  return root;
}

function lastCertificate(pem: string): Bytes | undefined {
  try {
    return splitCertificates(pem).at(-1);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** The patch level's status is one that the policy accepts. */
export function checkTcb({ status, advisories }: Claims, policy: Policy): void {
  if (policy.simulated.accepted_tcb.includes(status)) return;
  const named = advisories.join(", ") || "none";
  throw refused("tcb_status", `the patch level is ${status} (advisories: ${named}), not accepted`);
}

/** No debugger, and no attribute or CPU feature that a simulated machine does not have. */
export function checkAttributes(quote: TdxQuote): void {
  const step: StepName = "debug_disabled";
  if (!equal(quote.tdAttributes, SIMULATED_ATTRIBUTES)) {
    throw refused(step, "TD attributes are set that a simulated machine does not have");
  }
  if (!equal(quote.xfam, SIMULATED_XFAM)) {
    throw refused(step, "CPU features are set that a simulated machine does not have");
  }
}

/** The quote was made for this keyset and this GPU evidence. */
export function checkBinding(quote: TdxQuote, keyset: Keyset, evidence: Evidence): void {
  if (!equal(quote.reportData, reportData(digest(keyset), evidence.gpus))) {
    const why = "the quote binds other keys or GPU evidence than the ones offered";
    throw refused("report_data_binding", why);
  }
}

/** The image is allowed, and nothing else is measured beside it. */
export function checkMeasurement(quote: TdxQuote, policy: Policy): void {
  const step: StepName = "measurement";
  if (!policy.simulated.mr_td.includes(toHex(quote.mrTd))) {
    throw refused(step, "the policy does not allow this image (MRTD)");
  }
  const zero = [quote.seam, quote.mrConfig, ...quote.rtmrs];
  if (zero.some((bytes) => bytes.some((byte) => byte !== 0))) {
    throw refused(step, "RTMR, configuration or module fields are not zero");
  }
}

/** Nothing vouches for GPU reports beside a simulated CPU. */
export function checkNoGpus(evidence: Evidence): void {
  if (evidence.gpus.length > 0) {
    const why = "a simulated worker shows GPU reports, which prove nothing";
    throw refused("gpu_evidence", why);
  }
}

/** The records whose names the policy holds; each must keep its rules, the others are left out. */
export function allowedModels(keyset: Keyset, policy: Policy): readonly ModelRecord[] {
  const allowed = keyset.models.filter((model) => keepsRules(model, policy));
  if (allowed.length === 0) {
    throw refused("model_allowed", "the policy names none of its models");
  }
  return allowed;
}

function keepsRules(model: ModelRecord, policy: Policy): boolean {
  const rules = policy.models.find((one) => one.name === model.id);
  if (rules === undefined) return false;
  const broken =
    (!rules.weights.includes(model.weights) && "weights") ||
    (!rules.engines.includes(model.engine) && "engine");
  if (broken) {
    throw refused("model_allowed", `the policy does not allow the ${broken} of ${model.id}`);
  }
  return true;
}

/** The 1216 bytes of a key that can be sealed to. */
export function sealingKey(key: HpkeKey): Bytes {
  const step: StepName = "sealing_key";
  let raw: Bytes;
  try {
    raw = fromBase64Url(key.pk);
  } catch {
    throw refused(step, "a sealing key's base64 is not canonical");
  }
  if (!checkSealingKey(raw)) throw refused(step, "a sealing key is not usable");
  return raw;
}

/** A document made by a caller has never met its bounds; one off the wire meets them twice. */
function checkForm<T>(step: StepName, document: T, schema: Schema<T>): void {
  try {
    decode(encode(document), schema);
  } catch (error) {
    if (error instanceof BombyxError) throw refused(step, error.message);
    throw error;
  }
}
