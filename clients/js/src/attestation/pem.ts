/**
 * Certificates in PEM, in one spelling only (SPEC 17.1). The quote's signature does not cover its
 * certificates: free spelling there would make many accepted quotes out of one.
 */

import { type Bytes, fromBase64, toBase64 } from "../bytes.js";

const BEGIN = "-----BEGIN CERTIFICATE-----\n";
const END = "-----END CERTIFICATE-----\n";
const LINE = /.{1,64}/g;
/** Leaf, intermediate and root, and one to spare. */
const MAX_CERTIFICATES = 4;

/** A certificate as OpenSSL writes it: lines of 64 characters. */
function toPem(der: Bytes): string {
  const lines = toBase64(der).match(LINE) ?? [];
  return `${BEGIN}${lines.map((line) => `${line}\n`).join("")}${END}`;
}

/** The DER of each certificate, first to last; throws `RangeError` for any other spelling. */
export function splitCertificates(pem: string): readonly Bytes[] {
  const [before, ...parts] = pem.split(BEGIN);
  if (before !== "" || parts.length < 1 || parts.length > MAX_CERTIFICATES) {
    throw new RangeError("a chain of one to four certificates is wanted");
  }
  const chain = parts.map((part) => fromBase64(part.replace(END, "").replaceAll("\n", "")));
  if (chain.map(toPem).join("") !== pem) throw new RangeError("the PEM is not canonical");
  return chain;
}
