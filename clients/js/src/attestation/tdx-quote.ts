/**
 * The bytes of a TDX quote, version 4 (SPEC 17.1). Parses and judges nothing. Every length must be
 * exact: a parser that skips bytes accepts many quotes for one.
 */

import type { Bytes } from "../bytes.js";
import { splitCertificates } from "./pem.js";
import { refused } from "./steps.js";

const MAX_QUOTE_BYTES = 16 * 1024;
const HEADER_BYTES = 48;
const SIGNED_BYTES = HEADER_BYTES + 584;
const SIGNATURE_AT = SIGNED_BYTES + 4;
const KEY_AT = SIGNATURE_AT + 64;
const CERTIFICATION_AT = KEY_AT + 64;
const QE_REPORT_AT = CERTIFICATION_AT + 6;
const QE_REPORT_BYTES = 384;
const QE_SIGNATURE_AT = QE_REPORT_AT + QE_REPORT_BYTES;
const QE_AUTH_AT = QE_SIGNATURE_AT + 64;
const QE_REPORT_DATA = 6;
const PEM_CHAIN = 5;
const CHAIN_CERTIFICATES = 3;
const INTEL_QE_VENDOR = [
  0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];
const RTMR_BYTES = 48;

/** The fields of a quote that somebody judges; `chain` is DER, leaf first. */
export interface TdxQuote {
  readonly userData: Bytes;
  readonly teeTcbSvn: Bytes;
  readonly mrSignerSeam: Bytes;
  readonly seamAttributes: Bytes;
  /** MRSEAM, its signer and attributes (104 bytes). */
  readonly seam: Bytes;
  readonly tdAttributes: Bytes;
  readonly xfam: Bytes;
  readonly mrTd: Bytes;
  /** MRCONFIGID, MROWNER and MROWNERCONFIG (144 bytes). */
  readonly mrConfig: Bytes;
  readonly rtmrs: readonly Bytes[];
  readonly reportData: Bytes;
  /** Header and body: what the attestation key signed. */
  readonly signed: Bytes;
  readonly signature: Bytes;
  readonly attestationKey: Bytes;
  readonly qeReport: Bytes;
  readonly qeReportSignature: Bytes;
  readonly qeAuth: Bytes;
  readonly chain: readonly Bytes[];
}

/** Take a quote apart; throws `EvidenceRefused` at `quote_structure`. */
export function parseQuote(raw: Bytes): TdxQuote {
  if (raw.length > MAX_QUOTE_BYTES) throw malformed("it is longer than 16 KiB");
  if (raw.length < QE_AUTH_AT + 2) throw malformed("it breaks off");
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length);
  checkHeader(raw, view);
  const { chainAt, qeAuth } = certification(raw, view);
  const body = (from: number, to: number): Bytes =>
    raw.slice(HEADER_BYTES + from, HEADER_BYTES + to);
  return {
    userData: raw.slice(28, HEADER_BYTES),
    teeTcbSvn: body(0, 16),
    mrSignerSeam: body(64, 112),
    seamAttributes: body(112, 120),
    seam: body(16, 120),
    tdAttributes: body(120, 128),
    xfam: body(128, 136),
    mrTd: body(136, 184),
    mrConfig: body(184, 328),
    rtmrs: [0, 1, 2, 3].map((n) => body(328 + n * RTMR_BYTES, 376 + n * RTMR_BYTES)),
    reportData: body(520, 584),
    signed: raw.slice(0, SIGNED_BYTES),
    signature: raw.slice(SIGNATURE_AT, KEY_AT),
    attestationKey: raw.slice(KEY_AT, CERTIFICATION_AT),
    qeReport: raw.slice(QE_REPORT_AT, QE_SIGNATURE_AT),
    qeReportSignature: raw.slice(QE_SIGNATURE_AT, QE_AUTH_AT),
    qeAuth,
    chain: certificates(raw.slice(chainAt)),
  };
}

function checkHeader(raw: Bytes, view: DataView): void {
  const [version, keyType, tee] = [
    view.getUint16(0, true),
    view.getUint16(2, true),
    view.getUint32(4, true),
  ];
  if (version !== 4 || keyType !== 2 || tee !== 0x81) {
    throw malformed("it is no TDX quote of version 4 with an ECDSA P-256 key");
  }
  const length = view.getUint32(SIGNED_BYTES, true);
  if (SIGNATURE_AT + length !== raw.length) {
    throw malformed("its signature data does not end where the quote ends");
  }
}

/** Whether Intel's quoting enclave speaks. The field is signed, so it is looked at after that. */
export function isFromIntelsEnclave(quote: TdxQuote): boolean {
  return INTEL_QE_VENDOR.every((byte, at) => quote.signed[12 + at] === byte);
}

function certification(raw: Bytes, view: DataView): { chainAt: number; qeAuth: Bytes } {
  const kind = view.getUint16(CERTIFICATION_AT, true);
  const length = view.getUint32(CERTIFICATION_AT + 2, true);
  if (kind !== QE_REPORT_DATA || QE_REPORT_AT + length !== raw.length) {
    throw malformed("its certification data does not end where the quote ends");
  }
  const authAt = QE_AUTH_AT + 2;
  const at = authAt + view.getUint16(QE_AUTH_AT, true);
  if (at + 6 > raw.length) throw malformed("it breaks off");
  const isChain = view.getUint16(at, true) === PEM_CHAIN;
  if (!isChain || at + 6 + view.getUint32(at + 2, true) !== raw.length) {
    throw malformed("its certificates do not end where the quote ends");
  }
  return { chainAt: at + 6, qeAuth: raw.slice(authAt, at) };
}

function certificates(pem: Bytes): readonly Bytes[] {
  // Intel's quoting enclave ends the text with a NUL of C, which is no part of it.
  const end = pem.at(-1) === 0 ? -1 : pem.length;
  const text = String.fromCharCode(...pem.subarray(0, end));
  let chain: readonly Bytes[];
  try {
    chain = splitCertificates(text);
  } catch {
    throw malformed("its certificates are not canonical");
  }
  if (chain.length !== CHAIN_CERTIFICATES) {
    throw malformed("its chain does not have exactly three certificates");
  }
  return chain;
}

function malformed(why: string): Error {
  return refused("quote_structure", `the quote is malformed: ${why}`);
}
