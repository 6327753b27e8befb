/**
 * Full verification of a TDX quote (SPEC 17.1): signatures, chain, revocation, dates, patch level.
 * A rule of its own for each step, on WebCrypto, so that page and server need nobody else's word.
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { type Bytes, concat, equal, fromHex, utf8 } from "../bytes.js";
import {
  type Anchor,
  checkPlatformChain,
  checkSigner,
  parsed,
  readAnchor,
  readList,
} from "./chain.js";
import type { Collateral } from "./documents.js";
import { type PckPlatform, readPlatform } from "./sgx-extension.js";
import { refused, type StepName } from "./steps.js";
import { type Standing, standing } from "./tcb.js";
import { isFromIntelsEnclave, parseQuote, type TdxQuote } from "./tdx-quote.js";
import { readEnclaveIdentity, readTcbInfo, type TcbInfo } from "./vendor.js";
import { isSignedBy, isSignedByPoint } from "./x509.js";

const REPORT_DATA_AT = 320;
const DEBUG_BIT = 0x01;
const SEPT_VE_DISABLE = 0x10; // bit 28: the fourth byte
/** Attributes that a TD may have: the rest is reserved (Intel TDX module, TD_ATTRIBUTES). */
const KNOWN_ATTRIBUTES = [0x01, 0x00, 0x00, 0xd0, 0x00, 0x00, 0x00, 0x80] as const;

/** What a verified quote's platform is; ids in hex, `expiresAt` in unix seconds. */
export interface Claims extends Standing {
  readonly quote: TdxQuote;
  readonly fmspc: string;
  readonly ppid: string;
  readonly evalNumber: number;
  /** The earliest end of anything that the verification stood on. */
  readonly expiresAt: number;
}

/** Whom to trust and when: DER of the pinned root, unix seconds. */
export interface Trust {
  readonly root: Bytes;
  readonly now: number;
}

/**
 * Verify a quote under a pinned root. The TCB status is *reported*: the caller must judge it, and
 * what the quote says (measurements, report data, attributes). Throws `EvidenceRefused`.
 */
export async function verifyQuote(
  raw: Bytes,
  collateral: Collateral,
  { root, now }: Trust,
): Promise<Claims> {
  const quote = parseQuote(raw);
  const info = readTcbInfo(collateral.tcb_info, now);
  const identity = readEnclaveIdentity(collateral.qe_identity, now);
  const pckList = readList(collateral.pck_crl, "collateral_current");
  const anchor = await readAnchor(root, collateral.root_ca_crl, now);
  const signers = [
    await checkSigned(collateral, "tcb_info", "TCB info", anchor, now),
    await checkSigned(collateral, "qe_identity", "QE identity", anchor, now),
  ];
  const chain = await checkPlatformChain(quote.chain, anchor, pckList, now);
  const platform = parsed("certificate_chain", "the platform's certificate cannot be read", () =>
    readPlatform(chain[0].extensions),
  );
  checkPlatform(platform, info.document);
  await checkSignatures(quote, chain[0].spki);
  const { status, advisories } = standing(quote, info.document, identity.document, platform);
  checkAttributes(quote);
  const ends = [info.until, identity.until, anchor.list.nextUpdate, pckList.nextUpdate];
  const certificates = [anchor.root, ...signers, ...chain].map((one) => one.notAfter);
  return {
    quote,
    status,
    advisories,
    fmspc: platform.fmspc,
    ppid: platform.ppid,
    evalNumber: info.document.tcbEvaluationDataNumber,
    expiresAt: Math.min(...ends, ...certificates),
  };
}

async function checkSigned(
  collateral: Collateral,
  part: "tcb_info" | "qe_identity",
  what: string,
  anchor: Anchor,
  now: number,
) {
  const signer = await checkSigner(collateral[`${part}_issuer_chain`], anchor, now);
  const signature = fromHex(collateral[`${part}_signature`]);
  if (!(await isSignedBy(signer.spki, signature, utf8(collateral[part])))) {
    throw refused("collateral_current", `the ${what} is altered`);
  }
  return signer;
}

function checkPlatform(platform: PckPlatform, info: TcbInfo): void {
  const same =
    platform.fmspc === info.fmspc.toLowerCase() && platform.pceId === info.pceId.toLowerCase();
  if (!same) throw refused("collateral_current", "the collateral is another platform's");
}

/** The platform signed the enclave's report, that names the key, and the key signed the quote. */
async function checkSignatures(quote: TdxQuote, platformKey: Bytes): Promise<void> {
  const step: StepName = "quote_signature";
  if (!(await isSignedBy(platformKey, quote.qeReportSignature, quote.qeReport))) {
    throw refused(step, "the QE report is not signed");
  }
  const named = quote.qeReport.subarray(REPORT_DATA_AT);
  const binding = concat(sha256(concat(quote.attestationKey, quote.qeAuth)), new Uint8Array(32));
  if (!equal(named, binding)) throw refused(step, "the attestation key is not the QE's");
  if (!(await isSignedByPoint(quote.attestationKey, quote.signature, quote.signed))) {
    throw refused(step, "header, body or signature changed");
  }
  if (!isFromIntelsEnclave(quote)) {
    throw refused(step, "the quoting enclave is of an unknown vendor");
  }
}

function checkAttributes({ tdAttributes }: TdxQuote): void {
  const step: StepName = "debug_disabled";
  const debug = (tdAttributes[0] ?? 0) & DEBUG_BIT;
  if (debug !== 0) throw refused(step, "a debugger can read the virtual machine");
  if (KNOWN_ATTRIBUTES.some((known, at) => ((tdAttributes[at] ?? 0) & ~known) !== 0)) {
    throw refused(step, "reserved attributes are set");
  }
  if (((tdAttributes[3] ?? 0) & SEPT_VE_DISABLE) === 0) {
    throw refused(step, "SEPT_VE_DISABLE is off");
  }
}
